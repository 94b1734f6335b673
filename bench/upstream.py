"""The upstream of all targets: answers at once, in the shape that OpenRouter has, cost included.

Written on bare transports, so that it costs little beside what is measured. A stream is a number of events at a pace, each in an
HTTP chunk of its own, with the monotonic time of its sending in the text: the client sees how long each was on its way. Pace and
number are set by `POST /pace`, since a gateway passes on nothing else by which a call could ask for them.

    python -m bench.upstream        prints its port
"""

import asyncio
import json
import re
import socket
import time
from dataclasses import dataclass

import uvloop

HOST = "127.0.0.1"
HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding:\s*chunked", re.IGNORECASE)
_STREAM = re.compile(rb'"stream"\s*:\s*true')

_ANSWER_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Generation-Id: gen-bench\r\nContent-Length: %d\r\n\r\n"
)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_NAMES = {"id": "gen-bench", "provider": "Bench", "model": "google/gemini-2.5-flash-lite", "created": 1_790_000_000}
_USAGE = {"prompt_tokens": 9000, "completion_tokens": 100, "total_tokens": 9100, "cost": 0.000001, "is_byok": False}
_END = {"finish_reason": "stop", "native_finish_reason": "STOP", "logprobs": None}


@dataclass(slots=True)
class Pace:
    """How streams run: events in each, and seconds between two (0: as fast as they can be written)."""

    events: int = 100
    seconds: float = 0.0


def answer() -> bytes:
    """A whole answer, with its head."""
    text = "Two things are left: the notes of this morning, and the invoice that waits for its number. " * 4
    message = {"role": "assistant", "content": text, "refusal": None, "reasoning": None}
    body = {
        **_NAMES,
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, **_END}],
        "usage": _USAGE,
    }
    encoded = json.dumps(body).encode()
    return _ANSWER_HEAD % len(encoded) + encoded


def _event(**more: object) -> bytes:
    """An event in an HTTP chunk."""
    data = b"data: %b\n\n" % json.dumps({**_NAMES, "object": "chat.completion.chunk", **more}).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def stamped() -> bytes:
    """An event that says when it was sent."""
    delta = {"role": "assistant", "content": f"t{time.monotonic_ns()} "}
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": None, "native_finish_reason": None}])


def ending() -> bytes:
    """The last events of a stream and its end."""
    done = b"data: [DONE]\n\n"
    finish = _event(choices=[{"index": 0, "delta": {"content": ""}, **_END}])
    return finish + _event(choices=[], usage=_USAGE) + b"%x\r\n%b\r\n" % (len(done), done) + LAST_CHUNK


ANSWER = answer()
ENDING = ending()


class Connection(asyncio.Protocol):
    """One client; requests come one after the other."""

    def __init__(self, pace: Pace) -> None:
        """`pace` is shared by all connections."""
        self._pace = pace
        self._got = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if isinstance(transport, asyncio.Transport) or hasattr(transport, "write"):
            self._transport = transport  # type: ignore[assignment]  # uvloop's is one in all but its base class

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Collect until a request is whole."""
        self._got += data
        while (whole := self._whole()) is not None:
            request = bytes(self._got[:whole])
            del self._got[:whole]
            self._answer(request)

    def _whole(self) -> int | None:
        """The length of the request at the front, None while it is not complete."""
        head = self._got.find(HEAD_END)
        if head < 0:
            return None
        start = head + len(HEAD_END)
        length = _LENGTH.search(self._got, 0, head)
        if length is not None:
            end = start + int(length[1])
        elif _CHUNKED.search(self._got, 0, head):
            end = len(self._got) if self._got.endswith(LAST_CHUNK) else len(self._got) + 1
        else:
            end = start
        return end if len(self._got) >= end else None

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"POST /pace"):
            wanted = json.loads(request[request.index(HEAD_END) + len(HEAD_END) :])
            self._pace.events, self._pace.seconds = wanted["events"], wanted["seconds"]
            self._write(_ANSWER_HEAD % 2 + b"{}")
        elif _STREAM.search(request):
            self._write(_STREAM_HEAD)
            self._go_on(self._pace.events, asyncio.get_running_loop().time())
        else:
            self._write(ANSWER)

    def _go_on(self, left: int, due: float) -> None:
        """Send what is due, and come back for the next at its own time: a late event does not shift the others."""
        while left and not self._pace.seconds:
            self._write(stamped())
            left -= 1
        if not left:
            self._write(ENDING)
            return
        self._write(stamped())
        due += self._pace.seconds
        self._timer = asyncio.get_running_loop().call_at(due, self._go_on, left - 1, due)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve() -> None:
    pace = Pace()
    listening = socket.create_server((HOST, 0), backlog=256)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(pace), sock=listening)
    print(listening.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
