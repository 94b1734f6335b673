"""Replies of the responses dialect: what they say, what of them is forwarded."""

from typing import Any

import pytest

from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending, Usage
from core.dialects.reply_talk import (
    COMMENT,
    COMPLETED,
    CREATED,
    CUSTOM,
    DONE,
    FAILED,
    FUNCTION,
    INCOMPLETE,
    RESPONSE_COUNTED,
    RESPONSE_USAGE,
    ROUTED,
    SHELL,
    SPOKEN,
    check_failure,
    check_stream,
    check_whole,
    event,
    item,
    machine,
    response,
    responses_facts,
    run,
    told,
    with_ends,
)

WHOLE_OUTPUT = [
    {"type": "reasoning", "id": "r"},
    {"type": "message", "content": []},
    {"type": "function_call", "name": "exec"},
    7,
]
DONE_FACTS: dict[str, Any] = {"usage": RESPONSE_COUNTED, "ending": Ending.DONE, "finish": "completed"}

# name, events, facts
STREAMS: list[tuple[str, list[bytes], ReplyFacts]] = [
    ("plain", [CREATED, SPOKEN, COMPLETED, DONE], responses_facts(**DONE_FACTS)),
    ("no end mark", [CREATED, SPOKEN, COMPLETED], responses_facts(**DONE_FACTS)),
    (
        "tools",
        [CREATED, FUNCTION, CUSTOM, SHELL, FUNCTION, COMPLETED, DONE],
        responses_facts(tool_calls=("exec", "team.patch", "local_shell"), **DONE_FACTS),
    ),
    (
        "tools that only the last event tells",
        [CREATED, told("completed", "completed", output=WHOLE_OUTPUT)],
        responses_facts(ending=Ending.DONE, finish="completed", tool_calls=("exec",)),
    ),
    (
        "tools told twice",
        [item("function_call", 2, name="exec"), told("completed", "completed", output=WHOLE_OUTPUT)],
        responses_facts(ending=Ending.DONE, finish="completed", tool_calls=("exec",)),
    ),
    (
        "the output cap",
        [CREATED, SPOKEN, INCOMPLETE, DONE],
        responses_facts(usage=RESPONSE_COUNTED, ending=Ending.DONE, finish="max_output_tokens"),
    ),
    (
        "incomplete without a reason",
        [told("incomplete", None)],
        responses_facts(ending=Ending.DONE, finish="incomplete"),
    ),
    ("another word for the end", [told("done", "completed")], responses_facts(ending=Ending.DONE, finish="completed")),
    ("an end that is none", [told("done", "in_progress")], responses_facts()),
    (
        "routing",
        [CREATED, told("completed", "completed", openrouter_metadata=ROUTED)],
        responses_facts(ending=Ending.DONE, finish="completed", provider="Acme", recipients=("Beta", "Acme")),
    ),
    (
        "routing beside",
        [event("response.completed", response=response("completed"), openrouter_metadata=ROUTED)],
        responses_facts(ending=Ending.DONE, finish="completed", provider="Acme", recipients=("Beta", "Acme")),
    ),
    (
        "an id of the response's own, and a provider",
        [told("completed", "completed", id="resp_1", provider="Acme")],
        responses_facts(
            generation=None,
            begun="resp_1",
            ending=Ending.DONE,
            finish="completed",
            provider="Acme",
            recipients=("Acme",),
        ),
    ),
    ("cut", [CREATED, SPOKEN, FUNCTION], responses_facts(tool_calls=("exec",))),
    ("an end mark ends nothing by itself", [CREATED, DONE], responses_facts()),
    (
        "names without types",
        [b'event: response.completed\ndata: {"response": {}}\n\n'],
        ReplyFacts(ending=Ending.DONE, finish="completed"),
    ),
    ("unknown events", [COMMENT, event("response.news", deep=[1]), COMPLETED], responses_facts(**DONE_FACTS)),
]


