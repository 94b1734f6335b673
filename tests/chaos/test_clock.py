"""The box's clock is set while calls run: two days forward, two days back, and back again.

The daemon's C library is asked for the time by way of a small shim, which adds what a file says; nothing else is faked.
Deadlines, pauses, and ages of what waits for its cost are measured by the clock that never steps. So a running stream is answered
whole, one that hangs ends at its deadline, one that was broken off is settled, as if there had been no jump.
Budgets count by the clock: a day in which nothing was spent has its whole limit, one that was used up stays so when the clock
comes back, also over a restart. An expiry is a date by the clock.
"""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from daemon.stage import Stage
from harness.upstream import Upstream

DAY_S = 24 * 3600
SHIM = Path(__file__).with_name("clock.c")
LIMIT_USD = 0.008
NUSD = 10**9


class Clock:
    """The clock of a daemon: `env` makes it look here."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "clock"
        self.file.write_bytes(bytes(8))
        library = folder / "clock.so"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SHIM)], check=True)
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self.file)}

    def set(self, seconds: int) -> None:
        """So many seconds from the true time: one write, so that nobody reads half of it."""
        with self.file.open("r+b", buffering=0) as out:
            os.pwrite(out.fileno(), struct.pack("q", seconds), 0)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: apt-get install gcc")
    return Clock(tmp_path)


def small(upstream: Upstream) -> str:
    """The policy with a limit of less than a cent a day for the box, and a short deadline for heartbeats."""
    text = upstream.policy().partition("\ntests:")[0] + "\n...\n"
    return text.replace("limit: 10.00", f"limit: {LIMIT_USD}").replace("deadline: 60s", "deadline: 1s")


def now_there(stage: Stage) -> str:
    """The day that the daemon believes in."""
    found: str = books.status(stage)["now"][:10]
    return found


@pytest.mark.parametrize("days", [-2, pytest.param(2, marks=pytest.mark.slow)])
def test_calls_do_not_notice(stage_of: Start, upstream: Upstream, line: Line, clock: Clock, days: int) -> None:
    stage = stage_of(line, env=clock.env, policy=upstream.policy().replace("deadline: 60s", "deadline: 1s"))
    line.hold()
    crowd = agents.begin(stage.daemon, 12, "[[sim:long 200]] across")
    leaving = agents.begin(stage.daemon, 3, "RST:mid [[sim:long 200]]", [("chat", True), ("messages", True)])
    stage.until(in_flight=15)
    agents.all_began(agent for agent in [*crowd, *leaving] if agent.stream)
    line.reset()
    agents.ended(leaving)
    hanging = agents.begin(stage.daemon, 6, "[[sim:fault hang-before]]", model="heartbeat")
    stage.until(in_flight=12 + 6)
    before = now_there(stage)
    clock.set(days * DAY_S)
    assert (now_there(stage) > before) is (days > 0)
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    for seen in agents.ended(hanging):
        assert seen.told is not None
        assert (seen.status, seen.told.code) == (429, "upstream.timeout")
    assert agents.ask(stage.daemon, "messages").whole
    closed = books.agree(stage, lost=len(hanging))
    assert sum(row["status"] == "cut" for row in closed) == len(leaving)


def spend_all(stage: Stage) -> int:
    """Call until the budget says no. Gives what the day has used."""
    for number in range(200):
        seen = agents.ask(stage.daemon, "chat", f"[[sim:long 4000]] spend {number}", tokens=4000)
        if seen.status != 200:
            assert seen.told is not None
            assert seen.told.code == "budget.exhausted"
            return stage.used()
    raise AssertionError("no limit")


def test_a_budget_cannot_be_had_twice(stage_of: Start, upstream: Upstream, clock: Clock) -> None:
    """Each window has its own sum, whatever way the clock comes to it; so it stays after a restart."""
    stage = stage_of(policy=small(upstream), env=clock.env)
    used: dict[int, int] = {}
    for days in (0, 2, -2):
        clock.set(days * DAY_S)
        used[days] = spend_all(stage)
        assert 0 < used[days] <= LIMIT_USD * NUSD
    for days in (0, 2, -2, 0):
        clock.set(days * DAY_S)
        assert spend_all(stage) == used[days]
    stage.daemon.stop()
    again = stage_of(policy=small(upstream), env=clock.env, home=stage.daemon.home)
    for days in (0, -2, 2, 0):
        clock.set(days * DAY_S)
        assert spend_all(again) == used[days]
    closed = books.agree(again)
    assert sum(row["cost_nusd"] for row in closed) == sum(used.values())


def test_an_expiry_follows_the_clock(stage_of: Start, clock: Clock) -> None:
    """A date is a date by the box's clock: an agent that ran out is refused, and served again when the clock is put right."""
    stage = stage_of(env=clock.env)
    for days, code in ((0, ""), (400, "agent.expired"), (0, "")):
        clock.set(days * DAY_S)
        seen = agents.ask(stage.daemon)
        assert (seen.told.code if seen.told else "") == code
    books.agree(stage)
