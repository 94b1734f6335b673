"""HTTP over a Unix socket, with nothing but the standard library, so that a test sees exactly what went over the wire."""

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIMEOUT_S = 30.0
"""A call in a test that takes longer hangs: fail instead."""


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a socket in the file system; the host name is only what the Host header says."""

    def __init__(self, path: Path, timeout: float = TIMEOUT_S) -> None:
        super().__init__("agentd.invalid", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the path instead of to a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read whole. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of a server-sent event stream, each parsed as JSON; `[DONE]` is left out."""
        return list(_events(self.body))


def _events(body: bytes) -> Iterator[Any]:
    for line in body.decode().splitlines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            yield json.loads(line[5:])


def call(
    path: Path,
    method: str,
    target: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> Reply:
    """One request, one answer. A `body` that is not bytes goes as JSON."""
    connection = UnixConnection(path, timeout)
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, target, body=body, headers=sent)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()
