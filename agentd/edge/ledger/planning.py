"""What could be pruned, found out before anything is: which lines are old enough, which of those must stay, and whether all that
would go is sound.

A record is cut in front of a checkpoint: the first line that stays is then one that the key has signed, and that names the last
line that goes as the one before it. Everything up to there is verified here once more, since afterwards nobody can; a flaw in it
is evidence, and is not thrown away. While that is read, the digest is built of the file that `agentctl audit export` makes
of the very same lines, so an archive that was made before can be told from one that lacks something.

This reads for seconds, in a thread of its own with a connection of its own. It rests as long as it works, so that calls do not
wait for the interpreter.
"""

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.core.accounting.chain import GENESIS_PREV, Link, Verifier, checkpoint_message, exported
from agentd.core.accounting.pruned import MAX_KEPT, Cut, cut_of, kept_detail
from agentd.core.accounting.retention import STANDING, in_force, standing
from agentd.core.accounting.times import rfc3339
from agentd.core.types.records import Kind
from agentd.edge.ledger import schema
from agentd.edge.ledger.failures import unavailable
from agentd.edge.ledger.staging import Signer
from agentd.gate.ports_operator import OperatorRefused, PruneAsk

PAGE_LINES = 100
"""Lines between two rests: about a millisecond."""

REST = 1.0
"""Seconds of rest for each second of work."""

_AGELESS = (Kind.GENESIS, Kind.CHECKPOINT)
"""Kinds of lines that no window looks back on: their time says nothing of what can go."""

NAMED_LINES = 5_000
"""Lines that are asked at a time which versions of the policy they name."""

Raw = tuple[int, bytes, str]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A place where the record could be cut: before a checkpoint."""

    to: int
    head: str
    signed: bool
    digest: str  # of the export of all new lines up to `to`
    bytes: int
    at: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What would go. Lines `first` to `to` were never cut before; `gone` counts all that would be removed, `kept` all before the
    cut that would stay. `place` None: nothing is to be removed, and `because` says why."""

    first: int
    because: str
    place: Place | None = None
    began: str = ""  # time of line `first`
    gone: int = 0
    kept: tuple[tuple[int, str], ...] = ()
    why: Counter[str] = field(default_factory=Counter)  # kept lines by what they are needed for
    versions: tuple[str, ...] = ()
    looked_to: int = 0

    def detail(self) -> Json:
        """What the prune line says of it."""
        place = self.place
        if place is None:
            return {}
        return {
            "from": self.first,
            "to": place.to,
            "lines": self.gone,
            "head": place.head,
            "checkpoint": {"seq": place.to + 1, "signed": place.signed},
            "digest": place.digest,
            "began": self.began,
            "ended": place.at,
            "kept": kept_detail(self.kept),
            "kept_for": dict(self.why),
            "versions": list(self.versions),
            "looked_to": self.looked_to,
        }

    def view(self) -> Json:
        """What an operator is told of it."""
        place = self.place
        if place is None:
            return {"first": self.first, "lines": 0, "because": self.because}
        return {
            "first": self.first,
            "to": place.to,
            "lines": self.gone,
            "bytes": place.bytes,
            "began": self.began,
            "ended": place.at,
            "kept": len(self.kept),
            "kept_for": dict(self.why),
            "versions": len(self.versions),
            "head": place.head,
            "digest": place.digest,
            "checkpoint": place.to + 1,
            "signed": place.signed,
            "because": self.because,
        }


