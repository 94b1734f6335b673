"""A real `agentd serve` in a process of its own.

Its run directory lies under a short path, because the address of a Unix socket holds 107 bytes and no more. It counts as
started when it says READY=1 in the service manager's way, not when a file appears or some time has gone by.
"""

import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.http import Reply, call

REPO = Path(__file__).resolve().parents[2]
SHIPPED_POLICY = REPO / "etc" / "policy.yaml"

START_S = 30.0
"""A start takes well under a second; on a crowded machine it may take longer, but not this long."""
STOP_S = 20.0
"""Above the daemon's own clock for its staged shutdown."""


class NotReady(Exception):
    """The daemon ended, or stayed silent, before it was ready. The message holds its log."""


@dataclass
class Daemon:
    """A running daemon and the ways to reach it."""

    process: subprocess.Popen[bytes]
    home: Path
    policy: Path
    manager: socket.socket  # where it reports to, as to a service manager; open as long as it runs
    agent_socket: Path = field(init=False)
    operator_socket: Path = field(init=False)
    state: Path = field(init=False)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.agent_socket = self.home / "run" / "agent.sock"
        self.operator_socket = self.home / "run" / "operator.sock"
        self.state = self.home / "state"
        self.log = self.home / "agentd.log"

    def ask(self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        """A request at the agents' door."""
        return call(self.agent_socket, method, target, body, headers)

    def operate(self, method: str, target: str, body: Any = None) -> Reply:
        """A request at the operator's door."""
        return call(self.operator_socket, method, target, body)

    def ctl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """`agentctl` as an operator would run it, into a pipe."""
        command = [sys.executable, "-m", "agentd.ctl.main", "--socket", str(self.operator_socket), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)

    def lines(self, *filters: str) -> list[dict[str, Any]]:
        """What `agentctl logs --json` prints, oldest first, as objects."""
        done = self.ctl("logs", "--json", *filters)
        if done.returncode != 0:
            raise AssertionError(f"agentctl logs failed ({done.returncode}): {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines() if line.strip()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and give its exit status; kill it when it does not go by itself, which then shows in the status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def start(
    policy: str | Path = SHIPPED_POLICY,
    *flags: str,
    home: Path | None = None,
    env: Mapping[str, str] | None = None,
    simulate: bool = True,
    before: Sequence[str] = (),
) -> Daemon:
    """Start a daemon and wait until it is ready. `policy` is a file, or the text of one.

    `before` is a command that becomes the daemon, as `env` or `unshare` does with what follows. A `home` from an earlier daemon
    starts on its state. The caller stops it and removes its home.
    """
    home = home or Path(tempfile.mkdtemp(prefix="agentd-"))
    file = home / "policy.yaml"
    file.write_text(policy.read_text() if isinstance(policy, Path) else policy)
    for name in ("run", "state"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    command = [*before, sys.executable, "-m", "agentd", "serve"]
    command += ["--run", str(home / "run"), "--state", str(home / "state")]
    command += ["--policy", str(file), *(["--simulate"] if simulate else []), *flags]
    manager = _notify_socket(home)
    with (home / "agentd.log").open("ab") as log:
        environment = _environment(home, env or {})
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home)
    daemon = Daemon(process, home, file, manager)
    _await_ready(daemon)
    return daemon


def discard(daemon: Daemon) -> None:
    """Stop a daemon and remove what it left."""
    daemon.stop()
    daemon.manager.close()
    shutil.rmtree(daemon.home, ignore_errors=True)


def _environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """A bare environment: nothing of the tester's own machine, no session bus, no keys."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(REPO),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        "NOTIFY_SOCKET": str(home / "notify.sock"),
        **more,
    }


def _notify_socket(home: Path) -> socket.socket:
    """Where the service manager listens."""
    path = home / "notify.sock"
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.bind(str(path))
    return listening


def _await_ready(daemon: Daemon) -> None:
    """Return when READY=1 came; raise `NotReady` when the process ended first or the clock ran out."""
    listening = daemon.manager
    exited = os.pidfd_open(daemon.process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(exited, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select(START_S)}
                if listening in ready and b"READY=1" in listening.recv(4096).split(b"\n"):
                    return
                if not ready or (exited in ready and listening not in ready):
                    raise NotReady(_why(daemon, exited in ready))
    except NotReady:
        daemon.stop(signal.SIGKILL)
        listening.close()
        raise
    finally:
        os.close(exited)


def _why(daemon: Daemon, ended: bool) -> str:
    what = f"ended with status {daemon.process.wait()}" if ended else f"was not ready within {START_S:.0f} s"
    return f"agentd {what}; its log:\n{daemon.said()}"


def arguments_of(process: subprocess.Popen[bytes]) -> Sequence[str]:
    """The command line of a process, as anybody on the machine can read it."""
    return Path(f"/proc/{process.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
