"""What the relay makes of answers that break: before their first byte, after some counts, while it waits for a status."""

import asyncio
import json
from typing import Any

import pytest

from agentd.core.accounting.price import fixed_price
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.receipts import Ending, Receipt
from agentd.core.types.records import Kind, Line
from agentd.core.types.verdicts import Reason
from agentd.gate import ports
from agentd.gate.flight import Run
from builders import PEER
from gate.way import SESSION, WAIT, Box, error_of, failed, play, read, stream, whole

ASKED = json.dumps({"model": "agentd", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}).encode()

HALTED = Reason("operator.halt", "halt-7", "the operator has stopped agent main", "agentctl resume --agent main")


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()


START = event("message_start", message={"id": "gen-1", "usage": {"input_tokens": 100, "output_tokens": 1, "cost": 0}})
PLAIN_START = event("message_start", message={"id": "gen-1", "usage": {"input_tokens": 100, "output_tokens": 1}})
DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "hello"})
FINISH = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 10, "cost": 0.002})
UNPRICED = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 10, "cost": None})
ERROR = event("error", error={"type": "api_error", "message": "account user_1 is out"})
CHAT_ERROR = b'data: {"error":{"code":502,"message":"account user_1 is out"},"choices":[]}\n\n'


async def messages(box: Box, *, streamed: bool = True) -> ports.Answer:
    asked = {"model": "agentd", "max_tokens": 100, "stream": streamed, "messages": [{"role": "user", "content": "hi"}]}
    return await box.gate.govern(ports.Arrival(PEER, Dialect.MESSAGES, json.dumps(asked).encode(), SESSION))


def everything(_run: Run) -> bool:
    return True


@pytest.mark.parametrize("last", [[], [failed(0, billed=True)], [ERROR]], ids=["cut", "broken", "error"])
def test_counts_from_the_beginning_of_a_stream_settle_nothing(last: list[Any]) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[START, DELTA, *last]]
        assert b"event: error" in await read(await messages(box))
        assert box.record.lines[1].cost_nusd is None
        assert box.spent() == box.record.lines[0].reserved_nusd

    play(scene)


def test_a_client_that_leaves_in_the_middle_settles_nothing() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[START, DELTA, WAIT]]
        answer = await messages(box)
        assert answer.stream is not None
        await anext(answer.stream)
        await answer.stream.aclose()
        assert box.record.lines[1].status == "client_gone"
        assert box.spent() == box.record.lines[0].reserved_nusd

    play(scene)


@pytest.mark.parametrize(("finish", "cost"), [(FINISH, 2_000_000), (UNPRICED, 100 * 100 + 10 * 400)])
def test_counts_that_came_with_the_finish_settle_a_stream_without_its_end_mark(finish: bytes, cost: int) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[PLAIN_START, DELTA, finish]]
        await read(await messages(box))
        assert (box.record.lines[1].status, box.record.lines[1].cost_nusd) == ("cut", cost)

    play(scene)


@pytest.mark.parametrize("delta", [{"output_tokens": 10}, {"output_tokens": 10, "cost": None}, {"output_tokens": None}])
def test_a_zero_from_the_beginning_makes_no_answer_free(delta: dict[str, Any]) -> None:
    async def scene(box: Box) -> None:
        last = event("message_delta", delta={"stop_reason": "end_turn"}, usage=delta)
        box.upstream.scripts = [[START, DELTA, last, event("message_stop")]]
        await read(await messages(box))
        await box.rest()
        cost = 100 * 100 + (delta["output_tokens"] or 1) * 400
        (outcome,) = box.record.of(Kind.OUTCOME)
        assert (outcome.status, outcome.cost_nusd) == ("done", cost)
        assert (outcome.detail or {})["cost_source"] == "computed"

    play(scene)


def test_an_answer_that_claims_to_have_cost_nothing_and_counts_nothing_is_asked_about() -> None:
    """As one that the upstream kept from an earlier call would: its accounting says whether that is so."""

    async def scene(box: Box) -> None:
        asked: list[Any] = []
        box.relay.on_unsettled = lambda run, outcome: asked.append(outcome.generation)
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0}
        box.upstream.scripts = [[whole(usage=usage)]]
        assert (await box.ask()).status == 200
        assert (asked, box.spent()) == (["gen-1"], box.record.lines[0].reserved_nusd)

    play(scene)


def test_a_model_without_a_price_may_cost_nothing() -> None:
    async def scene(box: Box) -> None:
        box.prices["small/one"] = fixed_price("0", "0")
        box.upstream.scripts = [[whole(0)]]
        await box.ask()
        assert [line.cost_nusd for line in box.record.of(Kind.OUTCOME)] == [0]

    play(scene)


def test_an_answer_without_words_is_insured_and_may_cost_nothing() -> None:
    async def scene(box: Box) -> None:
        usage = {"prompt_tokens": 100, "completion_tokens": 0, "cost": 0}
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": None}
        box.upstream.scripts = [[whole(usage=usage, choices=[choice])]]
        await box.ask()
        assert [line.cost_nusd for line in box.record.of(Kind.OUTCOME)] == [0]

    play(scene)


@pytest.mark.parametrize("script", [[CHAT_ERROR], [failed()]], ids=["error event", "broken"])
def test_what_fails_before_the_first_byte_goes_to_another_model(script: list[Any]) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [script, stream()]
        answer = await box.ask(stream=True)
        assert answer.status == 200
        assert (await read(answer)).endswith(b"data: [DONE]\n\n")
        assert [entry for entry in box.journal if entry.startswith("send")] == ["send:small/one", "send:small/two"]
        assert (box.record.lines[2].detail or {})["after"] == "d-1"

    play(scene)


