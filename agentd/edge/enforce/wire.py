"""One HTTP/1.1 connection to an upstream: a request goes out in one write, an answer comes in by pieces.

Own code, as this is crossed by every byte of every call and needs little of HTTP: no redirects, cookies, proxies or compression.
The grammar is the parser's (llhttp, in its strict mode); here are the bounds, the clocks and what the end of a connection means.

A connection serves one call at a time and is used again only after an answer that was read to its end, on a connection whose
request went out whole; bytes that nobody asked for end it. One timer watches a call: it looks at both clocks (whole
call, silence) when the nearer one could have run out, so that pieces need no timer of their own. Silence is the peer's: while the
reader is behind, reading stops and that clock stands still.

A request of which a part never left this machine cannot have been worked on: losing the connection then is `NotSent`, and the
request may be sent again. Once the kernel has taken all of it, nobody here knows.
"""

import asyncio
import select
from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import cast

import httptools

MAX_HEAD_BYTES = 64 << 10
"""Between two pieces of a body, or before the first: heads, lengths of chunks, trailers. Real heads have 2 KiB."""

MAX_HEADERS = 100
"""Real answers have about twenty."""

MOST_UNREAD = 256 << 10
"""Body bytes that wait for their reader before reading stops: some reads of the socket."""

_BODYLESS = (204, 304)
_TRANSFER, _LENGTH = b"transfer-encoding", b"content-length"


class WireError(ConnectionError):
    """An exchange that failed; its text is agentd's own and may be shown."""


class BadAnswer(WireError):
    """What came is no answer in HTTP/1.1, or more than an answer may have."""


class CutOff(WireError):
    """The connection ended before the answer did."""

    def __init__(self) -> None:
        super().__init__("the connection was closed too early")


class NotSent(WireError):
    """The connection ended before the request had left this machine whole, without a byte of an answer."""

    def __init__(self) -> None:
        super().__init__("the connection was closed before the request was sent")


class Phase(IntEnum):
    """Where an exchange stands."""

    IDLE = 0
    HEAD = 1  # sent; no final status yet
    BODY = 2
    DONE = 3  # the answer is whole
    GONE = 4  # it never will be