class Planner:
    """Plans on a database file. `plan` blocks for as long as the record is old; `stop` ends it from any thread."""

    def __init__(self, database: Path, signer: Signer | None) -> None:
        """Opens nothing yet."""
        self._database = database
        self._signer = signer
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End a plan that is being made; it raises then."""
        self._stopped.set()

    def plan(self, ask: PruneAsk, now_ns: int, mono_ns: Callable[[], int]) -> Plan:
        """What would go now. Raises `OperatorRefused`, `sqlite3.Error`."""
        connection = sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA query_only = ON").fetchall()
            row = connection.execute(schema.SELECT_PRUNED).fetchone()
            walk = _Walk(self, connection, cut_of(*row) if row else None, mono_ns)
            place = walk.place(ask)
            if place is None:
                return Plan(walk.first, walk.because)
            return walk.completed(place, now_ns)
        finally:
            connection.close()

    def vouches(self, record: Json) -> bool:
        """Whether the key that signs now has signed this checkpoint: with Ed25519 the same message gives the same signature.

        Without a key only a record that never had one can be cut."""
        detail = record.get("detail") or {}
        if self._signer is None:
            return detail.get("signature") is None
        message = checkpoint_message(str(detail.get("ledger")), int(record["seq"]), str(record["prev"]))
        return (
            detail.get("public") == self._signer.public_hex
            and detail.get("signature") == self._signer.sign(message).hex()
        )

    def rest(self, worked_ns: int) -> None:
        """Rest after so much work. Raises `RecordUnavailable` when the record is being closed."""
        if self._stopped.wait(worked_ns / 1e9 * REST):
            raise unavailable("record.closed", self._database.parent)


class _Walk:
    """One plan being made."""

    def __init__(
        self, planner: Planner, connection: sqlite3.Connection, before: Cut | None, mono_ns: Callable[[], int]
    ) -> None:
        self._planner = planner
        self._connection = connection
        self._mono_ns = mono_ns
        self.first = before.to + 1 if before else 1
        self.because = "no checkpoint lies far enough back"
        self._verifier = Verifier(start=Link(before.to, before.head) if before else Link(0, GENESIS_PREV))
        self._began = ""

    def place(self, ask: PruneAsk) -> Place | None:
        """Where to cut: before the last checkpoint that is old enough, or exactly where it was asked."""
        until = rfc3339(ask.before_ns)
        newest = int(self._connection.execute("SELECT MAX(seq) FROM lines").fetchone()[0]) - ask.keep_lines
        hashed, size, head = hashlib.sha256(), 0, ""
        found: Place | None = None
        for (seq, body, digest), at, kind in self._lines():
            self._began = self._began or at
            flaw = self._verifier.feed(seq, body, digest)
            if flaw is not None:
                hint = "agentctl audit verify; nothing was removed, for a flaw is evidence"
                raise OperatorRefused("prune.broken", flaw.message, hint)
            if kind == Kind.CHECKPOINT and seq > self.first and (ask.to is None or seq == ask.to + 1):
                record = json.loads(body)
                if self._planner.vouches(record):
                    signed = (record.get("detail") or {}).get("signature") is not None
                    found = Place(seq - 1, head, signed, hashed.hexdigest(), size, at)
            if ask.to is not None and seq > ask.to:
                break
            if seq > newest or (at >= until and kind not in _AGELESS):
                self.because = f"line {seq} of {at[:19]}Z is one to keep"
                break
            hashed.update(exported(body, digest) + b"\n")
            size, head = size + len(body), digest
        if found is None and ask.to is not None:
            raise OperatorRefused(
                "prune.changed", f"The record cannot be cut behind line {ask.to} any more.", "Plan anew."
            )
        return found

    def completed(self, place: Place, now_ns: int) -> Plan:
        """The plan for a place: what has to stay, as of one moment of the record."""
        ask = self._connection.execute
        ask("BEGIN")
        why = self._needed(place.to, now_ns)
        looked_to = int(ask("SELECT MAX(seq) FROM lines").fetchone()[0])
        named = self._named(set(why), place.to, looked_to)
        rows = ask(
            "SELECT seq, kind, verdict, json_extract(body, '$.policy') FROM lines WHERE seq IN "
            "(SELECT seq FROM sought WHERE kind = 'policy') ORDER BY seq"
        )
        columns = ("seq", "kind", "verdict", "policy")
        lines = in_force((dict(zip(columns, row, strict=True)) for row in rows), named)
        why |= {seq: "policy" for seq in lines.values() if seq <= place.to}
        versions = {str(row[0]) for row in ask("SELECT digest FROM policies")} - named - lines.keys()
        kept = tuple(
            (seq, str(ask("SELECT digest FROM lines WHERE seq = ?", (seq,)).fetchone()[0])) for seq in sorted(why)
        )
        there = int(ask("SELECT COUNT(*) FROM lines WHERE seq <= ?", (place.to,)).fetchone()[0])
        ask("COMMIT")
        if len(kept) > MAX_KEPT:
            message = f"{len(kept)} lines before the cut are still needed, more than {MAX_KEPT}."
            raise OperatorRefused("prune.too_much_needed", message, "End halts, tokens or calls that are over.")
        return Plan(
            self.first, self.because, place, self._began, there - len(kept), kept, Counter(why.values()),
            tuple(sorted(versions)), looked_to,
        )  # fmt: skip

    def _needed(self, to: int, now_ns: int) -> dict[int, str]:
        """Lines up to `to` that must stay, but for those of the policy, and what each is needed for."""
        ask = self._connection.execute
        open_calls = {int(row[0]) for row in ask("SELECT seq FROM open_lines WHERE seq <= ?", (to,))}
        closed_later = {
            int(row[0]) for row in ask("SELECT DISTINCT opens FROM lines WHERE opens <= ? AND seq > ?", (to, to))
        }
        calls = open_calls | closed_later
        ends = [row[0] for seq in calls for row in ask("SELECT seq FROM lines WHERE opens = ? AND seq <= ?", (seq, to))]
        kinds = ", ".join("?" * len(STANDING))
        question = f"SELECT CAST(body AS BLOB) FROM lines WHERE seq IN (SELECT seq FROM sought WHERE kind IN ({kinds})) ORDER BY seq"  # noqa: S608, E501 - question marks
        standing_now = standing((json.loads(row[0]) for row in ask(question, STANDING)), now_ns)
        why = {seq: "acts" for seq in standing_now if seq <= to}
        return why | dict.fromkeys([*calls, *ends], "calls") | {1: "genesis"}

    def _named(self, kept: set[int], to: int, last: int) -> set[str]:
        """Versions that a line names which stays. Where there is but one version, nobody has to look."""
        ask = self._connection.execute
        known = {str(row[0]) for row in ask("SELECT digest FROM policies")}
        named = {
            row[0]
            for seq in kept
            for row in ask("SELECT json_extract(body, '$.policy') FROM lines WHERE seq = ?", (seq,))
        }
        first = to + 1
        while first <= last and len(known) > 1 and not known <= named:
            began = self._mono_ns()
            page = "SELECT DISTINCT json_extract(body, '$.policy') FROM lines WHERE seq BETWEEN ? AND ?"
            named |= {row[0] for row in ask(page, (first, first + NAMED_LINES - 1))}
            first += NAMED_LINES
            self._planner.rest(self._mono_ns() - began)
        return {str(version) for version in named if version is not None}

    def _lines(self) -> Iterator[tuple[Raw, str, str]]:
        """Lines that were never cut, in order, with their time and kind; it rests between pages."""
        first = self.first
        page = "SELECT seq, CAST(body AS BLOB), digest, at, kind FROM lines WHERE seq >= ? ORDER BY seq LIMIT ?"
        while True:
            began = self._mono_ns()
            rows = self._connection.execute(page, (first, PAGE_LINES)).fetchall()
            for seq, body, digest, at, kind in rows:
                yield (seq, body, digest), str(at), str(kind)
            if not rows:
                return
            first = rows[-1][0] + 1
            self._planner.rest(self._mono_ns() - began)
