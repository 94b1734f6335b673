"""The daemon's pulse: signs of life for the service manager, and how late the event loop runs.

Liveness must mean that work gets done. So the sign is sent by a task of the same loop that serves, and only while the
ledger's writer is alive: a loop that is stuck cannot send, and one whose writer died must not. An ill disk is no reason
to hold back: the daemon refuses clearly then and heals by itself, and a restart would mend nothing.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from agentd.gate.ports import Clock, Notify, Sleep

log = logging.getLogger("agentd.pulse")

TICK_S = 0.5
"""How often the loop's lateness is sampled: a stall longer than this is always seen, at two wake-ups a second."""

LAG_WINDOW_S = 60.0
"""How far back `lag_ms` looks."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Beat:
    """What the pulse needs of others. `interval_s` None: the manager does not watch. `alive` tells whether the ledger's
    writer is, and must return at once."""

    notify: Notify
    interval_s: float | None
    alive: Callable[[], bool]


class Pulse:
    """Run `run` as one task for as long as the daemon serves; read `lag_ms` and `rss_bytes` for the status."""

    def __init__(self, beat: Beat, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        """`clock` and `sleep` are handed in, so that a test need not wait."""
        self._beat = beat
        self._clock = clock
        self._sleep = sleep
        self._lags: deque[int] = deque(maxlen=math.ceil(LAG_WINDOW_S / TICK_S))
        self._was_alive = True

    async def run(self) -> None:
        """Beat until cancelled."""
        sent_ns: int | None = None
        while True:
            now_ns = self._clock.mono_ns()
            if sent_ns is None or self._due(now_ns - sent_ns):
                self._sign()
                sent_ns = now_ns
            await self._sleep(TICK_S)
            late_ns = self._clock.mono_ns() - now_ns - int(TICK_S * NS_PER_S)
            self._lags.append(max(0, late_ns))

    @property
    def lag_ms(self) -> int:
        """The worst delay of the event loop in the last minute, in milliseconds."""
        return max(self._lags, default=0) // NS_PER_MS

    def rss_bytes(self) -> int:
        """Memory of this process that is resident now, in bytes: one read of /proc, microseconds."""
        return int(psutil.Process().memory_info().rss)

    def _due(self, since_ns: int) -> bool:
        """Due already when waiting for one more tick would be too late."""
        return self._beat.interval_s is not None and since_ns + TICK_S * NS_PER_S > self._beat.interval_s * NS_PER_S

    def _sign(self) -> None:
        alive = self._beat.alive()
        if alive != self._was_alive:
            level, state = (logging.INFO, "back") if alive else (logging.ERROR, "dead: no sign of life is sent")
            log.log(level, "the ledger's writer is %s", state)
            self._was_alive = alive
        if alive and self._beat.interval_s is not None:
            self._beat.notify(WATCHDOG="1")
