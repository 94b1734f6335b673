"""What a call cost is asked for afterwards: when, how often, what settles, what stays, and what raises an alarm."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from agentd.core.policy.schema import Budget, Scope, Window
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind
from agentd.gate.books.alarms import Alarms
from agentd.gate.books.settlement import DAY_S, TRY_AT_S, Desk, Settlement
from agentd.gate.spend import Account
from builders import NOON
from gate.owing import ENDPOINT, Accounts, Reader, record_of, row_of, unreachable
from gate.way import WAIT, Box, play, read, stream

DAY_NS = DAY_S * 10**9


class Scene:
    """A box with its settlement. The clock moves only when a test says so."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.accounts = Accounts()
        self.reader = Reader()
        self.alarms = Alarms(box.record, box.clock)
        self.known = True
        desk = Desk(
            ledger=box.record,
            reader=self.reader,
            accounts=self.accounts,
            spend=box.spend,
            clock=box.clock,
            alarms=self.alarms,
            endpoint=lambda name: ENDPOINT if self.known and name == "or" else None,
        )
        self.settlement = Settlement(desk)
        box.relay.on_unsettled = self.settlement.add

    async def cut(self) -> None:
        """A call whose stream ends before its bill."""
        self.box.upstream.scripts = [stream(end=False)[:1]]
        await read(await self.box.ask(stream=True))

    async def owes(self, *rows: dict[str, Any]) -> None:
        """Begin with these calls in the record."""
        self.reader.rows = list(rows)
        await self.settlement._restore()

    async def after(self, seconds: float) -> float | None:
        """A round so long after noon."""
        self.box.clock.now = NOON + int(seconds * 10**9)
        return await self.settlement.round()

    @property
    def lines(self) -> list[Any]:
        return self.box.record.of(Kind.SETTLEMENT)

    @property
    def tries(self) -> int:
        return len(self.accounts.asked)


