"""Opening the record: is what is there what was there, and what did the last run leave open?

Before the first new line the end of the chain is held against the anchor outside. The anchor may lag (a crash between
commit and note), never lead and never disagree: then lines were lost, and agentd refuses to serve rather than to go on
on top of a hole. The last lines are verified, too; the whole chain is the operator's command's work, since it takes as long as
the record is old.

A removal of old lines that was cut off goes on. Sums that are not those of the lines are made so, with a line of kind `alarm`
in the same transaction: budgets are restored from them.

Decisions that were allowed and have no outcome are closed as `unknown`: agentd died in between. Whether the call was made, and
what it cost, nobody can say; so their reservation stays.
"""

import json
import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.core.accounting.chain import ORIGIN, Link, Verifier
from agentd.core.accounting.pruned import Cut
from agentd.core.accounting.times import rfc3339
from agentd.core.types.receipts import Ending
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.anchor import AnchorFile, Noted, read_anchor
from agentd.edge.ledger.closing import closing
from agentd.edge.ledger.failures import from_error, unavailable
from agentd.edge.ledger.files import Place, identity, prepare, take
from agentd.edge.ledger.pruning import Removal
from agentd.edge.ledger.staging import Signer, Staged, Tip, genesis
from agentd.edge.ledger.store import Store
from agentd.edge.ledger.sums import first_hour

TAIL_LINES = 1_000
"""Lines verified at each start: some ten milliseconds, and more than one checkpoint's worth."""

MAX_SUMS_TOLD = 20
"""Wrong sums named in the line that tells of them; all are counted."""

RECOVERY_BATCH = 500
"""Lines closed in one transaction."""

LEDGER_ID_BYTES = 16
"""Random, so that no two ledgers share an id and no anchor fits a foreign one."""


log = logging.getLogger("agentd.ledger")


@dataclass(slots=True)
class Opened:
    """An open record, for the thread that writes it."""

    place: Place
    store: Store
    anchor: AnchorFile
    tip: Tip
    lock: int
    recovered: int
    mended: int = 0  # sums of spend that were not those of the lines
    removal: Removal | None = None

    def close(self) -> None:
        """Let go of everything; the write-ahead log is moved into the database."""
        self.store.close(truncate=True)
        self.anchor.close()
        os.close(self.lock)


def open_record(directory: Path, at_ns: int, signer: Signer | None) -> Opened:
    """Lock, open or begin, check and recover the record in a directory. Blocks. Raises `RecordUnavailable`."""
    try:
        place = prepare(directory)
        lock = take(place)
    except OSError as error:
        raise from_error(error, directory) from error
    store = Store(place)
    try:
        tip = existing(place, store) or begin(store, rfc3339(at_ns), signer, None)
        anchor = AnchorFile(place.head, Noted(tip.ledger, tip.link))
        recovered = sorted(tip.open)
        tip, mended = _added_up(store, anchor, tip, at_ns)
        tip = _recover(store, anchor, tip, rfc3339(at_ns))
        removal = store.under_way()
    except BaseException as error:  # nothing may stay locked or open behind a failure
        store.close()
        os.close(lock)
        if isinstance(error, OSError):
            raise from_error(error, directory) from error
        raise
    return Opened(place, store, anchor, tip, lock, len(recovered), mended, removal)


def reopen(opened: Opened, known: Link) -> Tip:
    """Open the record again after an error; it must still hold the line acknowledged last. Raises `RecordUnavailable`."""
    tip = opened.store.open(flush=True)
    if tip is None:
        raise unavailable("record.rolled_back", opened.place.directory)
    _holds(opened.place, opened.store, tip, known)
    _tail_intact(opened.place, opened.store, tip)
    return tip


def existing(place: Place, store: Store) -> Tip | None:
    """The end of the record that is there, held against its anchor; None if nothing was ever begun.

    Raises `RecordUnavailable`, `OSError`.
    """
    noted = read_anchor(place.head)
    there = identity(place.database) is not None
    tip = store.open() if there else None
    if tip is None:
        if noted is not None:
            raise unavailable("record.missing", place.directory)
        return None
    if noted is None and tip.link.seq > 1:
        raise unavailable("record.anchor_gone", place.directory)
    if noted is not None and noted.ledger != tip.ledger:
        raise unavailable("record.disagrees", place.directory, f"It is ledger {tip.ledger}, not {noted.ledger}.")
    if noted is not None:
        _holds(place, store, tip, noted.link)
    _tail_intact(place, store, tip)
    return tip


