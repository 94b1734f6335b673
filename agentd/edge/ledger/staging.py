"""From lines to rows: what one transaction will write, worked out before the database is touched.

Here a line gets its number, its name and its predecessor's digest, and the sums that it changes. Nothing here does I/O, and a
`Tip` is never changed: the one of after the commit is a new value, taken over only when the commit is through. So a
failed transaction leaves nothing to be undone.

Only an allowed decision opens a line and only one outcome closes it, and only one settlement adds the cost that an outcome
could not say; what closes or settles anything else is refused here, so that the chain never holds one. A settlement needs a look
at lines that are long written: `owed` is that look, handed in.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from agentd.core.accounting.canonical import Uncanonical, canonical, record_of, visible
from agentd.core.accounting.chain import Link, checkpoint_message, digest_of
from agentd.core.accounting.pruned import Cut, cut_of
from agentd.core.accounting.times import from_rfc3339
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.failures import FAILURES

NS_PER_HOUR = 3_600 * 10**9

MAX_AMOUNT = 10**15
"""A million dollars, or a million billion tokens, in one call: above it is a mistake or an attack, and sums could overflow."""

_AT_CHARS = len("2026-01-01T00:00:00.000000Z")
"""Times are compared as text, which is right only if all have the same form."""

COUNTED = ("prompt", "completion", "cached", "cache_write")
"""Token counts that are added up, in the order of a delta's places 1 to 4; place 0 counts calls."""

_RESERVED, _COST, _DELTA_SIZE = 5, 6, 7


class Signer(Protocol):
    """Signs checkpoints with Ed25519; the private key never comes here."""

    @property
    def public_hex(self) -> str:
        """The public key, 32 bytes in hex."""

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""


@dataclass(frozen=True, slots=True)
class Account:
    """A row of the sums: an hour (since 1970, UTC) and whose work it was; an absent name is empty."""

    hour: int
    agent: str
    class_: str
    tier: str
    session: str
    model: str

    def key(self) -> tuple[int, str, str, str, str, str]:
        """The columns of the key, in the order of the schema."""
        return (self.hour, self.agent, self.class_, self.tier, self.session, self.model)


@dataclass(frozen=True, slots=True)
class OpenCall:
    """An allowed decision whose outcome is not written yet."""

    account: Account
    reserved: int


@dataclass(frozen=True, slots=True)
class OwedCall:
    """A call that is closed without a cost. `counted`: its tokens as the outcome said them, in the order of `COUNTED`."""

    account: Account
    reserved: int
    counted: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tip:
    """The end of the chain as the last commit left it. `unsealed` counts lines since the last checkpoint."""

    ledger: str
    link: Link
    open: dict[int, OpenCall]
    unsealed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line, ready to be stored."""

    seq: int
    body: bytes
    digest: str

    @property
    def link(self) -> Link:
        """Its place in the chain."""
        return Link(self.seq, self.digest)


@dataclass(slots=True)
class Staged:
    """One transaction being put together on top of a tip."""

    tip: Tip
    rows: list[Row] = field(default_factory=list)
    opened: dict[int, OpenCall] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
    deltas: dict[Account, list[int]] = field(default_factory=dict)
    policies: list[tuple[str, str, str]] = field(default_factory=list)
    settled_calls: list[int] = field(default_factory=list)
    owed: Callable[[int], OwedCall | None] = lambda _seq: None
    cut: Cut | None = None

    def add(self, line: Line) -> Row:
        """Take a line in. Raises `RecordUnavailable` and leaves everything as it was when the line cannot be one."""
        hour = _hour(line.at)
        _countable(line)
        link = self.tip.link
        call = self._closes(line) if line.kind is Kind.OUTCOME else None
        owed = self._settles(line) if line.kind is Kind.SETTLEMENT else None
        body = canonical(record_of(line, link.seq + 1, link.digest))
        row = Row(link.seq + 1, body, digest_of(body))
        self.rows.append(row)
        self.tip = replace(
            self.tip, link=row.link, unsealed=0 if line.kind is Kind.CHECKPOINT else self.tip.unsealed + 1
        )
        if call is not None and line.opens is not None:
            self._settle(line, line.opens, call)
        elif owed is not None and line.opens is not None:
            self._pay(line, line.opens, owed)
        elif line.kind is Kind.DECISION and line.verdict == "allow":
            self._reserve(row.seq, line, hour)
        return row

    def shorten(self, line: Line, seal: Callable[[Tip], Line]) -> Row:
        """Take in a prune line, and at once the checkpoint that vouches for it. Raises `RecordUnavailable` for one that makes no
        sense, or would take a call with it that is open."""
        row = self.add(line)
        cut = cut_of(row.seq, row.body, row.digest)
        if cut is None or any(seq <= cut.to and seq not in cut.kept for seq in self.tip.open):
            raise RecordUnavailable("record.unwritable", "The prune line makes no sense.", "This is a fault in agentd.")
        self.add(seal(self.tip))
        self.cut = cut
        return row

    def settled(self) -> Tip:
        """The tip as it will be once this is committed."""
        still = {seq: call for seq, call in self.tip.open.items() if seq not in self.closed}
        return replace(
            self.tip, open=still | {seq: call for seq, call in self.opened.items() if seq not in self.closed}
        )

    def _closes(self, line: Line) -> OpenCall:
        """The open call that an outcome closes."""
        seq = line.opens or 0
        call = self.opened.get(seq) or self.tip.open.get(seq)
        if call is None or seq in self.closed:
            message, hint = FAILURES["record.not_open"]
            raise RecordUnavailable("record.not_open", f"{message} (line {line.opens})", hint)
        return call

    def _settles(self, line: Line) -> OwedCall:
        """The call whose cost a settlement says, or says that nobody will."""
        seq = line.opens or 0
        call = None if seq in self.settled_calls else self.owed(seq)
        if call is None:
            message, hint = FAILURES["record.not_owed"]
            raise RecordUnavailable("record.not_owed", f"{message} (line {line.opens})", hint)
        return call

    def _reserve(self, seq: int, line: Line, hour: int) -> None:
        account = _account(hour, (line.agent, line.class_, line.tier, line.session, line.model))
        call = OpenCall(account, line.reserved_nusd or 0)
        self.opened[seq] = call
        delta = self._delta(account)
        delta[0] += 1
        delta[_RESERVED] += call.reserved

    def _settle(self, line: Line, opens: int, call: OpenCall) -> None:
        """Book an outcome in the hour of its decision. Without a cost the reservation stays: unknown is not free."""
        self.closed.append(opens)
        delta = self._delta(call.account)
        tokens = line.tokens or {}
        for place, name in enumerate(COUNTED, start=1):
            delta[place] += tokens.get(name) or 0
        if line.cost_nusd is not None:
            delta[_RESERVED] -= call.reserved
            delta[_COST] += line.cost_nusd

    def _pay(self, line: Line, opens: int, call: OwedCall) -> None:
        """Book a settlement in the hour of its decision: its counts take the place of the outcome's."""
        self.settled_calls.append(opens)
        if line.cost_nusd is None:
            return
        delta = self._delta(call.account)
        delta[_RESERVED] -= call.reserved
        delta[_COST] += line.cost_nusd
        said = line.tokens or {}
        for place, (name, before) in enumerate(zip(COUNTED, call.counted, strict=True), start=1):
            now = said.get(name)
            delta[place] += now - before if now is not None else 0

    def _delta(self, account: Account) -> list[int]:
        return self.deltas.setdefault(account, [0] * _DELTA_SIZE)


