"""The explicit way out when a record cannot be had back: it is moved aside, nothing is deleted, and the first line of the new
chain names the old head and the reason.

A record that is in order, checked from its first line to its last, is left alone: whoever forgets the wish in a start command
must not lose the sums of the budgets at each restart.
"""

import os
import sqlite3
from pathlib import Path
from typing import Any

from agentd.core.accounting.chain import Link, Verifier
from agentd.core.accounting.times import rfc3339
from agentd.core.types.errors import RecordUnavailable
from agentd.edge.ledger.anchor import AnchorFile, Noted, read_anchor
from agentd.edge.ledger.failures import from_error
from agentd.edge.ledger.files import Place, prepare, sync_directory, take
from agentd.edge.ledger.opening import begin, existing
from agentd.edge.ledger.staging import Signer
from agentd.edge.ledger.store import Store

PAGE_LINES = 2_000
"""Lines read at a time: some megabytes."""


def begin_anew(directory: Path, reason: str, at_ns: int, signer: Signer | None = None) -> Path | None:
    """Move a record that cannot be used aside and begin a new chain.

    Blocks; the daemon must be stopped. The answer is the directory that holds the old files, or None: the record is in order
    and nothing was done. Raises `RecordUnavailable`.
    """
    try:
        place = prepare(directory)
        lock = take(place)
    except OSError as error:
        raise from_error(error, directory) from error
    try:
        return None if _in_order(place) else _replace(place, reason, rfc3339(at_ns), signer)
    except (OSError, sqlite3.Error) as error:
        raise from_error(error, directory) from error
    finally:
        os.close(lock)


def _replace(place: Place, reason: str, at: str, signer: Signer | None) -> Path:
    aside = place.directory / f"ledger-until-{at.replace(':', '')}"
    previous = {"reason": reason, "moved_to": aside.name} | _old_head(place)
    aside.mkdir(mode=0o700)
    for name in (place.database, place.wal, place.directory / f"{place.database.name}-shm", place.head):
        if name.exists():
            name.rename(aside / name.name)
    sync_directory(aside)
    sync_directory(place.directory)
    store = Store(place)
    tip = begin(store, at, signer, previous)
    store.close(truncate=True)
    AnchorFile(place.head, Noted(tip.ledger, tip.link)).close()
    return aside


def _in_order(place: Place) -> bool:
    """Whether there is a record, its anchor agrees, and every line fits. Takes as long as the record is old."""
    store = Store(place)
    try:
        tip = existing(place, store)
        if tip is None:
            return False
        verifier = Verifier(anchors=[tip.link], cut=store.cut())
        for first in range(1, tip.link.seq + 1, PAGE_LINES):
            for row in store.rows(first, first + PAGE_LINES - 1):
                verifier.feed(*row)
        return verifier.finish().intact
    except (RecordUnavailable, OSError):
        return False
    finally:
        store.close(truncate=True)


def _old_head(place: Place) -> dict[str, Any]:
    """What can still be said of the old chain: its anchor, else what the database says of itself."""
    try:
        noted = read_anchor(place.head)
        if noted is not None:
            return _head(noted.ledger, noted.link, "anchor")
        store = Store(place)
        tip = store.open()
        store.close(truncate=True)
        if tip is not None:
            return _head(tip.ledger, tip.link, "database")
    except RecordUnavailable as error:
        return {"unreadable": error.code}
    return {"unreadable": "nothing there"}


def _head(ledger: str, link: Link, by: str) -> dict[str, Any]:
    return {"ledger": ledger, "seq": link.seq, "digest": link.digest, "by": by}
