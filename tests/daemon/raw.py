"""HTTP as bytes on a raw connection to the agents' door: for what no library would send."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.stage import PATHS
from harness.daemon import Daemon
from harness.http import TIMEOUT_S, Reply


def head_of(dialect: str, length: int, *more: str) -> bytes:
    """The head of a model call with a body of this length."""
    lines = [f"POST {PATHS[dialect]} HTTP/1.1", "Host: agentd", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()


@contextmanager
def line_to(daemon: Daemon) -> Iterator[socket.socket]:
    """A raw connection."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(TIMEOUT_S)
        raw.connect(str(daemon.agent_socket))
        yield raw


def rest_of(raw: socket.socket) -> bytes:
    """All that still comes, until the other side closes."""
    got = b""
    while piece := raw.recv(65536):
        got += piece
    return got


def first_of(raw: socket.socket) -> Reply:
    """The next answer, without waiting for the end of the connection."""
    got = b""
    while not got.endswith(b"}"):
        piece = raw.recv(65536)
        assert piece, got
        got += piece
    return replies_in(got)[0]


def replies_in(stream: bytes) -> list[Reply]:
    """The answers on a connection."""
    found = []
    while stream:
        head, _, stream = stream.partition(b"\r\n\r\n")
        first, *rows = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (row.partition(": ") for row in rows)}
        length = int(headers["content-length"])
        found.append(Reply(int(first.split()[1]), headers, stream[:length]))
        stream = stream[length:]
    return found


def talk(daemon: Daemon, said: bytes, *, hang_up: bool = False) -> list[Reply]:
    """Say bytes, and read the answers until the connection ends."""
    with line_to(daemon) as raw:
        try:
            raw.sendall(said)
        except ConnectionError:
            pass  # refused before it was all read; the answer is there
        if hang_up:
            raw.shutdown(socket.SHUT_WR)
        return replies_in(rest_of(raw))
