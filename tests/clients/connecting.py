"""A client's home as its operator sets it up: `agentctl connect` itself writes the configuration that is tested.

A client gets a bare environment. Its proxy is a port where nobody listens, so that what it reaches, it reaches through agentd.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.daemon import REPO

CONNECT_S = 30.0


@dataclass(frozen=True, slots=True)
class Way:
    """Where a client is pointed at: the door over TCP as "http://HOST:PORT", a local token, and the model that is named."""

    url: str
    token: str
    model: str | None


@dataclass(frozen=True, slots=True)
class Home:
    """The home of one client, and the folder that it works in."""

    path: Path
    work: Path


@dataclass(frozen=True, slots=True)
class Turn:
    """How one turn ended: exit status, what its user reads as the answer, and all that was written."""

    status: int
    said: str
    told: str


def home(client: str, way: Way, place: Path) -> Home:
    """A fresh home under `place`, with the client in it connected."""
    made = Home(place / "home", place / "work")
    for folder in (made.path, made.work):
        folder.mkdir(parents=True)
    connect(client, way, made)
    return made


def connect(client: str, way: Way, at: Home) -> None:
    """Point a client at agentd, as an operator does who has a token; a second time points it elsewhere."""
    command = [sys.executable, "-m", "agentd.ctl.main", "connect", client, "--tcp", way.url.removeprefix("http://")]
    done = subprocess.run(
        [*command, *(["--model", way.model] if way.model else [])],
        input=way.token,
        env={**environment(at, Path(sys.executable).parent), "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=CONNECT_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"agentctl connect {client} failed ({done.returncode}): {done.stderr}")


def environment(at: Home, *programs: Path) -> dict[str, str]:
    """A bare environment with some programs in reach."""
    nobody = "http://127.0.0.1:9"
    return {
        "PATH": os.pathsep.join([*map(str, programs), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(at.path),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "HTTP_PROXY": nobody,
        "HTTPS_PROXY": nobody,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def run(command: list[str], at: Home, env: dict[str, str], clock_s: float) -> subprocess.CompletedProcess[str]:
    """Run a client in its folder, with nothing to read. Fails the test when it goes on and on."""
    try:
        return subprocess.run(
            command,
            cwd=at.work,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=clock_s,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(f"{command[0]} was still at it after {clock_s:.0f} s:\n{late.stdout!r}") from None
