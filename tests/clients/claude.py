"""Claude Code, unmodified, as an agent of the box: over the agents' Unix socket or by TCP, and with no other way out.

It gets a bare environment, a fresh HOME and an empty working directory. As root it also gets a network namespace with
nothing in it, so that what it reaches, it reaches through the socket.
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from harness.daemon import REPO, Daemon

TIMEOUT_S = 60.0
"""A turn takes one to two seconds; a client that retries without end is cut off here and fails its test."""

MAX_RETRIES = 2
"""What we tell it; by itself it tries again for a minute and longer."""

INSTALLED = REPO / ".cache" / "clients" / "claude-code"
PINNED = json.loads((Path(__file__).parent / "claude-code" / "package.json").read_text())["dependencies"][
    "@anthropic-ai/claude-code"
]
MACHINES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}


@cache
def binary() -> Path:
    """The program, in the pinned version. Skips by name where it is not installed."""
    package = f"claude-code-{MACHINES.get(platform.machine(), 'none')}"
    path = INSTALLED / "node_modules" / "@anthropic-ai" / package / "claude"
    if not path.exists():
        pytest.skip("Claude Code is not installed: make clients-install")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    if done.stdout.split()[0] != PINNED:
        raise AssertionError(
            f"Claude Code {done.stdout.strip()} is installed, {PINNED} is pinned: make clients-install"
        )
    return path


@dataclass(frozen=True, slots=True)
class Turn:
    """How one run ended: exit status, its JSON result, what it wrote to stderr, and where it worked."""

    status: int
    result: dict[str, Any]
    stderr: str
    work: Path

    @property
    def said(self) -> str:
        """The final text: the answer, or the error as its user reads it."""
        return str(self.result["result"])


def turn(daemon: Daemon, prompt: str, place: Path, *, model: str, headers: Mapping[str, str] | None = None) -> Turn:
    """One prompt over the Unix socket, non-interactive, with its Bash tool allowed. `place` is an empty folder of its own."""
    connect = {
        "ANTHROPIC_UNIX_SOCKET": str(daemon.agent_socket),
        "ANTHROPIC_BASE_URL": "http://agentd.invalid",
        "ANTHROPIC_AUTH_TOKEN": "local",
        "ANTHROPIC_API_KEY": "",
    }
    if headers:
        connect["ANTHROPIC_CUSTOM_HEADERS"] = "\n".join(f"{name}: {value}" for name, value in headers.items())
    return _run(_without_network(), ["-p", prompt, "--model", model], connect, place)


def turn_over_tcp(url: str, prompt: str, place: Path, *, model: str, credentials: Mapping[str, str]) -> Turn:
    """The same over TCP, with a token in one of the variables that hold its credentials. A network namespace would have no such
    address, so what would go elsewhere goes to a proxy that is not there."""
    connect = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        **credentials,
    }
    return _run([], ["-p", prompt, "--model", model], connect, place)


def _run(before: list[str], asked: list[str], connect: Mapping[str, str], place: Path) -> Turn:
    work = place / "work"
    home = place / "home"
    for folder in (work, home):
        folder.mkdir(parents=True)
    done = subprocess.run(
        [*before, str(binary()), *asked, "--output-format", "json", "--allowedTools", "Bash"],
        cwd=work,
        env={**_environment(home), **connect},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        result = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise AssertionError(
            f"no JSON from Claude Code (status {done.returncode}):\n{done.stdout}\n{done.stderr}"
        ) from None
    return Turn(done.returncode, result, done.stderr, work)


def _without_network() -> list[str]:
    can = os.geteuid() == 0 and shutil.which("unshare") is not None
    return ["unshare", "--net", "--"] if can else []


def _environment(home: Path) -> dict[str, str]:
    """What an operator sets besides where to connect, and nothing else."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(MAX_RETRIES),
    }
