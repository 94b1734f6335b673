"""Refusals without end do not fill the record, whoever asks for them, and none is lost from it."""

from dataclasses import replace

import pytest

from agentd.core.accounting.times import rfc3339
from agentd.core.types.calls import Dialect
from agentd.core.types.records import Line
from agentd.gate.noise import AGENT_BURST, BURST, REFILL_NS
from builders import NOON, PEER
from gate.way import Box, play

STRANGER = replace(PEER, uid=4242, unit="nobody.service", exe="/bin/x")
BAD = b"{"


def told(box: Box) -> int:
    """How many refusals the record tells of."""
    return sum(1 + (line.detail or {}).get("unrecorded_before", 0) for line in box.record.lines)


def last(box: Box) -> Line:
    return box.record.lines[-1]


def test_a_stranger_at_the_unix_door_is_bounded() -> None:
    async def scene(box: Box) -> None:
        answers = [await box.ask(peer=STRANGER) for _ in range(BURST + 30)]
        assert {answer.status for answer in answers} == {400}
        assert len(box.record.lines) == BURST
        assert dict(answers[-1].headers)["X-Agentd-Decision"] == f"d-{BURST}"
        box.clock.now = NOON + REFILL_NS
        await box.ask(peer=STRANGER)
        assert (last(box).code, told(box)) == ("caller.unknown", BURST + 31)

    play(scene)


@pytest.mark.parametrize("stopping", [True, False])
def test_nobody_fills_the_record_while_nothing_is_served(stopping: bool) -> None:
    async def scene(box: Box) -> None:
        box.gate.stopping = stopping
        box.policies.current = box.policies.current if stopping else None
        for _ in range(BURST + 5):
            assert (await box.ask()).status == 503
        assert len(box.record.lines) == BURST

    play(scene)


def test_an_agent_that_repeats_one_refused_call_is_bounded_and_its_other_calls_are_not() -> None:
    async def scene(box: Box) -> None:
        answers = [await box.ask(body=BAD) for _ in range(AGENT_BURST + 30)]
        assert len(box.record.lines) == AGENT_BURST
        assert dict(answers[-1].headers)["X-Agentd-Decision"] == f"d-{AGENT_BURST}"
        assert (await box.ask()).status == 200
        assert (last(box).agent, last(box).opens) == ("main", AGENT_BURST + 1)

    play(scene)


def test_what_nothing_comes_after_is_written_down_late() -> None:
    async def scene(box: Box) -> None:
        for _ in range(AGENT_BURST + 30):
            await box.ask(body=BAD)
        refused = last(box)
        await box.gate._refuser.catch_up()
        assert len(box.record.lines) == AGENT_BURST
        box.clock.now = NOON + REFILL_NS
        await box.gate._refuser.catch_up()
        detail = {**(refused.detail or {}), "refused_at": rfc3339(NOON), "unrecorded_before": 29}
        assert last(box) == replace(refused, at=rfc3339(NOON + REFILL_NS), detail=detail)
        await box.gate._refuser.catch_up()
        assert told(box) == AGENT_BURST + 30

    play(scene)


def test_at_a_stop_everything_is_written_down() -> None:
    async def scene(box: Box) -> None:
        for _ in range(BURST + 2):
            await box.ask(peer=STRANGER)
            await box.gate.refuse(replace(STRANGER, uid=7), Dialect.CHAT, "request.bad_http", "no")
        await box.gate._refuser.catch_up(everything=True)
        assert told(box) == 2 * (BURST + 2)

    play(scene)


def test_a_record_that_takes_nothing_loses_no_count() -> None:
    async def scene(box: Box) -> None:
        for _ in range(BURST + 4):
            await box.ask(peer=STRANGER)
            await box.ask(peer=replace(STRANGER, uid=7))
        box.record.broken = True
        box.clock.now = NOON + REFILL_NS
        assert (await box.ask(peer=STRANGER)).status == 503
        box.clock.now = NOON + 2 * REFILL_NS
        await box.gate._refuser.catch_up(everything=True)
        box.record.broken = False
        await box.gate._refuser.catch_up(everything=True)
        assert told(box) == 2 * (BURST + 4)

    play(scene)
