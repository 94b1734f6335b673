"""The client: bare sockets and bytes that were made beforehand, so that it is not what is measured."""

import json
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

Address = str | tuple[str, int]
"""A Unix socket's path, or host and port."""

READ = 1 << 18
TIMEOUT_S = 60.0
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
STAMP_TAIL = 64
"""Bytes kept from one read to the next: an event's stamp may come in two pieces."""

_STAMP = re.compile(rb"\bt(\d{10,}) ")
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


class Refused(Exception):
    """A target answered with something else than 200: nothing can be measured. Holds the beginning of its answer."""


def http_request(method: str, path: str, body: bytes, headers: Sequence[str] = ()) -> bytes:
    """A request as bytes."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: bench",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def connect(address: Address) -> socket.socket:
    """A connected socket."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(TIMEOUT_S)
    sock.connect(address)
    return sock


class Wire:
    """A connection that is kept for many calls."""

    def __init__(self, address: Address) -> None:
        """Connects."""
        self._sock = connect(address)

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def call(self, request: bytes) -> bytes:
        """Send, and read the whole answer; gives its body. Raises `Refused`."""
        self._sock.sendall(request)
        got = bytearray()
        while True:
            piece = self._sock.recv(READ)
            got += piece
            body = _complete(got)
            if body is not None:
                return body
            if not piece:
                raise Refused(f"the connection ended after {bytes(got[:300])!r}")


@dataclass(slots=True)
class Streamed:
    """A stream as it came: for each event the nanoseconds it was sent and seen at."""

    sent: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    _tail: bytes = b""

    def feed(self, data: bytes, now: int) -> bool:
        """Take what came; says whether the stream has ended."""
        text = self._tail + data
        if not self.seen and b"HTTP/1.1" in text and b" 200 " not in text[: text.find(b"\n")]:
            raise Refused(repr(text[:300]))
        kept = 0
        for stamp in _STAMP.finditer(text):
            self.sent.append(int(stamp[1]))
            self.seen.append(now)
            kept = stamp.end()
        self._tail = text[max(kept, len(text) - STAMP_TAIL) :]
        return not data or text.endswith(LAST_CHUNK)

    @property
    def delays_ms(self) -> list[float]:
        """How long each event was on its way."""
        return [(seen - sent) / 1e6 for sent, seen in zip(self.sent, self.seen, strict=True)]

    @property
    def longest_gap_ms(self) -> float:
        """The longest silence between two events."""
        return max((b - a for a, b in zip(self.seen, self.seen[1:], strict=False)), default=0) / 1e6


def streams(address: Address, request: bytes, count: int) -> list[Streamed]:
    """Open `count` connections, ask all for a stream, and read them to their ends."""
    open_now: dict[int, tuple[socket.socket, Streamed]] = {}
    poll = select.epoll()
    made: list[Streamed] = []
    for _ in range(count):
        sock = connect(address)
        streamed = Streamed()
        made.append(streamed)
        open_now[sock.fileno()] = (sock, streamed)
        poll.register(sock.fileno(), select.EPOLLIN)
    for sock, _streamed in open_now.values():
        sock.sendall(request)
    while open_now:
        ready = poll.poll(TIMEOUT_S)
        if not ready:
            raise Refused(f"{len(open_now)} streams did not end")
        for number, _events in ready:
            sock, streamed = open_now[number]
            if streamed.feed(sock.recv(READ), time.monotonic_ns()):
                del open_now[number]
                poll.unregister(number)
                sock.close()
    poll.close()
    return made


def set_pace(address: Address, events: int, seconds: float) -> None:
    """Tell the upstream how its streams run from now on."""
    with Wire(address) as wire:
        wire.call(http_request("POST", "/pace", json.dumps({"events": events, "seconds": seconds}).encode()))


def _complete(got: bytearray) -> bytes | None:
    """The body of an answer once it is whole."""
    head = got.find(HEAD_END)
    if head < 0:
        return None
    start = head + len(HEAD_END)
    length = _LENGTH.search(got, 0, head)
    if length is None:
        whole = got.endswith(LAST_CHUNK)
    else:
        whole = len(got) >= start + int(length[1])
    if not whole:
        return None
    if not got.startswith(b"HTTP/1.1 200"):
        raise Refused(repr(bytes(got[:600])))
    return bytes(got[start:])
