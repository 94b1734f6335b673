"""What files held before: kept before each change, within bounds, and what a crash left open closed again.

Bounds: bytes in all, and days. The oldest goes first. The last content of a place stays while it is young, so that no flood of
other writes takes away what was overwritten a minute ago; if nothing may go, there is no room and the change is refused.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentd.edge.enforce.files.index import Change, Index, Row
from agentd.edge.enforce.files.refusing import refused
from agentd.edge.enforce.files.store import Store

DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept, and for how long."""

    max_bytes: int = 2**30  # a GiB: weeks of an agent's edits
    max_days: int = 30
    young_ns: int = DAY_NS  # the last content of a place is safe for so long: until somebody looks, once a day


class Keeper:
    """Contents and lines together. Not for two threads at a time. Raises OSError, sqlite3.Error when it cannot start."""

    def __init__(self, state: Path, bounds: Bounds, wall_ns: Callable[[], int]) -> None:
        self.store = Store(state / "contents")
        self.index = Index(state / "index.sqlite")
        self._bounds, self._wall_ns = bounds, wall_ns
        self.store.sweep(self.index.contents())

    def close(self) -> None:
        """Let go of the files."""
        self.index.close()

    def begin(self, change: Change, old: bytes | None) -> int:
        """Keep `old` and write down what is about to happen; both are durable then. Raises `FileRefused`: nothing may happen."""
        try:
            self._make_room(len(old or b""))
            if old is not None:
                self.store.put(old)
            return self.index.begin(change, self._wall_ns())
        except (OSError, sqlite3.Error) as error:
            message = f"the content from before cannot be kept ({type(error).__name__}); nothing was changed"
            raise refused("files.history", message, "An operator has to look at the state directory.") from error

    def instead(self, row: int, old: bytes, mode: int) -> None:
        """Keep this content for a line, not the one that it began with. Raises `FileRefused`."""
        try:
            self.index.amend(row, (self.store.put(old), len(old), mode))
        except (OSError, sqlite3.Error) as error:
            raise refused("files.history", "the content from before cannot be kept", "Call again.") from error

    def settle(self, row: int, state: str) -> None:
        """What became of it. If that cannot be written the line stays open, and the next start looks."""
        try:
            self.index.settle(row, state)
        except sqlite3.Error:
            return

    def _make_room(self, more: int) -> None:
        self.expire(more)
        if self.index.size() + more > self._bounds.max_bytes:
            message = f"what was overwritten lately fills its {self._bounds.max_bytes} bytes; nothing was changed"
            raise refused("files.history", message, "Wait, or an operator gives it more room.")

    def expire(self, more: int = 0) -> None:
        """Let go of what is too old, and of the oldest until `more` bytes have room. Raises OSError, sqlite3.Error."""
        index, now, bounds = self.index, self._wall_ns(), self._bounds
        oldest = index.oldest_ns()
        over = index.size() + more - bounds.max_bytes
        if over <= 0 and (oldest is None or now - oldest <= bounds.max_days * DAY_NS):
            return
        gone, seen = [], 0
        for row, last in index.oldest():
            if now - row.at_ns > bounds.max_days * DAY_NS or (seen < over and not self._safe(row, last, now)):
                gone.append(row.id)
                seen += row.change.size
        self.store.forget(index.drop(gone))

    def _safe(self, row: Row, last: bool, now: int) -> bool:
        return last and now - row.at_ns < self._bounds.young_ns
