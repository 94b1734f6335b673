"""The chain of the record, and how anyone checks it without agentd's help.

Each line holds the digest of the line before it (`prev`) and its own number (`seq`); beside its bytes stands their SHA-256
(`digest`). From that alone a change, a gap, a swap or an insertion shows. Whoever rewrites a line *and* everything after
it makes a chain that fits itself; two things outside the database show that: checkpoints, signed with a key that the
writer of the file does not have, and anchors, heads of the chain that were noted elsewhere. A cut-off end or an old copy
put back shows against an anchor only.

Lines can be gone by right: a `prune` line names them (`pruned.py`). It is handed in before the chain is read, since it stands
behind the gap that it accounts for; it must then be met in the chain, and a signature must cover it, or nothing that is missing
is missing by right. Lines that should be gone and are still there are no fault (a removal goes on in the background, an archive
has them), as long as they reach up to the cut without a gap: then the cut's own digest proves each of them.

A signature vouches for every line before it, since it signs the digest of its predecessor: so the *last* good signature by
a trusted key says how far the record is beyond doubt, and older keys need no history of their own.

Memory is all but constant: what is kept is the head, the decisions that are open at this point of the chain, and those whose
outcome could not say what they cost, since a settlement may follow. Imports are few
since the operator's command verifies too and must start quickly; the check of a signature is handed in.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from agentd.core.accounting.pruned import Cut
from agentd.core.accounting.pruned import cut_of as cut_of

GENESIS_PREV = "0" * 64
"""What the first line names as the digest before it."""

MAX_FINDINGS = 100
"""Findings kept in a report; more are counted. One is enough to know, a hundred show a pattern."""

MAX_OPEN_LISTED = 20
"""Open decisions named in a report; all are counted."""

DIGEST_SUFFIX = b',"digest":"'
"""Where the digest begins in an exported line: it is put behind the digested bytes, which so can be had back."""

SignatureCheck = Callable[[str, bytes, str], bool]
"""(public key hex, message, signature hex) -> whether the signature is good. Must not raise for bad hex."""


class Flaw(StrEnum):
    """What can be wrong at a place of the chain."""

    MISSING = "missing"  # numbers were left out
    DISORDERED = "disordered"  # a number at or below one that came before
    ALTERED = "altered"  # the bytes do not have the digest beside them
    UNREADABLE = "unreadable"  # the bytes are no record
    MISNUMBERED = "misnumbered"  # the bytes say another number: swapped or copied
    UNLINKED = "unlinked"  # the line follows another predecessor
    MISBEGUN = "misbegun"  # no genesis at the start, or one elsewhere
    UNOPENED = "unopened"  # an outcome that closes no open, allowed decision
    UNOWED = "unowed"  # a settlement of a call whose cost was known, or that is not closed
    SIGNATURE = "signature"  # a checkpoint whose signature is bad
    TRUNCATED = "truncated"  # an anchor knows lines that are not there
    ANCHOR = "anchor"  # an anchor knows another line of this number
    UNVOUCHED = "unvouched"  # a prune line that no signature covers, or that is not in the chain


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain: the number of a line and its digest (hex). Number 0 stands before the first line."""

    seq: int
    digest: str


ORIGIN = Link(0, GENESIS_PREV)
"""Where a whole chain starts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One flaw, at the first line that shows it."""

    seq: int
    flaw: Flaw
    message: str
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """Lines 1 to `to` are gone by right: prune line `line` says so. `kept` of them had to stay, `left` are still there though
    they need not be; `vouched`: a good signature of a trusted key covers the prune line."""

    to: int
    line: int
    at: str
    uid: int | None
    reason: str
    kept: int
    left: int
    vouched: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification found. `vouched_to` is the last line that a good signature of a trusted key covers; 0: none."""

    lines: int
    head: Link
    ledger: str | None
    findings: tuple[Finding, ...]
    found: int  # findings in all, those beyond MAX_FINDINGS included
    open_count: int
    open_lines: tuple[int, ...]  # the first few open decisions
    checkpoints: int
    signed: int
    vouched_to: int
    keys: tuple[str, ...]  # public keys that signed, in order of appearance
    pruned: Pruned | None = None
    uncompared: tuple[int, ...] = ()  # anchors of lines that were pruned

    @property
    def intact(self) -> bool:
        """True if nothing is wrong. Open lines are not wrong: calls may be under way."""
        return self.found == 0


def digest_of(body: bytes) -> str:
    """SHA-256 of a line's canonical bytes, in hex."""
    return sha256(body).hexdigest()