class Connection(asyncio.Protocol):
    """A connection and the exchange that is under way on it. Made by `loop.create_connection`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_lost: Callable[["Connection"], None]) -> None:
        """`on_lost` hears once that it is closed."""
        self._loop = loop
        self._on_lost = on_lost
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failed: OSError | None = None
        self._paused = self._unsent = False
        self._begin(Phase.IDLE)

    def _begin(self, phase: Phase) -> None:
        self.phase = phase
        self.status = 0
        self.headers: dict[bytes, bytes] = {}  # by name in lower case; of several the first
        self._rows = 0  # headers and trailers so far
        self._quiet = 0  # bytes since the last of a body
        self._pieces: list[bytes] = []
        self._held = 0  # bytes in `_pieces`
        self._until_close = self._keep = False

    @property
    def closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    # What a call does with it.

    def ask(self, request: Iterable[bytes], deadline_at: float, silence_s: float) -> None:
        """Send. `deadline_at`: loop time at which the exchange is over; `silence_s`: the longest pause of the peer."""
        self._begin(Phase.HEAD)
        self._parser = httptools.HttpResponseParser(self)
        self._deadline_at, self._silence_s = deadline_at, silence_s
        self._heard_at = self._loop.time()
        self._watch()
        self._transport.writelines(request)
        if self._transport.is_closing():  # the kernel would not take it
            self._unsent = True

    def arrival(self) -> "asyncio.Future[None]":
        """Done when there is news. Ask `phase` or `take` first: what has come already does not wake anybody again."""
        self._waiter = waiter = self._loop.create_future()
        return waiter

    async def answered(self) -> int:
        """The status, once the head is whole. Raises `WireError`, `TimeoutError` or another `OSError`."""
        while self.phase is Phase.HEAD:
            await self.arrival()
        if self._failed is not None and self.status == 0:
            raise self._failed
        return self.status

    def take(self) -> bytes | None:
        """What has come of the body; none at its end, None when nothing is there yet. Raises as `answered`."""
        pieces = self._pieces
        if pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self._held = 0
            if self._paused:
                self._resume()
            return data
        if self._failed is not None:
            raise self._failed
        return b"" if self.phase is Phase.DONE else None

    def hurry(self, deadline_at: float) -> None:
        """Bring the end of the exchange forward."""
        self._deadline_at = min(self._deadline_at, deadline_at)
        if self._timer is not None:
            self._watch()

    def rest(self) -> bool:
        """End the exchange. True if the connection may serve another; else it is closed."""
        again = self.phase is Phase.DONE and self._keep and not self._unsent and self._failed is None
        if not again or self._transport.is_closing():
            self.abort()
            return False
        if self._paused:
            self._resume()
        self._begin(Phase.IDLE)
        return True

    def alive(self) -> bool:
        """Whether it can be used: not closed, and nothing waits that the loop has not seen yet, such as the peer's farewell."""
        return self.phase is Phase.IDLE and not self._transport.is_closing() and not self._poll.poll(0)

    def abort(self) -> None:
        """Close at once, whatever is under way; what has come is forgotten, and reading raises."""
        self._pieces.clear()
        self._fail(ConnectionAbortedError())

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open. With the smallest reserve for writing, the transport says whether a request has left (with none, TLS
        says so of an empty one as well)."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def pause_writing(self) -> None:
        """Some of the request waits."""
        self._unsent = True

    def resume_writing(self) -> None:
        """The kernel has it all."""
        self._unsent = self._transport.is_closing() and self._unsent

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._parser is None:
            self._drop()  # nobody asked, or the answer is over
            return
        self._heard_at = self._loop.time()
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._misread(error)
        if self._quiet > MAX_HEAD_BYTES and self.phase in (Phase.HEAD, Phase.BODY):
            self._fail(BadAnswer("its head is too long"))
        if self.phase is Phase.DONE:
            self._parser = None
        elif self._held > MOST_UNREAD and not self._paused and self.phase is Phase.BODY:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The peer says no more."""
        self._cut_off(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._cut_off(exc)
        self._on_lost(self)

    # What the parser says.

    def on_message_begin(self) -> None:
        """Another answer: the first one, the one behind an interim one, or one that nobody asked for."""
        if self.phase is not Phase.HEAD:
            raise BadAnswer("there is more than one")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which nobody reads."""
        self._rows += 1
        if self._rows > MAX_HEADERS:
            raise BadAnswer("it has too many headers")
        if self.phase is Phase.HEAD:
            name = name.lower()
            if name == _TRANSFER and (name in self.headers or value.lower() != b"chunked"):
                raise BadAnswer("it is framed in an unknown way")  # also with a blank: the parser takes some otherwise
            self.headers.setdefault(name, value.rstrip(b" \t"))  # which the parser leaves

    def on_headers_complete(self) -> None:
        """A head is whole; that of an interim answer is forgotten."""
        parser = cast("httptools.HttpResponseParser", self._parser)
        status = parser.get_status_code()
        if parser.get_http_version() not in ("1.1", "1.0") or status in (0, 101):
            raise BadAnswer("it is in another protocol")
        if status < 200:
            self.headers.clear()
            return
        self._until_close = not (status in _BODYLESS or _TRANSFER in self.headers or _LENGTH in self.headers)
        self.status, self.phase = status, Phase.BODY

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(body)
        self._held += len(body)
        self._quiet = 0

    def on_message_complete(self) -> None:
        """An answer is whole, if it was no interim one."""
        if self.phase is Phase.BODY:
            self._end(keep=cast("httptools.HttpResponseParser", self._parser).should_keep_alive())

    # How it ends.

    def _end(self, *, keep: bool) -> None:
        self.phase = Phase.DONE
        self._keep = keep
        self._unwatch()

    def _misread(self, error: Exception) -> None:
        """The parser stopped. Behind a whole answer that costs the connection only."""
        if self.phase is Phase.DONE:
            self._drop()
            return
        own = error.__context__
        self._fail(own if isinstance(own, BadAnswer) else BadAnswer("it is not HTTP/1.1"))

    def _cut_off(self, error: Exception | None) -> None:
        if self.phase is Phase.BODY and self._until_close and error is None:
            self._end(keep=False)
            self._wake()
        elif self.phase is Phase.HEAD and self._unsent and self._quiet == 0:
            self._fail(NotSent())
        elif self.phase in (Phase.HEAD, Phase.BODY):
            self._fail(error if isinstance(error, OSError) else CutOff())
        self._drop()

    def _fail(self, error: OSError) -> None:
        if self._failed is None:
            self._failed = error
        self.phase = Phase.GONE
        self._unwatch()
        self._drop()
        self._wake()

    def _drop(self) -> None:
        """Close the connection, at once: the peer must not go on working for nobody."""
        self._keep = False
        self._parser = None
        if self.phase is Phase.IDLE:
            self.phase = Phase.GONE
        self._transport.abort()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _resume(self) -> None:
        self._paused = False
        self._heard_at = self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # The clocks.

    def _watch(self) -> None:
        """Look again when the nearer of both clocks may have run out."""
        self._unwatch()
        now = self._loop.time()
        due = min(self._deadline_at, (now if self._paused else self._heard_at) + self._silence_s)
        if due <= now:
            self._fail(TimeoutError())
        else:
            self._timer = self._loop.call_at(due, self._watch)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
