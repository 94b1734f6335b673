"""Replies to test with: events and bodies of the dialects, and a machine that reads them."""

import json
from typing import Any

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import ReplyFacts, ReplyMachine
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending, Usage
from core.dialects.talk import Json, body_of, user

USAGE = {"prompt_tokens": 9120, "completion_tokens": 41, "total_tokens": 9161, "cost": 0.00137}
COUNTED = Usage(9120, 41, cost=1_370_000)
ATTEMPTS = {
    "attempts": [{"provider": "Beta", "status": 429}, {"provider": "Acme", "status": 200}, {"provider": "Beta"}, 7, {}]
}


def machine(dialect: Dialect, stream: bool = True, wants_usage: bool = True) -> ReplyMachine:
    fields: Json = {"stream": stream}
    if dialect is Dialect.CHAT and wants_usage:
        fields["stream_options"] = {"include_usage": True}
    return grammar(dialect).reader(grammar(dialect).read(body_of(dialect, [user("q")], **fields)))


def run(reader: ReplyMachine, chunks: list[bytes]) -> tuple[bytes, ReplyFacts, bool]:
    out = b"".join([reader.feed(chunk) for chunk in chunks]) + reader.finish()
    return out, reader.facts, reader.failed


def chunk(choices: list[Json] | None = None, **more: Any) -> bytes:
    """A chat event."""
    said = {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "model": "acme/one",
        "provider": "Acme",
        "choices": choices or [],
        **more,
    }
    return b"data: " + json.dumps(said, ensure_ascii=False).encode() + b"\n\n"


def delta(finish: str | None = None, **words: Any) -> Json:
    return {"index": 0, "delta": words, "finish_reason": finish}


