"""Starting and doing nothing: seconds until READY, and what a daemon holds and uses while nobody asks."""

import statistics
import time
from dataclasses import dataclass

from bench.gateways import Spot, start_agentd, start_floor
from bench.place import cpu_ns, resident_mb
from harness import daemon as harness

SETTLE_S = 2.0
"""After READY the start's own work ends."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory in MiB, and processor time in ms for each second that passes."""

    resident_mb: float
    cpu_ms_per_s: float


def cold_starts(where: Spot, starts: int) -> tuple[float, float]:
    """Seconds to READY of agentd on an empty state, and to serving of the bare proxy: medians, in turns."""
    daemon_s: list[float] = []
    floor_s: list[float] = []
    for number in range(starts):
        began = time.monotonic()
        daemon = start_agentd(where, where.home / f"start-{number}")
        daemon_s.append(time.monotonic() - began)
        harness.discard(daemon)
        began = time.monotonic()
        floor = start_floor(where, where.home / f"start-{number}.sock")
        floor_s.append(time.monotonic() - began)
        floor.kill()
        floor.wait()
    return statistics.median(daemon_s), statistics.median(floor_s)


def fresh_idle(where: Spot, seconds: float) -> Idle:
    """Watch a new daemon that nobody asks for anything."""
    daemon = start_agentd(where, where.home / "idle")
    try:
        return _idle(daemon.process.pid, seconds)
    finally:
        harness.discard(daemon)


def _idle(pid: int, seconds: float) -> Idle:
    time.sleep(SETTLE_S)
    used, began = cpu_ns(pid), time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return Idle(resident_mb(pid), (cpu_ns(pid) - used) / 1e6 / passed)
