"""How much of what strangers do is written down one by one.

Whoever has an account on the box can knock at the door for TCP, as fast as he likes. Each knock is refused; were each also a
line, a stranger could fill the disk and so stop everybody. So each user has a small allowance of lines for each kind of
knock, which grows again by and by. What goes unrecorded is counted, and the next line tells the count. Kinds are apart, so that
no noise hides a stolen token.
"""

from collections import OrderedDict
from dataclasses import dataclass

from agentd.core.accounting.times import NS_PER_S

BURST = 20
"""Lines at once for a user and a kind: enough for a client that tries again and again to be seen as what it is."""

REFILL_NS = 60 * NS_PER_S
"""One more line each minute: at most 1,440 lines, about 1.5 MB, a day for each user and kind."""

EVERYBODY = -1
"""All users together have an allowance of their own: one account may own 65,536 uids (subordinate ones)."""

SHARE = 10
"""So many users' allowances make the allowance of all."""

MAX_KEPT = 1024
"""Users and kinds that are remembered; the one that was heard longest ago is forgotten first."""


@dataclass(slots=True)
class _Allowance:
    most: int
    left: float
    at_ns: int
    unheard: int = 0

    def has_one(self, at_ns: int) -> bool:
        """Whether a line is left, at this time."""
        grown = max(0, at_ns - self.at_ns) / REFILL_NS * self.most / BURST
        self.left, self.at_ns = min(self.most, self.left + grown), at_ns
        return self.left >= 1


class Noise:
    """Says which of a stranger's knocks get a line."""

    def __init__(self) -> None:
        """Nobody was heard yet."""
        self._kept: OrderedDict[tuple[int, str], _Allowance] = OrderedDict()

    def heard(self, uid: int, code: str, at_ns: int) -> int | None:
        """How many went without a line since the last one, if this is to have one; None: it gets none either."""
        everybody = self._of((EVERYBODY, code), BURST * SHARE, at_ns)
        own = self._of((uid, code), BURST, at_ns)
        if not (own.has_one(at_ns) and everybody.has_one(at_ns)):
            own.unheard += 1
            return None
        own.left -= 1
        everybody.left -= 1
        unheard, own.unheard = own.unheard, 0
        return unheard

    def _of(self, key: tuple[int, str], most: int, at_ns: int) -> _Allowance:
        allowance = self._kept.setdefault(key, _Allowance(most, most, at_ns))
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return allowance
