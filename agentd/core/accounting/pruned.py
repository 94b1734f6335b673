"""What a `prune` line says: up to which line the record was shortened, and what had to stay.

The line is part of the chain like any other, and a signed checkpoint follows it at once. So whoever removes lines without the
daemon's key can write such a line, but nobody vouches for it. It holds the digest of the last line that went (`head`), which
the first line that stayed names as its predecessor, and the number and digest of each line before the cut that is still needed:
a halt that holds, a token that serves, a call that is open. What went can be kept elsewhere; `digest` is the SHA-256 of the file
that `agentctl audit export` makes of it, and archives put behind each other are the whole chain again.

The newest such line tells of everything before its cut, so it is the only one that verification needs.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_KEPT = 2_000
"""Lines that one prune line may name as kept: with their digests some 160 KB, below what a line may have."""

_HEX = frozenset("0123456789abcdef")
_DIGEST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Cut:
    """Lines 1 to `to` are gone, except `kept` (number -> digest, in order). `seq` and `digest`: the prune line's own."""

    seq: int
    digest: str
    to: int
    head: str  # digest of line `to`
    kept: Mapping[int, str]
    numbers: tuple[int, ...]  # those of `kept`, in order
    at: str = ""
    uid: int | None = None
    reason: str = ""

    def unaccounted(self, first: int, last: int) -> int:
        """The first of the lines `first` to `last`, none of which is there, that should be; `last` + 1: none should."""
        until = min(last, self.to)
        place = bisect_left(self.numbers, first)
        if place < len(self.numbers) and self.numbers[place] <= until:
            return self.numbers[place]
        return max(first, until + 1)


def cut_of(seq: int, body: bytes, digest: str) -> Cut | None:
    """The cut that a line tells of; None: it is no prune line, or not a sound one."""
    try:
        record = json.loads(body)
        detail = record["detail"]
        kept = {int(number): str(of) for number, of in detail["kept"]}
        cut = Cut(
            seq=seq, digest=digest, to=_whole(detail["to"]), head=str(detail["head"]), kept=kept, numbers=tuple(sorted(kept)),
            at=str(record["at"]), uid=(record.get("caller") or {}).get("uid"), reason=str(detail.get("reason") or ""),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return cut if record.get("kind") == "prune" and _sound(cut) else None


def kept_detail(kept: Iterable[tuple[int, str]]) -> list[list[Any]]:
    """Kept lines as the detail of a prune line holds them: [number, digest], in order."""
    return [[seq, digest] for seq, digest in sorted(kept)]


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(value)
    return value


def _sound(cut: Cut) -> bool:
    """The cut lies before its line, the kept lines before the cut, and the first line of the chain is among them."""
    numbers = cut.numbers
    placed = 0 < cut.to < cut.seq and numbers[:1] == (1,) and numbers[-1] <= cut.to
    return placed and len(cut.head) == _DIGEST_CHARS and set(cut.head) <= _HEX
