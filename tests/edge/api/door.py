"""A real door on a real Unix socket, with a gate behind it that plays a script; and clients that speak bytes."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect, Hints
from agentd.edge.api.listen import Listener, Place, bind_door, release
from agentd.edge.api.models import agent_app
from agentd.edge.api.protocol import CLOCKS, Clocks
from agentd.edge.api.server import BOUNDS, Bounds, DoorServer
from agentd.gate.ports import Answer, Arrival

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PATIENCE_S = 20  # how long a test waits for something that must happen; none waits for it to pass
JSON = (("Content-Type", "application/json"), ("X-Agentd-Decision", "d-7"))
STATUS = {"request.unknown_route": 404, "request.too_large": 413, "daemon.internal": 503, "caller.unknown": 403}
MODELS = ({"id": "acme/frontier-1", "name": "Frontier"}, {"id": "chat", "name": "Chat"})


@dataclass
class Gate:
    """Fulfils `ports.ModelGate`; keeps what it was given."""

    answer: Callable[[Arrival], Awaitable[Answer]] | None = None
    offered: tuple[dict[str, Any], ...] = MODELS
    arrivals: list[Arrival] = field(default_factory=list)
    refusals: list[tuple[Peer, Dialect, str, str]] = field(default_factory=list)
    asks: list[tuple[Hints, dict[str, Any]]] = field(default_factory=list)

    async def govern(self, arrival: Arrival) -> Answer:
        self.arrivals.append(arrival)
        if self.answer is not None:
            return await self.answer(arrival)
        return Answer(200, JSON, json.dumps({"length": len(arrival.body)}).encode())

    def models(self, peer: Peer) -> Sequence[dict[str, Any]]:
        return self.offered

    async def escalate(self, peer: Peer, hints: Hints, ask: dict[str, Any]) -> Answer:
        self.asks.append((hints, ask))
        return Answer(201, JSON, b'{"grant":"g-1"}')

    async def refuse(self, peer: Peer, dialect: Dialect, code: str, message: str) -> Answer:
        self.refusals.append((peer, dialect, code, message))
        body = {"error": {"code": STATUS.get(code, 400), "message": message, "metadata": {"code": code}}}
        return Answer(STATUS.get(code, 400), JSON, json.dumps(body).encode())

    def codes(self) -> list[str]:
        return [code for _, _, code, _ in self.refusals]


class Stream(AsyncIterator[bytes]):
    """A streamed answer that tells what became of it. With `held`, it waits after its chunks until told."""

    def __init__(self, chunks: Sequence[bytes], held: bool = False, fault: Exception | None = None) -> None:
        self._chunks = list(chunks)
        self._held = held
        self._fault = fault
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()
        self.close_begun = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.closed = asyncio.Event()

    async def __anext__(self) -> bytes:
        if self._chunks:
            return self._chunks.pop(0)
        if self._held:
            self.waiting.set()
            await self.released.wait()
        if self._fault is not None:
            raise self._fault
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.close_begun.set()
        await self.may_close.wait()
        self.closed.set()


def streaming(stream: Stream) -> Callable[[Arrival], Awaitable[Answer]]:
    async def answer(_arrival: Arrival) -> Answer:
        return Answer(200, (("Content-Type", "text/event-stream"), ("X-Agentd-Decision", "d-8")), stream=stream)

    return answer


@dataclass
class Door:
    """What a test holds: the server, and a way to connect."""

    path: Path
    server: DoorServer
    listener: Listener

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_unix_connection(str(self.path)))

    async def ask(self, data: bytes) -> "Reply":
        """One request on a connection of its own."""
        client = await self.connect()
        client.send(data)
        reply = await client.reply()
        client.close()
        return reply


@dataclass
class Reply:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Bytes over a Unix socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def say_no_more(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), PATIENCE_S)

    async def head(self) -> tuple[int, dict[str, str]]:
        status = (await self.line()).split()
        headers: dict[str, str] = {}
        while (line := (await self.line()).strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(status[1]), headers

    async def reply(self, head_only: bool = False) -> Reply:
        status, headers = await self.head()
        if head_only or status == 100:
            return Reply(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Reply(status, headers, b"".join([chunk async for chunk in self.chunks()]))
        length = int(headers.get("content-length", "0"))
        return Reply(status, headers, await asyncio.wait_for(self.reader.readexactly(length), PATIENCE_S))

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self.line()).split(b";")[0], 16):
            yield await asyncio.wait_for(self.reader.readexactly(size), PATIENCE_S)
            await self.line()
        await self.line()

    async def end(self) -> bytes:
        """All that is still sent until the other side closes."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_S)


@asynccontextmanager
async def opened(gate: Any, clocks: Clocks = CLOCKS, bounds: Bounds = BOUNDS, app: Any = None) -> AsyncIterator[Door]:
    """A door that serves; closed in its stages afterwards."""
    with tempfile.TemporaryDirectory(prefix="agentd-door-") as folder:
        path = Path(folder) / "run" / "agent.sock"
        listener = await asyncio.to_thread(bind_door, Place("agent", path, 0o600))
        async with asyncio.TaskGroup() as tasks:
            server = DoorServer(tasks, clocks, bounds)
            await server.start(listener.sock, app or agent_app(gate), "agent")
            try:
                yield Door(path, server, listener)
            finally:
                server.stop_accepting()
                await server.cut()
                await asyncio.to_thread(release, listener)


def play(scene: Awaitable[None], loop: str = "uvloop") -> None:
    """Run a scene to its end."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:

        async def timed() -> None:
            async with asyncio.timeout(60):
                await scene

        runner.run(timed())


def post(path: str, body: bytes = b"{}", headers: str = "") -> bytes:
    """The bytes of a POST."""
    return f"POST {path} HTTP/1.1\r\nHost: agentd\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def get(path: str, headers: str = "", method: str = "GET") -> bytes:
    """The bytes of a request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: agentd\r\n{headers}\r\n".encode()
