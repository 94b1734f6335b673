"""A restart under the service manager's sockets is no failure for anybody: what was accepted is finished, the rest waits."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import daemon as daemons
from harness.http import TIMEOUT_S, UnixConnection, call

SCRIPT = (
    "import os, sys\n"
    "for place, held in enumerate(sys.argv[1:4], 3): os.dup2(int(held), place)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='3', LISTEN_FDNAMES='agent:operator:tcp')\n"
    "os.execv(sys.executable, [sys.executable, '-m', 'agentd', 'serve', '--simulate', *sys.argv[4:]])\n"
)
"""As systemd does it: listening sockets from descriptor 3 on, named, for this pid."""

CHAT = "/v1/chat/completions"
RESTARTS = 3
AFTER = 20  # calls that each client makes after the last restart


class Manager:
    """Holds the sockets and restarts the daemon behind them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sockets = [*(self._listen(name) for name in ("agent", "operator")), socket.create_server(("127.0.0.1", 0))]
        self.process = self._start()

    @property
    def agent(self) -> Path:
        """The agents' socket."""
        return self.home / "agent.sock"

    @property
    def operator(self) -> Path:
        """The operator's socket."""
        return self.home / "operator.sock"

    @property
    def tcp(self) -> tuple[str, int]:
        """The agents' door over TCP."""
        host, port = self.sockets[-1].getsockname()
        return host, port

    def token(self) -> str:
        """One for the door over TCP."""
        made = call(self.operator, "POST", "/operator/v1/tokens", {"agent": "main", "expires_s": 3600})
        return str(made.json()["token"])

    def restart(self) -> None:
        """Stop, wait until it is gone, start."""
        assert self.stop() == 0, (self.home / "log").read_text()
        self.process = self._start()

    def stop(self) -> int:
        """End it; gives its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        """End everything."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for sock in self.sockets:
            sock.close()

    def _listen(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.home / f"{name}.sock"))
        sock.listen(128)
        return sock

    def _start(self) -> "subprocess.Popen[bytes]":
        descriptors = [sock.fileno() for sock in self.sockets]
        flags = ["--state", str(self.home / "state"), "--run", str(self.home / "run")]
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            *map(str, descriptors),
            *flags,
            "--policy",
            str(daemons.SHIPPED_POLICY),
        ]
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(command, pass_fds=descriptors, cwd=daemons.REPO, stdout=log, stderr=log)


@pytest.fixture
def manager() -> Iterator[Manager]:
    """A daemon behind sockets that outlive it."""
    home = Path(tempfile.mkdtemp(prefix="agentd-"))
    held = Manager(home)
    try:
        yield held
    finally:
        held.close()
        shutil.rmtree(home, ignore_errors=True)


def _connection(door: Path | tuple[str, int]) -> http.client.HTTPConnection:
    return UnixConnection(door) if isinstance(door, Path) else http.client.HTTPConnection(*door, timeout=TIMEOUT_S)


class Client(threading.Thread):
    """Calls without a pause. `fresh`: each call on a connection of its own; else one is kept for as long as it is offered.
    `stream` None: an operator, who looks at the status. `token`: for the door over TCP."""

    def __init__(self, door: Path | tuple[str, int], *, fresh: bool, stream: bool | None, token: str = "") -> None:
        super().__init__(daemon=True)
        self.faults: list[str] = []
        self.calls = 0
        self._door, self._fresh = door, fresh
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._changed = threading.Condition()
        self._enough = False
        said = {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        self._ask = ("GET", "/operator/v1/status", b"") if stream is None else ("POST", CHAT, json.dumps(said).encode())

    def run(self) -> None:
        connection = _connection(self._door)
        while not self._enough:
            try:
                connection.request(*self._ask, self._headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or b'"error"' in body:
                    self.faults.append(f"{answer.status} {body[:300]!r}")
                if self._fresh or answer.will_close:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.faults.append(repr(error))
                connection.close()
            with self._changed:
                self.calls += 1
                self._changed.notify_all()
        connection.close()

    def more(self, calls: int) -> None:
        """Wait until so many more calls were answered."""
        with self._changed:
            wanted = self.calls + calls
            assert self._changed.wait_for(lambda: self.calls >= wanted, TIMEOUT_S)

    def enough(self) -> None:
        """Let it end."""
        self._enough = True
        self.join(TIMEOUT_S)


def test_clients_that_call_without_pause_see_no_failure_in_restarts(manager: Manager) -> None:
    clients = [Client(manager.agent, fresh=fresh, stream=stream) for fresh in (True, False) for stream in (True, False)]
    clients += [Client(manager.operator, fresh=fresh, stream=None) for fresh in (True, False)]
    token = manager.token()
    clients += [Client(manager.tcp, fresh=fresh, stream=True, token=token) for fresh in (True, False)]
    for client in clients:
        client.start()
    for _ in range(RESTARTS):
        for client in clients:
            client.more(3)
        manager.restart()
    for client in clients:
        client.more(AFTER)
    for client in clients:
        client.enough()
    assert [fault for client in clients for fault in client.faults] == []


def _until_nobody_accepts(manager: Manager) -> None:
    """Return when a stop has begun: an accepted connection is answered or closed, one that waits in the kernel is neither."""
    for _ in range(1000):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.5)
            probe.connect(str(manager.agent))
            probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                assert probe.recv(12) == b"HTTP/1.1 200"
            except TimeoutError:
                return
    raise AssertionError("it goes on accepting")


def test_a_request_whose_body_is_still_coming_is_finished(manager: Manager) -> None:
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(TIMEOUT_S)
        raw.connect(str(manager.agent))
        raw.sendall(head.encode())
        assert raw.recv(100).startswith(b"HTTP/1.1 100")
        raw.sendall(body[:10])
        manager.process.send_signal(signal.SIGTERM)
        _until_nobody_accepts(manager)
        raw.sendall(body[10:])
        answer = http.client.HTTPResponse(raw)
        answer.begin()
        assert (answer.status, answer.getheader("Connection")) == (200, "close")
        assert b"choices" in answer.read()
    assert manager.process.wait(TIMEOUT_S) == 0


def test_an_idle_connection_does_not_hold_up_the_stop_and_its_last_request_is_served(manager: Manager) -> None:
    connection = UnixConnection(manager.agent)
    connection.request("GET", "/healthz")
    assert connection.getresponse().read()
    assert manager.stop() == 0
    assert connection.sock.recv(1) == b""
    connection.close()
    assert os.path.exists(manager.agent)
