"""Rows of `logs`: each decision once, with its outcome; nothing falls between the past and what comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import agentd.gate.desk.follow as follow_module
from agentd.gate.desk.follow import Follow
from agentd.gate.desk.views import ALL_KINDS, NARROW_KINDS, awaits_outcome, kinds_of, merged, wanted
from agentd.gate.ports import LineQuery

Line = dict[str, Any]


CALL = {"kind": "decision", "agent": "main", "class": "routine", "tier": "economy", "session": "s"}
CLOSING = {"kind": "outcome", "status": "done", "cost_nusd": 5, "model": "m", "detail": {"http": 200}}


def decision(seq: int, verdict: str = "allow") -> Line:
    return {**CALL, "seq": seq, "verdict": verdict}


def outcome(seq: int, opens: int) -> Line:
    return {**CLOSING, "seq": seq, "opens": opens}


def other(seq: int, kind: str) -> Line:
    return {"seq": seq, "kind": kind}


class ListReader:
    """A record in a list, with listeners. `late` lines come while the past is being read."""

    def __init__(self, *lines: Line) -> None:
        self.kept = list(lines)
        self.late: list[Line] = []
        self.listeners: list[Callable[[Line], None]] = []

    def add(self, *lines: Line) -> None:
        for line in lines:
            self.kept.append(line)
            for listener in list(self.listeners):
                listener(line)

    async def lines(self, query: LineQuery) -> list[Line]:
        self.add(*self.late)
        self.late = []
        await asyncio.sleep(0)
        return [line for line in self.kept if wanted(query, line)][-query.limit :]

    async def line(self, seq: int) -> Line | None:
        return next((line for line in self.kept if line["seq"] == seq), None)

    async def outcome_of(self, seq: int) -> Line | None:
        return next((line for line in self.kept if line.get("opens") == seq), None)

    def on_append(self, listener: Callable[[Line], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)


def following(reader: ListReader, **query: Any) -> AsyncIterator[Line]:
    return Follow(reader, LineQuery(**query)).rows()  # type: ignore[arg-type]


async def next_rows(rows: AsyncIterator[Line], count: int) -> list[tuple[Any, Any]]:
    """(seq, outcome) of the next rows."""
    got = []
    for _ in range(count):
        row = await asyncio.wait_for(anext(rows), 5)
        got.append((row.get("seq"), row.get("outcome")))
    return got


def test_history_has_each_decision_with_its_outcome() -> None:
    reader = ListReader(other(1, "genesis"), decision(2), outcome(3, 2), decision(4, "deny"), decision(5))
    rows = asyncio.run(Follow(reader, LineQuery()).history())  # type: ignore[arg-type]
    assert [(row["seq"], row.get("outcome")) for row in rows] == [(1, None), (2, 3), (4, None), (5, None)]
    assert rows[1]["cost_nusd"] == 5
    assert rows[1]["model_served"] == "m"
    assert rows[1]["outcome_detail"] == {"http": 200}


def test_no_rows_are_read_when_none_are_asked_for() -> None:
    reader = ListReader(decision(1))
    assert asyncio.run(Follow(reader, LineQuery(limit=0)).history()) == []  # type: ignore[arg-type]


def test_new_rows_come_when_they_close_and_each_once() -> None:
    async def story() -> None:
        reader = ListReader(decision(1), outcome(2, 1), decision(3))
        rows = following(reader)
        assert await next_rows(rows, 2) == [(1, 2), (3, None)]
        reader.add(
            decision(4),
            decision(5, "deny"),
            outcome(6, 4),
            outcome(7, 3),
            other(8, "halt"),
            other(9, "checkpoint"),
        )
        assert await next_rows(rows, 4) == [(5, None), (4, 6), (3, 7), (8, None)]

    asyncio.run(story())


def test_what_comes_while_the_past_is_read_is_not_told_twice() -> None:
    async def story() -> None:
        reader = ListReader(decision(1))
        reader.late = [outcome(2, 1), decision(3), outcome(4, 3), decision(5, "deny")]
        rows = following(reader)
        assert await next_rows(rows, 3) == [(1, 2), (3, 4), (5, None)]
        reader.add(decision(6, "deny"))
        assert await next_rows(rows, 1) == [(6, None)]

    asyncio.run(story())


def test_the_outcome_of_a_decision_before_the_past_is_told_with_its_decision() -> None:
    async def story() -> None:
        reader = ListReader(decision(1), decision(2, "deny"))
        rows = following(reader, limit=1)
        assert await next_rows(rows, 1) == [(2, None)]
        reader.add(outcome(3, 1))
        assert await next_rows(rows, 1) == [(1, 3)]

    asyncio.run(story())


def test_an_outcome_of_nothing_is_passed_over() -> None:
    async def story() -> None:
        reader = ListReader()
        rows = following(reader, limit=0)
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0)
        reader.add(outcome(3, 99), outcome(4, 0), decision(5, "deny"))
        assert (await asyncio.wait_for(waiting, 5))["seq"] == 5

    asyncio.run(story())


@pytest.mark.parametrize(
    "query", [{"agent": "main"}, {"class_": "routine"}, {"tier": "economy"}, {"verdict": "allow"}, {"session": "s"}]
)
def test_filters_hold_for_what_comes_too(query: dict[str, str]) -> None:
    foreign = {"agent": "x", "class": "x", "tier": "x", "verdict": "deny", "session": "x"}

    async def story() -> None:
        reader = ListReader()
        rows = following(reader, limit=0, **query)
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0)
        odd = {**decision(1), **foreign}
        reader.add(odd, outcome(2, 1), other(3, "halt"), decision(4), outcome(5, 4))
        assert (await asyncio.wait_for(waiting, 5))["seq"] == 4

    asyncio.run(story())


def test_who_reads_too_slowly_is_told_how_many_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow_module, "MAX_BACKLOG", 2)

    async def story() -> None:
        reader = ListReader(decision(1, "deny"))
        rows = following(reader)
        assert await next_rows(rows, 1) == [(1, None)]
        reader.add(*(decision(seq, "deny") for seq in range(2, 7)))
        assert await next_rows(rows, 2) == [(2, None), (3, None)]
        assert await asyncio.wait_for(anext(rows), 5) == {"kind": "gap", "missed": 3}
        reader.add(decision(7, "deny"))
        assert await next_rows(rows, 1) == [(7, None)]

    asyncio.run(story())


def test_only_so_many_open_decisions_are_remembered_and_the_rest_are_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow_module, "MAX_OPEN", 1)

    async def story() -> None:
        reader = ListReader()
        rows = following(reader, limit=0)
        waiting = asyncio.ensure_future(anext(rows))
        await asyncio.sleep(0)
        reader.add(decision(1), decision(2), outcome(3, 1))
        row = await asyncio.wait_for(waiting, 5)
        assert (row["seq"], row["outcome"]) == (1, 3)

    asyncio.run(story())


def test_a_closed_follower_hears_nothing_more() -> None:
    async def story() -> None:
        reader = ListReader(decision(1))
        rows = following(reader)
        await next_rows(rows, 1)
        assert len(reader.listeners) == 1
        await rows.aclose()  # type: ignore[attr-defined]
        assert reader.listeners == []

    asyncio.run(story())


def test_which_lines_are_rows() -> None:
    assert kinds_of(LineQuery()) == ALL_KINDS
    assert "outcome" not in ALL_KINDS
    assert "checkpoint" not in ALL_KINDS
    assert kinds_of(LineQuery(agent="main")) == NARROW_KINDS
    assert kinds_of(LineQuery(kinds=("halt",), agent="main")) == ("halt",)


def test_an_outcome_belongs_to_allowed_decisions_alone() -> None:
    assert awaits_outcome(decision(1))
    assert not awaits_outcome(decision(1, "deny"))
    assert not awaits_outcome(decision(1, "ask"))
    assert not awaits_outcome({"kind": "policy", "verdict": "allow"})
    assert "outcome" not in merged({"kind": "policy", "seq": 1}, None)
