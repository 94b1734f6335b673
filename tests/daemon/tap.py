"""A tap in the line to an upstream: notes which bearer key each request carries, can hold back what is answered, and can answer
itself with the key in its words, as a careless upstream would."""

import asyncio
import json
from collections.abc import Callable

from harness.between import BEARER, HELD_AFTER, READ_BYTES, Between


class Tap(Between):
    """Passes everything on. `keys` has one per call: what agentd asks beside the calls is not noted, and is answered alike."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.says: Callable[[str], list[bytes]] | None = None

    def hold(self) -> None:
        """Streams stop after their first events."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """... and go on."""
        self._loop.call_soon_threadsafe(self._flows.set)

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            ways = [
                asyncio.create_task(self._answers(there, writer)),
                asyncio.create_task(self._requests(reader, writer, to)),
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        finally:
            to.close()
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: asyncio.StreamWriter
    ) -> None:
        """agentd sends a head at once, and never the word in a body."""
        while chunk := await reader.read(READ_BYTES):
            shown = BEARER.search(chunk)
            if shown is not None:
                if chunk.startswith(b"POST "):
                    self.keys.append(shown[1].decode())
                if self.says is not None:
                    for piece in self.says(shown[1].decode()):
                        writer.write(piece)
                        await writer.drain()
                    return
            to.write(chunk)
            await to.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events = 0
        while chunk := await there.read(READ_BYTES):
            writer.write(chunk)
            await writer.drain()
            events += chunk.count(b"data: ")
            if events >= HELD_AFTER:
                await self._flows.wait()


def refusal_with(key: str) -> list[bytes]:
    """A 401 that repeats what it was shown."""
    error = {"error": {"message": f"No cookie auth credentials found: Bearer {key}", "code": 401}, "user_id": key}
    return _answer("401 Unauthorized", "application/json", key, json.dumps(error))


def answer_with(key: str) -> list[bytes]:
    """An answer that holds it in each field that agentd reads, passes on or keeps."""
    message = {"role": "assistant", "content": f"You sent Authorization: Bearer {key}"}
    answer = {
        "id": f"gen-{key}",
        "object": "chat.completion",
        "created": 1,
        "model": f"model-{key}",
        "provider": key,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6, "cost": 0.00001},
    }
    return _answer("200 OK", "application/json", key, json.dumps(answer))


def stream_with(key: str) -> list[bytes]:
    """The same as a stream, which ends in an error that holds it."""
    delta = {"role": "assistant", "content": f"You sent {key}."}
    chunk = {"id": key, "object": "chat.completion.chunk", "created": 1, "model": key, "provider": key}
    first = {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    error = {"code": 502, "message": f"bad gateway for {key}", "metadata": {"raw": key}}
    last = {**chunk, "error": error, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}
    return _answer("200 OK", "text/event-stream", key, "".join(f"data: {json.dumps(c)}\n\n" for c in (first, last)))


def _answer(status: str, kind: str, key: str, body: str) -> list[bytes]:
    """In two pieces, cut within the key."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
    head += f"X-Generation-Id: gen-{key}\r\nX-Debug: {key}\r\n\r\n"
    middle = body.index(key) + len(key) // 2
    return [(head + body[:middle]).encode(), body[middle:].encode()]
