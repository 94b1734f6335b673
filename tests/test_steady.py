"""Work beside the calls: a fault is told, and does not end it."""

import asyncio
import logging

import pytest

from agentd.steady import steady


def test_a_fault_is_logged_and_the_work_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise ArithmeticError("an exponent beyond all numbers")

    with caplog.at_level(logging.ERROR, "agentd"):
        asyncio.run(steady("settlement", work, again_s=0))
    assert runs == [0, 1, 2]
    assert caplog.text.count("settlement met a fault") == 2


def test_it_can_be_cancelled() -> None:
    async def scene() -> None:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(steady("x", asyncio.Event().wait))  # type: ignore[arg-type]
            await asyncio.sleep(0)
            running.cancel()

    asyncio.run(scene())
