"""The two machines that follow replies: framing, endings, bounds, and that no split of the bytes makes a difference."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.dialects import grammar, lenient, replies, sse
from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending
from core.dialects.reply_talk import (
    ANSWER,
    BLOCK,
    COMMENT,
    COMPLETED,
    COUNTED,
    CREATED,
    CUSTOM,
    DONE,
    END,
    ERROR_BODY,
    FAILED,
    FUNCTION,
    HELLO,
    INCOMPLETE,
    LAST,
    LATE_NULLS,
    MESSAGE,
    METER,
    METER_WITH_CHOICE,
    PING,
    SPOKEN,
    START,
    STOP,
    TOOL,
    USE,
    WORDS,
    call,
    chunk,
    delta,
    event,
    machine,
    response,
    run,
)
from core.dialects.talk import Json, body_of

C, M, R = Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES


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
    (R, [CREATED, COMPLETED[:-1]], CREATED + COMPLETED, Ending.DONE),
    (R, [CREATED, COMPLETED[:-9]], CREATED, Ending.CUT),
    (R, [CREATED, DONE[:-2]], CREATED + DONE, Ending.CUT),
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


@pytest.mark.parametrize("end", [b"\n\n", b""])
@pytest.mark.parametrize("line", [b"data: \n", b"x\n", b"data: \r", b": \nx\r\n"])
def test_an_event_of_very_many_lines_is_not_read(line: bytes, end: bytes) -> None:
    many = HELLO + line * (sse.MAX_EVENT_LINES + 1)
    out, facts, failed = run(machine(C), [many + end])
    assert (out, failed) == (HELLO, True)
    assert facts.error == ("event_too_large" if end else None)


MANY = [b"[]," * lenient.MAX_BRACKETS, b"{}," * lenient.MAX_BRACKETS, b"1," * (lenient.MAX_COMMAS + 1)]


@pytest.mark.parametrize("values", MANY)
def test_very_many_values_are_not_read(values: bytes) -> None:
    said = b'{"choices":[' + values + b"{}]}"
    for reader, raw, before in (
        (machine(C), HELLO + b"data: " + said + b"\n\n", HELLO),
        (machine(C, False), said, b""),
    ):
        out, facts, failed = run(reader, [raw])
        assert (out, facts.error, failed) == (before, "too_many_values", True)
    assert run(machine(C), [HELLO + b"data: " + said])[0] == HELLO


@pytest.mark.parametrize("silent", [b"\n\n", COMMENT, b"id: 7\n\n", b"event: x\n\n", b"data:\n\n", b"data: {}\n\n"])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_what_says_nothing_is_passed_on_and_counted(dialect: Dialect, silent: bytes) -> None:
    reader = machine(dialect)
    assert reader.feed(silent * 100 + b"d") == silent * 100
    assert reader.quiet == 100 * len(silent)
    assert not reader.failed


def test_what_says_something_is_not_counted() -> None:
    reader = machine(C)
    run(reader, [HELLO, *TOOL, METER, DONE])
    assert (reader.quiet, reader.held) == (0, 0)


@pytest.mark.parametrize("raw", [b"", b"\n\n", json.dumps(ANSWER).encode()[:-5], b"<html>", b"[" * 100_000])
def test_a_body_that_is_cut_or_none_is_not_forwarded(raw: bytes) -> None:
    assert run(machine(C, stream=False), [raw]) == (b"", ReplyFacts(), True)


@pytest.mark.parametrize("step", [1000, 1 << 30])
def test_an_endless_body_is_not_kept(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(replies, "MAX_BODY_BYTES", 10_000)
    raw = b" " * 20_000 + json.dumps(ANSWER).encode()
    out, facts, failed = run(machine(C, stream=False), [raw[at : at + step] for at in range(0, len(raw), step)])
    assert (out, facts.ending, facts.error, failed) == (b"", Ending.ERROR, "body_too_large", True)


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
    {"type": "content_block_start", "content_block": {"type": ["tool_use"]}},
    {"type": "message_delta", "delta": 7, "usage": "x"},
    {"type": ["message_stop"]},
    {"type": 7},
    {"type": "response.created", "response": {"usage": "x", "error": None, "output": 7, "id": [], "model": 7}},
    {"type": "response.created", "response": 7, "openrouter_metadata": {"endpoints": {"available": 7}}},
    {"type": "response.output_item.added", "output_index": [], "item": 7},
    {"type": "response.output_item.done", "item": {"type": ["function_call"]}},
    {"type": "response.done", "response": {"status": 7, "openrouter_metadata": {"endpoints": 7}}},
]


@pytest.mark.parametrize("said", ODD)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_odd_shapes_are_passed_on_and_say_nothing(dialect: Dialect, said: Json) -> None:
    raw = b"data: " + json.dumps(said).encode() + b"\n\n"
    out, facts, _ = run(machine(dialect), [raw])
    assert out == raw
    assert facts == ReplyFacts()


def test_bytes_that_are_no_text_are_forwarded_as_they_came() -> None:
    raw = b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'
    assert run(machine(C), [raw, DONE])[0] == raw + DONE


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
    R: [
        CREATED,
        SPOKEN,
        FUNCTION,
        CUSTOM,
        COMPLETED,
        INCOMPLETE,
        FAILED,
        COMMENT,
        DONE,
        event("error", code="server_error"),
        b"data: {\n\n",
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
    st.sampled_from([(C, ANSWER), (M, MESSAGE), (R, response("completed")), (C, ERROR_BODY), (C, {})]),
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
        assert not out.strip(b"\r\n") or out.endswith(ends)
        assert out in stream or not out
    out = reader.finish()
    assert not out or out.endswith(ends)


@given(st.sampled_from(list(Dialect)), st.booleans(), st.lists(st.binary(max_size=50), max_size=6))
def test_no_bytes_break_a_machine(dialect: Dialect, stream: bool, chunks: list[bytes]) -> None:
    out, facts, _ = run(machine(dialect, stream=stream), chunks)
    assert facts.ending in (Ending.CUT, Ending.ERROR, Ending.DONE)
    assert len(out) <= sum(map(len, chunks)) + 2


@pytest.mark.parametrize("dialect", list(Dialect))
def test_each_call_gets_a_machine_of_its_own(dialect: Dialect) -> None:
    each = grammar(dialect)
    asked = each.read(body_of(dialect, stream=True))
    assert each.reader(asked) is not each.reader(asked)
