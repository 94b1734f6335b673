"""The clock on one act. A thread cannot be stopped from outside, so it asks: at every step, and before the one that counts.

`commit` and `abandon` exclude each other: either the act goes through, or whoever waited was told that nothing happened.
"""

import threading
import time

from agentd.core.types.files import FileRefused
from agentd.core.types.verdicts import Answer
from agentd.edge.enforce.files.refusing import refused


def late() -> FileRefused:
    """Too slow, and nothing was done."""
    return refused("files.deadline", "it took too long; nothing was changed", "Call again later.", Answer.WAIT)


class Job:
    """One act with a deadline in seconds from now."""

    def __init__(self, deadline_s: float) -> None:
        self._until = time.monotonic() + deadline_s
        self._lock = threading.Lock()
        self._gone = False
        self._committed = False

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; never below zero."""
        return max(0.0, self._until - time.monotonic())

    def check(self) -> None:
        """Go on? Raises `FileRefused` when it is too late, or nobody waits any more."""
        if self._gone or self.left_s == 0.0:
            raise late()

    def commit(self) -> None:
        """The step that counts comes now. Raises `FileRefused` as `check`."""
        with self._lock:
            self.check()
            self._committed = True

    def abandon(self) -> bool:
        """Nobody waits any more. True: too late, the effect happens or has happened."""
        with self._lock:
            self._gone = True
            return self._committed
