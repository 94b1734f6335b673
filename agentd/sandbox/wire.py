"""Frames over a Unix stream socket: a head in JSON, a body of bytes, and descriptors.

    4 bytes length of the head | 4 bytes length of the body | 1 byte number of descriptors | head | body

A stream and not datagrams, since a command line of a megabyte is larger than what a socket takes at once. Every size is
bounded before anything is kept. Whatever is wrong is `Malformed`; the descriptors that came along are closed.
"""

import array
import os
import socket
import struct
from dataclasses import dataclass

from agentd.sandbox.codec import Malformed

MAX_HEAD = 8 << 20
"""Argument lists are at most 2 MiB for the kernel; JSON may need 6 bytes for one of theirs, but seldom does."""
MAX_BODY = 4 << 20
MAX_DESCRIPTORS = 8
CHUNK = 256 << 10

_PREFIX = struct.Struct("!IIB")
_SPACE = socket.CMSG_SPACE(MAX_DESCRIPTORS * 4)


class Closed(ConnectionError):
    """The peer is gone."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What travels. Whoever receives one owns its descriptors."""

    head: bytes
    body: bytes = b""
    descriptors: tuple[int, ...] = ()


def packed(frame: Frame) -> bytes:
    """The bytes of a frame."""
    return _PREFIX.pack(len(frame.head), len(frame.body), len(frame.descriptors)) + frame.head + frame.body


def send(sock: socket.socket, frame: Frame) -> None:
    """Send a whole frame, waiting as long as the socket's own clock allows. Raises OSError."""
    data = packed(frame)
    ancillary = []
    if frame.descriptors:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", frame.descriptors))]
    sent = sock.sendmsg([data], ancillary)
    if sent < len(data):
        sock.sendall(memoryview(data)[sent:])


class Receiver:
    """Turns what arrives at a socket into frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = bytearray()
        self._descriptors: list[int] = []

    def receive(self, flags: int = 0) -> list[Frame]:
        """Read once; the frames that are whole now. Raises Closed, Malformed, and BlockingIOError by `flags`."""
        data, ancillary, message_flags, _ = self._sock.recvmsg(CHUNK, _SPACE, flags | socket.MSG_CMSG_CLOEXEC)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(value[: len(value) - len(value) % numbers.itemsize])
                self._descriptors += numbers
        if message_flags & socket.MSG_CTRUNC or len(self._descriptors) > 2 * MAX_DESCRIPTORS:
            raise Malformed("more descriptors than a frame has")
        if not data:
            raise Closed("the peer closed the connection")
        self._data += data
        return self._whole()

    def one(self) -> Frame:
        """Wait for a frame, on a socket where only one comes."""
        while True:
            frames = self.receive()
            if frames:
                return frames[0]

    def close(self) -> None:
        """Let go of descriptors that nobody took, and of the socket."""
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()
        self._sock.close()

    def _whole(self) -> list[Frame]:
        frames = []
        while len(self._data) >= _PREFIX.size:
            head, body, count = _PREFIX.unpack_from(self._data)
            if head > MAX_HEAD or body > MAX_BODY or count > MAX_DESCRIPTORS:
                raise Malformed("a frame that is too large")
            end = _PREFIX.size + head + body
            if len(self._data) < end:
                break
            if count > len(self._descriptors):
                raise Malformed("descriptors that did not come")
            taken = tuple(self._descriptors[:count])
            del self._descriptors[:count]
            start = _PREFIX.size + head
            frames.append(Frame(bytes(self._data[_PREFIX.size : start]), bytes(self._data[start:end]), taken))
            del self._data[:end]
        return frames
