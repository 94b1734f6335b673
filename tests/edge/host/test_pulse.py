"""The pulse, with a clock and a sleep that the test turns by hand."""

import asyncio
from collections.abc import Callable

import pytest

from agentd.edge.host.clock import SystemClock
from agentd.edge.host.pulse import LAG_WINDOW_S, NS_PER_S, TICK_S, Beat, Pulse


class World:
    """Time that passes only in sleep, plus what the loop was late by."""

    def __init__(self, ends_after_s: float, late_s: Callable[[float], float] = lambda at: 0.0) -> None:
        self.at_s = 0.0
        self.ends_after_s = ends_after_s
        self.late_s = late_s
        self.alive: Callable[[float], bool] = lambda at: True
        self.signs: list[float] = []

    def wall_ns(self) -> int:
        return 0

    def mono_ns(self) -> int:
        return round(self.at_s * NS_PER_S)

    async def sleep(self, seconds: float) -> None:
        if self.at_s >= self.ends_after_s:
            raise asyncio.CancelledError
        self.at_s += seconds + self.late_s(self.at_s)

    def notify(self, **state: str) -> None:
        assert state == {"WATCHDOG": "1"}
        self.signs.append(self.at_s)

    def pulse(self, interval_s: float | None) -> Pulse:
        pulse = Pulse(Beat(self.notify, interval_s, lambda: self.alive(self.at_s)), self, self.sleep)
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(pulse.run())
        return pulse


@pytest.mark.parametrize("interval_s", [0.5, 1.0, 15.0, 15.2])
def test_signs_come_at_once_and_never_later_than_asked(interval_s: float) -> None:
    world = World(ends_after_s=60)
    world.pulse(interval_s)
    assert world.signs[0] == 0
    gaps = [after - before for before, after in zip(world.signs, world.signs[1:], strict=False)]
    assert gaps
    assert max(gaps) <= max(interval_s, TICK_S)
    assert min(gaps) > interval_s - 2 * TICK_S, "and not at every tick"


def test_nobody_watches() -> None:
    world = World(ends_after_s=5)
    world.pulse(None)
    assert world.signs == []


def test_a_dead_writer_gets_no_sign_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world = World(ends_after_s=60)
    world.alive = lambda at: not 20 <= at < 40
    world.pulse(2.0)
    assert not [at for at in world.signs if 20 <= at < 40]
    assert [at for at in world.signs if at < 20]
    assert [at for at in world.signs if at >= 40]
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_lag_is_the_worst_of_the_last_minute() -> None:
    stalled = World(ends_after_s=30, late_s=lambda at: 1.25 if 10 <= at < 10 + TICK_S else 0.002)
    assert stalled.pulse(None).lag_ms == 1250
    healed = World(ends_after_s=10 + LAG_WINDOW_S + 5, late_s=lambda at: 1.25 if 10 <= at < 10 + TICK_S else 0.002)
    assert healed.pulse(None).lag_ms == 2


def test_before_the_first_beat_and_with_a_timer_that_fires_early() -> None:
    assert Pulse(Beat(lambda **state: None, None, lambda: True), SystemClock()).lag_ms == 0
    assert World(ends_after_s=3, late_s=lambda at: -0.001).pulse(None).lag_ms == 0


def test_memory_is_that_of_this_process() -> None:
    async def read() -> int:
        return Pulse(Beat(lambda **state: None, None, lambda: True), SystemClock()).rss_bytes()

    held = bytearray(b"x" * 50_000_000)
    assert asyncio.run(read()) > len(held)


def test_it_beats_in_a_real_loop() -> None:
    async def story() -> None:
        heard = asyncio.Event()
        pulse = Pulse(Beat(lambda **state: heard.set(), 0.1, lambda: True), SystemClock())
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(pulse.run())
            await heard.wait()
            beating.cancel()

    asyncio.run(story())
