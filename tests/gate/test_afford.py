"""What becomes of a call that the account at the upstream cannot pay for: once more with less, or a limit, never a storm."""

import json

import pytest

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from gate.way import Box, error_of, failed, play, whole

PERMITTED = 100
"""Tokens that the calls of these tests ask for."""


def broke(affordable: int | None = None, *, exhausted: bool = False) -> UpstreamFailed:
    error = UpstreamFailed("upstream.limit", "no money (status 402)", status=402, retryable=False, answer=Answer.BUDGET)
    error.affordable, error.exhausted = affordable, exhausted
    return error


def test_a_call_is_tried_once_more_with_what_can_be_afforded() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [broke(60), [whole()]]
        assert (await box.ask()).status == 200
        sent = [json.loads(dispatch.body) for dispatch in box.upstream.sent]
        assert [(body["model"], body["max_completion_tokens"]) for body in sent] == [
            ("small/one", 100),
            ("small/one", 54),
        ]
        first, second = box.record.of(Kind.DECISION)
        assert (second.detail or {})["max_output"] == 54
        assert (second.detail or {})["after"] == "d-1"
        assert (second.reserved_nusd or 0) < (first.reserved_nusd or 0)
        assert [line.cost_nusd for line in box.record.of(Kind.OUTCOME)] == [0, 1_000_000]
        assert box.spent() == 1_000_000

    play(scene)


@pytest.mark.parametrize("affordable", [0, 27, None])
def test_what_would_hardly_be_an_answer_is_not_asked_for(affordable: int | None) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [broke(affordable), [whole()]]
        answer = await box.ask()
        assert (answer.status, error_of(answer)["code"], len(box.upstream.sent)) == (400, "upstream.limit", 1)
        assert box.spent() == 0

    play(scene)


def test_once_means_once() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [broke(90), broke(80), [whole()]]
        assert (await box.ask()).status == 400
        assert len(box.upstream.sent) == 2

    play(scene)


def test_less_is_not_tried_after_another_model_was() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [failed(), broke(90), [whole()]]
        assert (await box.ask()).status == 400
        assert [json.loads(dispatch.body)["model"] for dispatch in box.upstream.sent] == ["small/one", "small/two"]

    play(scene)


def test_an_account_without_money_is_told_of_by_the_upstreams_name() -> None:
    async def scene(box: Box) -> None:
        told: list[tuple[str, bool]] = []
        box.relay.on_ended = lambda run, _outcome, error: told.append(
            (run.permit.allow.limits.upstream, error is not None and error.exhausted)
        )
        box.upstream.scripts = [broke(exhausted=True)]
        assert (await box.ask()).status == 400
        box.upstream.scripts = [broke(10)]
        await box.ask()
        assert told == [("or", True), ("or", False)]

    play(scene)


@pytest.mark.parametrize(("told", "seconds"), [(3, "3"), (300, "60"), (None, "5")])
def test_nobody_waits_longer_than_a_call_of_its_class_may_take(told: int | None, seconds: str) -> None:
    async def scene(box: Box) -> None:
        error = failed()
        error.retry_after_s = told
        box.upstream.scripts = [error]
        headers = dict((await box.ask()).headers)
        assert headers["Retry-After"] == seconds

    play(scene)
