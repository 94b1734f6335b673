"""The one place that reads the time. Everything else is handed a `Clock`, so that a test can hand in another.

The wall clock may step when the box's time is set: it dates lines and opens windows. The monotonic one never steps, and
stands still while the box sleeps: it measures how long a thing took.
"""

import time


class SystemClock:
    """`gate.ports.Clock` by the kernel's clocks."""

    __slots__ = ()

    def wall_ns(self) -> int:
        """UTC nanoseconds since 1970, as the box believes."""
        return time.time_ns()

    def mono_ns(self) -> int:
        """Nanoseconds that never step, from an arbitrary zero: CLOCK_MONOTONIC, the one that systemd compares with."""
        return time.monotonic_ns()
