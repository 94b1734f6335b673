"""Putting an answer on the wire: whole or as a stream, never faster than the client reads, never waiting for it without end.

A stream is closed in every case, for that closes the record of its call: at its end, when the client is gone, when it takes
nothing for too long, and when agentd itself fails in the middle. The work runs under `Keeper.run`, so nothing interrupts that.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Self

from aiohttp import web

from agentd.core.dialects import grammar
from agentd.core.types.calls import Dialect
from agentd.core.types.verdicts import Answer as Kind
from agentd.core.types.verdicts import Deny, Reason
from agentd.edge.api.protocol import PeerProtocol, connection_of
from agentd.gate.ports import Answer

PIECE = 64 * 1024  # bytes written at a time: what a clock can see progress by, and what fits into the socket's buffers
RETRY_S = 5  # after a fault of our own
INTERNAL = Deny(
    Reason(
        "daemon.internal",
        "agentd",
        "agentd failed to serve this request because of a fault of its own",
        "The operator finds it in agentd's log; try again later.",
    ),
    Kind.UNAVAILABLE,
    RETRY_S,
)

log = logging.getLogger(__name__)


async def send(request: web.Request, dialect: Dialect, answer: Answer) -> web.StreamResponse:
    """Answer a request. A client that goes away, or stops reading, is cut; that is its own choice and no error."""
    if answer.stream is not None:
        return await _stream(request, dialect, answer, answer.stream)
    body = answer.body or b""
    if len(body) <= PIECE:
        return web.Response(status=answer.status, headers=answer.headers, body=body)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(body)
    try:
        await response.prepare(request)
        with _Reader(connection_of(request)) as reader:
            for start in range(0, len(body), PIECE):
                await reader.take(response, body[start : start + PIECE])
        await response.write_eof()
    except ConnectionError:
        connection_of(request).cut()
    return response


class _Reader:
    """Whoever takes an answer, piece by piece. One that takes nothing for too long is cut, which ends the work for it as if
    it had gone. One timer looks after a whole answer: a clock for each piece would cost more than the piece."""

    def __init__(self, connection: PeerProtocol) -> None:
        self._connection = connection
        self._patience = connection.keeper.clocks.write_stall
        self._loop = asyncio.get_running_loop()
        self._since: float | None = None  # when the piece was written that is being waited for
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._timer = self._loop.call_later(self._patience, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def take(self, response: web.StreamResponse, piece: bytes) -> None:
        """Write, and wait for the reader. Raises `ConnectionError` when it is gone."""
        self._since = self._loop.time()
        await response.write(piece)
        self._since = None

    def _look(self) -> None:
        """Cut, or look again when it would be time."""
        waited = 0.0 if self._since is None else self._loop.time() - self._since
        if waited < self._patience:
            self._timer = self._loop.call_later(self._patience - waited, self._look)
            return
        log.debug("a client took nothing for %g s", waited)
        self._connection.cut()


def internal(dialect: Dialect) -> Answer:
    """The answer to a fault of our own, when not even a refusal could be had from the gate."""
    refusal = grammar(dialect).refusal(INTERNAL, "")
    return Answer(refusal.status, refusal.headers, refusal.body)


async def _stream(
    request: web.Request, dialect: Dialect, answer: Answer, stream: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Pass on each chunk as it comes."""
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if not any(name.lower() == "content-type" for name, _ in answer.headers):
        response.content_type = "text/event-stream"
    try:
        await response.prepare(request)
        with _Reader(connection_of(request)) as reader:
            await _pass_on(reader, dialect, response, stream)
        await response.write_eof()
    except ConnectionError as gone:
        log.debug("stream ended by its reader: %r", gone)
        connection_of(request).cut()
    finally:
        await _close(stream)
    return response


async def _pass_on(
    reader: _Reader, dialect: Dialect, response: web.StreamResponse, stream: AsyncIterator[bytes]
) -> None:
    """The chunks of a stream; a fault of our own becomes its last event. Raises `ConnectionError` when the reader is gone."""
    try:
        async for chunk in stream:
            await reader.take(response, chunk)
    except ConnectionError:
        raise
    except Exception:  # whatever went wrong in here, the client is told in its dialect, and the operator in the log
        log.exception("a stream broke off because of a fault of agentd")
        await reader.take(response, grammar(dialect).stream_error(INTERNAL, ""))


async def _close(stream: AsyncIterator[bytes]) -> None:
    """Close a stream, which closes the record of its call."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