def scene(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> Box:
    async def run(box: Box) -> None:
        await test(Scene(box))

    return play(run)


def test_a_cut_call_is_settled_by_the_first_answer_with_a_cost() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        held = it.box.spent()
        assert held == it.box.record.lines[0].reserved_nusd
        it.accounts.scripts["generation"] = [None, record_of()]
        assert await it.after(1) == 1.0
        assert it.tries == 0
        assert await it.after(2) == 3.0
        assert it.box.spent() == held
        assert await it.after(5) is None
        assert it.accounts.asked == [("generation", "gen-1")] * 2
        assert it.box.spent() == 100_000
        (line,) = it.lines
        assert (line.opens, line.cost_nusd, line.status, line.code) == (1, 100_000, "settled", "settlement.settled")
        assert (line.agent, line.class_, line.tier, line.provider) == ("main", "routine", "economy", "Acme")
        assert (line.tokens["prompt"], line.tokens["completion"]) == (100, 7)
        assert line.detail["cost_source"] == "reported"
        assert line.detail["recipients"] == ["Acme"]
        assert it.settlement.summary() == {"waiting": 0, "waiting_nusd": 0, "lost": 0, "lost_nusd": 0}

    scene(told)


def test_a_call_with_a_cost_is_not_asked_for() -> None:
    async def told(it: Scene) -> None:
        it.box.upstream.scripts = [stream()]
        await read(await it.box.ask(stream=True))
        assert await it.after(DAY_S) is None
        assert it.tries == 0

    scene(told)


def test_it_is_asked_for_at_fixed_ages_and_then_given_up() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        held = it.box.spent()
        for age, following in itertools.pairwise(TRY_AT_S):
            assert await it.after(age) == following - age
        assert it.lines == []
        assert it.settlement.summary()["waiting"] == 1
        assert await it.after(TRY_AT_S[-1]) is None
        assert it.tries == len(TRY_AT_S)
        (line,) = it.lines
        assert (line.opens, line.cost_nusd, line.status, line.tokens) == (1, None, "unsettled", None)
        assert it.settlement.summary() == {"waiting": 0, "waiting_nusd": 0, "lost": 1, "lost_nusd": held}
        assert it.box.spent() == held
        (standing,) = it.alarms.standing()
        assert (standing.alarm.code, standing.alarm.about) == ("settlement.lost", "or")
        assert "d-1" in standing.alarm.message
        await it.after(2 * DAY_S)
        assert it.alarms.standing() == ()

    scene(told)


def test_an_upstream_that_cannot_be_reached_is_asked_for_a_day() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        it.accounts.scripts["generation"] = [unreachable()]
        assert await it.after(TRY_AT_S[-1]) == 1800
        assert await it.after(20 * 3600) == 1800
        assert it.lines == []
        assert await it.after(DAY_S) is None
        assert [line.status for line in it.lines] == ["unsettled"]

    scene(told)


@pytest.mark.parametrize("answer", [b"<html>", record_of(None), record_of(0.1, is_byok=True)])
def test_an_answer_without_a_cost_settles_nothing(answer: bytes) -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        it.accounts.scripts["generation"] = [answer]
        assert await it.after(2) == 3.0
        assert it.lines == []

    scene(told)


def test_what_the_record_owes_is_asked_for_after_a_start() -> None:
    async def told(it: Scene) -> None:
        held = it.box.spend
        it.accounts.scripts["generation"] = [record_of()]
        await it.owes(
            row_of(7, 3600), row_of(9, 3, tokens=40), row_of(11, 60, given_up=12), row_of(13, generation=None)
        )
        assert it.settlement.summary() == {"waiting": 2, "waiting_nusd": 1_000_000, "lost": 2, "lost_nusd": 1_000_000}
        await it.after(0)
        assert it.accounts.asked == [("generation", "gen-7")]  # its last age is over: at once
        await it.after(2)
        assert it.accounts.asked[1:] == [("generation", "gen-9")]
        assert [line.opens for line in it.lines] == [7, 9]
        assert held.known  # settled against the very sums that were restored

    scene(told)


def test_a_call_that_came_in_before_the_record_was_read_is_there_once() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        await it.owes(row_of(1))
        assert it.settlement.summary()["waiting"] == 1

    scene(told)


def test_counts_of_the_outcome_are_not_counted_twice() -> None:
    async def told(it: Scene) -> None:
        it.accounts.scripts["generation"] = [record_of()]
        it.box.spend.reserve(Account("main", "routine", "economy", "s1"), 500_000, NOON)
        await it.owes(row_of(7, tokens=40))
        await it.after(2)
        used = it.box.spend.of(Budget("b", "o", Scope.BOX, Window.DAY), "box", NOON)
        assert used.tokens == 107 - 40

    scene(told)


def test_without_a_record_that_can_be_read_new_calls_are_settled_all_the_same() -> None:
    async def told(it: Scene) -> None:
        it.reader.broken = RecordUnavailable("record.gone", "gone")
        await it.settlement._restore()
        await it.cut()
        it.accounts.scripts["generation"] = [record_of()]
        await it.after(2)
        assert len(it.lines) == 1

    scene(told)


def test_a_settlement_that_cannot_be_written_is_tried_again_and_changes_nothing_before() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        held = it.box.spent()
        it.accounts.scripts["generation"] = [record_of()]
        it.box.record.broken = True
        assert await it.after(2) == 15.0
        assert (it.lines, it.box.spent()) == ([], held)
        it.box.record.broken = False
        assert await it.after(17) is None
        assert (len(it.lines), it.box.spent()) == (1, 100_000)

    scene(told)


def test_one_that_was_settled_already_is_left_alone() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        held = it.box.spent()
        it.accounts.scripts["generation"] = [record_of()]

        async def refuse(_line: Any) -> Any:
            raise RecordUnavailable("record.not_owed", "settled before")

        it.box.record.append = refuse  # type: ignore[method-assign]
        assert await it.after(2) is None
        assert it.box.spent() == held

    scene(told)


def test_an_upstream_without_accounting_is_never_asked() -> None:
    async def told(it: Scene) -> None:
        it.known = False
        await it.cut()
        assert it.settlement.summary()["lost"] == 1
        await it.after(DAY_S + 1)
        assert it.settlement.summary()["lost"] == 0  # of the last day
        assert it.tries == 0

    scene(told)


def test_an_upstream_that_left_the_policy_meanwhile_is_given_up() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        it.known = False
        await it.after(TRY_AT_S[-1])
        assert (it.tries, [line.status for line in it.lines]) == (0, ["unsettled"])

    scene(told)


def test_what_should_not_be_possible_raises_an_alarm_once() -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        it.accounts.scripts["generation"] = [record_of(5.0, router="openrouter/auto")]
        await it.after(2)
        assert it.lines[0].code == "settlement.unasked"
        alarms = it.box.record.of(Kind.ALARM)
        assert [line.code for line in alarms] == ["settlement.unasked", "settlement.above_reservation"]
        assert "router = openrouter/auto" in alarms[0].detail["message"]
        assert [one.alarm.about for one in it.alarms.standing()] == ["d-1", "d-1"]
        assert it.box.spent() == 5 * 10**9

    scene(told)


def test_a_crowd_is_not_asked_for_all_at_once() -> None:
    async def told(it: Scene) -> None:
        now = most = 0

        async def slowly(_endpoint: Any, _generation: str) -> bytes:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            return record_of()

        it.accounts.generation = slowly  # type: ignore[method-assign]
        await it.owes(*(row_of(seq, 60) for seq in range(1, 41)))
        await it.after(0)
        assert (len(it.lines), most) == (40, 4)

    scene(told)


def test_the_task_wakes_for_a_call_that_comes_in() -> None:
    async def told(it: Scene) -> None:
        rounds: list[float | None] = []
        original = it.settlement.round

        async def noted() -> float | None:
            rounds.append(await original())
            return rounds[-1]

        it.settlement.round = noted  # type: ignore[method-assign]
        task = it.box.tasks.create_task(it.settlement.run())
        while not rounds:
            await asyncio.sleep(0)
        await it.cut()
        while len(rounds) < 2:
            await asyncio.sleep(0)
        assert rounds == [None, 2.0]
        task.cancel()

    scene(told)


def test_a_client_that_leaves_is_settled_too() -> None:
    async def told(it: Scene) -> None:
        it.box.upstream.scripts = [[stream()[0], WAIT]]
        answer = await it.box.ask(stream=True)
        assert answer.stream is not None
        await anext(answer.stream)
        await answer.stream.aclose()
        it.accounts.scripts["generation"] = [record_of()]
        await it.after(2)
        assert it.box.spent() == 100_000

    scene(told)


@pytest.mark.parametrize("days", [2, -2])
def test_setting_the_clock_neither_delays_a_question_nor_gives_up(days: int) -> None:
    async def told(it: Scene) -> None:
        await it.cut()
        it.box.clock.wall_ns = lambda: it.box.clock.now + days * DAY_NS  # type: ignore[method-assign]
        it.accounts.scripts["generation"] = [None, record_of()]
        assert await it.after(2) == 3.0
        assert it.lines == []
        assert await it.after(5) is None
        assert [(line.status, line.detail["after_s"]) for line in it.lines] == [("settled", 5)]

    scene(told)


def test_what_ended_in_the_future_by_the_record_has_just_ended() -> None:
    """The clock was ahead when it was written, and was put right before this start."""

    async def told(it: Scene) -> None:
        await it.owes(row_of(7, -DAY_S))
        it.accounts.scripts["generation"] = [record_of()]
        await it.after(2)
        assert len(it.lines) == 1

    scene(told)