def genesis(ledger: str, at: str, signer: Signer | None, previous: dict[str, object] | None) -> Line:
    """The first line of a chain. `previous` names the head of an older one that this replaces, and why."""
    detail: dict[str, object] = {"ledger": ledger, "format": 1, "public": signer.public_hex if signer else None}
    if previous is not None:
        detail["previous"] = previous
    return Line(kind=Kind.GENESIS, at=at, detail=detail)


def checkpoint(tip: Tip, at: str, signer: Signer | None, sums: Mapping[str, object] | None = None) -> Line:
    """A line that seals all before it, signed if there is a key. `sums`: the digest of the sums of spend, at the end of a run."""
    detail: dict[str, object] = {"ledger": tip.ledger, "lines": tip.unsealed, "public": None, "signature": None}
    if sums is not None:
        detail["sums"] = dict(sums)
    if signer is None:
        detail["unsigned"] = "no signing key: the keyring is not available"
    else:
        message = checkpoint_message(tip.ledger, tip.link.seq + 1, tip.link.digest)
        detail |= {"public": signer.public_hex, "signature": signer.sign(message).hex()}
    return Line(kind=Kind.CHECKPOINT, at=at, detail=detail)


def account_of(decision: Mapping[str, Any]) -> Account:
    """The row of the sums that a decision's record was booked in."""
    names = (decision[name] for name in ("agent", "class", "tier", "session", "model"))
    return _account(_hour(decision["at"]), names)


def _account(hour: int, names: Iterable[str | None]) -> Account:
    return Account(hour, *(visible(name or "") for name in names))


def _countable(line: Line) -> None:
    """Amounts that a sum can hold. Raises `Uncanonical`: an upstream may say any number."""
    amounts = {"reserved_nusd": line.reserved_nusd, "cost_nusd": line.cost_nusd} | (line.tokens or {})
    for name, amount in amounts.items():
        if amount is not None and not 0 <= amount <= MAX_AMOUNT:
            raise Uncanonical(name, f"is {amount}, which is no amount")


def _hour(at: str) -> int:
    """Hours since 1970 of a line's time. Raises `RecordUnavailable` (record.malformed)."""
    try:
        if len(at) != _AT_CHARS or not at.endswith("Z"):
            raise ValueError(f"{at!r} is not of the form 2026-01-01T00:00:00.000000Z")
        return from_rfc3339(at) // NS_PER_HOUR
    except ValueError as error:
        message, hint = FAILURES["record.malformed"]
        raise RecordUnavailable("record.malformed", f"{message} ({error})", hint) from error