@pytest.mark.parametrize(("events", "facts"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_streams(events: list[bytes], facts: ReplyFacts, end: bytes) -> None:
    check_stream(machine(Dialect.RESPONSES), with_ends(events, end), [], facts)


ERROR = {"code": "server_error", "message": "secret text"}
# name, events that come, events that are forwarded, code
FAILURES: list[tuple[str, list[bytes], list[bytes], str]] = [
    ("failed", [CREATED, FAILED, DONE], [CREATED], "server_error"),
    ("failed by type", [told("failed", "failed", error=ERROR, error_type="timeout")], [], "timeout"),
    ("failed bare", [told("failed", None)], [], "unmapped"),
    ("completed with an error", [told("completed", "completed", error=ERROR)], [], "server_error"),
    ("completed as failed", [told("completed", "failed")], [], "unmapped"),
    ("cancelled", [told("done", "cancelled")], [], "unmapped"),
    ("error", [CREATED, event("error", code="server_error", message="secret text")], [CREATED], "server_error"),
    ("error inside", [event("error", error={"type": "api_error", "message": "secret"})], [], "api_error"),
    ("error by type", [event("response.error", error={**ERROR, "metadata": {"error_type": "server"}})], [], "server"),
    ("error bare", [event("error")], [], "unmapped"),
    ("error without a type", [b'data: {"error": {"code": 502}}\n\n'], [], "502"),
]


@pytest.mark.parametrize(("events", "passed", "code"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_errors_are_told_by_code_and_never_forwarded(events: list[bytes], passed: list[bytes], code: str) -> None:
    check_failure(machine(Dialect.RESPONSES), events, passed, code)


def test_what_failed_may_have_cost_all_the_same() -> None:
    facts = run(machine(Dialect.RESPONSES), [CREATED, FAILED])[1]
    assert (facts.usage, facts.finish) == (RESPONSE_COUNTED, "failed")
    assert run(machine(Dialect.RESPONSES), [told("completed", "completed"), FAILED])[1].finish == "completed"


WHOLE: list[tuple[str, Any, ReplyFacts]] = [
    (
        "answer",
        response("completed", output=WHOLE_OUTPUT, usage=RESPONSE_USAGE, error=None, openrouter_metadata=ROUTED),
        responses_facts(**DONE_FACTS, tool_calls=("exec",), provider="Acme", recipients=("Beta", "Acme")),
    ),
    (
        "cap",
        response("incomplete", incomplete_details={"reason": "max_output_tokens"}),
        responses_facts(ending=Ending.DONE, finish="max_output_tokens"),
    ),
    (
        "failed",
        response("failed", error=ERROR, usage=RESPONSE_USAGE),
        responses_facts(ending=Ending.ERROR, error="server_error", usage=RESPONSE_COUNTED, finish="failed"),
    ),
    (
        "error alone",
        {"error": {"code": 502, "metadata": {"error_type": "timeout"}}},
        ReplyFacts(ending=Ending.ERROR, error="timeout"),
    ),
    ("still at work", response("queued"), responses_facts(ending=Ending.ERROR, error="no_answer")),
    (
        "no output",
        response("completed", output=None),
        responses_facts(ending=Ending.ERROR, error="no_answer", finish="completed"),
    ),
    ("another dialect's", {"choices": []}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
]


@pytest.mark.parametrize(("said", "facts"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_whole_bodies(said: Any, facts: ReplyFacts) -> None:
    check_whole(machine(Dialect.RESPONSES, stream=False), said, facts)


BYOK = {**RESPONSE_USAGE, "cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1.0}}


def test_the_providers_share_is_added() -> None:
    reader = machine(Dialect.RESPONSES)
    assert run(reader, [told("completed", "completed", usage=BYOK)])[1].usage.cost == 1_050_000_000


def test_a_call_without_a_number_is_told_apart_by_its_name() -> None:
    raw = [item("function_call", None, name="exec"), item("function_call", None, name="exec")]
    assert run(machine(Dialect.RESPONSES), raw)[1].tool_calls == ("exec",)


def test_usage_of_nothing_is_nothing() -> None:
    assert run(machine(Dialect.RESPONSES), [CREATED])[1].usage == Usage()
