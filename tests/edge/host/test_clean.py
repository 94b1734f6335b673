"""What an upstream echoes: no key comes through, however the network cuts it; everything else comes through as it was."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.edge.host.clean import Cleaner, CleanUpstream
from agentd.edge.host.scrub import Scrubber
from agentd.edge.host.secret import Secret
from agentd.gate.ports import Reply

KEY = "sk-or-v1-0123456789abcdef/+0123456789"


def knowing(*values: str) -> Scrubber:
    scrub = Scrubber()
    for value in values:
        scrub.learn(Secret("openrouter", value))
    return scrub


def through(pieces: Iterator[bytes] | list[bytes], scrub: Scrubber) -> bytes:
    cleaner = Cleaner(scrub)
    return b"".join([*(cleaner.feed(piece) for piece in pieces), cleaner.finish()])


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(st.integers(0, 500)))
def test_no_cut_lets_a_key_through(at: list[int]) -> None:
    data = f'{{"id":"{KEY}","x":"{base64.b64encode(b"Bearer " + KEY.encode()).decode()}"}} {KEY}{KEY[:9]}'.encode()
    whole = knowing(KEY).clean_bytes(data)
    assert KEY.encode() not in whole
    assert through(cut(data, at), knowing(KEY)) == whole


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_what_holds_no_key_comes_through_whole(data: bytes, at: list[int]) -> None:
    assert through(cut(data, at), knowing(KEY)) == data
    assert through(cut(data, at), Scrubber()) == data


def test_an_event_is_never_held_back() -> None:
    cleaner = Cleaner(knowing(KEY))
    event = b'data: {"choices":[{"delta":{"content":"sk-"}}]}\n\n'
    assert cleaner.feed(event) == event
    assert cleaner.finish() == b""


def test_a_reply_is_cleaned_and_keeps_its_ways() -> None:
    aborted: list[bool] = []

    class Far:
        generation: str | None = f"gen-{KEY}"

        async def chunks(self) -> AsyncIterator[bytes]:
            for piece in (b'{"a":"' + KEY[:20].encode(), KEY[20:].encode() + b'"}', b"sk-"):
                yield piece

        def abort(self) -> None:
            aborted.append(True)

    class Upstream:
        @asynccontextmanager
        async def open(self, permit: Any, dispatch: Any) -> AsyncIterator[Reply]:
            yield Far()

    async def conversation() -> tuple[bytes, str | None]:
        nothing: Any = None
        async with CleanUpstream(Upstream(), knowing(KEY)).open(nothing, nothing) as reply:
            body = b"".join([piece async for piece in reply.chunks()])
            reply.abort()
            return body, reply.generation

    assert asyncio.run(conversation()) == (b'{"a":"[key openrouter]"}sk-', "gen-[key openrouter]")
    assert aborted == [True]
