"""Opening the record: is what is there what was there, and what did the last run leave open?

Before the first new line the end of the chain is held against the anchor outside. The anchor may lag (a crash between
commit and note), never lead and never disagree: then lines were lost, and agentd refuses to serve rather than to go on
on top of a hole. The last lines are verified, too; the whole chain is the operator's command's work, since it takes as long as
the record is old.

Decisions that were allowed and have no outcome are closed as `unknown`: agentd died in between. Whether the call was made, and
what it cost, nobody can say; so their reservation stays.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from agentd.core.accounting.chain import ORIGIN, Link, Verifier
from agentd.core.accounting.times import rfc3339
from agentd.core.types.receipts import Ending
from agentd.edge.ledger.anchor import AnchorFile, Noted, read_anchor
from agentd.edge.ledger.closing import closing
from agentd.edge.ledger.failures import from_error, unavailable
from agentd.edge.ledger.files import Place, identity, prepare, take
from agentd.edge.ledger.staging import Signer, Staged, Tip, genesis
from agentd.edge.ledger.store import Store

TAIL_LINES = 1_000
"""Lines verified at each start: some ten milliseconds, and more than one checkpoint's worth."""

RECOVERY_BATCH = 500
"""Lines closed in one transaction."""

LEDGER_ID_BYTES = 16
"""Random, so that no two ledgers share an id and no anchor fits a foreign one."""


@dataclass(slots=True)
class Opened:
    """An open record, for the thread that writes it."""

    place: Place
    store: Store
    anchor: AnchorFile
    tip: Tip
    lock: int
    recovered: int

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
        tip = _recover(store, anchor, tip, rfc3339(at_ns))
    except BaseException as error:  # nothing may stay locked or open behind a failure
        store.close()
        os.close(lock)
        if isinstance(error, OSError):
            raise from_error(error, directory) from error
        raise
    return Opened(place, store, anchor, tip, lock, len(recovered))


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
    """The last lines fit each other."""
    first = max(1, tip.link.seq - TAIL_LINES + 1)
    rows = store.rows(max(1, first - 1), tip.link.seq)
    if rows[0][0] != max(1, first - 1):  # a line far ahead of all others would otherwise be taken for the whole tail
        raise unavailable("record.broken", place.directory, f"Lines before line {rows[0][0]} are missing.")
    known = ORIGIN if first == 1 else Link(rows[0][0], rows[0][2])
    verifier = Verifier(start=known)
    for row in rows if first == 1 else rows[1:]:
        verifier.feed(*row)
    report = verifier.finish()
    if not report.intact:
        raise unavailable("record.broken", place.directory, report.findings[0].message)


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
