"""What is measured: the upstream directly, the floor, agentd, and the peers, each a process of its own.

All run at the same time; those whose turn it is not are idle. A peer that is not installed, or does not come up, is left out
and named. agentd runs as shipped (`agentd serve` with the shipped policy), its upstream replaced, its key a credential.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.client import Address, Refused, Wire, connect, http_request
from bench.place import CACHE, MAX_SOCKET_PATH, REPO, Cores, on
from harness import daemon as harness
from harness.upstream import CREDENTIALS

DIRECT, FLOOR, FLOOR_UVLOOP, AGENTD, LITELLM, PORTKEY = (
    "direct",
    "floor",
    "floor+uvloop",
    "agentd",
    "LiteLLM",
    "Portkey",
)
PEERS = (LITELLM, PORTKEY)

CHAT = "/v1/chat/completions"
KEY = "sk-or-v1-bench-0123456789abcdef"
START_S = 120.0
"""LiteLLM takes more than ten seconds on a quiet machine."""
LOOK_S = 0.005
"""How often a port is tried until somebody listens."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that answers chat calls. `pid` 0: nobody's costs are to be counted."""

    name: str
    address: Address
    headers: tuple[str, ...] = ("Authorization: Bearer sk-bench",)
    pid: int = 0
    start_s: float = 0.0

    def request(self, body: bytes) -> bytes:
        """A chat call as this target takes it."""
        return http_request("POST", CHAT, body, self.headers)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where targets run: cores, a directory for sockets and state, the upstream's port."""

    cores: Cores
    home: Path
    port: int

    @property
    def url(self) -> str:
        """The upstream's base URL."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def spot(cores: Cores) -> Iterator[Spot]:
    """A directory of its own, and a running upstream."""
    CACHE.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    if len(str(home)) + len("/agentd/run/operator.sock") > MAX_SOCKET_PATH:
        raise SystemExit(f"bench: the path of this checkout is too long for a socket in {home}")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        with on(cores.client):
            upstream = _spawn([sys.executable, "-m", "bench.upstream"], home / "upstream.log", stdout=subprocess.PIPE)
        stack.callback(_end, upstream)
        yield Spot(cores, home, int(_said(upstream)))


@contextmanager
def lineup(where: Spot, wanted: Sequence[str]) -> Iterator[list[Target]]:
    """The wanted targets, running. What does not come up is named on stderr and left out."""
    starters: Mapping[str, Callable[[ExitStack, Spot], Target | None]] = {
        FLOOR: lambda stack, spot: _floor(stack, spot, FLOOR),
        FLOOR_UVLOOP: lambda stack, spot: _floor(stack, spot, FLOOR_UVLOOP, "--uvloop"),
        AGENTD: _agentd,
        LITELLM: _litellm,
        PORTKEY: _portkey,
    }
    with ExitStack() as stack:
        targets = [Target(DIRECT, ("127.0.0.1", where.port))]
        for name in wanted:
            target = starters[name](stack, where)
            if target is None:
                print(f"note  {name} is left out: not installed, or it did not answer", file=sys.stderr)
            else:
                targets.append(target)
        yield targets


def start_agentd(where: Spot, home: Path) -> harness.Daemon:
    """`agentd serve` on a state directory, ready. The caller stops it."""
    home.mkdir(exist_ok=True)
    credentials = home / "credentials"
    credentials.mkdir(exist_ok=True)
    (credentials / "openrouter").write_text(KEY)
    env = {"PYTHON_KEYRING_BACKEND": CREDENTIALS, "CREDENTIALS_DIRECTORY": str(credentials)}
    policy = harness.SHIPPED_POLICY.read_text().replace("https://openrouter.ai/api/v1", where.url + "/v1")
    with on(where.cores.gateway):
        return harness.start(policy, home=home, env=env, simulate=False)


def start_floor(where: Spot, path: Path, *flags: str) -> subprocess.Popen[bytes]:
    """The bare proxy, ready. The caller ends it."""
    command = [sys.executable, "-m", "bench.proxy", str(path), where.url, *flags]
    with on(where.cores.gateway):
        process = _spawn(command, path.with_suffix(".log"), stdout=subprocess.PIPE)
    _said(process)
    return process


def _agentd(stack: ExitStack, where: Spot) -> Target:
    began = time.monotonic()
    daemon = start_agentd(where, where.home / "agentd")
    took = time.monotonic() - began
    stack.callback(harness.discard, daemon)
    return Target(AGENTD, str(daemon.agent_socket), pid=daemon.process.pid, start_s=took)


def _floor(stack: ExitStack, where: Spot, name: str, *flags: str) -> Target:
    path = where.home / f"{name}.sock"
    began = time.monotonic()
    process = start_floor(where, path, *flags)
    took = time.monotonic() - began
    stack.callback(_end, process)
    return Target(name, str(path), pid=process.pid, start_s=took)


def _litellm(stack: ExitStack, where: Spot) -> Target | None:
    binary = CACHE / "litellm" / "bin" / "litellm"
    if not binary.exists():
        return None
    config = where.home / "litellm.yaml"
    served = f"{{ model: openai/chat, api_base: '{where.url}/v1', api_key: sk-bench }}"
    config.write_text(
        f"model_list:\n  - model_name: chat\n    litellm_params: {served}\ngeneral_settings: {{ master_key: {KEY} }}\n"
    )
    port = _free_port()
    command = [str(binary), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    return _peer(stack, where, LITELLM, _Peer(command, port, (f"Authorization: Bearer {KEY}",)))


def _portkey(stack: ExitStack, where: Spot) -> Target | None:
    script = CACHE / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    node = shutil.which("node")
    if not script.exists() or node is None:
        return None
    port = _free_port()
    headers = (
        "x-portkey-provider: openrouter",
        f"x-portkey-custom-host: {where.url}/v1",
        "Authorization: Bearer sk-bench",
    )
    return _peer(stack, where, PORTKEY, _Peer([node, str(script), f"--port={port}", "--headless"], port, headers))


@dataclass(frozen=True, slots=True)
class _Peer:
    """How a peer is run and spoken to."""

    command: list[str]
    port: int
    headers: tuple[str, ...]


def _peer(stack: ExitStack, where: Spot, name: str, peer: _Peer) -> Target | None:
    """Start a peer and wait for its first answer to a small call."""
    began = time.monotonic()
    with on(where.cores.gateway):
        process = _spawn(peer.command, where.home / f"{name}.log")
    stack.callback(_end, process)
    address = ("127.0.0.1", peer.port)
    if not _listens(process, address):
        return None
    took = time.monotonic() - began
    target = Target(name, address, peer.headers, process.pid, took)
    body = b'{"model": "chat", "messages": [{"role": "user", "content": "hello"}]}'
    try:
        with Wire(address) as wire:
            wire.call(target.request(body))
    except (Refused, OSError) as error:
        print(f"note  {name} answered: {error}", file=sys.stderr)
        return None
    return target


def _listens(process: subprocess.Popen[bytes], address: Address) -> bool:
    """Wait until somebody accepts; False when the process ended or the time was over."""
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            connect(address).close()
            return True
        except OSError:
            time.sleep(LOOK_S)
    return False


def _spawn(command: list[str], log: Path, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """A process with a bare environment; what it says goes to a file."""
    env = {"PATH": os.environ["PATH"], "HOME": str(log.parent), "NO_PROXY": "*", "NODE_ENV": "production"}
    env["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its price list comes with it; the bench needs no network
    if command[0] == sys.executable:
        env["PYTHONPATH"] = str(REPO)
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=stdout or out, stderr=out, cwd=log.parent
        )


def _said(process: subprocess.Popen[bytes]) -> str:
    """The first line that a process of ours prints."""
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise SystemExit(f"bench: {process.args!r} did not start")
    return line.decode().strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def _free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
