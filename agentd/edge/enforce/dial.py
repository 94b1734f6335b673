"""Opening a connection to an upstream: its name, the addresses behind it, TLS.

A name is asked for by the system's resolver in a thread and its addresses kept for a minute; when none of them answers they are
forgotten at once. Of IPv6 and IPv4 the one that answers first is taken, with a short start for the first in the resolver's order.
Certificates are judged by the system's authorities (or those that SSL_CERT_FILE names), which are read once, in a thread, when
the first connection needs them. The environment's proxies are not used: what leaves is what the policy names.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import aiohappyeyeballs

from agentd.edge.enforce.wire import Connection

NAME_S = 60.0
"""How long the addresses of a name are used without asking again."""

HEAD_START_S = 0.25
"""How long an address is tried alone before the next is tried beside it."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int]  # IPv4, IPv6
Addresses = list[tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, SocketAddress]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where connections go: host and port, with TLS or without; or a Unix socket at `path`."""

    host: str
    port: int
    tls: bool
    path: str | None = None


class Dialer:
    """Opens connections."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._names: dict[tuple[str, int], tuple[float, Addresses]] = {}
        self._context: ssl.SSLContext | None = None

    async def dial(self, place: Place, on_lost: Callable[[Connection], None]) -> Connection:
        """An open connection. Raises `OSError`, which TLS errors and unknown names are too."""
        loop = asyncio.get_running_loop()

        def fresh() -> Connection:
            return Connection(loop, on_lost)

        if place.path is not None:
            return (await loop.create_unix_connection(fresh, place.path))[1]
        context = await self._trust(loop) if place.tls else None
        sock = await self._reach(loop, place)
        try:
            name = place.host if place.tls else None
            return (await loop.create_connection(fresh, sock=sock, ssl=context, server_hostname=name))[1]
        except BaseException:  # also when the wait is cancelled: nobody else knows this socket
            sock.close()
            raise

    async def _reach(self, loop: asyncio.AbstractEventLoop, place: Place) -> socket.socket:
        addresses = await self._addresses(loop, place)
        try:
            return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=HEAD_START_S, loop=loop)
        except OSError:
            self._names.pop((place.host, place.port), None)
            raise

    async def _addresses(self, loop: asyncio.AbstractEventLoop, place: Place) -> Addresses:
        known = self._names.get((place.host, place.port))
        if known is not None and known[0] > loop.time():
            return known[1]
        found: Addresses = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)  # type: ignore[assignment]
        self._names[place.host, place.port] = (loop.time() + NAME_S, found)
        return found

    async def _trust(self, loop: asyncio.AbstractEventLoop) -> ssl.SSLContext:
        if self._context is None:
            self._context = await loop.run_in_executor(None, _context)
        return self._context


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
