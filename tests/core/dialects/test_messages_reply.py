"""Replies of the messages dialect: what they say, what of them is forwarded."""

from typing import Any

import pytest

from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending, Usage
from core.dialects.reply_talk import (
    BLOCK,
    COMMENT,
    DONE,
    END,
    LAST,
    LATE_NULLS,
    MESSAGE,
    PING,
    START,
    USE,
    WORDS,
    check_failure,
    check_stream,
    check_whole,
    event,
    machine,
    messages_facts,
    run,
    with_ends,
)

# name, does the client want usage, events that come, events of those that are kept back, facts
STREAMS: list[tuple[str, bool, list[bytes], list[bytes], ReplyFacts]] = [
    (
        "plain messages",
        True,
        [START, PING, BLOCK, WORDS, END, LAST],
        [],
        messages_facts(
            usage=Usage(8608, 41, 8000, cost=4_100_000),
            ending=Ending.DONE,
            finish="tool_use",
            recipients=("Beta", "Acme"),
        ),
    ),
    (
        "messages with tools",
        False,
        [START, BLOCK, USE, END, LATE_NULLS, LAST, DONE],
        [],
        messages_facts(
            usage=Usage(8608, 42, 8000, cost=4_100_000),
            ending=Ending.DONE,
            finish="tool_use",
            tool_calls=("Bash",),
            recipients=("Beta", "Acme"),
        ),
    ),
    ("messages without names", True, [event("message_stop", named=False)], [], ReplyFacts(ending=Ending.DONE)),
    ("messages without types", True, [b"event: message_stop\ndata: {}\n\n"], [], ReplyFacts(ending=Ending.DONE)),
    (
        "messages cut",
        True,
        [START, WORDS, END],
        [],
        messages_facts(usage=Usage(8608, 41, 8000, cost=4_100_000), finish="tool_use"),
    ),
    ("messages end with their own mark", True, [START, DONE], [], messages_facts(usage=Usage(0, 0))),
    (
        "unknown messages event",
        True,
        [COMMENT, START, event("news", deep=[1]), LAST],
        [],
        messages_facts(usage=Usage(0, 0), ending=Ending.DONE, recipients=("Beta", "Acme")),
    ),
]


@pytest.mark.parametrize(
    ("wants", "events", "kept", "facts"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_streams(wants: bool, events: list[bytes], kept: list[bytes], facts: ReplyFacts, end: bytes) -> None:
    check_stream(machine(Dialect.MESSAGES, wants_usage=wants), with_ends(events, end), with_ends(kept, end), facts)


# name, events that come, events that are forwarded, code
FAILURES: list[tuple[str, list[bytes], list[bytes], str]] = [
    (
        "messages",
        [START, event("error", error={"type": "overloaded_error", "message": "secret text"}), LAST],
        [START],
        "overloaded_error",
    ),
    (
        "messages code",
        [event("error", error={"type": "api_error", "error_type": "timeout"}, x="secret text")],
        [],
        "timeout",
    ),
    ("messages without type", [b'data: {"error": {"type": "api_error"}}\n\n'], [], "api_error"),
    ("messages bare", [event("error")], [], "unmapped"),
]


@pytest.mark.parametrize(("events", "passed", "code"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_errors_are_told_by_code_and_never_forwarded(events: list[bytes], passed: list[bytes], code: str) -> None:
    check_failure(machine(Dialect.MESSAGES), events, passed, code)


WHOLE: list[tuple[str, Any, ReplyFacts]] = [
    (
        "messages",
        MESSAGE,
        messages_facts(
            usage=Usage(7, 3),
            ending=Ending.DONE,
            finish="end_turn",
            tool_calls=("Bash", "Read"),
            recipients=("Beta", "Acme"),
        ),
    ),
    (
        "messages error",
        {"type": "error", "error": {"type": "api_error", "message": "secret"}},
        ReplyFacts(ending=Ending.ERROR, error="api_error"),
    ),
    ("no content", {"type": "message"}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
]


@pytest.mark.parametrize(("said", "facts"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_whole_bodies(said: Any, facts: ReplyFacts) -> None:
    check_whole(machine(Dialect.MESSAGES, stream=False), said, facts)


def test_a_call_without_a_number_is_told_apart_by_its_name() -> None:
    block = {"type": "tool_use", "name": "Bash"}
    raw = [event("content_block_start", content_block=block), event("content_block_start", content_block=block)]
    assert run(machine(Dialect.MESSAGES), raw)[1].tool_calls == ("Bash",)
