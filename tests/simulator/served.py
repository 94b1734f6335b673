"""A simulator to test against: as a process on a Unix socket, and as an engine without any socket."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentd.core.accounting.catalogue import parse_catalogue
from agentd.data import shipped
from agentd.simulator.chat import Chat
from agentd.simulator.config import SimulatorConfig
from agentd.simulator.engine import Engine, Served
from agentd.simulator.messages import Messages
from agentd.simulator.responses import Responses
from agentd.simulator.words import Grammar

KEY = "sk-or-v1-" + "0" * 8
ROOT = Path(__file__).parents[2]
CHEAP = "google/gemini-2.5-flash-lite"
DEAR = "anthropic/claude-opus-4.6"
CATALOGUE = parse_catalogue(shipped("catalogue.json"), "shipped")
GRAMMARS: dict[str, Grammar] = {"chat": Chat(), "messages": Messages(), "responses": Responses()}
PATHS = {"chat": "/api/v1/chat/completions", "messages": "/api/v1/messages", "responses": "/api/v1/responses"}
START_NS = 1_800_000_000 * 10**9
PATIENCE_S = 10.0


@dataclass
class Hands:
    """A clock that moves when told to."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        return self.now_ns


def engine(clock: Hands | None = None, **config: Any) -> Engine:
    return Engine(SimulatorConfig(CATALOGUE, clock or Hands(), **config))


def asked(text: str = "hello", model: str = CHEAP, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def serve(made: Engine, api: str, body: dict[str, Any], **headers: str) -> Served:
    return made.serve(GRAMMARS[api], body, {name.replace("_", "-"): value for name, value in headers.items()})


def whole(made: Engine, api: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer in one body, as JSON reads it."""
    answer = serve(made, api, body).answer
    assert answer is not None
    found: dict[str, Any] = json.loads(json.dumps(GRAMMARS[api].whole(answer)))
    return found


def events(frames: list[bytes]) -> list[dict[str, Any]]:
    """The JSON of each event that has any."""
    lines = [line for frame in frames for line in frame.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@contextmanager
def process(directory: Path, *options: str) -> Iterator[Path]:
    """A simulator as a process; gives its socket once it listens, and stops it."""
    path = directory / "s.sock"
    command = [sys.executable, "-m", "agentd.simulator", "--unix", str(path), "--key", KEY, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline().decode().strip() == str(path)
            yield path
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE_S) == 0


def open_post(path: Path, api: str, body: dict[str, Any], key: str = KEY) -> socket.socket:
    """Send a request; the answer waits in the socket."""
    data = json.dumps(body).encode()
    head = (
        f"POST {PATHS[api]} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE_S)
    peer.connect(str(path))
    peer.sendall(head.encode() + data)
    return peer


def post(path: Path, api: str, body: dict[str, Any], key: str = KEY) -> tuple[int, bytes, bytes]:
    """Status, raw head and raw body, read until the other side closes."""
    with open_post(path, api, body, key) as peer:
        data = b"".join(iter(lambda: peer.recv(65536), b""))
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), head, rest


def get(path: Path, target: str, key: str = KEY) -> tuple[int, dict[str, Any]]:
    """Status and JSON of a GET."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE_S)
        peer.connect(str(path))
        peer.sendall(
            f"GET {target} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        data = b"".join(iter(lambda: peer.recv(65536), b""))
    head, _, rest = data.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), json.loads(rest)


def dechunk(body: bytes) -> tuple[bytes, bool]:
    """A chunked body joined, and whether its end mark came."""
    joined = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        if not separator:
            return joined, False
        length = int(size, 16)
        if length == 0:
            return joined, True
        joined, body = joined + body[:length], body[length + 2 :]
