"""One connection: the peer is named before its first byte is read, and every wait for the client has a clock.

The HTTP itself is aiohttp's. Its request handler has no public seam for what a door needs, so this file, and no other, touches
its private parts (`_messages`, `_waiter`, `_current_request`, `_make_error_handler`); the version is pinned and the tests of this
room speak to real sockets, so a change of theirs shows.

* **Slow clients**: from accept, and from the first byte of each later request, there is a clock until the headers are complete.
* **Long heads**: the library bounds each line and their number, which together is megabytes for each connection; here is the sum.
* **Unreadable bytes** are answered by the app's refuser, so that they are recorded and worded like any other refusal.
* **Half-closed sockets**: a client may say that it will send no more and still want its answer. aiohttp would hang up; here the
  connection stays while an answer is owed. Nobody tells us any more when that client goes, so the socket is looked at.
* **The door closes**: a connection that is silent is shut for reading before it is closed, so that a request that was just being
  sent is either read, and then answered, or was never sent.
* **Vanished clients** cancel their handler through `Keeper.run`, which cancels the work exactly once, so that it can close the
  record in its own time.
"""

import asyncio
import contextlib
import logging
import os
import re
import select
import socket
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from agentd.core.types.callers import Door, Peer
from agentd.edge.api.peer import PeerSocket, read_peer

T = TypeVar("T")
IDENTIFIED: web.RequestKey[Peer] = web.RequestKey("identified", Peer)
"""Where a door that asks for more than the kernel's word (`tcp`) keeps whom a request turned out to be from."""

Refuser = Callable[[web.BaseRequest, Peer, str, str], Awaitable[web.StreamResponse]]
"""Words and records the refusal of bytes that are no request: (request, peer, code, message)."""

LAST_CALL_S = 0.2  # silence that ends a connection while the door closes; who calls without a pause is not silent
HALF_CLOSED_TICK_S = 0.1  # how long a call may go on for a client that half closed its socket and then went away
MAX_HEADER_BYTES = 16 * 1024  # one header line; clients send JSON of some KiB in theirs
MAX_HEAD_BYTES = 64 * 1024  # of a connection, in heads that are coming or wait to be served; real ones have 1 KiB
MAX_TOLD = 200  # characters of a parser's complaint that are told
_QUOTE = re.compile(r"\sb?['\"]")  # where it begins to quote
_BUSY_BODY = (
    b'{"type":"error","error":{"code":503,"type":"overloaded_error",'
    b'"message":"agentd serves no more connections just now. Close some, then try again."}}'
)
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BUSY_BODY), _BUSY_BODY)
)
"""What a connection above the bounds is told, without a handler. Its shape is an error in every dialect."""


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """How long a client may keep us waiting, in seconds."""

    head: float = 10.0  # for complete headers; a local client sends them in a millisecond
    idle: float = 75.0  # between requests; above the 60 s that common clients keep connections for
    body_stall: float = 10.0  # for the next piece of a body
    body: float = 120.0  # for a whole body
    write_stall: float = 120.0  # for a reader to take what was written; agents are stopped and resumed for seconds


CLOCKS = Clocks()
"""What a door has unless told otherwise."""


class PeerGone(OSError):
    """The client had left before it could be named: nobody is there to be served."""


class Names(Protocol):
    """Tells who is at the other end of a connection: each kind of socket has its own way."""

    def peer(self, sock: Any, door: Door) -> Peer:  # noqa: ANN401 - a socket as a transport shows it
        """Identify the peer of an accepted socket. Raises `OSError` when nobody can be named: then nothing may be served."""

    def is_gone(self, sock: Any) -> bool:  # noqa: ANN401
        """Whether nobody is there any more to take an answer. One who only sends no more still is."""


class UnixNames:
    """The peers of Unix sockets."""

    def peer(self, sock: PeerSocket, door: Door) -> Peer:
        """See `peer.read_peer`."""
        return read_peer(sock, door)

    def is_gone(self, sock: socket.socket) -> bool:
        """Whether the other side is closed in both directions."""
        poll = select.poll()
        poll.register(sock.fileno(), 0)  # hang-ups are reported unasked
        return bool(poll.poll(0))


