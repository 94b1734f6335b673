"""A reading shows what was queued before it was asked for; a record that hangs does not hold it up for long."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.errors import RecordUnavailable
from agentd.edge.ledger import ledger as module
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.store import Store
from edge.ledger.lines import Clock, decision, outcome, run

COMMIT = Store.commit
"""Before anything stands in for it."""


def test_a_reading_waits_for_the_lines_that_are_queued(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            seen = []
            for _ in range(20):
                opened = await ledger.append(decision())
                closing = ledger.append(outcome(opened.seq))
                await asyncio.sleep(0)
                seen.append(await ledger.reader.outcome_of(opened.seq) is not None and closing.done())
            return seen

    assert run(conversation()) == [True] * 20


def test_a_reading_does_not_wait_for_what_comes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second commit is held until the reading is answered: waiting for it would take as long as the wait's own bound."""
    answered = threading.Event()
    commits: list[int] = []

    def commit(self: Store, staged: Any) -> None:
        commits.append(len(staged.rows))
        if len(commits) == 2:
            answered.wait(30)
        COMMIT(self, staged)

    monkeypatch.setattr(Store, "commit", commit)
    monkeypatch.setattr(module, "FLUSH_S", 30)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup() as group:
            first = ledger.append(decision())
            await asyncio.sleep(0)
            reading = group.create_task(ledger.reader.line(2))
            await asyncio.sleep(0)
            second = ledger.append(decision())
            line = await reading
            answered.set()
            assert line is not None
            return line["seq"], (await first).seq, (await second).seq

    assert run(conversation()) == (2, 2, 3)


def test_a_record_that_hangs_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def commit(self: Store, staged: Any) -> None:
        go_on.wait(30)
        COMMIT(self, staged)

    monkeypatch.setattr(Store, "commit", commit)
    monkeypatch.setattr(module, "FLUSH_S", 0.01)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            waiting = ledger.append(decision())
            await asyncio.sleep(0)
            before = await ledger.reader.line(2)
            go_on.set()
            return before, (await waiting).seq, await ledger.reader.line(2) is not None

    assert run(conversation()) == (None, 2, True)


def test_refused_lines_hold_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 30)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup() as group:
            refused = group.create_task(_refused(ledger))
            await asyncio.sleep(0)
            line = await ledger.reader.line(1)
            assert line is not None
            return line["kind"], await refused, ledger.counters.pending

    assert run(conversation()) == ("genesis", "record.not_open", 0)


async def _refused(ledger: Ledger) -> Any:
    try:
        await ledger.append(outcome(99))
    except RecordUnavailable as error:
        return error.code
    return None