def exported(body: bytes, digest: str) -> bytes:
    """A line for export: the digested bytes with the digest as their last field. Still JSON, and the bytes are kept."""
    return body[:-1] + DIGEST_SUFFIX + digest.encode("ascii", "replace") + b'"}'


def checkpoint_message(ledger: str, seq: int, prev: str) -> bytes:
    """What a checkpoint with number `seq` signs: its ledger, its place, and with `prev` every line before it."""
    return f"agentd checkpoint 1\n{ledger}\n{seq}\n{prev}\n".encode()


def verify(
    lines: Iterable[tuple[int, bytes, str]], anchors: Sequence[Link] = (), check: SignatureCheck | None = None,
    trusted: frozenset[str] | None = None, cut: Cut | None = None,
) -> Report:  # fmt: skip
    """Check a whole chain of (seq, canonical bytes, digest) from its genesis on. See `Verifier` for the rest."""
    verifier = Verifier(anchors, check, trusted, cut=cut)
    for seq, body, digest in lines:
        verifier.feed(seq, body, digest)
    return verifier.finish()


class Verifier:
    """Checks a chain line by line, for whoever reads it in pieces.

    `anchors` are heads noted outside the database. Without `check` signatures are counted but not believed. `trusted` are
    the public keys (hex) to believe; None believes any key whose signature is good, which does not show a rewritten chain
    that was signed anew. `start` begins after a line that is known already; outcomes of decisions before it are then
    taken as given. `cut` is what the newest prune line of the record says.
    """

    def __init__(
        self, anchors: Sequence[Link] = (), check: SignatureCheck | None = None, trusted: frozenset[str] | None = None,
        start: Link = ORIGIN, *, cut: Cut | None = None,
    ) -> None:  # fmt: skip
        """See the class."""
        self._cut = cut
        self._cut_met = False
        self._gaps = 0  # by right
        self._left = 0
        self._anchors_met: set[int] = set()
        self._anchors = {anchor.seq: anchor.digest for anchor in anchors}
        self._check = check
        self._trusted = trusted
        self._start = start
        self._head = start
        self._lines = 0
        self._ledger: str | None = None
        self._open: dict[int, None] = {}
        self._owed: dict[int, None] = {}
        self._findings: list[Finding] = []
        self._here: Finding | None = None
        self._found = 0
        self._checkpoints = 0
        self._signed = 0
        self._vouched_to = 0
        self._keys: dict[str, None] = {}

    def feed(self, seq: int, body: bytes, digest: str) -> Finding | None:
        """Take the next line; the answer is what is wrong with it, if anything is. Goes on after a flaw from what it found."""
        self._here = None
        self._lines += 1
        follows = self._in_order(seq)
        record = self._authentic(seq, body, digest)
        if self._cut is not None and seq <= self._cut.seq:
            self._accounted(self._cut, seq, digest)
        if record is not None:
            self._linked(seq, record, follows)
            self._meaningful(seq, record)
        expected = self._anchors.get(seq)
        if expected is not None:
            self._anchors_met.add(seq)
            if expected != digest:
                message = f"Line {seq} is not the line that was anchored."
                self._note(Finding(seq, Flaw.ANCHOR, message, expected, digest))
        self._head = Link(max(seq, self._head.seq), digest)
        return self._here

    def finish(self) -> Report:
        """The end of the chain is reached: what anchors know beyond it is missing."""
        last = self._head.seq
        if self._lines == 0 and self._start.seq == 0:
            self._note(Finding(1, Flaw.MISBEGUN, "The record has no lines, not even its first."))
        beyond = [seq for seq in self._anchors if seq > last]
        if beyond:
            message = (
                f"Lines {last + 1} to {max(beyond)} are missing: the record was cut off, or an older copy was put back."
            )
            self._note(Finding(last + 1, Flaw.TRUNCATED, message, str(max(beyond)), str(last)))
        pruned = None if self._cut is None else self._by_right(self._cut)
        return Report(
            lines=self._lines, head=self._head, ledger=self._ledger, findings=tuple(self._findings), found=self._found,
            open_count=len(self._open), open_lines=tuple(self._open)[:MAX_OPEN_LISTED], checkpoints=self._checkpoints,
            signed=self._signed, vouched_to=self._vouched_to, keys=tuple(self._keys),
            pruned=pruned, uncompared=tuple(sorted(self._anchors.keys() - self._anchors_met - set(beyond))),
        )  # fmt: skip

    def _note(self, finding: Finding) -> None:
        """Keep a finding, or only count it when there are many."""
        self._found += 1
        self._here = self._here or finding
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(finding)

    def _in_order(self, seq: int) -> bool:
        """Whether the number is the next one."""
        due = self._head.seq + 1
        if seq > due:
            lost = self._lost(due, seq - 1)
            if lost < seq:
                gap = f"Line {lost} is" if seq == lost + 1 else f"Lines {lost} to {seq - 1} are"
                self._note(Finding(lost, Flaw.MISSING, f"{gap} missing.", str(lost), str(seq)))
        elif seq < due:
            self._note(Finding(seq, Flaw.DISORDERED, f"Line {seq} stands after line {due - 1}.", str(due), str(seq)))
        return seq == due

    def _lost(self, first: int, last: int) -> int:
        """The first line of a gap that is not gone by right; `last` + 1: all are. Lines that could be gone go in order, so once
        one of them was met, all up to the cut must be there."""
        if self._cut is None or self._left > 0:
            return first
        lost = self._cut.unaccounted(first, last)
        self._gaps += lost > first
        return lost

    def _authentic(self, seq: int, body: bytes, digest: str) -> dict[str, Any] | None:
        """The record, if its bytes have the stated digest and are one."""
        actual = digest_of(body)
        if actual != digest:
            self._note(
                Finding(seq, Flaw.ALTERED, f"Line {seq} was changed: its bytes do not have its digest.", digest, actual)
            )
            return None
        try:
            record = json.loads(body)
        except (ValueError, RecursionError) as error:
            self._note(Finding(seq, Flaw.UNREADABLE, f"Line {seq} cannot be read: {error}."))
            return None
        if not isinstance(record, dict):
            self._note(Finding(seq, Flaw.UNREADABLE, f"Line {seq} is no record.", "object", type(record).__name__))
            return None
        return record

    def _linked(self, seq: int, record: dict[str, Any], follows: bool) -> None:
        """Number and predecessor inside the bytes. After a gap the predecessor is unknown and is not judged again."""
        if record.get("seq") != seq:
            message = f"Line {seq} says of itself that it is line {record.get('seq')}: swapped, copied or renumbered."
            self._note(Finding(seq, Flaw.MISNUMBERED, message, str(seq), str(record.get("seq"))))
        elif (before := self._before(seq, follows)) is not None and record.get("prev") != before:
            message = f"Line {seq} follows another line {seq - 1} than the one that belongs there: one was replaced."
            self._note(Finding(seq, Flaw.UNLINKED, message, before, str(record.get("prev"))))

    def _before(self, seq: int, follows: bool) -> str | None:
        """The digest that the line before has, as far as it is known: that line is there, or it was the last one to go."""
        if follows:
            return self._head.digest
        return self._cut.head if self._cut is not None and seq == self._cut.to + 1 else None

    def _accounted(self, cut: Cut, seq: int, digest: str) -> None:
        """Hold a line up to the prune line against what that says of it."""
        said = cut.kept.get(seq) or (cut.head if seq == cut.to else cut.digest if seq == cut.seq else digest)
        if said != digest:
            message = f"Line {seq} is not the one that prune line {cut.seq} tells of: it was replaced."
            self._note(Finding(seq, Flaw.UNLINKED, message, said, digest))
        self._left += seq <= cut.to and seq not in cut.kept
        self._cut_met |= seq == cut.seq

    def _by_right(self, cut: Cut) -> Pruned:
        """What is gone, and whether anybody vouches for the line that says so. Where nothing is missing, nobody has to; where
        nothing is signed and no key was named, nobody can."""
        vouched = self._vouched_to >= cut.seq
        signed = self._check is not None and (self._signed > 0 or self._trusted is not None)
        if self._gaps and (not self._cut_met or (signed and not vouched and self._found == 0)):
            why = "no good signature covers it" if self._cut_met else "it is not in the chain"
            message = f"Prune line {cut.seq} is not vouched for: {why}. Lines up to {cut.to} may be gone without right."
            self._note(Finding(cut.seq, Flaw.UNVOUCHED, message))
        return Pruned(cut.to, cut.seq, cut.at, cut.uid, cut.reason, len(cut.kept), self._left, vouched)

    def _meaningful(self, seq: int, record: dict[str, Any]) -> None:
        """What the line's kind promises."""
        kind = record.get("kind")
        if (kind == "genesis") != (seq == 1):
            self._note(
                Finding(seq, Flaw.MISBEGUN, f"Line {seq} is of kind {kind}: line 1 and no other is the genesis.")
            )
        if kind == "genesis":
            self._ledger = _detail(record).get("ledger")
        elif kind == "decision" and record.get("verdict") == "allow":
            self._open[seq] = None
        elif kind == "outcome":
            self._closed(seq, record)
        elif kind == "settlement":
            self._settled(seq, record)
        elif kind == "checkpoint":
            self._vouched(seq, record)

    def _closed(self, seq: int, record: dict[str, Any]) -> None:
        """An outcome closes one decision that is open."""
        opens = record.get("opens")
        if isinstance(opens, int) and opens in self._open:
            del self._open[opens]
            if record.get("cost_nusd") is None:
                self._owed[opens] = None
        elif not self._taken_as_given(seq, opens):
            message = f"Line {seq} closes {opens}, which is no open decision: never allowed, or closed before."
            self._note(Finding(seq, Flaw.UNOPENED, message, "an open decision", str(opens)))

    def _settled(self, seq: int, record: dict[str, Any]) -> None:
        """A settlement says the cost of one call whose outcome could not, once; without a cost it says that nobody will."""
        opens = record.get("opens")
        if isinstance(opens, int) and opens in self._owed:
            del self._owed[opens]
        elif not self._taken_as_given(seq, opens):
            message = f"Line {seq} settles {opens}, whose cost was not open: it was known, or settled before."
            self._note(Finding(seq, Flaw.UNOWED, message, "a call without a cost", str(opens)))

    def _taken_as_given(self, seq: int, opens: object) -> bool:
        """Whether a line speaks of a decision that is not looked at: it lies before the start, or was pruned before this line."""
        pruned = self._cut is not None and seq <= self._cut.to and opens not in self._cut.kept and self._left > 0
        return isinstance(opens, int) and opens > 0 and (opens <= self._start.seq or (pruned and opens < seq))

    def _vouched(self, seq: int, record: dict[str, Any]) -> None:
        """A checkpoint: signed or not, and if it is, whether the signature holds."""
        self._checkpoints += 1
        detail = _detail(record)
        key, signature = detail.get("public"), detail.get("signature")
        if not isinstance(key, str) or not isinstance(signature, str):
            return
        self._signed += 1
        self._keys[key] = None
        if self._check is None:
            return
        message = checkpoint_message(self._ledger or str(detail.get("ledger")), seq, str(record.get("prev")))
        if not self._check(key, message, signature):
            self._note(Finding(seq, Flaw.SIGNATURE, f"The signature of checkpoint {seq} is bad.", key, signature))
        elif self._found == 0 and (self._trusted is None or key in self._trusted):
            self._vouched_to = seq


def _detail(record: dict[str, Any]) -> dict[str, Any]:
    """What the line's kind adds, or nothing."""
    detail = record.get("detail")
    return detail if isinstance(detail, dict) else {}
