"""Connections to upstreams that are kept for the next call: of a place the newest first, each for a minute at most.

One that was closed by its peer is never handed out: the loop hears of most, and those it has not heard of yet show at the
socket itself. What remains is a farewell that is still under way.
"""

import asyncio

from agentd.edge.enforce.dial import Dialer, Place
from agentd.edge.enforce.wire import Connection

KEEPALIVE_S = 60.0
"""How long a connection waits for its next call: below what services and the devices on the way allow."""

MAX_IDLE = 64
"""Connections that wait at one place: as many as are likely to be needed again, and far from the limit of open files."""

_TURNS = 5
"""Of the loop, for transports to close in."""


class Pool:
    """Open connections by place."""

    def __init__(self) -> None:
        """Nothing is open."""
        self._dialer = Dialer()
        self._idle: dict[Place, list[tuple[float, Connection]]] = {}  # with the loop time at which each began to wait
        self._open: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    def idle(self, place: Place) -> Connection | None:
        """One that waits, or None."""
        waiting = self._idle.get(place)
        if not waiting:
            return None
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_S
        while waiting:
            since, connection = waiting.pop()
            if since > oldest and connection.alive():
                return connection
            connection.abort()
        return None

    async def connect(self, place: Place, within_s: float) -> Connection:
        """A new one. Raises `OSError`, which `TimeoutError` is too."""
        async with asyncio.timeout(within_s):
            connection = await self._dialer.dial(place, self._open.discard)
        if not connection.closing:  # else it has been heard of, or soon is
            self._open.add(connection)
        return connection

    def give_back(self, place: Place, connection: Connection) -> None:
        """An exchange is over: keep the connection if it can serve another, else close it."""
        if not connection.rest():
            return
        loop = asyncio.get_running_loop()
        waiting = self._idle.setdefault(place, [])
        waiting.append((loop.time(), connection))
        if len(waiting) > MAX_IDLE:
            waiting.pop(0)[1].abort()
        if self._sweep is None:
            self._sweep = loop.call_later(KEEPALIVE_S, self._clear)

    def _clear(self) -> None:
        """Close what has waited too long, and look again as long as something waits."""
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEPALIVE_S
        for place, waiting in list(self._idle.items()):
            for since, connection in waiting:
                if since <= oldest:
                    connection.abort()
            young = [entry for entry in waiting if entry[0] > oldest]
            if young:
                self._idle[place] = young
            else:
                del self._idle[place]
        self._sweep = loop.call_later(KEEPALIVE_S, self._clear) if self._idle else None

    async def close(self) -> None:
        """Close all, in use or not."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._idle.clear()
        for connection in tuple(self._open):
            connection.abort()
        for _ in range(_TURNS):
            if self._open:
                await asyncio.sleep(0)
