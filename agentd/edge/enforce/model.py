"""Sending permitted model calls to their upstream, with a key that nobody else sees.

Request headers are built from nothing: no header of a client is copied. The connection is bound by the permit's deadline;
leaving the context closes it unless the answer was read to its end. Before there is a connection nothing can have been billed,
so one that does not come about is another failure than an answer that does not. With `--simulate`, upstreams of kind
`openrouter` are reached at the simulator's Unix socket instead; nothing else differs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import aiohttp

from agentd import __version__
from agentd.core.dialects.betas import DEFAULT_VERSION
from agentd.core.dialects.failures import MAX_ERROR_BYTES, read_failure
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import KeyUnavailable, UpstreamFailed
from agentd.core.types.receipts import Permit
from agentd.edge.enforce import http
from agentd.gate.ports import Clock, Dispatch, Endpoint, Reply

CONNECT_S = 10.0
"""To connect, name resolution and TLS included."""

SILENCE_S = 120.0
"""The longest pause between two pieces of an answer; upstreams send comments while they work."""

ERROR_BODY_S = 5.0
"""For the rest of an error answer: its status is known by then, and says enough if nothing more comes."""

KEEPALIVE_S = 60.0

_PATHS = {Dialect.CHAT: "/chat/completions", Dialect.MESSAGES: "/messages", Dialect.RESPONSES: "/responses"}

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


class ModelUpstream:
    """Fulfils `gate.ports.Upstream` by HTTP. Use as an async context; leaving it closes the connections."""

    def __init__(self, way: Way) -> None:
        """Connections are opened on entering."""
        self._way = way
        self._session: aiohttp.ClientSession | None = None
        self._simulated: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Make the connection pools."""
        self._session = http.session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60))
        if self._way.simulator is not None:
            self._simulated = http.session(
                aiohttp.UnixConnector(self._way.simulator, limit=0, keepalive_timeout=KEEPALIVE_S)
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        for session in (self._session, self._simulated):
            if session is not None:
                await session.close()

    @asynccontextmanager
    async def open(self, permit: Permit, dispatch: Dispatch) -> AsyncIterator[Reply]:
        """See `gate.ports.Upstream.open`."""
        session, url, key = self.target(dispatch.endpoint)
        limits = permit.allow.limits
        timeout = aiohttp.ClientTimeout(total=limits.deadline_s, connect=CONNECT_S, sock_read=SILENCE_S)
        request = session.post(
            url + _PATHS[dispatch.dialect],
            data=dispatch.body,
            headers=_headers(dispatch, key),
            timeout=timeout,
            allow_redirects=False,
        )
        response = await self._answered(request)
        try:
            if response.status != 200:
                raise await self._refused(response)
            yield HttpReply(response)
        finally:
            response.close() if not response.content.at_eof() else response.release()

    def target(self, endpoint: Endpoint, key: str | None = None) -> tuple[aiohttp.ClientSession, str, str | None]:
        """The pool, base URL and key of an endpoint; `key` in the place of the one in use. Raises `KeyUnavailable`."""
        if endpoint.kind == "openrouter" and self._simulated is not None:
            return self._simulated, SIMULATOR_URL, SIMULATOR_KEY
        if self._session is None:
            raise KeyUnavailable("daemon.stopping", "the upstream connections are closed")
        if endpoint.key is None:
            return self._session, endpoint.url, None
        return self._session, endpoint.url, key or self._way.key(endpoint.key).reveal()

    async def _answered(self, request: "aiohttp.client._RequestContextManager") -> aiohttp.ClientResponse:
        try:
            return await request
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise http.unreachable(error) from None
        except TimeoutError:
            raise http.timed_out() from None
        except (aiohttp.ClientError, OSError) as error:
            raise http.broke(error) from None

    async def _refused(self, response: aiohttp.ClientResponse) -> UpstreamFailed:
        body = bytearray()
        try:
            async with asyncio.timeout(ERROR_BODY_S):
                while piece := await response.content.read(MAX_ERROR_BYTES - len(body)):
                    body += piece
        except (aiohttp.ClientError, TimeoutError, OSError):
            body.clear()  # half a body says nothing that its status does not
        failed = read_failure(response.status, response.headers, bytes(body), self._way.clock.wall_ns() // 10**9)
        failed.generation = response.headers.get("X-Generation-Id")
        return failed


class HttpReply:
    """A 200 of an upstream, being read. Fulfils `gate.ports.Reply`."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        """Takes the open response."""
        self._response = response
        self._aborted = False
        self.generation: str | None = response.headers.get("X-Generation-Id")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except TimeoutError:
            raise http.timed_out() from None
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            raise http.broke(error) from None
        if self._aborted:
            raise http.broke(ConnectionAbortedError())

    def abort(self) -> None:
        """Cut the connection."""
        self._aborted = True
        self._response.close()


def _headers(dispatch: Dispatch, key: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if dispatch.stream else "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"agentd/{__version__}",
    }
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if dispatch.endpoint.kind == "openrouter":
        headers["X-OpenRouter-Metadata"] = "enabled"
    if dispatch.dialect is Dialect.MESSAGES:
        headers["anthropic-version"] = dispatch.version or DEFAULT_VERSION
        if dispatch.beta:
            headers["anthropic-beta"] = ",".join(dispatch.beta)
    return headers
