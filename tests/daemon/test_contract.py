"""What the upstream's contract asks of its callers, where only a real daemon before a real upstream can show it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from daemon.stage import Stage, alarmed, calls, status_when
from harness import daemon as daemons
from harness import upstream as upstreams
from harness.seen import Verdict, differences

Start = Callable[..., daemons.Daemon]
Json = dict[str, Any]


@pytest.fixture
def stage(start_agentd: Start, upstream: upstreams.Upstream) -> Stage:
    return Stage(start_agentd(upstream.policy(), env=upstream.environment(), simulate=False), upstream)


PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
GREEDY: Json = {
    "model": "openai/gpt-5.5-pro",
    "models": ["anthropic/claude-opus-4.6"],
    "fallbacks": [{"model": "anthropic/claude-opus-4.6"}],
    "route": "fallback",
    "provider": {
        "order": ["deepseek"],
        "data_collection": "allow",
        "zdr": False,
        "sort": "throughput",
        "max_price": {},
    },
    "plugins": [{"id": "web", "enabled": True}, {"id": "fusion"}],
    "speed": "fast",
    "trace": {"broadcast": True},
    "debug": {"echo_upstream_body": True},
    "stop_server_tools_when": [{"type": "never"}],
    "max_tool_calls": 30,
    "web_search_options": {},
    "transforms": ["middle-out"],
    "a_field_of_tomorrow": {"model": "openai/gpt-5.5-pro"},
    "session_id": "mine",
    "user": "me@example.org",
    "safety_identifier": "me@example.org",
    "metadata": {"user_id": "me@example.org"},
    "max_tokens": 10**6,
    "max_completion_tokens": 10**6,
    "max_output_tokens": 10**6,
    "n": 5,
    "store": True,
    "tools": [{"type": "web_search"}],
}
"""All that a client can ask for without being refused."""


@pytest.mark.parametrize("dialect", list(PATHS))
@pytest.mark.parametrize("stream", [False, True])
def test_the_upstream_sees_the_verdicts_choices_and_no_others(
    stage: Stage, upstream: upstreams.Upstream, dialect: str, stream: bool
) -> None:
    said = {"input": "hello"} if dialect == "responses" else {"messages": [{"role": "user", "content": "hello"}]}
    reply = stage.daemon.ask("POST", PATHS[dialect], {**GREEDY, **said, "stream": stream})
    assert reply.status == 200, reply.body
    (row,) = (row for row in stage.rows(9) if row["kind"] == "decision")
    (arrival,) = (arrival for arrival in upstream.arrivals() if arrival["method"] == "POST")
    price = yaml.safe_load(upstream.policy())["tiers"][row["tier"]]["max_price"]
    verdict = Verdict(row["model"], row["detail"]["max_output"], max_price=(price["prompt"], price["completion"]))
    assert differences(dialect, arrival["body"].encode(), verdict) == []
    assert "example.org" not in arrival["body"]
    assert "gpt-5.5-pro" not in arrival["body"]
    assert not {name.lower() for name, _ in arrival["headers"]} & {"x-session-id", "http-referer", "x-title"}


def test_a_key_that_is_not_accepted_stops_all_calls_and_the_cure_is_said(
    stage: Stage, upstream: upstreams.Upstream
) -> None:
    status_when(stage, lambda found: bool(found["upstream_keys"]))
    assert stage.call("chat", stream=False, fault="status:401").reply.status == 400
    sent = calls(upstream)
    for dialect, status in (("chat", 400), ("messages", 451)):
        played = stage.send(dialect, "hello")
        assert (played.reply.status, played.error()[2]["code"]) == (status, "key.refused")
    assert calls(upstream) == sent
    found = status_when(stage, alarmed("key.refused"))
    assert [key["shut"] for key in found["upstream_keys"]] == [True]
    assert "agentctl key set openrouter" in stage.daemon.ctl("doctor").stdout
    assert "ALARM" in stage.daemon.ctl("status").stdout


def test_a_wrong_key_is_found_before_any_call(start_agentd: Start, upstream: upstreams.Upstream) -> None:
    environment = upstream.environment()
    (upstream.home / "credentials" / "openrouter").write_text("sk-or-v1-" + "0" * 16)
    stage = Stage(start_agentd(upstream.policy(), env=environment, simulate=False), upstream)
    status_when(stage, alarmed("key.refused"))
    assert stage.send("chat", "hello").reply.status == 400
    assert calls(upstream) == 0


@pytest.mark.parametrize("dialect", ["chat", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_every_provider_that_saw_the_data_is_recorded(stage: Stage, dialect: str, stream: bool) -> None:
    (row,) = stage.call(dialect, stream, "retried").lines
    assert stage.outcome(row)["detail"]["recipients"][0] == "Beta"
    assert len(stage.outcome(row)["detail"]["recipients"]) == 2
    failed = stage.call(dialect, stream, "status:503")
    assert [stage.outcome(row)["detail"]["recipients"] for row in failed.lines] == [["Simulated"]] * 2


CODES = ["privacy_restricted", "constraint_filtered", "no_endpoints", "model_deprecated", "free_variant_ended"]


@pytest.mark.parametrize("code", CODES)
def test_no_rule_is_relaxed_and_no_hint_followed_when_nobody_may_serve(stage: Stage, code: str) -> None:
    played = stage.call("chat", stream=False, fault=f"availability:{code}")
    assert played.reply.status == 400
    first, second = (json.loads(arrival["body"]) for arrival in played.arrivals)
    assert first["model"] != second["model"]
    assert first["provider"] == second["provider"]
    assert "openai/gpt-5.5-pro" not in (first["model"], second["model"])  # the upstream's hint


def test_a_tool_that_ran_at_the_provider_is_told(stage: Stage) -> None:
    for dialect in ("chat", "messages"):
        stage.call(dialect, True, "server-tools")
        row = [row for row in stage.rows(5) if row["kind"] == "decision"][-1]  # an alarm's line may follow
        assert stage.outcome(row)["detail"]["unasked"][0].endswith("web_search_requests = 2")
    status_when(stage, alarmed("reply.unasked"))


def test_a_model_that_the_upstream_does_not_have_is_told(stage: Stage) -> None:
    played = stage.call("chat", stream=False, fault="availability:model_not_found")
    assert len(played.arrivals) == 2
    assert [alarm["about"] for alarm in status_when(stage, alarmed("model.gone"))["alarms"]]
