"""The clock agrees with the kernel's, and fits the port."""

import time

from agentd.edge.host.clock import SystemClock
from agentd.gate.ports import Clock


def test_it_reads_the_kernels_clocks() -> None:
    clock: Clock = SystemClock()
    for read, kernel in ((clock.wall_ns, time.CLOCK_REALTIME), (clock.mono_ns, time.CLOCK_MONOTONIC)):
        before = time.clock_gettime_ns(kernel)
        at = read()
        assert before <= at <= time.clock_gettime_ns(kernel)
