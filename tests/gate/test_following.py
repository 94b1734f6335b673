"""No reply holds up others: streams are read in pieces, large bodies beside the loop, and noise is cut."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentd.core.accounting.times import NS_PER_S
from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.types.calls import Dialect
from agentd.core.types.receipts import Ending
from agentd.gate import ports
from agentd.gate.following import PIECE_BYTES, QUIET_BYTES, QUIET_BYTES_PER_S, THREAD_BYTES, Pieces, finished, noise_of
from builders import PEER
from gate.way import SESSION, Box, play, read, stream, whole

BODY: dict[str, Any] = {"model": "agentd", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]}


class Machine:
    """Tells in which thread it was finished, and when it was done."""

    facts, failed, quiet = ReplyFacts(), False, 0

    def __init__(self, held: int) -> None:
        self.held = held
        self.go = threading.Event()
        self.thread: threading.Thread | None = None
        self.done = False

    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        self.thread = threading.current_thread()
        if self.thread is not threading.main_thread():
            self.go.wait()
        self.done = True
        return b"all"


async def chunks(*given: bytes) -> AsyncIterator[bytes]:
    for chunk in given:
        yield chunk


async def streamed(box: Box) -> ports.Answer:
    return await box.gate.govern(
        ports.Arrival(PEER, Dialect.CHAT, json.dumps({**BODY, "stream": True}).encode(), SESSION)
    )


def test_a_large_chunk_is_read_in_pieces_and_others_have_their_turn() -> None:
    async def scene() -> None:
        turns: list[str] = []

        async def other() -> None:
            for _ in range(3):
                turns.append("other")
                await asyncio.sleep(0)

        async def reader() -> None:
            async for piece in Pieces(chunks(b"x" * (2 * PIECE_BYTES + 1), b"y")):
                turns.append(f"{len(piece)}")

        await asyncio.gather(reader(), other())
        assert turns == [str(PIECE_BYTES), "other", str(PIECE_BYTES), "other", "1", "1", "other"]

    asyncio.run(scene())


def test_a_large_body_is_read_in_a_thread_and_a_small_one_at_once() -> None:
    async def scene() -> None:
        small, large = Machine(THREAD_BYTES), Machine(THREAD_BYTES + 1)
        assert await finished(small) == b"all"
        assert small.thread is threading.main_thread()
        large.go.set()
        assert await finished(large) == b"all"
        assert large.thread is not threading.main_thread()

    asyncio.run(scene())


def test_who_leaves_meanwhile_does_not_leave_the_thread_behind() -> None:
    async def scene() -> None:
        machine = Machine(THREAD_BYTES + 1)
        waiting = asyncio.ensure_future(finished(machine))
        while machine.thread is None:
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        machine.go.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert machine.done

    asyncio.run(scene())


def test_a_large_answer_comes_whole() -> None:
    async def scene(box: Box) -> None:
        said = whole(padding="x" * (2 * THREAD_BYTES))
        box.upstream.scripts = [[said[: len(said) // 2], said[len(said) // 2 :]]]
        assert (await box.ask()).body == said

    play(scene)


NOISE = [b"\n\n", b":\n\n", b": OPENROUTER PROCESSING\n\n", b"data:\n\n", b"data: {}\n\n", b"id\n\n"]


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("begun", [True, False])
def test_a_stream_of_noise_is_cut_and_its_reason_recorded(noise: bytes, begun: bool) -> None:
    async def scene(box: Box) -> None:
        box.upstream.scripts = [[*stream()[:begun], noise * (4 * QUIET_BYTES), *stream()]]
        answer = await streamed(box)
        said = await read(answer) if answer.stream else answer.body or b""
        assert b"upstream.noise" in said
        assert b"[DONE]" not in said
        assert len(said) < 2 * QUIET_BYTES
        await asyncio.sleep(0)
        outcome = box.record.lines[-1]
        assert (outcome.status, (outcome.detail or {})["error"]) == (Ending.ERROR.value, "upstream.noise")
        assert outcome.cost_nusd is None

    play(scene)


def test_what_keeps_a_connection_alive_may_go_on_for_as_long_as_it_takes() -> None:
    machine = Machine(0)
    for second in (0, 1, 3600):
        machine.quiet = QUIET_BYTES + second * QUIET_BYTES_PER_S
        assert noise_of(machine, second * NS_PER_S) is None
        machine.quiet += 1
        assert noise_of(machine, second * NS_PER_S) is not None
