"""The SDKs, each in a process of its own with a driver in its own language, and the places that they talk to: the simulator as a
process, and daemons by what is the matter with them, over TCP with a token and at the Unix socket."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from clients import codex
from clients.statuses import ELSEWHERE
from clients.talks import Talk
from harness.daemon import REPO, SHIPPED_POLICY, Daemon, discard, start

KEY = "sk-or-v1-" + "0" * 8
PATIENCE_S = 120.0
"""Of all conversations of one SDK; they take seconds."""

NODE = (20, 18)
"""The oldest that the client for Unix sockets runs on."""

INSTALLED = REPO / ".cache" / "clients"
TESTS = REPO / "tests"
JS = TESTS / "clients" / "js"

Steps = list[dict[str, Any]]
Results = dict[str, dict[str, Steps]]
"""By round and conversation."""


@dataclass(frozen=True, slots=True)
class Sdk:
    """One SDK: the APIs that it speaks, what it adds to a base URL by itself, and the command that runs its driver."""

    name: str
    apis: tuple[str, ...]
    base: str  # what stands between the simulator's address and what the SDK adds: it has OpenRouter's path alone
    command: Callable[[Path], list[str]]


def _python(module: str) -> Callable[[Path], list[str]]:
    return lambda _folder: [sys.executable, "-m", f"clients.py.{module}"]


def _own_python(_folder: Path) -> list[str]:
    """OpenRouter's SDK needs other versions than the tests do."""
    program = INSTALLED / "openrouter" / "venv" / "bin" / "python"
    _as_pinned("openrouter", "requirements.txt")
    return [str(program), "-m", "clients.py.openrouter_sdk"]


def _node(module: str) -> Callable[[Path], list[str]]:
    """The driver beside the packages that it imports, as Node wants it."""

    def command(folder: Path) -> list[str]:
        _as_pinned("js", "package-lock.json")
        node = _node_program()
        shutil.copytree(JS, folder / "js", ignore=shutil.ignore_patterns("*.json"))
        (folder / "js" / "node_modules").symlink_to(INSTALLED / "js" / "node_modules")
        return [node, str(folder / "js" / f"{module}.mjs")]

    return command


SDKS = (
    Sdk("openrouter, Python", ("chat", "responses"), "", _own_python),
    Sdk("openrouter, JavaScript", ("chat", "responses"), "", _node("openrouter")),
    Sdk("openai, Python", ("chat", "responses"), "/api", _python("openai_sdk")),
    Sdk("openai, JavaScript", ("chat", "responses"), "/api", _node("openai")),
    Sdk("anthropic, Python", ("messages",), "/api", _python("anthropic_sdk")),
    Sdk("anthropic, JavaScript", ("messages",), "/api", _node("anthropic")),
)
"""The one that takes longest comes first, so that the others run beside it."""


@cache
def _as_pinned(client: str, lock: str) -> None:
    """Skips by name where a client is not installed as its lock says."""
    ready = INSTALLED / client / ".ready"
    if not ready.exists():
        pytest.skip(f"the SDKs of {client} are not installed: make clients-install")
    if ready.read_bytes() != (TESTS / "clients" / client / lock).read_bytes():
        raise AssertionError(f"the SDKs of {client} are pinned in other versions than installed: make clients-install")


@cache
def _node_program() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(part) for part in version.strip().removeprefix("v").split(".")[:2]) < NODE:
        pytest.skip(f"node {version.strip()} is older than the SDKs need")
    return found


@dataclass(frozen=True, slots=True)
class Places:
    """Where to talk: the simulator's address, and for each door the address over TCP, a token, and the Unix socket."""

    simulator: str
    doors: dict[str, str]
    tokens: dict[str, str]
    sockets: dict[str, Path]


@contextmanager
def places() -> Iterator[Places]:
    """One daemon that works, one that is halted, one whose budget is used up, one that has lost its record; the first one also
    with a token that is revoked, and one for an agent of another user."""
    text = SHIPPED_POLICY.read_text().partition("\ntests:")[0] + "\n...\n"
    policies = {
        "good": text.replace("\nagents:\n", ELSEWHERE),
        "halted": text,
        "spent": text.replace("window: day, limit: 10.00 }", "window: day, limit: 0.0001 }"),
        "lost": text,
    }
    with ExitStack() as stack:
        daemons = {name: stack.enter_context(_daemon(policy)) for name, policy in policies.items()}
        tokens = {name: codex.token(daemon) for name, daemon in daemons.items()}
        good = daemons["good"]
        tokens |= {"revoked": codex.token(good), "elsewhere": codex.token(good, "elsewhere")}
        assert good.ctl("agent", "token", "revoke", tokens["revoked"]).returncode == 0
        assert daemons["halted"].ctl("halt", "--reason", "maintenance of the disk").returncode == 0
        (daemons["lost"].state / "ledger.db").rename(daemons["lost"].state / "elsewhere.db")
        doors = {name: codex.door(daemon) for name, daemon in daemons.items()}
        doors |= {"revoked": doors["good"], "elsewhere": doors["good"]}
        sockets = {name: daemon.agent_socket for name, daemon in daemons.items()}
        yield Places(stack.enter_context(_simulator()), doors, tokens, sockets)


@contextmanager
def _daemon(policy: str) -> Iterator[Daemon]:
    running = start(policy, "--tcp", "127.0.0.1:0")
    try:
        yield running
    finally:
        discard(running)


@contextmanager
def _simulator() -> Iterator[str]:
    command = [sys.executable, "-m", "agentd.simulator", "--tcp", "127.0.0.1:0", "--key", KEY]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPO) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().decode().strip()
        finally:
            running.terminate()


def rounds(sdk: Sdk, at: Places, talks: list[Talk], alone: list[Talk]) -> list[dict[str, Any]]:
    """What a driver is to do: all with the simulator, and each with its daemon, by TCP and by the Unix socket; `alone` is for the
    simulator only."""
    whole = [talk.asked(directly=True) for talk in (*talks, *alone)]
    made = [_round("direct", f"http://{at.simulator}{sdk.base}", KEY, None, whole)]
    for door in dict.fromkeys(talk.door for talk in talks):
        asked = [talk.asked(directly=False) for talk in talks if talk.door == door]
        made.append(_round(f"tcp {door}", at.doors[door], at.tokens[door], None, asked))
        if door in at.sockets:
            made.append(_round(f"unix {door}", "http://agentd", "local", str(at.sockets[door]), asked))
    return made


def _round(name: str, url: str, token: str, socket: str | None, talks: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "url": url, "token": token, "socket": socket, "talks": talks}


def drive(sdk: Sdk, asked: list[dict[str, Any]], folder: Path) -> Results:
    """Run a driver in a bare environment. Its own faults fail the test."""
    done = subprocess.run(
        sdk.command(folder),
        input=json.dumps(asked),
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(TESTS)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"the driver of {sdk.name} failed ({done.returncode}): {done.stderr}")
    told: Results = json.loads(done.stdout)
    return told
