"""Sending permitted model calls to their upstream, with a key that nobody else sees.

The connection is bound by the permit's deadline; leaving the context closes it unless the answer was read to its end. Before the
request has left whole nothing can have been billed, so that is another failure than an answer that does not come. With
`--simulate`, upstreams of kind `openrouter` are reached at the simulator's Unix socket instead; nothing else differs.

Only a request that cannot have been received is sent again, once: if it was given to a connection that had served before, and was
closed meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol, Self

from agentd.core.dialects.failures import MAX_ERROR_BYTES, read_failure
from agentd.core.types.errors import KeyUnavailable, UpstreamFailed
from agentd.core.types.receipts import Permit
from agentd.edge.enforce import head, http
from agentd.edge.enforce.dial import Place
from agentd.edge.enforce.pool import Pool
from agentd.edge.enforce.wire import BadAnswer, Connection, NotSent
from agentd.gate.ports import Clock, Dispatch, Endpoint

CONNECT_S = 10.0
"""To connect, name resolution and TLS included."""

SILENCE_S = 120.0
"""The longest pause between two pieces of an answer; upstreams send comments while they work."""

ERROR_BODY_S = 5.0
"""For the rest of an error answer: its status is known by then, and says enough if nothing more comes."""

SIMULATOR_URL = "http://simulator/api/v1"
SIMULATOR_KEY = "sk-simulator"
"""No secret: the simulator wants some key, as the real service does."""


class Secret(Protocol):
    """A secret value that shows itself only when asked."""

    def reveal(self) -> str:
        """The value."""


@dataclass(frozen=True, slots=True)
class Way:
    """Where calls go: how to get a key by name, and the simulator's socket, if that stands in."""

    key: Callable[[str], Secret]  # raises `KeyUnavailable`
    clock: Clock
    simulator: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, and the key it carries."""

    place: Place
    url: str
    key: str | None
    simulated: bool = False


class ModelUpstream:
    """Fulfils `gate.ports.Upstream` by HTTP. Use as an async context; leaving it closes the connections."""

    def __init__(self, way: Way) -> None:
        """Connections are opened on entering."""
        self.clock = way.clock
        self._way = way
        self._pool: Pool | None = None
        self._sessions: http.Sessions | None = None
        self._simulator = None if way.simulator is None else Place("simulator", 0, False, way.simulator)

    async def __aenter__(self) -> Self:
        """Make the connection pools."""
        self._pool = Pool()
        self._sessions = http.Sessions.begin(self._way.simulator)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        pool, self._pool = self._pool, None
        sessions, self._sessions = self._sessions, None
        if pool is not None:
            await pool.close()
        if sessions is not None:
            await sessions.__aexit__(kind, error, trace)

    @property
    def pool(self) -> Pool:
        """The connections of the calls. Raises `KeyUnavailable` outside of the context."""
        return self._pool or _stopping()

    @property
    def sessions(self) -> http.Sessions:
        """The connections of what is asked beside the calls. Raises `KeyUnavailable` outside of the context."""
        return self._sessions or _stopping()

    def open(self, permit: Permit, dispatch: Dispatch) -> "ModelCall":
        """See `gate.ports.Upstream.open`."""
        return ModelCall(self, permit.allow.limits.deadline_s, dispatch)

    def target(self, endpoint: Endpoint, key: str | None = None) -> Target:
        """Place, base URL and key of an endpoint; `key` in the place of the one in use. Raises `KeyUnavailable`."""
        if endpoint.kind == "openrouter" and self._simulator is not None:
            return Target(self._simulator, SIMULATOR_URL, SIMULATOR_KEY, simulated=True)
        if endpoint.key is not None:
            key = key or self._way.key(endpoint.key).reveal()
        return Target(head.place_of(endpoint.url), endpoint.url, None if endpoint.key is None else key)


class ModelCall(AbstractAsyncContextManager["HttpReply"]):
    """A call: entering it sends, leaving it gives the connection back or closes it."""

    __slots__ = ("_connection", "_dispatch", "_ends_at", "_pool", "_target", "_upstream", "_within_s")

    def __init__(self, upstream: ModelUpstream, deadline_s: float, dispatch: Dispatch) -> None:
        """Nothing is sent yet."""
        self._upstream = upstream
        self._within_s = deadline_s
        self._dispatch = dispatch
        self._connection: Connection | None = None

    async def __aenter__(self) -> "HttpReply":
        """Send; the reply when its status is 200. Raises as `gate.ports.Upstream.open` says."""
        self._pool = self._upstream.pool
        self._target = target = self._upstream.target(self._dispatch.endpoint)
        self._ends_at = asyncio.get_running_loop().time() + self._within_s
        request = (head.head_of(self._dispatch, target.url, target.key), self._dispatch.body)
        try:
            return await self._read(await self._sent(request))
        except BaseException:  # also when the caller goes away: the peer must hear of it at once
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The answer is not read any further."""
        self._leave()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(self._target.place, connection)

    async def _sent(self, request: tuple[bytes, bytes]) -> Connection:
        """The connection on which a status has come."""
        used = self._pool.idle(self._target.place)
        if used is not None:
            try:
                return await self._ask(used, request)
            except NotSent:
                self._leave()
        try:
            fresh = await self._pool.connect(self._target.place, min(CONNECT_S, self._within_s))
        except OSError as error:
            raise http.unreachable(error) from None
        try:
            return await self._ask(fresh, request)
        except NotSent as error:
            raise http.unreachable(error) from None

    async def _ask(self, connection: Connection, request: tuple[bytes, bytes]) -> Connection:
        self._connection = connection
        connection.ask(request, self._ends_at, SILENCE_S)
        try:
            await connection.answered()
        except NotSent:
            raise
        except TimeoutError:
            raise http.timed_out() from None
        except OSError as error:
            raise http.broke(error) from None
        return connection

    async def _read(self, connection: Connection) -> "HttpReply":
        readable = connection.headers.get(b"content-encoding", b"identity").lower() == b"identity"
        if connection.status != 200:
            raise await self._refused(connection, readable=readable)
        if not readable:
            raise http.broke(BadAnswer("it is compressed, though that was not asked for"))
        return HttpReply(connection)

    async def _refused(self, connection: Connection, *, readable: bool) -> UpstreamFailed:
        connection.hurry(asyncio.get_running_loop().time() + ERROR_BODY_S)
        body = bytearray()
        try:
            while len(body) < MAX_ERROR_BYTES and (piece := await _next(connection)):
                body += piece
        except OSError:
            body.clear()  # half a body says nothing that its status does not
        waiting = _text(connection, b"retry-after")
        told = {} if waiting is None else {"Retry-After": waiting}
        failed = read_failure(
            connection.status,
            told,
            bytes(body[:MAX_ERROR_BYTES]) if readable else b"",
            self._upstream.clock.wall_ns() // 10**9,
        )
        failed.generation = _text(connection, b"x-generation-id")
        return failed


class HttpReply:
    """A 200 of an upstream, being read. Fulfils `gate.ports.Reply`, and is its own iterator."""

    __slots__ = ("_connection", "generation")

    def __init__(self, connection: Connection) -> None:
        """The head of its answer has come."""
        self._connection = connection
        self.generation: str | None = _text(connection, b"x-generation-id")

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Itself."""
        return self

    async def __anext__(self) -> bytes:
        """What has come since. Raises `UpstreamFailed` when the answer breaks off."""
        try:
            piece = await _next(self._connection)
        except TimeoutError:
            raise http.timed_out() from None
        except OSError as error:
            raise http.broke(error) from None
        if not piece:
            raise StopAsyncIteration
        return piece

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.abort()


async def _next(connection: Connection) -> bytes:
    """What has come of a body since; none at its end."""
    while (piece := connection.take()) is None:
        await connection.arrival()
    return piece


def _text(connection: Connection, name: bytes) -> str | None:
    value = connection.headers.get(name)
    return None if value is None else value.decode("latin-1")


def _stopping() -> NoReturn:
    raise KeyUnavailable("daemon.stopping", "the upstream connections are closed")
