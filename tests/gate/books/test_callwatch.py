"""What calls find out by how they end: told once, until it is over."""

import asyncio

import pytest

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.books.alarms import Alarms
from agentd.gate.books.callwatch import CallWatch
from builders import policy
from gate.way import Box, Record, failed, play, whole


def gone() -> UpstreamFailed:
    return UpstreamFailed("upstream.no_model", "none", status=404, retryable=True, answer=Answer.DENY)


def test_the_next_model_serves_and_the_operator_hears_of_the_first_once() -> None:
    async def scene(box: Box) -> None:
        alarms = Alarms(box.record, box.clock)
        watch = CallWatch(alarms)
        box.relay.on_ended = watch.ended
        box.upstream.scripts = [gone(), [whole()], gone(), [whole()], [whole()]]
        for _ in range(2):
            assert (await box.ask()).status == 200
            await watch.round()
        (standing,) = alarms.standing()
        assert (standing.alarm.code, standing.alarm.about) == ("model.gone", "small/one")
        assert "or" in standing.alarm.message
        assert len(box.record.of(Kind.ALARM)) == 1
        await box.ask()  # this time the first one is there
        assert alarms.standing() == ()

    play(scene)


@pytest.mark.parametrize("error", [failed(), failed(404)])
def test_other_failures_say_nothing_of_the_model(error: UpstreamFailed) -> None:
    async def scene(box: Box) -> None:
        alarms = Alarms(box.record, box.clock)
        watch = CallWatch(alarms)
        box.relay.on_ended = watch.ended
        box.upstream.scripts = [error, [whole()]]
        await box.ask()
        await watch.round()
        assert alarms.standing() == ()

    play(scene)


def test_the_task_waits_for_news() -> None:
    async def told() -> None:
        async with asyncio.TaskGroup() as tasks:
            box = Box(policy(), tasks)
            alarms = Alarms(Record([]), box.clock)
            watch = CallWatch(alarms)
            box.relay.on_ended = watch.ended
            task = tasks.create_task(watch.run())
            box.upstream.scripts = [gone(), [whole()]]
            await box.ask()
            while not alarms.standing():
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(told())


def test_a_tool_that_ran_at_the_provider_is_told_once() -> None:
    async def scene(box: Box) -> None:
        alarms = Alarms(box.record, box.clock)
        watch = CallWatch(alarms)
        box.relay.on_ended = watch.ended
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "cost": 0.001}
        quiet, loud = {"web_search_requests": 0}, {"web_search_requests": 2}
        box.upstream.scripts = [
            [whole(usage={**usage, "server_tool_use_details": said})] for said in (None, quiet, loud, loud)
        ]
        for found in (0, 0, 1, 1):
            await box.ask()
            await watch.round()
            assert len(alarms.standing()) == found
        (standing,) = alarms.standing()
        assert (standing.alarm.code, standing.alarm.about) == ("reply.unasked", "or")
        assert "web_search_requests = 2" in standing.alarm.message
        assert len(box.record.of(Kind.ALARM)) == 1
        last = box.record.of(Kind.OUTCOME)[-1]
        assert (last.detail or {})["unasked"] == ["server_tool_use_details.web_search_requests = 2"]

    play(scene)
