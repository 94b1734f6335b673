"""A tap in the line to an upstream: notes which bearer key each request carries, can hold back what is answered, and can answer
itself with the key in its words, as a careless upstream would."""

import asyncio
import json
import re
import threading
from urllib.parse import urlsplit

BEARER = re.compile(rb"(?i)authorization: *bearer +([^\r\n]+)\r\n")
HEAD_BYTES = 64 * 1024
PATIENCE_S = 30.0


class Tap(threading.Thread):
    """Listens at `url`, passes everything on to the upstream. `keys` are those that were shown, one per request."""

    def __init__(self, upstream: str) -> None:
        super().__init__(daemon=True)
        self.keys: list[str] = []
        self.url = ""
        self.careless = False
        self._to = urlsplit(upstream)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._flows: asyncio.Event
        self._ended: asyncio.Event

    def begin(self) -> "Tap":
        """Start, and wait until it listens."""
        self.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def hold(self) -> None:
        """Answers that begin from now on stop after their first bytes."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def flow(self) -> None:
        """... and go on."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(PATIENCE_S)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._flows, self._ended = asyncio.Event(), asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0, limit=HEAD_BYTES)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self._to.path}"
        self._ready.set()
        await self._ended.wait()
        server.close()

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
        while chunk := await reader.read(HEAD_BYTES):
            shown = BEARER.search(chunk)
            if shown is not None:
                self.keys.append(shown[1].decode())
                if self.careless:
                    writer.write(echo(shown[1].decode()))
                    await writer.drain()
                    return
            to.write(chunk)
            await to.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(HEAD_BYTES):
            writer.write(chunk)
            await writer.drain()
            await self._flows.wait()


def echo(key: str) -> bytes:
    """A 401 that repeats what it was shown."""
    error = {"error": {"message": f"No cookie auth credentials found: Bearer {key}", "code": 401}, "user_id": key}
    body = json.dumps(error).encode()
    head = f"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + f"X-Debug-Key: {key}\r\nConnection: close\r\n\r\n".encode() + body
