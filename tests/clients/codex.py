"""Codex, unmodified, as an agent of the box: over the agents' TCP door, since it reaches no Unix socket.

It gets a bare environment, a fresh HOME and an empty working directory. Its proxy is a port where nobody listens, so that what
it reaches, it reaches through agentd.
"""

import json
import platform
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from harness.daemon import REPO, Daemon

TIMEOUT_S = 60.0
"""A turn takes about a second; a client that retries without end is cut off here and fails its test."""

STREAM_RETRIES = 2
"""How often it may ask again after a stream that broke off; the operator's configuration says so."""

INSTALLED = REPO / ".cache" / "clients" / "codex"
PINNED = json.loads((Path(__file__).parent / "codex" / "package.json").read_text())["dependencies"]["@openai/codex"]
MACHINES = {
    "x86_64": ("linux-x64", "x86_64-unknown-linux-musl"),
    "aarch64": ("linux-arm64", "aarch64-unknown-linux-musl"),
}

CONFIG = """\
model = "{model}"
model_provider = "agentd"
approval_policy = "never"
sandbox_mode = "danger-full-access"
web_search = "{web_search}"
[model_providers.agentd]
name = "agentd"
base_url = "{door}/v1"
wire_api = "responses"
env_key = "AGENTD_TOKEN"
request_max_retries = 0
stream_max_retries = {retries}
"""


@cache
def binary() -> Path:
    """The program, in the pinned version. Skips by name where it is not installed."""
    package, target = MACHINES.get(platform.machine(), ("none", "none"))
    path = INSTALLED / "node_modules" / "@openai" / f"codex-{package}" / "vendor" / target / "bin" / "codex"
    if not path.exists():
        pytest.skip("Codex is not installed: make clients-install")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    if done.stdout.split()[-1] != PINNED:
        raise AssertionError(f"{done.stdout.strip()} is installed, {PINNED} is pinned: make clients-install")
    return path


@dataclass(frozen=True, slots=True)
class Turn:
    """How one run ended: exit status, its final message, what it told on the way, and where it worked."""

    status: int
    said: str
    told: str
    work: Path


def door(daemon: Daemon) -> str:
    """The daemon's TCP door, as its ready line tells it."""
    *_, place = re.findall(r"ready: serving on .*, (127\.0\.0\.1:[0-9]+), upstream", daemon.said())
    return f"http://{place}"


def token(daemon: Daemon, agent: str = "main") -> str:
    """A new local token."""
    done = daemon.ctl("agent", "token", "create", agent)
    if done.returncode != 0:
        raise AssertionError(f"agentctl agent token create failed ({done.returncode}): {done.stderr}")
    return done.stdout.strip()


def turn(daemon: Daemon, prompt: str, place: Path, *, model: str, web_search: str = "disabled") -> Turn:
    """One prompt, non-interactive, nothing to be approved. `place` is an empty folder of this run's own."""
    config = CONFIG.format(model=model, door=door(daemon), retries=STREAM_RETRIES, web_search=web_search)
    return run(prompt, place, config, {"AGENTD_TOKEN": token(daemon)})


def run(prompt: str, place: Path, config: str, environment: dict[str, str]) -> Turn:
    """One prompt with a configuration and what is set beside the usual."""
    work, home = place / "work", place / "home"
    (home / ".codex").mkdir(parents=True)
    work.mkdir()
    (home / ".codex" / "config.toml").write_text(config)
    done = subprocess.run(
        [str(binary()), "exec", "--skip-git-repo-check", prompt],
        cwd=work,
        env={**_environment(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Turn(done.returncode, done.stdout.strip(), done.stderr, work)


def _environment(home: Path) -> dict[str, str]:
    nobody = "http://127.0.0.1:9"
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "HTTP_PROXY": nobody,
        "HTTPS_PROXY": nobody,
        "NO_PROXY": "127.0.0.1,localhost",
    }
