"""Replies as upstreams send them, whole and in streams: facts and forwarded bytes, however the bytes were split."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.dialects import grammar, replies, sse
from agentd.core.dialects.grammar import ReplyFacts, ReplyMachine
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending, Usage
from core.dialects.talk import CHAT, MESSAGES, Json, body, user

USAGE = {"prompt_tokens": 9120, "completion_tokens": 41, "total_tokens": 9161, "cost": 0.00137}
COUNTED = Usage(9120, 41, cost=1_370_000)
ATTEMPTS = {
    "attempts": [{"provider": "Beta", "status": 429}, {"provider": "Acme", "status": 200}, {"provider": "Beta"}, 7, {}]
}


def machine(dialect: Dialect, stream: bool = True, wants_usage: bool = True) -> ReplyMachine:
    fields: Json = {"stream": stream}
    if dialect is Dialect.CHAT and wants_usage:
        fields["stream_options"] = {"include_usage": True}
    return grammar(dialect).reader(grammar(dialect).read(body([user("q")], **fields)))


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


# name, dialect, does the client want usage, events that come, events of those that are kept back, facts
Row = tuple[str, Dialect, bool, list[bytes], list[bytes], ReplyFacts]
C, M = Dialect.CHAT, Dialect.MESSAGES
STREAMS: list[Row] = [
    ("plain", C, True, [HELLO, STOP, METER, DONE], [], chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop")),
    (
        "usage not asked for",
        C,
        False,
        [HELLO, STOP, METER, DONE],
        [METER],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "usage beside a choice",
        C,
        False,
        [HELLO, STOP, METER_WITH_CHOICE, DONE],
        [],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "comments everywhere",
        C,
        False,
        [COMMENT, COMMENT, HELLO, COMMENT, STOP, METER, COMMENT, DONE, COMMENT],
        [METER],
        chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop"),
    ),
    (
        "null usage on each chunk",
        C,
        False,
        [chunk([delta(content="x")], usage=None), DONE],
        [],
        chat_facts(ending=Ending.DONE),
    ),
    ("a chunk with nothing", C, False, [chunk(debug={}), HELLO, DONE], [], chat_facts(ending=Ending.DONE)),
    (
        "tools",
        C,
        True,
        [HELLO, *TOOL, DONE],
        [],
        chat_facts(ending=Ending.DONE, finish="tool_calls", tool_calls=("exec", "read")),
    ),
    (
        "attempts",
        C,
        True,
        [chunk([delta(content="x")], openrouter_metadata=ATTEMPTS), DONE],
        [],
        chat_facts(ending=Ending.DONE, recipients=("Beta", "Acme")),
    ),
    ("cut", C, True, [HELLO, STOP, METER], [], chat_facts(usage=COUNTED, finish="stop")),
    ("nothing at all", C, True, [], [], ReplyFacts()),
    ("only comments", C, True, [COMMENT], [], ReplyFacts()),
    (
        "unknown things",
        C,
        True,
        [chunk([delta("melted", x=1)], what=[1]), b"event: new\n\n", b"data:\n\n", DONE],
        [],
        chat_facts(ending=Ending.DONE, finish="melted"),
    ),
    (
        "plain messages",
        M,
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
        M,
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
    ("messages without names", M, True, [event("message_stop", named=False)], [], ReplyFacts(ending=Ending.DONE)),
    ("messages without types", M, True, [b"event: message_stop\ndata: {}\n\n"], [], ReplyFacts(ending=Ending.DONE)),
    (
        "messages cut",
        M,
        True,
        [START, WORDS, END],
        [],
        messages_facts(usage=Usage(8608, 41, 8000, cost=4_100_000), finish="tool_use"),
    ),
    ("messages end with their own mark", M, True, [START, DONE], [], messages_facts(usage=Usage(0, 0))),
    (
        "unknown messages event",
        M,
        True,
        [COMMENT, START, event("news", deep=[1]), LAST],
        [],
        messages_facts(usage=Usage(0, 0), ending=Ending.DONE, recipients=("Beta", "Acme")),
    ),
]


@pytest.mark.parametrize(
    ("dialect", "wants", "events", "kept", "facts"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_streams(
    dialect: Dialect, wants: bool, events: list[bytes], kept: list[bytes], facts: ReplyFacts, end: bytes
) -> None:
    out, heard, failed = run(machine(dialect, wants_usage=wants), [one.replace(b"\n", end) for one in events])
    assert out == b"".join(one.replace(b"\n", end) for one in events if one not in kept)
    assert heard == facts
    assert failed is (facts.ending is not Ending.DONE)


ERROR_BODY = {
    "error": {"code": 502, "message": "secret text", "metadata": {"error_type": "provider_unavailable"}},
    "user_id": "user_x",
}
FAILURES: list[tuple[str, Dialect, list[bytes], list[bytes], str]] = [
    ("top", C, [HELLO, chunk([delta("error", content="")], **ERROR_BODY), DONE], [HELLO], "provider_unavailable"),
    ("number", C, [chunk(error={"code": 429, "message": "secret text"})], [], "429"),
    ("word", C, [chunk(error={"code": "server_error", "message": "secret text"})], [], "server_error"),
    ("sentence", C, [chunk(error={"code": "secret text", "message": "secret text"})], [], "unmapped"),
    ("text alone", C, [chunk(error="secret text")], [], "unmapped"),
    ("beside", C, [chunk(error={"message": "secret text"}, error_type="timeout")], [], "timeout"),
    ("in a choice", C, [HELLO, chunk([{**delta(), "error": {"code": 500, "message": "secret text"}}])], [HELLO], "500"),
    ("a word of a choice", C, [HELLO, chunk([delta("error")])], [HELLO], "error"),
    (
        "first byte",
        C,
        [COMMENT, b"data: " + json.dumps(ERROR_BODY).encode() + b"\n\n"],
        [COMMENT],
        "provider_unavailable",
    ),
    ("no JSON", C, [HELLO, b"data: <html>secret text</html>\n\n"], [HELLO], "unreadable_event"),
    ("no object", C, [HELLO, b"data: [1]\n\n", HELLO], [HELLO], "unreadable_event"),
    ("too deep", C, [HELLO, b"data: " + b"[" * 100_000 + b"\n\n"], [HELLO], "unreadable_event"),
    (
        "messages",
        M,
        [START, event("error", error={"type": "overloaded_error", "message": "secret text"}), LAST],
        [START],
        "overloaded_error",
    ),
    (
        "messages code",
        M,
        [event("error", error={"type": "api_error", "error_type": "timeout"}, x="secret text")],
        [],
        "timeout",
    ),
    ("messages without type", M, [b'data: {"error": {"type": "api_error"}}\n\n'], [], "api_error"),
    ("messages bare", M, [event("error")], [], "unmapped"),
]


@pytest.mark.parametrize(
    ("dialect", "events", "passed", "code"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_errors_in_streams_are_told_by_code_and_never_forwarded(
    dialect: Dialect, events: list[bytes], passed: list[bytes], code: str
) -> None:
    out, facts, failed = run(machine(dialect), events)
    assert out == b"".join(passed)
    assert (facts.ending, facts.error, failed) == (Ending.ERROR, code, True)


def test_usage_behind_an_error_is_still_heard() -> None:
    reader = machine(C)
    assert reader.feed(chunk(error={"code": 500})) == b""
    assert reader.failed
    assert reader.feed(METER + DONE) == b""
    assert reader.facts.usage == COUNTED
    assert reader.facts.ending is Ending.ERROR


def test_the_state_while_a_stream_runs() -> None:
    reader = machine(C)
    assert (reader.facts, reader.failed) == (ReplyFacts(), False)
    reader.feed(HELLO)
    assert (reader.facts.ending, reader.failed) == (Ending.CUT, False)
    reader.feed(DONE)
    assert (reader.facts.ending, reader.failed) == (Ending.DONE, False)


LASTS: list[tuple[Dialect, list[bytes], bytes, Ending]] = [
    (C, [HELLO, b"data: [DONE]"], HELLO + DONE, Ending.DONE),
    (C, [HELLO, b"data: [DONE]\n"], HELLO + DONE, Ending.DONE),
    (C, [HELLO, b"data: [DONE]\r"], HELLO + DONE, Ending.DONE),
    (C, [HELLO, STOP[:-2]], HELLO + STOP, Ending.CUT),
    (C, [HELLO, STOP[:-10]], HELLO, Ending.CUT),
    (C, [HELLO, b": comm"], HELLO, Ending.CUT),
    (C, [HELLO, b"data: [DO"], HELLO, Ending.CUT),
    (C, [HELLO, chunk(error={"code": 500})[:-1]], HELLO, Ending.ERROR),
    (M, [START, LAST[:-1]], START + LAST, Ending.DONE),
    (M, [START, b"event: message_stop\n"], START, Ending.CUT),
]


@pytest.mark.parametrize(("dialect", "chunks", "forwarded", "ending"), LASTS)
def test_the_last_bytes_make_a_whole_event_or_none(
    dialect: Dialect, chunks: list[bytes], forwarded: bytes, ending: Ending
) -> None:
    out, facts, _ = run(machine(dialect), chunks)
    assert (out, facts.ending) == (forwarded, ending)


@pytest.mark.parametrize("step", [1000, 1 << 30])
def test_an_endless_event_ends_the_stream(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10_000)
    stream = HELLO + b"data: " + b"x" * 20_000 + b"\n\n" + DONE
    out, facts, failed = run(machine(C), [stream[at : at + step] for at in range(0, len(stream), step)])
    assert (out, facts.ending, facts.error, failed) == (HELLO, Ending.ERROR, "event_too_large", True)


# -- whole bodies

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
WHOLE: list[tuple[str, Dialect, Any, ReplyFacts]] = [
    ("chat", C, ANSWER, chat_facts(usage=COUNTED, ending=Ending.DONE, finish="stop", tool_calls=("exec", "c"))),
    (
        "messages",
        M,
        MESSAGE,
        messages_facts(
            usage=Usage(7, 3),
            ending=Ending.DONE,
            finish="end_turn",
            tool_calls=("Bash", "Read"),
            recipients=("Beta", "Acme"),
        ),
    ),
    ("error", C, ERROR_BODY, ReplyFacts(ending=Ending.ERROR, error="provider_unavailable")),
    (
        "choice error",
        C,
        {
            "choices": [{"finish_reason": "error", "error": {"code": 502}, "message": {"content": "half"}}],
            "usage": USAGE,
        },
        ReplyFacts(usage=COUNTED, ending=Ending.ERROR, error="502", finish="error"),
    ),
    (
        "messages error",
        M,
        {"type": "error", "error": {"type": "api_error", "message": "secret"}},
        ReplyFacts(ending=Ending.ERROR, error="api_error"),
    ),
    ("no choices", C, {"choices": []}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
    (
        "odd choices",
        C,
        {"choices": "x", "id": 7, "model": "", "provider": None},
        ReplyFacts(ending=Ending.ERROR, error="no_answer"),
    ),
    ("empty", C, {}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
    ("no content", M, {"type": "message"}, ReplyFacts(ending=Ending.ERROR, error="no_answer")),
    ("a list", C, [1], ReplyFacts()),
]


@pytest.mark.parametrize(("dialect", "said", "facts"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE])
def test_whole_bodies(dialect: Dialect, said: Any, facts: ReplyFacts) -> None:
    raw = b"\n\n \n" + json.dumps(said, indent=1).encode()
    out, heard, failed = run(machine(dialect, stream=False), [raw[:3], raw[3:]])
    assert heard == facts
    assert failed is (facts.ending is not Ending.DONE)
    assert out == (b"" if failed else raw)


@pytest.mark.parametrize("raw", [b"", b"\n\n", json.dumps(ANSWER).encode()[:-5], b"<html>", b"[" * 100_000])
def test_a_body_that_is_cut_or_none_is_not_forwarded(raw: bytes) -> None:
    assert run(machine(C, stream=False), [raw]) == (b"", ReplyFacts(), True)


@pytest.mark.parametrize("step", [1000, 1 << 30])
def test_an_endless_body_is_not_kept(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(replies, "MAX_BODY_BYTES", 10_000)
    raw = b" " * 20_000 + json.dumps(ANSWER).encode()
    out, facts, failed = run(machine(C, stream=False), [raw[at : at + step] for at in range(0, len(raw), step)])
    assert (out, facts.ending, facts.error, failed) == (b"", Ending.ERROR, "body_too_large", True)


# -- what an upstream may not do to the record


def test_names_are_bounded() -> None:
    many = [chunk([delta(tool_calls=[call(place, "n" * 1000)])]) for place in range(1000)]
    routed = chunk(openrouter_metadata={"attempts": [{"provider": f"p{place}"} for place in range(1000)]})
    facts = run(machine(C), [*many, routed, DONE])[1]
    assert len(facts.tool_calls) == replies.MAX_NOTED
    assert facts.tool_calls[0] == "n" * replies.NAME_CHARS
    assert len(facts.recipients) == replies.MAX_NOTED + 1


ODD: list[Json] = [
    {"usage": 7, "openrouter_metadata": "x", "choices": [7, {"delta": "x"}, {"delta": {"tool_calls": "x"}}]},
    {"usage": [], "openrouter_metadata": {"attempts": 7}, "choices": {"0": 1}, "id": [], "model": {}, "provider": 3},
    {
        "choices": [
            {
                "index": [],
                "finish_reason": 7,
                "delta": {"tool_calls": [7, {}, {"index": {}, "function": 7}, {"function": {"name": ""}}]},
            }
        ]
    },
    {"type": "message_start", "message": 7},
    {"type": "message_start", "message": {"content": "x", "usage": None}},
    {"type": "content_block_start", "content_block": 7},
    {"type": "content_block_start", "index": [], "content_block": {"type": "tool_use", "name": 7}},
    {"type": "message_delta", "delta": 7, "usage": "x"},
    {"type": 7},
]


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_odd_shapes_are_passed_on_and_say_nothing(dialect: Dialect, said: Json) -> None:
    raw = b"data: " + json.dumps(said).encode() + b"\n\n"
    out, facts, _ = run(machine(dialect), [raw])
    assert out == raw
    assert facts == ReplyFacts()


def test_a_tool_call_without_index_is_told_apart_by_its_id() -> None:
    one = {
        "index": 0,
        "delta": {"tool_calls": [{"id": "a", "function": {"name": "x"}}, {"id": "b", "function": {"name": "x"}}]},
    }
    assert run(machine(C), [chunk([one]), DONE])[1].tool_calls == ("x", "x")


def test_a_call_without_a_number_is_told_apart_by_its_name() -> None:
    block = {"type": "tool_use", "name": "Bash"}
    raw = [event("content_block_start", content_block=block), event("content_block_start", content_block=block)]
    assert run(machine(M), raw)[1].tool_calls == ("Bash",)


def test_half_a_pair_in_a_delta_is_no_fault() -> None:
    raw = b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n'
    assert run(machine(C), [raw, DONE])[:2] == (raw + DONE, ReplyFacts(ending=Ending.DONE))


def test_bytes_that_are_no_text_are_forwarded_as_they_came() -> None:
    raw = b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'
    assert run(machine(C), [raw, DONE])[0] == raw + DONE


# -- the property: any split of the bytes

PIECES = {
    C: [
        HELLO,
        STOP,
        METER,
        METER_WITH_CHOICE,
        DONE,
        COMMENT,
        *TOOL,
        chunk(error={"code": 500}),
        b"data: x\n\n",
        b"\n",
        b"data: [DONE]",
    ],
    M: [
        START,
        BLOCK,
        WORDS,
        USE,
        END,
        LATE_NULLS,
        LAST,
        PING,
        COMMENT,
        DONE,
        event("error", error={"type": "api_error"}),
        b"\n",
    ],
}


@st.composite
def streams(draw: Callable[..., Any]) -> tuple[Dialect, bytes, list[int]]:
    dialect = draw(st.sampled_from(list(Dialect)))
    pieces = draw(
        st.lists(st.tuples(st.sampled_from(PIECES[dialect]), st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=8)
    )
    stream = b"".join(piece.replace(b"\n", end) for piece, end in pieces)
    stream = stream[: draw(st.integers(0, len(stream)))] if draw(st.booleans()) else stream
    return dialect, stream, draw(st.lists(st.integers(0, max(1, len(stream))), max_size=40))


def split(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


@settings(max_examples=200)
@given(streams(), st.booleans())
def test_any_split_of_a_stream_gives_the_same(case: tuple[Dialect, bytes, list[int]], wants: bool) -> None:
    dialect, stream, places = case
    whole = run(machine(dialect, wants_usage=wants), [stream])
    assert run(machine(dialect, wants_usage=wants), split(stream, places)) == whole
    assert run(machine(dialect, wants_usage=wants), [bytes([byte]) for byte in stream]) == whole


@given(
    st.sampled_from([(C, ANSWER), (M, MESSAGE), (C, ERROR_BODY), (C, {})]),
    st.integers(0, 2000),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_any_split_of_a_body_gives_the_same(case: tuple[Dialect, Json], kept: int, places: list[int]) -> None:
    raw = json.dumps(case[1], ensure_ascii=False).encode()[:kept]
    whole = run(machine(case[0], stream=False), [raw])
    assert run(machine(case[0], stream=False), split(raw, places)) == whole


@given(streams())
def test_forwarded_bytes_are_whole_events_out_of_what_came(case: tuple[Dialect, bytes, list[int]]) -> None:
    dialect, stream, places = case
    reader = machine(dialect)
    ends = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r", b"\r\n\n", b"\n\r\n", b"\r\n\r", b"\r\r\n")
    for part in split(stream, places):
        out = reader.feed(part)
        assert not out or out.endswith(ends)
        assert out in stream or not out
    out = reader.finish()
    assert not out or out.endswith(ends)


@given(st.sampled_from(list(Dialect)), st.booleans(), st.lists(st.binary(max_size=50), max_size=6))
def test_no_bytes_break_a_machine(dialect: Dialect, stream: bool, chunks: list[bytes]) -> None:
    out, facts, _ = run(machine(dialect, stream=stream), chunks)
    assert facts.ending in (Ending.CUT, Ending.ERROR, Ending.DONE)
    assert len(out) <= sum(map(len, chunks)) + 2


def test_both_grammars_make_new_machines() -> None:
    for each in (CHAT, MESSAGES):
        asked = each.read(body(stream=True))
        assert each.reader(asked) is not each.reader(asked)
