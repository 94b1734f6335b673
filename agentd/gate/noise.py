"""How much of what is refused is written down one by one.

A refusal costs its caller nothing, so he can have as many as he likes; were each also a line, he could fill the disk and so stop
everybody: a stranger by knocking at a door, an agent by a loop that repeats one refused call. So everybody has an allowance of
lines for each kind of refusal, which grows again by and by. What has no line of its own is counted: the next line of its kind
tells the count, and when none comes, the last refusal is written down late, with the count of those before it (`due`). Kinds are
apart, so that no noise hides a stolen token.
"""

from collections import OrderedDict
from dataclasses import dataclass

from agentd.core.accounting.times import NS_PER_S
from agentd.core.types.records import Line

BURST = 20
"""Lines at once for a stranger and a kind: enough for a client that tries again and again to be seen as what it is."""

AGENT_BURST = 200
"""Lines at once for an agent and a kind: what an agent is refused is evidence, and a loop shows as one long before."""

REFILL_NS = 60 * NS_PER_S
"""A twentieth of the burst grows again each minute: at most 1,440 lines, about 1.5 MB, a day for each stranger and kind, and ten
times as much for an agent."""

STRANGERS = 10
"""So many strangers' allowances make the allowance of all for a kind: one account may own 65,536 uids (subordinate ones)."""

KINDS = 2
"""So many kinds' allowances make the allowance of an agent for all kinds: 30 MB a day at the very most."""

MAX_KEPT = 1024
"""Callers and kinds that are remembered; of the one that was heard longest ago only the count is kept."""

Key = tuple[str, str]
"""Who, and which kind of refusal. Of the wider allowances one of the two is empty."""


@dataclass(slots=True)
class _Allowance:
    most: int
    left: float
    at_ns: int
    unheard: int = 0
    last: Line | None = None  # of those that were not heard
    name: str = ""  # of the last line that was written

    def has_one(self, at_ns: int) -> bool:
        """Whether a line is left, at this time."""
        grown = max(0, at_ns - self.at_ns) / REFILL_NS * self.most / BURST
        self.left, self.at_ns = min(self.most, self.left + grown), at_ns
        return self.left >= 1


class Noise:
    """Says which refusals get a line."""

    def __init__(self) -> None:
        """Nobody was heard yet."""
        self._own: OrderedDict[Key, _Allowance] = OrderedDict()
        self._wide: dict[Key, _Allowance] = {}

    def heard(self, line: Line, at_ns: int) -> int | None:
        """How many of its kind went without a line since the last one, if this is to have one; None: it gets none either."""
        own, wide = self._of(line, at_ns)
        if not (own.has_one(at_ns) and wide.has_one(at_ns)):
            own.unheard, own.last = own.unheard + 1, line
            return None
        return _take(own, wide)

    def written(self, line: Line, name: str) -> None:
        """A line stands under this name: `d-41`."""
        own = self._own.get(_key(line))
        if own is not None:
            own.name = name

    def unwritten(self, line: Line, unheard: int) -> None:
        """A line that was to tell of so many could not be written: they still have none."""
        if not unheard:
            return
        own = self._own.get(_key(line)) or self._wide[_wide(line)]
        own.unheard, own.last = own.unheard + unheard, own.last or line

    def stands_for(self, line: Line) -> str:
        """The name of the last line of this caller and kind; empty without one."""
        own = self._own.get(_key(line))
        return own.name if own is not None else ""

    def due(self, at_ns: int, *, everything: bool = False) -> list[tuple[Line, int]]:
        """Refusals that are written down late since none of their kind came after them, each with the count of those before it.
        `everything`: whatever the allowances say, since this is the last chance."""
        found = []
        for allowance in (*self._own.values(), *self._wide.values()):
            line = allowance.last
            if line is None or not allowance.unheard:
                continue
            wide = self._wide[_wide(line)]
            if everything or (allowance.has_one(at_ns) and wide.has_one(at_ns)):
                found.append((line, _take(allowance, wide) - 1))
        return found

    def _of(self, line: Line, at_ns: int) -> tuple[_Allowance, _Allowance]:
        key, wide = _key(line), _wide(line)
        most, times = (BURST, STRANGERS) if line.agent is None else (AGENT_BURST, KINDS)
        own = self._own.setdefault(key, _Allowance(most, most, at_ns))
        self._own.move_to_end(key)
        everybody = self._wide.setdefault(wide, _Allowance(most * times, most * times, at_ns))
        if len(self._own) > MAX_KEPT:
            _, gone = self._own.popitem(last=False)
            if gone.last is not None:
                rest = self._wide[_wide(gone.last)]
                rest.unheard, rest.last = rest.unheard + gone.unheard, gone.last
        return own, everybody


def _take(allowance: _Allowance, wide: _Allowance) -> int:
    """Use up a line; answers how many went without one."""
    allowance.left -= 1
    if wide is not allowance:
        wide.left -= 1
    unheard, allowance.unheard, allowance.last = allowance.unheard, 0, None
    return unheard


def _key(line: Line) -> Key:
    """An agent by its name, a stranger by his user."""
    return (f"uid {(line.caller or {}).get('uid')}" if line.agent is None else line.agent, line.code or "")


def _wide(line: Line) -> Key:
    """Whose allowance for everything a line uses up as well: of all strangers for a kind, of an agent for all kinds."""
    return ("", line.code or "") if line.agent is None else (line.agent, "")
