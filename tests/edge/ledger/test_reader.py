"""Reading: each filter, the newest first to survive a limit, in order, off the loop, and a damaged line named."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger import reader, schema
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.ports import LineQuery
from edge.ledger.lines import HOUR_NS, NOON, Clock, decision, run, verified

AT = decision().at

SCENE = [
    decision(NOON),  # 2
    decision(NOON + HOUR_NS, agent="other", class_="routine", tier="economy", session="s2", verdict="deny"),  # 3
    decision(NOON + 2 * HOUR_NS, class_="routine", tier="economy", verdict="ask"),  # 4
    Line(kind=Kind.HALT, at=AT, code="operator.halt"),  # 5
    decision(NOON + 3 * HOUR_NS, agent="other", tier="frontier", session="s2"),  # 6
    Line(kind=Kind.RESUME, at=AT),  # 7
    Line(
        kind=Kind.POLICY,
        at=AT,
        verdict="allow",
        policy="aa",
        code="policy.loaded",
        detail={"owner": "ops", "change": "x", "diff": "+1"},
    ),  # 8
    Line(kind=Kind.POLICY, at=AT, verdict="deny", policy="bb", code="policy.refused", detail={"faults": 2}),  # 9
]


async def with_scene(directory: Path, ask: Any) -> Any:
    async with Ledger.open(directory, Clock()) as ledger:
        for line in SCENE:
            await ledger.append(line)
        return await ask(ledger.reader)


QUERIES = [
    (LineQuery(), [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    (LineQuery(limit=3), [7, 8, 9]),
    (LineQuery(limit=0), []),
    (LineQuery(limit=-1), []),
    (LineQuery(kinds=("decision",)), [2, 3, 4, 6]),
    (LineQuery(kinds=(Kind.HALT, Kind.RESUME)), [5, 7]),
    (LineQuery(kinds=("nothing",)), []),
    (LineQuery(agent="other"), [3, 6]),
    (LineQuery(class_="routine"), [3, 4]),
    (LineQuery(tier="economy", verdict="ask"), [4]),
    (LineQuery(verdict="deny"), [3, 9]),
    (LineQuery(verdict="deny", kinds=("decision",)), [3]),
    (LineQuery(session="s2"), [3, 6]),
    (LineQuery(session="s2", agent="other", class_="implementation", tier="frontier", verdict="allow"), [6]),
    (LineQuery(session="s2' OR 1=1 --"), []),
    (LineQuery(since_ns=NOON + 2 * HOUR_NS), [4, 6]),
    (LineQuery(since_ns=NOON + 2 * HOUR_NS, agent="other"), [6]),
    (LineQuery(after_seq=7), [8, 9]),
    (LineQuery(after_seq=2, kinds=("decision",), limit=2), [4, 6]),
    (LineQuery(after_seq=99), []),
]


@pytest.mark.parametrize("place", range(len(QUERIES)))
def test_each_filter(tmp_path: Path, place: Any) -> None:
    query, expected = QUERIES[place]
    lines = run(with_scene(tmp_path, lambda of: of.lines(query)))
    assert [line["seq"] for line in lines] == expected


def test_filters_use_an_index_and_not_the_whole_record(tmp_path: Path) -> None:
    run(with_scene(tmp_path, lambda of: of.line(1)))
    connection = sqlite3.connect(tmp_path / "ledger.db")
    for query in (
        LineQuery(session="s2", agent="a"),
        LineQuery(class_="c", kinds=("decision",)),
        LineQuery(verdict="deny"),
        LineQuery(kinds=("halt",)),
    ):
        where, arguments = reader._conditions(query)
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN SELECT seq FROM sought WHERE {where} ORDER BY seq DESC LIMIT 5", arguments
        ).fetchall()
        steps = [str(step[3]) for step in plan]
        assert any(step.startswith("SEARCH filed USING") and "INDEX filed_" in step for step in steps), steps
        assert any(step.startswith("SEARCH lines USING INTEGER PRIMARY KEY (rowid>?)") for step in steps), steps
        assert not any(step.startswith("SCAN lines") for step in steps), steps
    connection.close()


FEW = 3
"""Lines filed at a time, so that a short record has lines of both sorts."""


@pytest.mark.parametrize("place", range(len(QUERIES)))
def test_each_filter_finds_lines_filed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr(schema, "FILED_LINES", FEW)
    query, expected = QUERIES[place]
    lines = run(with_scene(tmp_path, lambda of: of.lines(query)))
    assert [line["seq"] for line in lines] == expected
    connection = sqlite3.connect(tmp_path / "ledger.db")
    filed, last = connection.execute("SELECT (SELECT MAX(seq) FROM filed), (SELECT MAX(seq) FROM lines)").fetchone()
    connection.close()
    assert 0 < filed <= last
    assert last - filed < FEW


def test_lines_are_filed_once_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FILED_LINES", FEW)

    async def write() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            for _ in range(4):
                await ledger.append(decision(verdict="deny"))
            return [line["seq"] for line in await ledger.reader.lines(LineQuery(kinds=("decision",)))]

    found = [run(write()) for _ in range(3)]
    assert found[-1] == [2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 14, 15], "with a seal after each run"


def test_a_single_line_or_none(tmp_path: Path) -> None:
    async def ask(of: Any) -> Any:
        return await of.line(2), await of.line(99), await of.outcome_of(2)

    line, missing, still_open = run(with_scene(tmp_path, ask))
    assert (line["id"], line["class"], line["digest"] != line["prev"]) == ("d-2", "implementation", True)
    assert (missing, still_open) == (None, None)


def test_policies_newest_first_refused_ones_too(tmp_path: Path) -> None:
    versions = run(with_scene(tmp_path, lambda of: of.policies()))
    assert [(one["hash"], one["accepted"], one["code"]) for one in versions] == [
        ("bb", False, "policy.refused"),
        ("aa", True, "policy.loaded"),
    ]
    assert (versions[1]["owner"], versions[1]["change"], versions[1]["diff"], versions[0]["faults"]) == (
        "ops",
        "x",
        "+1",
        2,
    )


def test_halts_oldest_first(tmp_path: Path) -> None:
    assert [line["kind"] for line in run(with_scene(tmp_path, lambda of: of.halts()))] == ["halt", "resume"]


def test_a_long_reading_goes_on_over_pages_while_lines_are_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "PAGE_LINES", 3)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            for _ in range(10):
                await ledger.append(decision(verdict="deny"))
            seen = []
            async for seq, body, digest in ledger.reader.raw(2):
                seen.append(seq)
                assert body
                assert digest
                if seq == 5:
                    await ledger.append(decision(verdict="deny"))
            return seen

    assert run(conversation()) == list(range(2, 13))


def test_many_readers_beside_a_writer_see_only_whole_lines(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:

            async def write() -> None:
                for _ in range(40):
                    await ledger.append(decision(verdict="deny"))

            async def read() -> None:
                for _ in range(10):
                    lines = await ledger.reader.lines(LineQuery(limit=500))
                    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))

            await asyncio.gather(write(), write(), *(read() for _ in range(6)))
            return await verified(ledger)

    assert run(conversation()).intact


async def nothing_queued() -> None:
    """No writer runs."""


def test_a_damaged_line_is_named_and_can_still_be_read_raw(tmp_path: Path) -> None:
    run(with_scene(tmp_path, lambda of: of.line(1)))
    database = tmp_path / "ledger.db"
    whole = database.read_bytes()
    place = whole.index(b'{"agent":"other","at":"' + SCENE[1].at.encode())
    database.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])

    async def conversation() -> Any:
        of = reader.Reader(tmp_path, lambda listener: lambda: None, nothing_queued)
        raw = [body async for seq, body, _ in of.raw() if seq == 3]
        with pytest.raises(RecordUnavailable) as refused:
            await of.line(3)
        await of.close()
        return raw, refused.value

    raw, refused = run(conversation())
    assert raw[0].startswith(b'\xff"agent":"other"')
    assert (refused.code, "Line 3" in refused.message) == ("record.broken", True)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            with pytest.raises(RecordUnavailable) as refused:
                await ledger.reader._ask(lambda tables: tables.execute("DELETE FROM spend"))
            return refused.value.code

    assert run(conversation()) == "record.read_only"


def test_the_record_refuses_changes_by_accident(tmp_path: Path) -> None:
    run(with_scene(tmp_path, lambda of: of.line(1)))
    connection = sqlite3.connect(tmp_path / "ledger.db")
    for statement in ("DELETE FROM lines", "UPDATE lines SET digest = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_lines_keep_every_field(tmp_path: Path) -> None:
    given = replace(
        decision(), escalation={"kind": "requested", "to": "frontier"}, overhead_us=3, upstream_ms=4, provider="P"
    )

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(given)
            return await ledger.reader.line(2)

    line = run(conversation())
    for name in Line.__slots__:
        assert line[name.rstrip("_")] == getattr(given, name), name
