"""A door: accepts connections, bounds them, and closes in stages: stop accepting, finish what runs, cut the rest.

Bounds: a process that opens connections without end takes its own user's places first. Work that must come to an end (closing the
record of a call) is done in tasks of the group that is handed in: a client that vanishes, or a cut, cancels it *once*, and then
everybody waits for it.
"""

import asyncio
import logging
import socket
import sys
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from agentd.core.types.callers import Door, Peer
from agentd.edge.api.listen import BACKLOG
from agentd.edge.api.protocol import (
    CLOCKS,
    Clocks,
    Names,
    PeerProtocol,
    Refuser,
    T,
    UnixNames,
    connection_of,
    peer_of,
)

__all__ = [
    "REFUSER",
    "Bounds",
    "Clocks",
    "DoorServer",
    "PeerProtocol",
    "bounds_within",
    "connection_of",
    "peer_of",
    "plain_refusal",
]

CUT_SECONDS = 5.0  # for cut work to close its records; after that the daemon goes on closing
LEFTOVER_SECONDS = 1.0  # for what aiohttp itself may still have running after a cut
REFUSER: web.AppKey[Refuser] = web.AppKey("refuser")
"""An app may put its own refuser here; else `plain_refusal` is used."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many connections a door holds at a time."""

    per_uid: int = 512  # an agent with all its sub-agents has some dozens
    total: int = 2048  # with the upstream's sockets this stays far below the descriptors of the shipped unit


BOUNDS = Bounds()
"""What a door has unless told otherwise."""

OWN_DESCRIPTORS = 128
"""What agentd holds beside its callers: record, watches, doors, questions beside the calls, and some to spare."""

FEWEST = 8
"""Connections that a door takes however few descriptors there are: below that nothing could be told to anybody."""


def bounds_within(descriptors: int, doors: int) -> Bounds:
    """The bounds of each of some doors where a process may have so many descriptors: a call takes two, its own and the
    upstream's, and whoever is above the bounds is told so, which takes one more."""
    total = max(FEWEST, min(BOUNDS.total, (descriptors - OWN_DESCRIPTORS) // (2 * doors)))
    return Bounds(min(BOUNDS.per_uid, total), total)


async def plain_refusal(_request: web.BaseRequest, _peer: Peer, code: str, message: str) -> web.StreamResponse:
    """A refusal in no dialect, without a record."""
    return web.json_response({"error": {"code": code, "message": message, "hint": ""}}, status=400)


class DoorServer:
    """Serves one app on one listening socket. Stages: `start`, `stop_accepting`, `finish`, `cut`."""

    def __init__(self, tasks: asyncio.TaskGroup, clocks: Clocks = CLOCKS, bounds: Bounds = BOUNDS) -> None:
        self.door: Door = "agent"
        self.names: Names = UnixNames()
        self.clocks = clocks
        self.refuser: Refuser = plain_refusal
        self.turned_away = 0  # connections above the bounds, since the start
        self._bounds = bounds
        self._tasks = tasks
        self._work: set[asyncio.Task[Any]] = set()
        self._connections: set[PeerProtocol] = set()
        self._by_uid: Counter[int] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        self._listening: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._connections)

    async def start(self, sock: socket.socket, app: web.Application, door: Door, names: Names | None = None) -> None:
        """Serve. The socket listens already; its file is removed by whoever bound it (`listen.release`). `names` is for other
        sockets than Unix ones, whose peers are named in another way."""
        self.door = door
        self.names = names or self.names
        self.refuser = app.get(REFUSER, plain_refusal)
        app.on_response_prepare.append(self._sign)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=LEFTOVER_SECONDS)
        await self._runner.setup()
        manager = self._runner.server
        if manager is None:
            raise RuntimeError("aiohttp made no server for the app")
        loop = asyncio.get_running_loop()
        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        made = partial(PeerProtocol, manager, self, loop)
        if sock.family == socket.AF_UNIX:
            self._listening = await loop.create_unix_server(made, sock=sock, backlog=BACKLOG, **keep)
        else:
            self._listening = await loop.create_server(made, sock=sock, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """Stage one: no new connections, and one more request at most on those that are open. Connections that the kernel holds
        are left to whoever listens next on the same socket."""
        self._stopping = True
        if self._listening is not None:
            self._listening.close()
        for connection in tuple(self._connections):
            connection.let_go()

    async def finish(self, seconds: float) -> bool:
        """Stage two: wait until everything that runs was answered, at most so long. Says whether it was."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    async def cut(self) -> None:
        """Stage three: close what is left. Cancelled work gets `CUT_SECONDS` to close its records."""
        for connection in tuple(self._connections):
            connection.cut()
        if not await self.finish(CUT_SECONDS):
            log.error("%d pieces of work did not end within %g s of the cut", len(self._work), CUT_SECONDS)
        if self._runner is not None:
            await self._runner.cleanup()

    def enter(self, connection: PeerProtocol) -> bool:
        """See `Keeper`."""
        uid = connection.peer.uid
        if self._by_uid[uid] >= self._bounds.per_uid or len(self._connections) >= self._bounds.total:
            self.turned_away += 1
            log.warning("connection of uid %d turned away, %d so far", uid, self.turned_away)
            return False
        self._connections.add(connection)
        self._by_uid[uid] += 1
        self._empty.clear()
        if self._stopping:  # it was accepted in the very moment of the stop
            connection.let_go()
        return True

    def leave(self, connection: PeerProtocol) -> None:
        """See `Keeper`."""
        uid = connection.peer.uid
        self._connections.discard(connection)
        self._by_uid[uid] -= 1
        if self._by_uid[uid] <= 0:
            del self._by_uid[uid]
        self._note_empty()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Keeper`. What the work raises is raised here."""
        task = self._tasks.create_task(_contained(work))
        self._work.add(task)
        self._empty.clear()
        task.add_done_callback(self._done)
        try:
            result = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.cancel()  # once: this handler is over, nobody else knows the task
            raise
        if isinstance(result, _Raised):
            raise result.error
        return result

    async def _sign(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Who serves, without the versions that the library would tell; and that it was the last answer, once the door closes."""
        response.headers["Server"] = "agentd"
        if self._stopping:
            response.headers["Connection"] = "close"
            response.force_close()

    def _done(self, task: asyncio.Task[Any]) -> None:
        """A piece of work has ended."""
        self._work.discard(task)
        self._note_empty()

    def _note_empty(self) -> None:
        """Tell those who wait for the end, when it is there."""
        if not self._connections and not self._work:
            self._empty.set()


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a piece of work raised, carried over to the handler that waits for it."""

    error: Exception


async def _contained(work: Coroutine[Any, Any, T]) -> "T | _Raised":
    """Run work, keeping its error as a value."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - raised again in `run`; a child that fails would end the whole task group
        return _Raised(error)