def test_a_stream_that_never_began_is_refused_like_a_whole_answer() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[CHAT_ERROR]]
        answer = await box.ask(stream=True)
        assert answer.status == 429
        assert error_of(answer)["code"] == "upstream.error"
        assert b"user_1" not in (answer.body or b"")
        assert [(line.detail or {})["http"] for line in box.record.lines if line.opens] == [0, 0]

    play(scene)


def test_after_the_first_byte_there_is_no_other_model() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[stream()[0], CHAT_ERROR], stream()]
        got = await read(await box.ask(stream=True))
        assert b'"error"' in got
        assert len(box.upstream.sent) == 1
        assert (box.record.lines[1].detail or {})["http"] == 200

    play(scene)


def test_an_error_is_told_although_the_upstream_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.gate.relay.AFTER_ERROR_S", 0.01)

    async def scene(box: Box) -> None:
        box.upstream.scripts = [[stream()[0], CHAT_ERROR, WAIT]]
        assert b'"error"' in await read(await box.ask(stream=True))
        assert box.journal[-1] == "outcome:error"

    play(scene)


def test_the_usage_that_follows_an_error_counts() -> None:
    async def scene(box: Box) -> None:
        told = b'data: {"error":{"code":502},"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n'
        box.upstream.scripts = [[stream()[0], told, stream()[2]]]
        await read(await box.ask(stream=True))
        assert (box.record.lines[1].status, box.record.lines[1].cost_nusd) == ("error", 1_000_000)

    play(scene)


def test_a_body_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.core.dialects.replies.MAX_BODY_BYTES", 1000)

    async def scene(box: Box) -> None:
        box.upstream.scripts = [[b" " * 600, b" " * 600, AssertionError("read on")]]
        answer = await box.ask()
        assert answer.status == 429
        assert box.record.lines[1].status == "error"

    play(scene)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("ending", "why", "status", "code", "rule"),
    [
        (Ending.HALTED, (HALTED,), 400, "operator.halt", "halt-7"),  # waiting does not help against an operator
        (Ending.STOPPED, (), 429, "daemon.stopping", "agentd"),
    ],
)
@pytest.mark.parametrize("script", [WAIT, [WAIT]], ids=["before the status", "before the first byte"])
def test_a_cut_ends_a_call_that_waits(
    script: Any, ending: Ending, why: tuple[Reason, ...], status: int, code: str, rule: str, streamed: bool
) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [script]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(box.ask(stream=streamed))
            while "send:small/one" not in box.journal:
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
            assert box.relay.cut(everything, ending, *why) == 1
            assert box.relay.cut(everything, ending, *why) == 0
        answer = asking.result()
        assert answer.status == status
        assert (error_of(answer)["code"], error_of(answer)["rule"]) == (code, rule)
        assert box.journal[-1] == f"outcome:{ending.value}"
        assert box.spent() == box.record.lines[0].reserved_nusd
        assert len(box.upstream.sent) == 1

    play(scene)


def test_a_cut_at_the_moment_of_the_status_counts() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[WAIT]]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(box.ask(stream=True))
            while "send:small/one" not in box.journal:
                await asyncio.sleep(0)
            assert box.relay.cut(everything, Ending.HALTED) == 1  # the status comes in the same turn of the loop
        assert box.journal[-1] == "outcome:halted"
        assert asking.result().status == 400

    play(scene)


def test_an_upstreams_health_is_its_last_calls() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [failed(retryable=False), [whole()]]
        await box.ask()
        health = box.relay.upstreams["or"]
        assert (health.last_error, health.last_ok) == ("upstream.overloaded", "")
        assert health.failed_at
        await box.ask()
        assert (box.relay.upstreams["or"].last_error, bool(box.relay.upstreams["or"].last_ok)) == ("", True)

    play(scene)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_good_answer_waits_for_no_line_and_the_next_decision_counts_its_cost(streamed: bool) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [stream() if streamed else [whole()], [whole()]]
        asked = {
            "model": "agentd",
            "max_tokens": 100,
            "stream": streamed,
            "messages": [{"role": "user", "content": "hi"}],
        }
        arrival = ports.Arrival(PEER, Dialect.CHAT, json.dumps(asked).encode(), SESSION)
        first = await box.gate.govern(arrival)
        box.record.hold = asyncio.Event()
        if streamed:
            await read(first)
        assert box.record.of(Kind.OUTCOME) == []
        assert box.spent() == 1_000_000 != box.record.lines[0].reserved_nusd, "what an answer cost is known with its end"
        box.record.hold.set()
        await box.gate.govern(arrival)
        assert box.journal[:4] == ["decision:allow", "send:small/one", "outcome:done", "decision:allow"]
        assert box.record.lingered == ["outcome"], "written together with the decision behind it"

    play(scene)


def test_a_decision_does_not_wait_for_an_outcome_that_cannot_be_written() -> None:
    async def scene(box: Box) -> None:
        answer = await box.gate.govern(ports.Arrival(PEER, Dialect.CHAT, ASKED, SESSION))
        assert answer.status == 200
        box.record.broken = True
        refused = await box.ask()
        assert error_of(refused)["code"] == "record.disk_full"
        assert box.record.of(Kind.OUTCOME) == []
        assert box.relay.let_go() == 1

    play(scene)


def test_an_outcome_that_no_line_can_hold_is_written_with_less() -> None:
    async def scene(box: Box) -> None:
        append = box.record.append

        async def picky(line: Line, *, linger: bool = False) -> Receipt:
            if line.kind is Kind.OUTCOME and line.detail:
                raise RecordUnavailable("record.unwritable", "the line is too long")
            return await append(line)

        box.record.append = picky  # type: ignore[method-assign]
        await box.ask()
        await box.rest()
        assert box.record.lines[1].cost_nusd == 1_000_000
        assert box.relay.in_flight == 0

    play(scene)
