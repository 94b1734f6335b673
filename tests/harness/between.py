"""A place in the line between agentd and an upstream: a listener in a thread of its own, which passes on what comes. What it does
to it is for who derives from it to say."""

import asyncio
import re
import threading
from typing import Self
from urllib.parse import urlsplit

BEARER = re.compile(rb"(?i)authorization: *bearer +([^\r\n]+)\r\n")
READ_BYTES = 64 * 1024
HELD_AFTER = 3
"""Events of a stream that pass before it is held: enough for agentd, and for its agent, to see that an answer comes."""

PATIENCE_S = 30.0
BACKLOG = 512


class Between(threading.Thread):
    """Listens at `url`. `keys` are those that calls showed, in order."""

    def __init__(self, upstream: str) -> None:
        super().__init__(daemon=True)
        self.url = ""
        self.keys: list[str] = []
        self._to = urlsplit(upstream)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._flows: asyncio.Event
        self._ended: asyncio.Event

    def end(self) -> None:
        """Stop listening, and end what is open."""
        if self.is_alive():
            self._loop.call_soon_threadsafe(lambda: self._ended.set())
            self.join(PATIENCE_S)

    def run(self) -> None:
        """Serve until the end."""
        asyncio.run(self._serve())

    def begin(self) -> Self:
        """Start, and wait until it listens."""
        self.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._flows, self._ended = asyncio.Event(), asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._joined, "127.0.0.1", 0, limit=READ_BYTES, backlog=BACKLOG)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self._to.path}"
        self._ready.set()
        await self._ended.wait()
        server.close()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        raise NotImplementedError
