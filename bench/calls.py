"""Calls one after the other: what each target adds to the upstream's own time, and the processor time it takes."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.client import Wire
from bench.gateways import DIRECT, Target
from bench.place import cpu_ns

WARM_CALLS = 3
"""At the start of each turn, not counted: caches of the core belong to whoever ran before."""

MIN_CALLS = 8


@dataclass(frozen=True, slots=True)
class Turns:
    """How long to measure: rounds, and seconds for each target in each round."""

    rounds: int
    seconds: float


@dataclass(slots=True)
class Timed:
    """What came of one target's turns: the median of each round in ms, and the sums for processor time."""

    rounds: list[float] = field(default_factory=list)
    calls: int = 0
    cpu: int = 0

    @property
    def cpu_ms(self) -> float:
        """Processor time of one call."""
        return self.cpu / 1e6 / max(1, self.calls)


@dataclass(frozen=True, slots=True)
class Compared:
    """All targets of one kind of call, by name."""

    timed: dict[str, Timed]

    def added(self, name: str) -> float | None:
        """What a target adds in ms: the median over the rounds of its median less the direct one. None: not measured."""
        if name not in self.timed:
            return None
        own, direct = self.timed[name].rounds, self.timed[DIRECT].rounds
        return statistics.median([mine - theirs for mine, theirs in zip(own, direct, strict=True)])

    def ratio(self, name: str, other: str) -> float | None:
        """How many times as much one target adds as another: the median of the rounds' own ratios."""
        if name not in self.timed or other not in self.timed:
            return None
        mine, theirs, direct = (self.timed[which].rounds for which in (name, other, DIRECT))
        rounds = zip(mine, theirs, direct, strict=True)
        return statistics.median([(own - bare) / max(1e-6, that - bare) for own, that, bare in rounds])

    def cpu_ms(self, name: str) -> float | None:
        """Processor time of one call. None: not measured."""
        return self.timed[name].cpu_ms if name in self.timed else None


def compare(targets: Sequence[Target], body: bytes, turns: Turns) -> Compared:
    """Measure all targets in rotating order."""
    timed = {target.name: Timed() for target in targets}
    for number in range(turns.rounds):
        first = number % len(targets)
        for target in [*targets[first:], *targets[:first]]:
            _turn(target, target.request(body), turns.seconds, timed[target.name])
    return Compared(timed)


def _turn(target: Target, request: bytes, seconds: float, timed: Timed) -> None:
    """One target's calls of one round, over one connection."""
    took: list[int] = []
    with Wire(target.address) as wire:
        for _ in range(WARM_CALLS):
            wire.call(request)
        used = cpu_ns(target.pid) if target.pid else 0
        until = time.monotonic() + seconds
        while len(took) < MIN_CALLS or time.monotonic() < until:
            began = time.perf_counter_ns()
            wire.call(request)
            took.append(time.perf_counter_ns() - began)
        if target.pid:
            timed.cpu += cpu_ns(target.pid) - used
    timed.calls += len(took)
    timed.rounds.append(statistics.median(took) / 1e6)
