"""The other end of a wire: bare servers that play a scene for each connection, answers as bytes, and both event loops."""

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from agentd.edge.enforce.wire import Connection

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PATIENCE_S = 30.0  # how long a test waits for something that must happen; none waits for it to pass

Scene = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"


def run(loop: str, scene: Coroutine[Any, Any, None]) -> None:
    """Play on one of `LOOPS`."""

    async def timed() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(timed())


@asynccontextmanager
async def serving(scene: Scene, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"):
    """A server that plays `scene` for each connection and closes it then; gives its port."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await scene(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(play, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read one request; its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(row[15:]) for row in head.split(b"\r\n") if row.lower().startswith(b"content-length:")), 0)
    await reader.readexactly(length)
    return head


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A scene: a short good answer to each request."""
    while True:
        await request(reader)
        writer.write(HELLO)
        await writer.drain()


async def connect(port: int) -> Connection:
    """A connection to a server of `serving`."""
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Connection(loop, lambda _gone: None), "127.0.0.1", port))[1]


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other side gets an error, and not an end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass(frozen=True)
class Read:
    """What came of an exchange."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    failed: OSError | None
    again: bool


async def read(connection: Connection) -> Read:
    """Read an answer to its end, and put the connection to rest."""
    body = bytearray()
    failed = None
    try:
        await connection.answered()
        while piece := await following(connection):
            body += piece
    except OSError as error:
        failed = error
    status, headers = connection.status, connection.headers
    return Read(status, headers, bytes(body), failed, connection.rest())


async def following(connection: Connection) -> bytes:
    """The next piece of the body; none at its end."""
    while (piece := connection.take()) is None:
        await connection.arrival()
    return piece
