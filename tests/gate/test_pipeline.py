"""The way of a model call, as conversations with a scripted world."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.policy import schema as s
from agentd.core.policy.decide import halted
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect, Hints
from agentd.core.types.receipts import Ending
from agentd.core.types.records import Kind
from agentd.gate.ports import Arrival
from agentd.gate.ports_operator import HaltAsk
from builders import PEER, policy
from gate.way import SESSION, WAIT, Box, error_of, failed, play, read, stream, whole

STRANGER = replace(PEER, uid=7)


def test_the_line_is_written_before_the_call_is_sent_and_closed_after_it() -> None:
    async def scene(box: Box) -> None:
        answer = await box.ask()
        assert answer.status == 200
        assert dict(answer.headers)["X-Agentd-Decision"] == "d-1"
        assert box.journal == ["decision:allow", "send:small/one", "outcome:done"]
        assert json.loads(answer.body or b"")["choices"][0]["message"]["content"] == "hello"

    box = play(scene)
    outcome = box.record.lines[1]
    assert (outcome.opens, outcome.cost_nusd, outcome.provider) == (1, 1_000_000, "Acme")
    assert box.spent() == 1_000_000


def test_what_is_sent_is_what_was_permitted() -> None:
    async def scene(box: Box) -> None:
        await box.ask(model="openai/gpt-5.5-pro", models=["a", "b"], provider={"zdr": False})
        sent = json.loads(box.upstream.sent[0].body)
        assert (sent["model"], sent["max_completion_tokens"]) == ("small/one", 100)
        assert "models" not in sent
        assert "gpt-5.5" not in str(sent)
        assert box.upstream.sent[0].endpoint.key == "or"

    play(scene)


def test_a_stream_is_relayed_and_closed_at_its_end() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [stream()]
        answer = await box.ask(stream=True)
        assert box.journal == ["decision:allow", "send:small/one"]
        got = await read(answer)
        assert got.endswith(b"[DONE]\n\n")
        await box.rest()
        assert box.journal[-1] == "outcome:done"
        assert box.upstream.closed == 1

    assert play(scene).spent() == 1_000_000


@pytest.mark.parametrize(
    ("peer", "body", "code", "status"),
    [
        (STRANGER, None, "caller.unknown", None),
        (STRANGER, b"{", "caller.unknown", None),
        (PEER, b"{", "json.malformed", 400),
    ],
)
def test_refusals_have_a_line_and_nothing_is_sent(
    peer: Peer, body: bytes | None, code: str, status: int | None
) -> None:
    async def scene(box: Box) -> None:
        answer = await box.ask(peer=peer, body=body)
        assert answer.status == status or status is None
        assert answer.status >= 400
        assert error_of(answer)["code"].startswith(code)
        assert box.journal == ["decision:deny"]
        assert box.upstream.sent == []

    assert play(scene).spent() == 0


def test_without_a_record_nothing_happens_and_nothing_stays_reserved() -> None:
    async def scene(box: Box) -> None:
        box.record.broken = True
        answer = await box.ask()
        assert answer.status == 503
        assert error_of(answer)["code"] == "record.disk_full"
        stranger = await box.ask(peer=STRANGER)
        assert stranger.status == 503
        box.record.broken = False
        assert (await box.ask()).status == 200

    box = play(scene)
    assert box.journal == ["decision:allow", "send:small/one", "outcome:done"]
    assert box.spent() == 1_000_000


def test_a_caller_that_leaves_before_the_line_stands_holds_no_money() -> None:
    async def scene(box: Box) -> None:
        box.record.hold = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(box.ask())
            await asyncio.sleep(0.01)
            assert box.spent() > 0
            asking.cancel()
            await asyncio.wait([asking])
            assert box.spent() == 0
        assert box.upstream.sent == []

    play(scene)


def test_two_hundred_calls_at_the_limit_overspend_by_nothing() -> None:
    limit = s.Budget("tight", "ops", s.Scope.BOX, s.Window.DAY, limit=5_000_000)

    async def scene(box: Box) -> None:
        box.upstream.scripts = [[whole(cost=0.0002)]]
        answers = await asyncio.gather(*(box.ask(hints=Hints(session=str(n))) for n in range(200)))
        assert {answer.status for answer in answers} == {200, 400}
        assert sum(answer.status == 200 for answer in answers) == len(box.upstream.sent)

    box = play(scene, policy(budgets=(limit,)))
    assert box.spent() == 200_000 * len(box.upstream.sent) <= 5_000_000
    assert _most_at_once(box) <= 5_000_000


def _most_at_once(box: Box) -> int:
    """The highest sum of costs and open reservations at any line of the record."""
    held, most = 0, 0
    for line in box.record.lines:
        held += (line.reserved_nusd or 0) if line.verdict == "allow" else 0
        held -= (line.reserved_nusd or 0) - (line.cost_nusd or 0) if line.kind is Kind.OUTCOME else 0
        most = max(most, held)
    return most


def test_a_failed_model_is_followed_by_another_with_a_decision_of_its_own() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [failed(), [whole()]]
        answer = await box.ask()
        assert answer.status == 200
        assert dict(answer.headers)["X-Agentd-Decision"] == "d-3"
        assert box.journal == [
            "decision:allow",
            "send:small/one",
            "outcome:error",
            "decision:allow",
            "send:small/two",
            "outcome:done",
        ]
        assert (box.record.lines[2].detail or {})["after"] == "d-1"
        assert box.record.lines[1].cost_nusd == 0

    play(scene)


@pytest.mark.parametrize("error", [failed(retryable=False), failed()])
def test_at_most_two_attempts_then_the_agent_is_told_when_to_come_back(error: Exception) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [error]
        answer = await box.ask()
        assert answer.status == 429
        assert dict(answer.headers)["Retry-After"] == "3"
        assert len(box.upstream.sent) == (2 if error.retryable else 1)  # type: ignore[attr-defined]

    assert play(scene).spent() == 0


def test_what_may_have_been_billed_keeps_its_reservation() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [failed(0, retryable=False, billed=True)]
        await box.ask()
        assert box.record.lines[1].cost_nusd is None
        assert box.spent() == box.record.lines[0].reserved_nusd

    play(scene)


def test_a_missing_bill_is_computed_from_the_tokens() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[whole(cost=None)]]
        await box.ask()
        assert box.record.lines[1].cost_nusd == 100 * 100 + 10 * 400
        assert (box.record.lines[1].detail or {})["cost_source"] == "computed"

    play(scene)


def test_an_error_inside_a_200_is_no_answer() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[b'{"error":{"code":502,"message":"secret upstream text"},"user_id":"user_1"}']]
        answer = await box.ask()
        assert answer.status == 429
        assert b"secret upstream text" not in (answer.body or b"")
        assert b"user_1" not in (answer.body or b"")

    play(scene)


@pytest.mark.parametrize(
    ("script", "ending"),
    [(stream(end=False), "cut"), ([stream()[0], failed(0, billed=True)], "error")],
)
def test_a_stream_that_breaks_ends_in_an_error_of_its_dialect(script: list[object], ending: str) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [script]
        got = await read(await box.ask(stream=True))
        assert b'"error"' in got
        assert b"d-1" in got
        assert box.journal[-1] == f"outcome:{ending}"
        assert box.spent() == box.record.lines[0].reserved_nusd

    play(scene)


@pytest.mark.parametrize("started", [True, False])
def test_a_client_that_leaves_closes_the_line(started: bool) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[stream()[0], WAIT]]
        answer = await box.ask(stream=True)
        assert answer.stream is not None
        if started:
            await anext(answer.stream)
        await answer.stream.aclose()
        assert box.journal[-1] == "outcome:client_gone"
        assert box.relay.in_flight == 0

    play(scene)


def test_a_client_that_leaves_a_whole_call_closes_the_line() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [WAIT]
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(box.ask())
            await asyncio.sleep(0.01)
            asking.cancel()
        assert box.journal[-1] == "outcome:client_gone"

    play(scene)


def test_an_outcome_that_cannot_be_written_waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.gate.relay.RETRY_OUTCOME_S", 0.01)

    async def scene(box: Box) -> None:
        box.upstream.scripts = [stream()]
        answer = await box.ask(stream=True)
        box.record.broken = True
        await read(answer)
        await box.rest()
        assert box.journal[-1] == "send:small/one"
        assert box.spent() == box.record.lines[0].reserved_nusd
        box.record.broken = False

    box = play(scene)
    assert box.journal[-1] == "outcome:done"
    assert box.spent() == 1_000_000


def test_a_halt_cuts_what_runs_and_refuses_what_comes() -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[stream()[0], WAIT]]
        answer = await box.ask(stream=True)
        assert answer.stream is not None
        await anext(answer.stream)
        await box.halts.halt(HaltAsk("agent", "main", "it runs away"), PEER)
        why = halted(box.halts.active()[0])
        assert box.relay.cut(lambda run: run.request.caller.agent == "main", Ending.HALTED, why) == 1
        rest = await read(answer)
        assert b"operator.halt" in rest
        assert b"it runs away" in rest
        assert b"agentctl resume --agent main" in rest
        assert box.journal[-1] == "outcome:halted"
        assert error_of(await box.ask())["code"] == "operator.halt"

    play(scene)


def test_stopping_refuses_new_calls_with_a_line() -> None:
    async def scene(box: Box) -> None:
        box.gate.stopping = True
        assert (await box.ask()).status == 503
        assert (await box.gate.escalate(PEER, Hints(), {})).status == 503
        assert box.record.lines[0].code == "daemon.stopping"

    play(scene)


def test_without_a_policy_everything_is_refused() -> None:
    async def scene(box: Box) -> None:
        box.policies.current = None
        answer = await box.ask()
        assert (answer.status, error_of(answer)["code"]) == (503, "policy.none")
        assert list(box.gate.models(PEER)) == []
        assert (await box.gate.escalate(PEER, Hints(), {})).status == 503

    play(scene)


def test_an_escalation_serves_the_next_call_of_its_session_once() -> None:
    code = Hints(session="x", lane="implementation")

    async def scene(box: Box) -> None:
        granted = await box.gate.escalate(PEER, code, {"class": "implementation", "reason": "failed twice"})
        assert granted.status == 201
        assert json.loads(granted.body or b"")["grant"] == "g-1"
        await box.ask(hints=code)
        await box.ask(hints=code)
        tiers = [line.tier for line in box.record.of(Kind.DECISION)]
        assert tiers == ["frontier", "standard"]
        assert (box.record.of(Kind.DECISION)[0].escalation or {})["reason"] == "failed twice"

    play(scene)


def test_a_grant_is_not_lost_when_its_call_is_not_recorded() -> None:
    code = Hints(session="x", lane="implementation")

    async def scene(box: Box) -> None:
        await box.gate.escalate(PEER, code, {"class": "implementation", "reason": "failed twice"})
        box.record.broken = True
        assert (await box.ask(hints=code)).status == 503
        box.record.broken = False
        await box.ask(hints=code)
        assert box.record.of(Kind.DECISION)[0].tier == "frontier"

    play(scene)


def test_escalations_beyond_the_quota_and_by_strangers_are_refused_and_recorded() -> None:
    ask = {"class": "implementation", "reason": "failed twice"}

    async def scene(box: Box) -> None:
        statuses = [(await box.gate.escalate(PEER, Hints(session="x"), ask)).status for _ in range(3)]
        assert statuses == [201, 201, 400]
        assert (await box.gate.escalate(STRANGER, Hints(), ask)).status >= 400
        assert [line.code for line in box.record.lines[2:]] == ["escalation.quota", "caller.unknown"]
        box.record.broken = True
        box.clock.now += 24 * 3600 * 10**9
        assert (await box.gate.escalate(PEER, Hints(session="x"), ask)).status == 503
        box.record.broken = False
        assert (await box.gate.escalate(PEER, Hints(session="x"), ask)).status == 201

    play(scene)


def test_a_tool_loop_keeps_its_model_even_when_another_is_named() -> None:
    loop = [
        {"role": "user", "content": "refactor the parser module"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "exec", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ]

    async def scene(box: Box) -> None:
        await box.ask("refactor the parser module")
        await box.ask(messages=loop)
        first, second = box.record.of(Kind.DECISION)
        assert (second.class_, second.model, second.code) == (first.class_, first.model, "tier.kept")

    play(scene)


def test_models_lists_lanes_and_tiers_of_this_caller_only() -> None:
    async def scene(box: Box) -> None:
        names = {entry["id"] for entry in box.gate.models(PEER)}
        assert {"heartbeat", "chat", "code", "small/one", "top/one"} <= names
        assert "claude-haiku-*" not in names
        assert list(box.gate.models(STRANGER)) == []

    play(scene)
    low = replace(policy().agents["main"], ceiling="economy", classes=("routine",))

    async def below(box: Box) -> None:
        assert "top/one" not in {entry["id"] for entry in box.gate.models(PEER)}

    play(below, policy(agents={"main": low}))


@pytest.mark.parametrize(
    ("code", "status"), [("request.too_large", 413), ("request.unknown_route", 404), ("request.slow", 400)]
)
def test_a_door_can_have_things_refused(code: str, status: int) -> None:
    async def scene(box: Box) -> None:
        assert (await box.gate.refuse(PEER, Dialect.CHAT, code, "no")).status == status
        assert box.record.lines[0].code == code

    play(scene)


def test_a_large_body_is_read_off_the_loop() -> None:
    async def scene(box: Box) -> None:
        assert (await box.ask("x" * (1 << 20))).status == 200

    play(scene)


def test_a_grant_is_not_prolonged_by_a_tool_result_that_the_agent_makes_up() -> None:
    code = Hints(session="x", lane="implementation")
    made_up = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}],
    }
    result = {"role": "tool", "tool_call_id": "1", "content": "x"}

    def turn(text: str) -> list[dict[str, Any]]:
        return [{"role": "user", "content": text}, made_up, result]

    async def scene(box: Box) -> None:
        await box.gate.escalate(PEER, code, {"class": "implementation", "reason": "failed twice"})
        await box.ask("first", hints=code)
        await box.ask(hints=code, messages=turn("first"))  # its own loop goes on
        await box.ask(hints=code, messages=turn("another question"))
        box.clock.now += 3600 * 10**9
        await box.ask(hints=code, messages=turn("first"))
        assert [line.tier for line in box.record.of(Kind.DECISION)] == ["frontier", "frontier", "standard", "standard"]

    play(scene)


def test_a_strangers_body_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_body: bytes) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("agentd.core.dialects.chat.load", read)

    async def scene(box: Box) -> None:
        assert error_of(await box.ask(peer=STRANGER))["code"] == "caller.unknown"

    play(scene)


def test_beta_flags_that_are_on_no_list_do_not_travel() -> None:
    async def scene(box: Box) -> None:
        body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
        flags = ("fast-mode-2026-02-01", "claude-code-20250219")
        await box.gate.govern(Arrival(PEER, Dialect.MESSAGES, body, SESSION, flags, "2099-01-01 x"))
        assert (box.upstream.sent[0].beta, box.upstream.sent[0].version) == (("claude-code-20250219",), "2023-06-01")

    play(scene)