def call(index: int | None, name: str | None, more: str = "") -> Json:
    return {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": more}}


def event(kind: str, named: bool = True, **more: Any) -> bytes:
    """A messages event."""
    head = f"event: {kind}\n".encode() if named else b""
    return head + b"data: " + json.dumps({"type": kind, **more}, ensure_ascii=False).encode() + b"\n\n"


COMMENT = b": OPENROUTER PROCESSING\n\n"
DONE = b"data: [DONE]\n\n"
HELLO = chunk([delta(role="assistant", content="grüße 😀")])
STOP = chunk([delta("stop", content="")])
METER = chunk(usage=USAGE)
METER_WITH_CHOICE = chunk([delta(content="")], usage=USAGE)
TOOL = [
    chunk([delta(tool_calls=[call(0, "exec", '{"cmd"')])]),
    chunk([delta(tool_calls=[call(0, None, ': "ls"}'), call(1, "read")])]),
    chunk([delta("tool_calls", tool_calls=[call(0, "exec again")])]),
]
START = event(
    "message_start",
    message={
        "id": "msg-1",
        "model": "acme/one",
        "provider": "Acme",
        "content": [],
        "usage": {"input_tokens": 0, "output_tokens": 0},
    },
)
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
WORDS = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "grüße 😀"})
USE = event("content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "Bash", "input": {}})
END = event(
    "message_delta",
    delta={"stop_reason": "tool_use"},
    usage={
        "input_tokens": 608,
        "cache_read_input_tokens": 8000,
        "cache_creation_input_tokens": None,
        "output_tokens": 41,
        "cost": 0.0041,
    },
)
LATE_NULLS = event("message_delta", delta={"stop_reason": None}, usage={"input_tokens": None, "output_tokens": 42})
LAST = event("message_stop", openrouter_metadata=ATTEMPTS)
PING = event("ping")

SERVED = {"model": "acme/one", "provider": "Acme", "recipients": ("Acme",)}


def chat_facts(**more: Any) -> ReplyFacts:
    return ReplyFacts(**{**SERVED, "generation": "gen-1", **more})


def messages_facts(**more: Any) -> ReplyFacts:
    return ReplyFacts(**{**SERVED, "generation": "msg-1", **more})


ERROR_BODY = {
    "error": {"code": 502, "message": "secret text", "metadata": {"error_type": "provider_unavailable"}},
    "user_id": "user_x",
}
ANSWER = {
    "id": "gen-1",
    "model": "acme/one",
    "provider": "Acme",
    "choices": [
        {
            "index": 0,
            "message": {"content": "done", "tool_calls": [call(None, "exec"), {"custom": {"name": "c"}}]},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
MESSAGE = {
    "id": "msg-1",
    "type": "message",
    "model": "acme/one",
    "provider": "Acme",
    "content": [
        {"type": "text", "text": "grüße"},
        {"type": "tool_use", "name": "Bash"},
        {"type": "tool_use", "name": "Read"},
        7,
    ],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 7, "output_tokens": 3},
    "openrouter_metadata": ATTEMPTS,
}


RESPONSE_USAGE = {
    "input_tokens": 9120,
    "input_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 512},
    "output_tokens": 41,
    "output_tokens_details": {"reasoning_tokens": 12},
    "cost": 0.00137,
}
RESPONSE_COUNTED = Usage(9120, 41, 8000, 512, 12, cost=1_370_000)
ROUTED = {
    **ATTEMPTS,
    "endpoints": {"available": [7, {"provider": "Beta", "selected": False}, {"provider": "Acme", "selected": True}]},
}


def response(status: str | None = "in_progress", **more: Any) -> Json:
    """A response object."""
    return {"id": "gen-1", "object": "response", "status": status, "model": "acme/one", "output": [], **more}


def told(kind: str, status: str | None = "in_progress", **more: Any) -> bytes:
    """A responses event that carries a response."""
    return event(f"response.{kind}", response=response(status, **more))


def item(kind: str, place: int | None, **more: Any) -> bytes:
    """A responses event of an item: `kind` is the item's."""
    return event("response.output_item.added", output_index=place, item={"type": kind, "id": f"i{place}", **more})


CREATED = told("created", error=None, usage=None)
SPOKEN = event("response.output_text.delta", output_index=0, content_index=0, delta="grüße 😀")
FUNCTION = item("function_call", 1, name="exec", namespace=None, arguments="")
CUSTOM = item("custom_tool_call", 2, name="patch", namespace="team", input="")
SHELL = item("local_shell_call", 3, action={"type": "exec"})
COMPLETED = told("completed", "completed", usage=RESPONSE_USAGE, error=None)
INCOMPLETE = told("incomplete", "incomplete", usage=RESPONSE_USAGE, incomplete_details={"reason": "max_output_tokens"})
FAILED = told("failed", "failed", usage=RESPONSE_USAGE, error={"code": "server_error", "message": "secret text"})


def responses_facts(**more: Any) -> ReplyFacts:
    return ReplyFacts(**{"model": "acme/one", "generation": "gen-1", "begun": "gen-1", **more})


def check_stream(reader: ReplyMachine, events: list[bytes], kept: list[bytes], facts: ReplyFacts) -> None:
    """All events but the kept ones are forwarded, and say the facts, whichever way lines end."""
    out, heard, failed = run(reader, events)
    assert out == b"".join(one for one in events if one not in kept)
    assert heard == facts
    assert failed is (facts.ending is not Ending.DONE)


def check_failure(reader: ReplyMachine, events: list[bytes], passed: list[bytes], code: str) -> None:
    """The error is told by its code; nothing from it on is forwarded."""
    out, facts, failed = run(reader, events)
    assert out == b"".join(passed)
    assert (facts.ending, facts.error, failed) == (Ending.ERROR, code, True)


def check_whole(reader: ReplyMachine, said: Any, facts: ReplyFacts) -> None:
    """A body is forwarded as it came, or not at all."""
    raw = b"\n\n \n" + json.dumps(said, indent=1).encode()
    out, heard, failed = run(reader, [raw[:3], raw[3:]])
    assert heard == facts
    assert failed is (facts.ending is not Ending.DONE)
    assert out == (b"" if failed else raw)


def with_ends(events: list[bytes], end: bytes) -> list[bytes]:
    """The events with another line end."""
    return [one.replace(b"\n", end) for one in events]
