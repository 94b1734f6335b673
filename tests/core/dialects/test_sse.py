"""Events are found wherever the bytes are split, and travel as they came."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import sse
from agentd.core.dialects.sse import Blocks, Event, event_of, is_quiet

ENDS = [b"\n", b"\r\n", b"\r"]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds)]


def read(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    blocks = Blocks()
    out = [block for chunk in chunks for block in blocks.feed(chunk)]
    return out, blocks.rest()


def joined(blocks: list[bytes]) -> list[bytes]:
    """The same with neighbouring quiet blocks as one: how a run is cut depends on the reads."""
    runs = itertools.groupby(blocks, is_quiet)
    return [block for quiet, run in runs for block in ([b"".join(run)] if quiet else run)]


LINES = st.lists(
    st.sampled_from(
        [b"data: a", b"data:b", b": comment", b"event: x", b"data: \xf0\x9f\x98\x80", b"id: 1", b"", b"data"]
    ),
    max_size=12,
)


@given(st.lists(st.tuples(LINES, st.sampled_from(ENDS)), max_size=4), st.lists(st.integers(0, 400), max_size=30))
def test_any_split_gives_the_same_blocks(groups: list[tuple[list[bytes], bytes]], places: list[int]) -> None:
    stream = b"".join(line + end for lines, end in groups for line in lines)
    whole, rest = read([stream])
    for chunks in (cut(stream, places), [bytes([byte]) for byte in stream]):
        blocks, left = read(chunks)
        assert (joined(blocks), left) == (joined(whole), rest)
    assert b"".join(whole) + rest == stream
    assert all(not is_quiet(block) or event_of(block) == Event("", None) for block in whole)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("line", [b"", b":", b": OPENROUTER PROCESSING"])
def test_a_run_of_what_says_nothing_is_one_block(line: bytes, end: bytes) -> None:
    run = (line + end + end) * 10_000
    blocks, rest = read([b"data: 1" + end + end + run + b"data: 2" + end + end + b"x"])
    assert [len(block) for block in blocks] == [len(b"data: 1" + 2 * end), len(run), len(b"data: 2" + 2 * end)]
    assert (rest, is_quiet(blocks[1])) == (b"x", True)


@pytest.mark.parametrize("block", [b"data:\n\n", b"\ndata: x\n\n", b":\nid\n\n", b": x", b""])
def test_what_is_more_or_less_than_a_run_is_no_run(block: bytes) -> None:
    assert not is_quiet(block)


@pytest.mark.parametrize("end", ENDS)
def test_each_line_end_ends_events(end: bytes) -> None:
    stream = end.join([b"data: 1", b"", b": c", b"", b"data: 2", b"data: 3", b"", b""])
    blocks, rest = read([stream, b"x"])
    assert [event_of(block) for block in blocks] == [Event("", b"1"), Event("", None), Event("", b"2\n3")]
    assert rest == b"x"


def test_a_carriage_return_waits_for_its_line_feed() -> None:
    blocks = Blocks()
    assert blocks.feed(b"data: 1\r\n\r") == []
    assert blocks.feed(b"\ndata: 2") == [b"data: 1\r\n\r\n"]


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (b"data: x\n\n", Event("", b"x")),
        (b"data:x\n\n", Event("", b"x")),
        (b"data:  x\n\n", Event("", b" x")),
        (b"data\n\n", Event("", b"")),
        (b"event: ping\ndata: {}\n\n", Event("ping", b"{}")),
        (b"event: a\nevent:b\n\n", Event("b", None)),
        (b": data: x\n\n", Event("", None)),
        (b"id: 7\nretry: 1\nwhat: ever\ndata: x\n\n", Event("", b"x")),
        (b"\xef\xbb\xbfdata: x\n\n", Event("", b"x")),
        (b"event: \xff\ndata: \xff\n\n", Event("\ufffd", b"\xff")),
        (b"\n\n", Event("", None)),
    ],
)
def test_fields(block: bytes, event: Event) -> None:
    assert event_of(block) == event


@pytest.mark.parametrize("step", [1 << 16, 1 << 30])
@pytest.mark.parametrize("ended", [True, False])
def test_one_endless_event_overflows_and_nothing_follows(
    monkeypatch: pytest.MonkeyPatch, step: int, ended: bool
) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100_000)
    stream = b"data: first\n\ndata: " + b"x" * 150_000 + (b"\n\ndata: later\n\n" if ended else b"")
    blocks = Blocks()
    out = [block for start in range(0, len(stream), step) for block in blocks.feed(stream[start : start + step])]
    assert out == [b"data: first\n\n"]
    assert blocks.overflow
    assert blocks.feed(b"data: more\n\n") == []
    assert blocks.rest() == b""


def test_an_event_of_the_largest_size_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    event = b"data: " + b"x" * 92 + b"\n\n"
    assert read([event]) == ([event], b"")
    assert read([bytes([byte]) for byte in event]) == ([event], b"")
