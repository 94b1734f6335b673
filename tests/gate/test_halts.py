"""Stops: recorded first, restored from the record, told to whoever holds streams."""

import asyncio
from typing import Any

import pytest

from agentd.core.policy.facts import Halt
from agentd.core.types.callers import Peer
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.receipts import Receipt
from agentd.core.types.records import Kind, Line
from agentd.gate.halts import MAX_REASON, Halts
from agentd.gate.ports_operator import HaltAsk, OperatorRefused

OPERATOR = Peer("operator", uid=1000, gid=1000, pid=7, start_ticks=3, exe="/usr/bin/agentctl")
BOX = HaltAsk("box", "", "smoke")
MAIN = HaltAsk("agent", "main", "it loops")
TOP = HaltAsk("tier", "frontier", "too dear")


class ListLedger:
    """A record in a list; `full` refuses lines. `before` is called while a line waits to become durable."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.full = False
        self.before: Any = None

    async def append(self, line: Line, *, linger: bool = False) -> Receipt:
        if self.before:
            self.before()
        await asyncio.sleep(0)
        if self.full:
            raise RecordUnavailable("record.disk_full", "The disk is full.", "Make room.")
        self.lines.append(line)
        return Receipt(len(self.lines), "ab" * 32)

    async def keep_policy(self, digest: str, text: str) -> None:
        raise NotImplementedError

    def as_read(self) -> list[dict[str, Any]]:
        return [
            {"seq": at, "kind": line.kind.value, "at": line.at, "detail": line.detail}
            for at, line in enumerate(self.lines, 1)
        ]


class FixedClock:
    def wall_ns(self) -> int:
        return 1_790_000_000 * 10**9

    def mono_ns(self) -> int:
        return 0


def office() -> tuple[Halts, ListLedger]:
    ledger = ListLedger()
    return Halts(ledger, FixedClock()), ledger


def test_a_stop_is_a_line_then_holds_and_is_told() -> None:
    async def story() -> None:
        halts, ledger = office()
        heard: list[Halt] = []
        halts.on_halt(heard.append)
        ledger.before = lambda: heard.append("too early") if halts.active() else None  # type: ignore[arg-type]
        halt = await halts.halt(MAIN, OPERATOR)
        assert halts.active() == (halt,) == tuple(heard)
        (line,) = ledger.lines
        assert (line.kind, line.code, line.detail) == (
            Kind.HALT,
            "operator.halt",
            {"scope": "agent", "name": "main", "reason": "it loops"},
        )
        assert (line.caller or {})["uid"] == 1000
        assert halt.seq == 1
        assert halt.at == line.at

    asyncio.run(story())


def test_resume_ends_exactly_that_stop() -> None:
    async def story() -> None:
        halts, ledger = office()
        for ask in (BOX, MAIN, TOP):
            await halts.halt(ask, OPERATOR)
        ended = await halts.resume(HaltAsk("box", "", "put out"), OPERATOR)
        assert ended.reason == "smoke"
        assert [halt.scope for halt in halts.active()] == ["agent", "tier"]
        assert ledger.lines[-1].kind is Kind.RESUME
        assert ledger.lines[-1].detail == {"scope": "box", "name": "", "reason": "put out"}

    asyncio.run(story())


def test_a_second_stop_replaces_the_first() -> None:
    async def story() -> None:
        halts, _ = office()
        await halts.halt(BOX, OPERATOR)
        again = await halts.halt(HaltAsk("box", "", "still smoke"), OPERATOR)
        assert halts.active() == (again,)

    asyncio.run(story())


def test_nothing_holds_that_could_not_be_written() -> None:
    async def story() -> None:
        halts, ledger = office()
        heard: list[Halt] = []
        halts.on_halt(heard.append)
        ledger.full = True
        with pytest.raises(RecordUnavailable):
            await halts.halt(BOX, OPERATOR)
        assert halts.active() == ()
        assert heard == []
        ledger.full = False
        await halts.halt(BOX, OPERATOR)
        ledger.full = True
        with pytest.raises(RecordUnavailable):
            await halts.resume(BOX, OPERATOR)
        assert len(halts.active()) == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (HaltAsk("world", "", "r"), "halt.scope"),
        (HaltAsk("", "", "r"), "halt.scope"),
        (HaltAsk("box", "main", "r"), "halt.name"),
        (HaltAsk("agent", "", "r"), "halt.name"),
        (HaltAsk("tier", "", "r"), "halt.name"),
        (HaltAsk("box", "", " "), "halt.reason"),
        (HaltAsk("box", "", "x" * (MAX_REASON + 1)), "halt.reason"),
    ],
)
def test_an_unreadable_order_changes_and_records_nothing(ask: HaltAsk, code: str) -> None:
    async def story() -> None:
        halts, ledger = office()
        for act in (halts.halt, halts.resume):
            with pytest.raises(OperatorRefused) as refused:
                await act(ask, OPERATOR)
            assert refused.value.code == code
        assert ledger.lines == []

    asyncio.run(story())


def test_what_is_not_stopped_cannot_go_on_and_the_hint_says_what_is() -> None:
    async def story() -> None:
        halts, ledger = office()
        with pytest.raises(OperatorRefused, match="box is not stopped"):
            await halts.resume(BOX, OPERATOR)
        await halts.halt(MAIN, OPERATOR)
        with pytest.raises(OperatorRefused) as refused:
            await halts.resume(TOP, OPERATOR)
        assert refused.value.hint == "Stopped now: agent main."
        assert len(ledger.lines) == 1

    asyncio.run(story())


def test_a_restart_brings_back_what_held() -> None:
    async def story() -> None:
        halts, ledger = office()
        await halts.halt(BOX, OPERATOR)
        await halts.halt(MAIN, OPERATOR)
        await halts.resume(BOX, OPERATOR)
        await halts.halt(TOP, OPERATOR)
        fresh = Halts(ledger, FixedClock())
        fresh.restore(ledger.as_read())
        assert fresh.active() == halts.active()
        assert [halt.name for halt in fresh.active()] == ["main", "frontier"]

    asyncio.run(story())


def test_restore_leaves_other_lines_and_lines_without_detail_alone() -> None:
    halts, _ = office()
    at = "2026-01-01T00:00:00.000000Z"
    halts.restore(
        [
            {"kind": "decision", "seq": 1, "at": at, "detail": {"scope": "box"}},
            {"kind": "resume", "seq": 2, "at": at, "detail": None},
        ]
    )
    assert halts.active() == ()
    halts.restore([{"kind": "halt", "seq": 3, "at": at, "detail": None}])
    assert halts.active() == (Halt("box", "", "", at, 3),)


def test_orders_that_come_together_are_taken_in_the_order_of_their_lines() -> None:
    async def story() -> None:
        halts, ledger = office()
        async with asyncio.TaskGroup() as tasks:
            for number in range(20):
                tasks.create_task(halts.halt(HaltAsk("agent", f"a{number % 3}", f"r{number}"), OPERATOR))
        fresh = Halts(ledger, FixedClock())
        fresh.restore(ledger.as_read())
        assert fresh.active() == halts.active()

    asyncio.run(story())


def test_who_unsubscribed_hears_no_more() -> None:
    async def story() -> None:
        halts, _ = office()
        heard: list[Halt] = []
        stop = halts.on_halt(heard.append)
        stop()
        await halts.halt(BOX, OPERATOR)
        assert heard == []

    asyncio.run(story())
