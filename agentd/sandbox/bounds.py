"""Bounded output: the beginning as it comes, the end when it is over, and how much was dropped between. Never a backlog.

Three quarters of the bound go to the beginning, of both streams together; an eighth to the end of each stream.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a stream, and how many bytes before it nobody kept."""

    data: bytes
    skipped: int


class Bounds:
    """The output of one command."""

    def __init__(self, limit: int) -> None:
        self._head = limit * 3 // 4
        self._keep = limit // 8
        self._tails: dict[int, deque[bytes]] = {}
        self._sizes: dict[int, int] = {}
        self._skipped: dict[int, int] = {}

    @property
    def truncated(self) -> int:
        """Bytes of all streams that were dropped."""
        return sum(self._skipped.values())

    def take(self, stream: int, data: bytes) -> bytes:
        """What of this may go out now; the rest is kept for the end, or dropped."""
        tail = self._tails.setdefault(stream, deque())
        now = b"" if tail else data[: self._head]
        self._head -= len(now)
        rest = data[len(now) :]
        if rest:
            tail.append(rest)
            self._sizes[stream] = self._sizes.get(stream, 0) + len(rest)
            self._shorten(stream)
        return now

    def end(self, stream: int) -> Tail:
        """The end of a stream, once."""
        data = b"".join(self._tails.pop(stream, ()))
        self._sizes.pop(stream, None)
        return Tail(data, self._skipped.get(stream, 0))

    def _shorten(self, stream: int) -> None:
        tail, over = self._tails[stream], self._sizes[stream] - self._keep
        if over <= 0:
            return
        self._sizes[stream] -= over
        self._skipped[stream] = self._skipped.get(stream, 0) + over
        while over >= len(tail[0]):
            over -= len(tail.popleft())
            if not tail:
                tail.append(b"")
                return
        tail[0] = tail[0][over:]
