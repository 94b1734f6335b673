"""Questions to an upstream beside the calls: what a call cost, what the key may do, which models there are, who keeps nothing.

Each is one GET with a clock of its own and a bound on the answer; the bytes go to the pure rooms, which read them. Nothing here
may take as long as a call: whoever asks has something else to do.
"""

from collections.abc import Mapping

import aiohttp

from agentd import __version__
from agentd.core.dialects.failures import MAX_ERROR_BYTES, read_failure
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer
from agentd.edge.enforce import http
from agentd.edge.enforce.model import ModelUpstream
from agentd.gate.ports import Clock, Endpoint

ANSWER_S = 20.0
"""For a whole answer: the list of models has a megabyte, and nobody waits for it."""

CONNECT_S = 5.0

MAX_BYTES = 16 << 20
"""Of an answer: some ten times the longest list there is."""


class UpstreamAccounts:
    """Fulfils `gate.ports_accounts.Accounts`, on connections beside those of the calls."""

    def __init__(self, upstream: ModelUpstream, clock: Clock) -> None:
        """`upstream` has been entered."""
        self._upstream = upstream
        self._clock = clock

    async def generation(self, endpoint: Endpoint, generation: str) -> bytes | None:
        """See `Accounts`."""
        try:
            return await self._get(endpoint, "/generation", {"id": generation})
        except UpstreamFailed as failed:
            if failed.status == 404:
                return None
            raise

    async def key(self, endpoint: Endpoint, value: str | None = None) -> bytes:
        """See `Accounts`."""
        return await self._get(endpoint, "/key", value=value)

    async def models(self, endpoint: Endpoint) -> bytes:
        """See `Accounts`."""
        return await self._get(endpoint, "/models")

    async def private(self, endpoint: Endpoint) -> bytes:
        """See `Accounts`."""
        return await self._get(endpoint, "/endpoints/zdr")

    async def _get(
        self, endpoint: Endpoint, path: str, params: Mapping[str, str] | None = None, value: str | None = None
    ) -> bytes:
        sessions = self._upstream.sessions
        target = self._upstream.target(endpoint, value)
        session = (sessions.simulated if target.simulated else None) or sessions.real
        headers = {"Accept": "application/json", "User-Agent": f"agentd/{__version__}"}
        if target.key is not None:
            headers["Authorization"] = f"Bearer {target.key}"
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, connect=CONNECT_S)
        asked = session.get(target.url + path, params=params, headers=headers, timeout=timeout, allow_redirects=False)
        try:
            async with asked as response:
                return await self._read(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise http.unreachable(error) from None
        except TimeoutError:
            raise http.timed_out() from None
        except (aiohttp.ClientError, OSError) as error:
            raise http.broke(error) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        good = response.status == 200
        most = MAX_BYTES if good else MAX_ERROR_BYTES
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > most:
                response.close()
                break
        if not good:
            raise read_failure(response.status, response.headers, bytes(body[:most]), self._clock.wall_ns() // 10**9)
        if len(body) > most:
            message = "the upstream's answer is longer than any that is one"
            raise UpstreamFailed("upstream.error", message, status=200, retryable=False, answer=Answer.WAIT)
        return bytes(body)
