"""Server-sent events, read incrementally and without changing a byte.

Lines end in LF, CRLF or CR; an event ends at a blank line; reads may be split anywhere, inside a character, between CR and
LF. A block is one event with its end, as raw bytes: what is forwarded is blocks, so nothing is ever injected into half an
event. A CR at the very end of what was read may be half of a CRLF, so it waits for the next byte.

Upstreams keep a connection alive with comments and blank lines. A run of them is one block, found in one step: a hostile
stream of nothing else must not cost more than its bytes.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_EVENT_BYTES: Final = 8 << 20
"""8 MiB. The largest real event is a picture of some MiB; an endless one would fill the memory."""

MAX_EVENT_LINES: Final = 10_000
"""Lines of one event, which are read one by one. Real events have two or three."""

_END: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n|\Z))")
_RUN: Final = re.compile(
    rb"(?:(?::[^\r\n]*+(?:\r\n|\n|\r(?!\n|\Z)))*+(?:\r\n|\n|\r(?!\n|\Z)))++"
)  # comments, if any, and a blank line; again and again
_QUIET: Final = re.compile(
    rb"(?:(?::[^\r\n]*+(?:\r\n|\n|\r))*+(?:\r\n|\n|\r))++"
)  # the same, where nothing is behind it
_LAST_END: Final = re.compile(rb"(?:\r\n|\n|\r)\r\Z")
_LONGEST_END: Final = 4  # CR LF CR LF: how far back a new read can complete an end
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """What a block says: its event name, "" without one, and its data lines joined, None if it has none (a comment)."""

    name: str
    data: bytes | None


class Blocks:
    """Cuts a stream into blocks. `overflow` is set for good when one grows beyond `MAX_EVENT_BYTES`.

    A run of comments and blank lines is one block as far as it was read, so how it is cut depends on the reads.
    """

    def __init__(self) -> None:
        self.overflow = False
        self._pending = bytearray()
        self._searched = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Blocks that these bytes complete. After an overflow none."""
        if self.overflow:
            return []
        self._pending += data
        blocks: list[bytes] = []
        start = 0
        while (end := _END.search(self._pending, max(start, self._searched))) is not None:
            run = _RUN.match(self._pending, start)
            stop = end.end() if run is None else max(end.end(), run.end())
            blocks.append(bytes(self._pending[start:stop]))
            start = self._searched = stop
            if len(blocks[-1]) > MAX_EVENT_BYTES:
                blocks.pop()
                self.overflow = True
                break
        del self._pending[:start]
        self._searched = max(0, len(self._pending) - _LONGEST_END)
        self.overflow = self.overflow or len(self._pending) > MAX_EVENT_BYTES
        if self.overflow:
            self._pending.clear()
        return blocks

    def rest(self) -> bytes:
        """What is left without an end, at the end of the bytes."""
        return bytes(self._pending)


def is_whole(rest: bytes) -> bool:
    """Whether what is left at the end of the bytes is a block after all: its last CR waited for a byte that never came."""
    return _LAST_END.search(rest) is not None


def is_quiet(block: bytes) -> bool:
    """Whether it is comments and blank lines alone."""
    return block[:1] in (b":", b"\n", b"\r") and _QUIET.fullmatch(block) is not None


def too_many_lines(block: bytes) -> bool:
    """Whether it has more lines than any event. Where lines end in two bytes half as many are enough."""
    return len(block) > MAX_EVENT_LINES and block.count(b"\n") + block.count(b"\r") > MAX_EVENT_LINES


def event_of(block: bytes) -> Event:
    """Read one block. Unknown fields, `id` and `retry` are none of agentd's business."""
    name = ""
    data: list[bytes] = []
    for line in block.removeprefix(_BOM).splitlines():
        key, _, value = line.partition(b":")
        if key == b"data":
            data.append(value.removeprefix(b" "))
        elif key == b"event":
            name = value.removeprefix(b" ").decode("utf-8", "replace")
    return Event(name, b"\n".join(data) if data else None)
