"""Reading a request's body: with a size, a clock, and a bound on what one user makes us hold.

A body is looked at only when it is whole, so it stays in memory until its call is answered; without a bound on the sum, a few
hundred connections of one user would be enough to fill a small box.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from agentd.core.types.errors import AgentdError
from agentd.edge.api.protocol import Clocks, connection_of

MIB = 1 << 20
MAX_BODY = 32 * MIB  # long sessions with images reach some 20 MiB; providers refuse more than 32
MAX_HELD = 4 * MAX_BODY  # bytes of bodies that one uid may have in memory
PLAIN_ENCODINGS = ("", "identity")


class BodyRefused(AgentdError):
    """A body that is not taken. `code` tells why: too large, too slow, cut off, encoded, or too many at a time."""


class Bodies:
    """What is held at the moment, by uid."""

    def __init__(self, largest: int = MAX_BODY, held: int = MAX_HELD) -> None:
        self.largest = largest
        self._held = held
        self._by_uid: Counter[int] = Counter()

    @contextmanager
    def taken_from(self, request: web.Request) -> Iterator["Body"]:
        """Within this context the body counts as held, for it is."""
        body = Body(request, self)
        try:
            yield body
        finally:
            self._by_uid[body.uid] -= body.size
            if self._by_uid[body.uid] <= 0:
                del self._by_uid[body.uid]

    def grow(self, uid: int, more: int) -> None:
        """Count more bytes. Raises `BodyRefused` above the bound."""
        self._by_uid[uid] += more
        if self._by_uid[uid] > self._held:
            message = f"agentd holds {self._held // MIB} MiB of requests for this user already"
            raise BodyRefused("request.busy", message, "Wait until running calls are answered.")


class Body:
    """One body that is being read."""

    def __init__(self, request: web.Request, bodies: Bodies) -> None:
        self._request = request
        self._bodies = bodies
        self._largest = bodies.largest
        self.uid = connection_of(request).peer.uid
        self.size = 0

    async def read(self, largest: int | None = None) -> bytes:
        """All of it, at most `largest` bytes. Raises `BodyRefused`; a body announced as too large is not read at all."""
        self._largest = largest or self._bodies.largest
        encoding = self._request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in PLAIN_ENCODINGS:
            message = f"the body is encoded ({encoding[:20]!r}), which agentd does not read"
            raise BodyRefused("request.encoding", message, "Send it without Content-Encoding.")
        self._check(self._request.content_length or 0)
        clocks = connection_of(self._request).keeper.clocks
        try:
            async with asyncio.timeout(clocks.body):
                return await self._pieces(clocks)
        except TimeoutError:
            message = f"the body was not complete within {clocks.body:g} s, or nothing came for {clocks.body_stall:g} s"
            raise BodyRefused("request.too_slow", message, "Send it without pauses.") from None
        except (ConnectionError, RequestPayloadError):
            raise BodyRefused(
                "request.incomplete", "the body ended before its announced end", "Send all of it."
            ) from None

    async def _pieces(self, clocks: Clocks) -> bytes:
        """Read piece by piece; each must come before the stall clock runs out."""
        pieces: list[bytes] = []
        while True:
            async with asyncio.timeout(clocks.body_stall):
                piece = await self._request.content.readany()
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            self.size += len(piece)
            self._bodies.grow(self.uid, len(piece))
            self._check(self.size)

    def _check(self, size: int) -> None:
        if size > self._largest:
            message = f"the body has more than {self._largest} bytes, which is all that agentd takes here"
            raise BodyRefused("request.too_large", message, "Send less: compact the conversation.")