def begin(store: Store, at: str, signer: Signer | None, previous: dict[str, object] | None) -> Tip:
    """A new chain, whose first line names an older one if it replaces one. Raises `RecordUnavailable`."""
    ledger = secrets.token_hex(LEDGER_ID_BYTES)
    return store.begin(genesis(ledger, at, signer, previous), ledger)


def _holds(place: Place, store: Store, tip: Tip, known: Link) -> None:
    """The chain holds a line that is known from elsewhere."""
    if known.seq > tip.link.seq:
        raise unavailable(
            "record.rolled_back", place.directory, f"It ends at line {tip.link.seq}; line {known.seq} was written."
        )
    digest = next((digest for _, _, digest in store.rows(known.seq, known.seq)), None)
    if digest != known.digest:
        raise unavailable("record.disagrees", place.directory, f"Line {known.seq} has another digest.")


def _tail_intact(place: Place, store: Store, tip: Tip) -> None:
    """The last lines fit each other, as far as they lie behind the cut; and of those before it, what must stay is there."""
    cut = store.cut()
    if cut is not None:
        _kept_there(place, store, cut)
    known = _before_tail(place, store, tip, cut)
    verifier = Verifier(start=known)
    for row in store.rows(known.seq + 1, tip.link.seq):
        verifier.feed(*row)
    report = verifier.finish()
    if not report.intact:
        raise unavailable("record.broken", place.directory, report.findings[0].message)


def _before_tail(place: Place, store: Store, tip: Tip, cut: Cut | None) -> Link:
    """The line before the tail, which is there unless it is the last one that was pruned."""
    before = max(0, tip.link.seq - TAIL_LINES)
    if cut is not None and before <= cut.to:
        return Link(cut.to, cut.head)
    if before == 0:
        return ORIGIN
    digest = next((digest for _, _, digest in store.rows(before, before)), None)
    if digest is None:  # a line far ahead of all others would otherwise be taken for the whole tail
        raise unavailable("record.broken", place.directory, f"Line {before} is missing.")
    return Link(before, digest)


def _kept_there(place: Place, store: Store, cut: Cut) -> None:
    """A halt or a token's end that somebody took out would be forgotten with this start."""
    for seq, digest in cut.kept.items():
        found = next((digest for _, _, digest in store.rows(seq, seq)), None)
        if found != digest:
            message = f"Line {seq}, which prune line {cut.seq} kept, is missing or was replaced."
            raise unavailable("record.broken", place.directory, message)


def _added_up(store: Store, anchor: AnchorFile, tip: Tip, at_ns: int) -> tuple[Tip, int]:
    """Make sure that the sums which budgets are restored from are those of the lines; the answer counts those that were not."""
    hour = first_hour(at_ns)
    sealed = _sealed_sums(store, tip)
    if sealed is not None and sealed["since"] <= hour and sealed["digest"] == store.sums(sealed["since"]):
        return tip, 0
    wrong = store.misadded(hour)
    if not wrong:
        return tip, 0
    message = (
        f"{len(wrong)} sums of spend were not those of the record's lines; they were added up again from the lines"
    )
    hint = "Somebody wrote to the database, or a disk lost it: agentctl audit verify; compare with a copy."
    detail = {"about": "spend", "message": message, "hint": hint, "sums": wrong[:MAX_SUMS_TOLD]}
    staged = Staged(tip)
    staged.add(Line(Kind.ALARM, rfc3339(at_ns), code="record.sums", detail=detail))
    store.add_again(staged, hour)
    tip = staged.settled()
    anchor.note(tip.link)
    log.critical("%s", message)
    return tip, len(wrong)


def _sealed_sums(store: Store, tip: Tip) -> dict[str, Any] | None:
    """What the last run's checkpoint says of the sums, if the run ended with one that does."""
    body = next((body for _, body, _ in store.rows(tip.link.seq, tip.link.seq)), b"{}")
    record = json.loads(body)
    sums = (record.get("detail") or {}).get("sums") if record.get("kind") == Kind.CHECKPOINT else None
    return sums if isinstance(sums, dict) and isinstance(sums.get("since"), int) else None


def _recover(store: Store, anchor: AnchorFile, tip: Tip, at: str) -> Tip:
    """Close what the last run left open."""
    calls = sorted(tip.open)
    for start in range(0, len(calls), RECOVERY_BATCH):
        staged = Staged(tip)
        for line in closing(
            store, calls[start : start + RECOVERY_BATCH], at, Ending.UNKNOWN, "agentd ended before the call did"
        ):
            staged.add(line)
        store.commit(staged)
        tip = staged.settled()
        anchor.note(tip.link)
    return tip
