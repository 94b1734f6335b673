"""The network between agentd and an upstream, in the hand of a test: it can hold answers back and reset connections, for real.

What becomes of a call is said in its prompt: `RST:early` resets the connection before the request is passed on, `RST:before` when
the answer comes, before a byte of it; `RST:mid` after its first part, when the test says `reset()`. The resets are those of the
kernel (SO_LINGER 0), so that the other side reads ECONNRESET.
"""

import asyncio
import re
import socket
import struct
import threading
from dataclasses import dataclass

from harness.between import BEARER, HELD_AFTER, PATIENCE_S, READ_BYTES, Between

JSON_BYTES = 20
"""Of a body that is broken off: not yet anything that can be read."""

ASKS = re.compile(rb"RST:(early|before|mid)")
NOW = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


class Line(Between):
    """Passes on, as long as nothing is held or reset."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._held: list[asyncio.Event] = []
        self._open: dict[asyncio.StreamWriter, _Asked] = {}
        self._resets: asyncio.Event

    def hold(self) -> None:
        """Answers to calls stop after their first part."""
        self._call(lambda: setattr(self, "_flows", asyncio.Event()))

    def flow(self, *, later: bool = False) -> None:
        """... and go on; with `later` only those that begin from now on."""
        waiting, now = self._flows, asyncio.Event()
        now.set()
        self._call(lambda: setattr(self, "_flows", now))
        if not later:
            self._call(lambda: [event.set() for event in (*self._held, waiting)])
            self._held.clear()
        else:
            self._held.append(waiting)

    def reset(self) -> None:
        """Reset the connections that wait for it, now and from now on."""
        self._call(lambda: self._resets.set())

    def drop(self) -> None:
        """Close the connections on which nothing is under way, as an upstream does."""
        self._call(lambda: [writer.close() for writer, asked in tuple(self._open.items()) if not asked.busy])

    def _call(self, what: "asyncio._Callback") -> None:
        """Do something in the line's own loop, and wait until it is done."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(what)
        self._loop.call_soon_threadsafe(done.set)
        assert done.wait(PATIENCE_S)

    async def _serve(self) -> None:
        self._resets = asyncio.Event()
        await super()._serve()

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(self._to.hostname, self._to.port)
        asked = self._open[writer] = _Asked()
        ways = [
            asyncio.create_task(self._answers(there, writer, asked)),
            asyncio.create_task(self._requests(reader, writer, to, asked)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            for way in ways:
                way.cancel()
            to.close()
            writer.close()
            del self._open[writer]

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: asyncio.StreamWriter, asked: "_Asked"
    ) -> None:
        while chunk := await reader.read(READ_BYTES):
            if chunk.startswith((b"GET ", b"POST ")):
                asked.call = chunk.startswith(b"POST ")
            shown = BEARER.search(chunk)
            if shown is not None and asked.call:
                self.keys.append(shown[1].decode())
            wish = ASKS.search(chunk)
            asked.wish = wish[1] if wish is not None else asked.wish
            if asked.wish == b"early":
                _reset(writer)
                return
            to.write(chunk)
            await to.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: "_Asked") -> None:
        while chunk := await there.read(READ_BYTES):
            if asked.wish == b"before":
                _reset(writer)
                return
            held = asked.call and chunk.startswith(b"HTTP/1.1 200") and not self._flows.is_set()
            if held or asked.wish == b"mid":
                asked.busy = True
                first, chunk = await _first_part(chunk, there)
                writer.write(first)
                await writer.drain()
                await (self._resets if asked.wish == b"mid" else self._flows).wait()
            if asked.wish == b"mid":
                _reset(writer)
                return
            asked.busy = False
            writer.write(chunk)
            await writer.drain()


@dataclass
class _Asked:
    """What a connection is used for: whether by a call, what its prompt wants, and whether its answer is held."""

    call: bool = False
    wish: bytes = b""
    busy: bool = False


async def _first_part(got: bytes, there: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head of an answer with its first events, or with the beginning of its JSON; and what was read besides."""
    while True:
        place = _enough(got)
        if place:
            return got[:place], got[place:]
        got += await there.read(READ_BYTES)


def _enough(got: bytes) -> int:
    """Where the first part ends; 0 if it is not all there."""
    begin = got.find(b"\r\n\r\n") + 4
    if begin < 4:
        return 0
    if b"event-stream" not in got[:begin]:
        return begin + JSON_BYTES if len(got) >= begin + JSON_BYTES else 0
    for _ in range(HELD_AFTER):
        begin = got.find(b"data: ", begin) + 1
        if begin == 0:
            return 0
    return max(0, got.find(b"\n\n", begin) + 2) if b"\n\n" in got[begin:] else 0


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOW)
    writer.transport.abort()