class Keeper(Protocol):
    """What a connection needs of the server that it belongs to."""

    @property
    def names(self) -> Names:
        """Names its peers."""

    @property
    def door(self) -> Door:
        """Which door the connection came in by."""

    @property
    def clocks(self) -> Clocks:
        """The clocks of this door."""

    @property
    def refuser(self) -> Refuser:
        """Refuses what is no request."""

    def enter(self, connection: "PeerProtocol") -> bool:
        """Whether there is room for it; counts it if so."""

    def leave(self, connection: "PeerProtocol") -> None:
        """It is gone."""

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work that is cancelled at most once, and waited for at shutdown."""


class PeerProtocol(RequestHandler):
    """aiohttp's handler of a connection, with a peer."""

    __slots__ = ("_body", "_clock", "_coming", "_entered", "_heads", "_late", "_peer", "_refused", "_silent", "keeper")

    def __init__(self, manager: web.Server, keeper: Keeper, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=keeper.clocks.idle,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp is told to keep none
            auto_decompress=False,  # encoded bodies are refused: a small one may unfold to any size
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )
        self.keeper = keeper
        self._peer: Peer | None = None
        self._entered = False
        self._clock: asyncio.TimerHandle | None = None
        self._late = False
        self._silent = False
        self._coming = 0  # bytes of a head that is not whole
        self._heads = 0  # bytes of those that wait
        self._refused = False
        self._body: StreamReader | None = None  # of the newest request

    @property
    def peer(self) -> Peer:
        """Who is at the other end. Raises `RuntimeError` before the connection is made: nothing is read until then."""
        if self._peer is None:
            raise RuntimeError("no connection yet, so no peer")
        return self._peer

    @property
    def idle(self) -> bool:
        """Whether nothing is owed to the client: it waits for a request that has not come."""
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Name the peer, count it, then begin to read. A peer without a name, or one too many, is turned away."""
        try:
            self._peer = self.keeper.names.peer(transport.get_extra_info("socket"), self.keeper.door)
        except PeerGone as gone:
            log.debug("a connection was closed: %s", gone)
            self._turn_away(transport, b"")
            return
        except Exception:  # whatever kept us from naming the peer, nobody unnamed is served
            log.exception("a connection without a known peer was closed")
            self._turn_away(transport, b"")
            return
        self._entered = self.keeper.enter(self)
        if not self._entered:
            self._turn_away(transport, BUSY)
            return
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock and give the place back; aiohttp cancels the handler."""
        self._stop_clock()
        super().connection_lost(exc)
        if self._entered:
            self._entered = False
            self.keeper.leave(self)

    def data_received(self, data: bytes) -> None:
        """Parse; a clock runs whenever a request has begun and its headers are not complete. The first bytes may come before
        the library waits for any, when nothing is owed and the connection does not look idle either: then it goes on."""
        if self._refused:
            return  # the connection ends with what it is told
        self._silent = False
        served, in_body = self._request_count, self._body is not None and not self._body.is_eof()
        super().data_received(data)
        if self._messages and self._request_count != served:
            self._body = self._messages[-1][1]
            self._coming, self._heads = 0, sum(_head_bytes(message) for message, _ in self._messages)
        elif not in_body:
            self._coming += len(data)
        if self._coming + self._heads > MAX_HEAD_BYTES:
            self._refuse(f"more than {MAX_HEAD_BYTES} bytes of headers")
        if self._messages or self._current_request is not None:
            self._stop_clock()
        elif self.idle and self._clock is None:
            self._start_clock()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio asks for this answer, aiohttp's annotation has none
        """Whether the connection stays open for the answers that are still owed. A body that was cut off never comes."""
        if self.idle or self.transport is None or self._is_gone():
            return False
        self._look_after_half_closed()
        return True

    def let_go(self) -> None:
        """Close as soon as nothing is owed and nothing more comes. Answers that begin from now on are the last by themselves."""
        self._silent = True
        self._loop.call_later(LAST_CALL_S, self._close_when_silent)

    def _close_when_silent(self) -> None:
        """Read what was sent, if anything was, and no more: the end of that closes the connection, once nothing is owed
        (`eof_received`)."""
        if self.transport is None or self.transport.is_closing():
            return
        if not (self._silent and self.idle):
            self.let_go()
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(_descriptor(self.transport))) as same:
            same.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """Close at once, unsent bytes included; the handler is cancelled by that."""
        if self.transport is not None:
            self.transport.abort()

    def _make_error_handler(self, err_info: _ErrInfo) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        """The library asks here for the answer to bytes that are no request."""
        code, message = "request.bad_http", f"This is no HTTP request: {_tellable(err_info.message)}."
        if self._late:
            code, message = "request.too_slow", f"No complete request came within {self.keeper.clocks.head:g} s."

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            refusal = await self.keeper.run(_awaited(self.keeper.refuser(request, self.peer, code, message)))
            refusal.headers["Server"] = "agentd"  # no app signs it
            refusal.force_close()
            return refusal

        return answer

    def _turn_away(self, transport: asyncio.BaseTransport, words: bytes) -> None:
        """Close without reading."""
        self.force_close()
        writable = cast("asyncio.Transport", transport)  # the transports of uvloop do not inherit from asyncio's
        if words:
            writable.write(words)
        writable.close()

    def _start_clock(self) -> None:
        """From now on, the headers have this long."""
        self._clock = self._loop.call_later(self.keeper.clocks.head, self._expire)

    def _stop_clock(self) -> None:
        """The headers are complete, or nobody waits for them any more."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _expire(self) -> None:
        """The clock ran out: queue a fault in the request's place, as aiohttp does with unreadable bytes."""
        self._clock = None
        if self.idle:
            self._late = True
            self._refuse("too slow")

    def _refuse(self, fault: str) -> None:
        """Put a fault in the place of what waits, as the library does with unreadable bytes; it ends the connection."""
        self._refused = True
        self._messages.clear()
        self._messages.append((_ErrInfo(400, BadHttpMessage(fault), fault), EMPTY_PAYLOAD))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _look_after_half_closed(self) -> None:
        """Look whether a client that sends no more still listens, until it is answered."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._is_gone():
            self.cut()
        elif self.idle:
            self.force_close()
        else:
            for payload in self._unfinished():
                payload.set_exception(ConnectionResetError("the client stopped sending in the middle of the body"))
                payload.feed_eof()  # or the library waits for the rest, finds the exception, and logs it as a fault
            self._loop.call_later(HALF_CLOSED_TICK_S, self._look_after_half_closed)

    def _is_gone(self) -> bool:
        """Whether nobody is there to take an answer."""
        return self.transport is None or self.keeper.names.is_gone(self.transport.get_extra_info("socket"))

    def _unfinished(self) -> Iterator[StreamReader]:
        """Bodies that are not complete."""
        bodies = [payload for _, payload in self._messages]
        if self._current_request is not None:
            bodies.append(self._current_request.content)
        return (body for body in bodies if not body.is_eof() and body.exception() is None)


def peer_of(request: web.BaseRequest) -> Peer:
    """Who sent a request: as the kernel said at accept, and over TCP with the agent whose token it showed. Raises `TypeError`
    for a request that came through no door."""
    peer: Peer = request.get(IDENTIFIED, connection_of(request).peer)
    return peer


def connection_of(request: web.BaseRequest) -> PeerProtocol:
    """The connection of a request. Raises `TypeError` for a request that came through no door."""
    if not isinstance(request.protocol, PeerProtocol):
        raise TypeError("this request came in by no door of agentd, so nobody is known to have sent it")
    return request.protocol


def _head_bytes(message: object) -> int:
    """How much a request's headers hold; a fault that waits in a request's place has none."""
    return sum(len(name) + len(value) for name, value in getattr(message, "raw_headers", ()))


def _descriptor(transport: asyncio.BaseTransport) -> int:
    """The number of a connection's socket."""
    number: int = transport.get_extra_info("socket").fileno()
    return number


async def _awaited(work: Awaitable[T]) -> T:
    """Any awaitable as a coroutine, which is what a task is made of."""
    return await work


def _tellable(text: str) -> str:
    """A parser's complaint on one line, short and without control characters, up to where it quotes the client's bytes: those
    may be of a prompt or a key, which belong in no record."""
    line = _QUOTE.split(" ".join(text.split()), maxsplit=1)[0][:MAX_TOLD].rstrip(".: ")
    return "".join(char if char.isprintable() else "?" for char in line)
