"""Writes what is served to a socket, faults and all. A client that goes away is noted in the books: some providers stop
then and bill what was made, the others bill everything."""

import asyncio
from typing import Final

from aiohttp import web

from agentd.simulator.books import Books
from agentd.simulator.chat import compact
from agentd.simulator.engine import Served
from agentd.simulator.problems import of_type
from agentd.simulator.wire import Pause, Piece, Stop, error_frames, stream_pieces, whole_pieces
from agentd.simulator.words import Answer, Grammar, Json, Problem

LABEL: Final = "agentd-simulator"
"""`Server` header of every answer, so that nobody takes it for the real service."""

LOOK_S: Final = 0.05
"""How often silence looks whether the client is still there."""

SILENCE_S: Final = 900.0
"""The longest silence; no client waits longer."""

JSON_TYPE: Final = "application/json"


class Writer:
    """One simulator's way to its clients."""

    def __init__(self, books: Books) -> None:
        """`books` are told of clients that go away."""
        self._books = books
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End every silence: the simulator shuts down."""
        self._stopping.set()

    async def write(self, request: web.Request, grammar: Grammar, served: Served) -> web.StreamResponse:
        """Answer a request with what is served."""
        if served.problem is not None:
            return problem_response(grammar, served.problem, served.generation)
        if served.answer is None:
            await self._silence(request)
            _drop(request)
            return web.Response(status=500)
        if served.stream:
            return await self._stream(request, grammar, served, served.answer)
        return await self._whole(request, grammar, served, served.answer)

    async def _stream(
        self, request: web.Request, grammar: Grammar, served: Served, answer: Answer
    ) -> web.StreamResponse:
        """An answer as events."""
        faults = served.plan.faults
        if "body200error" in served.faults:
            pieces: list[Piece] = [*error_frames(grammar, answer, "int")]
        else:
            more = ("error-mid:int",) if "choice-error" in served.faults else ()
            pieces = stream_pieces(grammar, answer, (*faults, *more), served.plan.slow_ms)
        response = web.StreamResponse(headers=_headers(served))
        response.content_type = "text/event-stream"
        response.headers["Cache-Control"] = "no-cache"
        await self._play(request, response, pieces, served.generation)
        return response

    async def _whole(
        self, request: web.Request, grammar: Grammar, served: Served, answer: Answer
    ) -> web.StreamResponse:
        """An answer in one body."""
        pieces, length = whole_pieces(compact(_body(grammar, served, answer)), served.plan.faults, served.plan.slow_ms)
        response = web.StreamResponse(headers=_headers(served))
        response.content_type = JSON_TYPE
        response.content_length = length
        await self._play(request, response, pieces, None)
        return response

    async def _play(
        self, request: web.Request, response: web.StreamResponse, pieces: list[Piece], generation: str | None
    ) -> None:
        """Write pieces one by one. `generation` names the entry to cancel when the client goes away, None for none."""
        written = 0
        try:
            await response.prepare(request)
            for piece in pieces:
                written += isinstance(piece, bytes)
                await self._one(request, response, piece)
        except (ConnectionResetError, asyncio.CancelledError) as gone:
            if generation is not None:
                self._books.cancel(generation, written / len(pieces))
            if isinstance(gone, asyncio.CancelledError):
                raise

    async def _one(self, request: web.Request, response: web.StreamResponse, piece: Piece) -> None:
        """One piece. Raises ConnectionResetError when the client is gone."""
        if isinstance(piece, bytes):
            await response.write(piece)
        elif isinstance(piece, Pause):
            await asyncio.sleep(piece.ms / 1000)
        elif piece is Stop.HANG:
            await self._silence(request)
            _drop(request)
            raise ConnectionResetError
        else:
            _drop(request)

    async def _silence(self, request: web.Request) -> None:
        """Say nothing until the client goes away, the simulator stops, or nobody would wait longer."""
        try:
            async with asyncio.timeout(SILENCE_S):
                while request.transport is not None and not request.transport.is_closing():
                    if self._stopping.is_set():
                        return
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            return


def problem_response(grammar: Grammar, problem: Problem, generation: str | None) -> web.Response:
    """A problem before the first byte: plain JSON (or a page) with its status, also where a stream was asked for."""
    headers = {"Server": LABEL, **dict(problem.headers)}
    if generation is not None:
        headers["X-Generation-Id"] = generation
    if problem.raw is not None:
        return web.Response(
            status=problem.status, headers={**headers, "Content-Type": problem.raw[0]}, body=problem.raw[1]
        )
    body = compact(grammar.error(problem, generation))
    return web.Response(status=problem.status, headers=headers, content_type=JSON_TYPE, body=body)


def _headers(served: Served) -> dict[str, str]:
    """Headers of a good answer."""
    headers = {"Server": LABEL, "X-Generation-Id": served.generation}
    if "zero-usage" in served.faults:
        headers["X-OpenRouter-Cache-Status"] = "HIT"
    return headers


def _body(grammar: Grammar, served: Served, answer: Answer) -> Json:
    """The body of an answer that is not streamed."""
    failure = of_type("provider_unavailable", "Provider returned error")
    if "body200error" in served.faults:
        return grammar.error(failure, served.generation)
    if "choice-error" in served.faults:
        return grammar.choice_error(failure, answer)
    return grammar.whole(answer)


def _drop(request: web.Request) -> None:
    """Close the connection after what was written, without the end that the client expects."""
    if request.transport is not None:
        request.transport.close()
