"""Following a reply without holding up others, whatever an upstream sends.

Nothing that reads bytes can be interrupted, so a stream is read in small pieces, with everybody else's turn in between, and a
whole body of some size in a thread. What keeps a connection alive is bounded, on each stream and by the second: an upstream that
sends nothing else is broken, and its agent waits for nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from agentd.core.accounting.times import NS_PER_S
from agentd.core.dialects.grammar import ReplyMachine
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer

PIECE_BYTES: Final = 16 << 10
"""16 KiB of a stream at a time: ten milliseconds of reading at worst. Models write events of some hundred bytes."""

THREAD_BYTES: Final = 1 << 20
"""A whole body above 1 MiB is read in a thread."""

QUIET_BYTES: Final = 64 << 10
QUIET_BYTES_PER_S: Final = 1 << 10
"""Comments, blank lines and empty events of one stream: at once, and for each second since it was asked for. Upstreams send
some 30 bytes a second."""


class Pieces(AsyncIterator[bytes]):
    """The bytes of a reply, in pieces."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        """`chunks` as they come, of any size."""
        self._chunks = chunks
        self._left = b""

    async def __anext__(self) -> bytes:
        """The next piece. Of a chunk that is larger, others have their turn before the rest."""
        if self._left:
            await asyncio.sleep(0)
        else:
            self._left = await anext(self._chunks)
        piece, self._left = self._left[:PIECE_BYTES], self._left[PIECE_BYTES:]
        return piece


async def finished(machine: ReplyMachine) -> bytes:
    """What the machine says at the end of a whole body. Cancelled, it still waits for the thread: nobody may look at a machine
    that is at work."""
    if machine.held <= THREAD_BYTES:
        return machine.finish()
    reading = asyncio.get_running_loop().run_in_executor(None, machine.finish)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait((reading,))
        raise


def noise_of(machine: ReplyMachine, elapsed_ns: int) -> UpstreamFailed | None:
    """What is wrong with a stream that says nothing at length; None as long as it may go on."""
    if machine.quiet <= QUIET_BYTES + QUIET_BYTES_PER_S * elapsed_ns // NS_PER_S:
        return None
    message = f"the upstream sent {machine.quiet} bytes of comments and blank lines, more than any that is well"
    return UpstreamFailed(
        "upstream.noise", message, status=200, retryable=False, answer=Answer.WAIT, retry_after_s=2, billed=True
    )
