"""nanobot, unmodified, as an agent of the box: over the agents' TCP door, since it reaches no Unix socket."""

import subprocess
from functools import cache
from pathlib import Path

import pytest

from clients import connecting
from clients.connecting import Home, Turn
from harness.daemon import REPO

TIMEOUT_S = 60.0
"""A turn takes about two seconds, with all its own retries ten; one that retries without end is cut off and fails its test."""

FACE = "🐈 nanobot"
"""Stands above what it answers."""

PROGRAM = REPO / ".cache" / "clients" / "nanobot" / "venv" / "bin" / "nanobot"
PINS = Path(__file__).parent / "nanobot" / "requirements.txt"


@cache
def binary() -> Path:
    """The program, in the pinned version. Skips by name where it is not installed."""
    if not PROGRAM.exists():
        pytest.skip("nanobot is not installed: make clients-install")
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    version = done.stdout.split()[-1].removeprefix("v")
    if f"nanobot-ai=={version} " not in PINS.read_text():
        raise AssertionError(f"nanobot {version} is installed, another one is pinned: make clients-install")
    return PROGRAM


def turn(at: Home, prompt: str) -> Turn:
    """One prompt, non-interactive. It ends with status 0 whatever happens, so `said` is what counts."""
    command = [str(binary()), "agent", "--classic", "--no-markdown", "-m", prompt]
    done = connecting.run(command, at, connecting.environment(at), TIMEOUT_S)
    _, _, answer = done.stdout.partition(FACE)
    return Turn(done.returncode, " ".join(answer.split()), done.stdout + done.stderr)


def marker(at: Home) -> Path:
    """Where `touch marker` of its shell tool leaves a file: it works in a folder of its own."""
    return at.path / ".nanobot" / "workspace" / "marker"
