"""Replies to chat completions: what they say, what of them is forwarded."""

import json
from typing import Any

import pytest

from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending
from core.dialects.reply_talk import (
    ANSWER,
    ATTEMPTS,
    COMMENT,
    COUNTED,
    DONE,
    ERROR_BODY,
    HELLO,
    METER,
    METER_WITH_CHOICE,
    STOP,
    TOOL,
    USAGE,
    chat_facts,
    check_failure,
    check_stream,
    check_whole,
    chunk,
    delta,
    machine,
    run,
    with_ends,
)

# name, does the client want usage, events that come, events of those that are kept back, facts
STREAMS: list[tuple[str, bool, list[bytes], list[bytes], ReplyFacts]] = [
    ("plain", True, [HELLO, STOP, METER, DONE], [], chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop")),
    (
        "usage not asked for",
        False,
        [HELLO, STOP, METER, DONE],
        [METER],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "usage beside a choice",
        False,
        [HELLO, STOP, METER_WITH_CHOICE, DONE],
        [],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "comments everywhere",
        False,
        [COMMENT, COMMENT, HELLO, COMMENT, STOP, METER, COMMENT, DONE, COMMENT],
        [METER],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "null usage on each chunk",
        False,
        [chunk([delta(content="x")], usage=None), DONE],
        [],
        chat_facts(ending=Ending.DONE),
    ),
    ("a chunk with nothing", False, [chunk(debug={}), HELLO, DONE], [], chat_facts(ending=Ending.DONE)),
    (
        "tools",
        True,
        [HELLO, *TOOL, DONE],
        [],
        chat_facts(ending=Ending.DONE, finish="tool_calls", tool_calls=("exec", "read")),
    ),
    (
        "attempts",
        True,
        [chunk([delta(content="x")], openrouter_metadata=ATTEMPTS), DONE],
        [],
        chat_facts(ending=Ending.DONE, recipients=("Beta", "Acme")),
    ),
    ("cut", True, [HELLO, STOP, METER], [], chat_facts(usage=COUNTED, finish="stop")),
    ("nothing at all", True, [], [], ReplyFacts()),
    ("only comments", True, [COMMENT], [], ReplyFacts()),
    (
        "unknown things",
        True,
        [chunk([delta("melted", x=1)], what=[1]), b"event: new\n\n", b"data:\n\n", DONE],
        [],
        chat_facts(ending=Ending.DONE, finish="melted"),
    ),
]


@pytest.mark.parametrize(
    ("wants", "events", "kept", "facts"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_streams(wants: bool, events: list[bytes], kept: list[bytes], facts: ReplyFacts, end: bytes) -> None:
    check_stream(machine(Dialect.CHAT, wants_usage=wants), with_ends(events, end), with_ends(kept, end), facts)


# name, events that come, events that are forwarded, code
FAILURES: list[tuple[str, list[bytes], list[bytes], str]] = [
    ("top", [HELLO, chunk([delta("error", content="")], **ERROR_BODY), DONE], [HELLO], "provider_unavailable"),
    ("number", [chunk(error={"code": 429, "message": "secret text"})], [], "429"),
    ("word", [chunk(error={"code": "server_error", "message": "secret text"})], [], "server_error"),
    ("sentence", [chunk(error={"code": "secret text", "message": "secret text"})], [], "unmapped"),
    ("text alone", [chunk(error="secret text")], [], "unmapped"),
    ("beside", [chunk(error={"message": "secret text"}, error_type="timeout")], [], "timeout"),
    ("in a choice", [HELLO, chunk([{**delta(), "error": {"code": 500, "message": "secret text"}}])], [HELLO], "500"),
    ("a word of a choice", [HELLO, chunk([delta("error")])], [HELLO], "error"),
    (
        "first byte",
        [COMMENT, b"data: " + json.dumps(ERROR_BODY).encode() + b"\n\n"],
        [COMMENT],
        "provider_unavailable",
    ),
    ("no JSON", [HELLO, b"data: <html>secret text</html>\n\n"], [HELLO], "unreadable_event"),
    ("no object", [HELLO, b"data: [1]\n\n", HELLO], [HELLO], "unreadable_event"),
    ("too deep", [HELLO, b"data: " + b"[" * 100_000 + b"\n\n"], [HELLO], "unreadable_event"),
]


@pytest.mark.parametrize(("events", "passed", "code"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_errors_are_told_by_code_and_never_forwarded(events: list[bytes], passed: list[bytes], code: str) -> None:
    check_failure(machine(Dialect.CHAT), events, passed, code)


WHOLE: list[tuple[str, Any, ReplyFacts]] = [
    ("chat", ANSWER, chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop", tool_calls=("exec", "c"))),
    ("error", ERROR_BODY, ReplyFacts(ending=Ending.ERROR, error="provider_unavailable")),
    (
        "choice error",
        {
            "choices": [{"finish_reason": "error", "error": {"code": 502}, "message": {"content": "half"}}],
            "usage": USAGE,
        },
        ReplyFacts(usage=COUNTED, ending=Ending.ERROR, error="502", finish="error"),
    ),
    ("no choices", {"choices": []}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
    (
        "odd choices",
        {"choices": "x", "id": 7, "model": "", "provider": None},
        ReplyFacts(ending=Ending.ERROR, error="no_answer"),
    ),
    ("empty", {}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
    ("a list", [1], ReplyFacts()),
]


@pytest.mark.parametrize(("said", "facts"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_whole_bodies(said: Any, facts: ReplyFacts) -> None:
    check_whole(machine(Dialect.CHAT, stream=False), said, facts)


def test_a_tool_call_without_index_is_told_apart_by_its_id() -> None:
    one = {
        "index": 0,
        "delta": {"tool_calls": [{"id": "a", "function": {"name": "x"}}, {"id": "b", "function": {"name": "x"}}]},
    }
    assert run(machine(Dialect.CHAT), [chunk([one]), DONE])[1].tool_calls == ("x", "x")


def test_half_a_pair_in_a_delta_is_no_fault() -> None:
    raw = b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n'
    assert run(machine(Dialect.CHAT), [raw, DONE])[:2] == (raw + DONE, ReplyFacts(ending=Ending.DONE))
