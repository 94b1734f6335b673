"""Streams: how much later each event arrives, alone at a model's pace, and with 64 at a time.

The upstream writes the time of sending into each event, and both ends read the same monotonic clock, so each event's way is
measured by itself; what the direct way takes is taken off.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.bodies import CALL, chat_body
from bench.client import Address, set_pace, streams
from bench.gateways import DIRECT, PEERS, Target

EVENTS = 100
PACE_S = 0.005
"""Of the single stream: a fast model's."""

MANY = 64
MANY_PACE_S = 0.020
"""Of each of the many: fifty events a second, which is a usual model's; together 3,200 a second."""


@dataclass(slots=True)
class Seen:
    """What one target's streams showed. `delays` and `worst` have one value for each round, in ms."""

    delays: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)


def alone(targets: Sequence[Target], upstream: Address, rounds: int) -> dict[str, float]:
    """What each target adds to an event's way, in ms: median of events, then of rounds, less the direct way's."""
    set_pace(upstream, EVENTS, PACE_S)
    body = chat_body(CALL, stream=True)
    seen: dict[str, list[float]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            (streamed,) = streams(target.address, target.request(body), 1)
            seen[target.name].append(statistics.median(streamed.delays_ms))
    return {
        name: statistics.median(own - direct for own, direct in zip(values, seen[DIRECT], strict=True))
        for name, values in seen.items()
    }


def together(targets: Sequence[Target], upstream: Address, rounds: int, pace_s: float) -> dict[str, float]:
    """The longest stall in ms among 64 streams that run at once: median over the rounds of each round's worst.

    With a pace, a stall is an event's delay on its way beyond the direct way's own worst; without one (everything at once),
    it is the longest silence between two events of one stream.
    """
    set_pace(upstream, EVENTS, pace_s)
    body = chat_body(CALL, stream=True)
    seen: dict[str, list[float]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            if target.name in PEERS and not pace_s:
                continue
            made = streams(target.address, target.request(body), MANY)
            worst = max(max(one.delays_ms[1:]) if pace_s else one.longest_gap_ms for one in made)
            seen[target.name].append(worst)
    return {name: statistics.median(values) for name, values in seen.items() if values}
