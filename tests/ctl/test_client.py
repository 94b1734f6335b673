"""When the daemon is not there, not ours to ask, or not a daemon: what is said, and how it ends."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import agentd.ctl.client as client_module
from agentd.ctl.exits import Exit
from ctl.office import Result, run

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(path: Path, answer: Answer | None) -> Iterator[str]:
    """A socket at which something else answers once; None: nobody accepts any more."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        if answer is None:
            server.close()
            yield str(path)
            return
        thread = threading.Thread(target=_serve_once, args=(server, answer))
        thread.start()
        yield str(path)
        thread.join(20)


def _serve_once(server: socket.socket, answer: Answer) -> None:
    connection, _ = server.accept()
    with connection:
        connection.settimeout(20)
        connection.recv(65536)
        answer(connection)


def status(path: object) -> Result:
    return run("--socket", str(path), "status")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_no_socket(place: Path) -> None:
    result = status(place)
    assert (result.code, result.out) == (Exit.UNREACHABLE, "")
    assert f"not reachable at {place}: there is no such socket" in result.err
    assert "systemctl start agentd" in result.err
    assert "agentd serve" in result.err


def test_every_place_that_was_looked_at_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.ctl.paths.SYSTEM_RUN_DIR", place / "system")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("os.getuid", lambda: 10_001_000)
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place / "xdg"))
    monkeypatch.delenv("AGENTD_OPERATOR_SOCKET", raising=False)
    said = run("status").err
    for where in ("system", "xdg/agentd", "home/.local/state/agentd/run"):
        assert str(place / where / "operator.sock") in said
    assert "/run/user/10001000/agentd/operator.sock" in said
    assert "Nor is there one at" not in run("--socket", str(place), "status").err


def test_nobody_listens(place: Path) -> None:
    with listening(place, None) as path:
        result = status(path)
    assert result.code == Exit.UNREACHABLE
    assert "nobody listens there" in result.err


def test_not_permitted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: object) -> None:
        raise PermissionError

    monkeypatch.setattr(client_module._UnixConnection, "connect", refuse)
    monkeypatch.setattr("sys.argv", ["agentctl", "halt", "--reason", "smoke; rm"])
    result = status(place)
    assert result.code == Exit.REFUSED
    assert "sudo agentctl halt --reason 'smoke; rm'" in result.err
    assert "sudo usermod -aG agentd-operators" in result.err


@pytest.mark.root
def test_not_permitted_by_the_kernel() -> None:
    """Another user's process, at a socket for a group that it is not in."""
    with tempfile.TemporaryDirectory(prefix="agentd-closed-") as directory, socket.socket(socket.AF_UNIX) as server:
        Path(directory).chmod(0o755)
        path = Path(directory) / "s"
        server.bind(str(path))
        path.chmod(0o660)
        server.listen()
        code = (
            "import os, agentd.ctl.client, agentd.ctl.commands.status; from agentd.ctl.main import main\n"
            "os.setgroups([]); os.setgid(65534); os.setuid(65534); main()"
        )
        command = [sys.executable, "-c", code, "--socket", str(path), "status"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == Exit.REFUSED, done.stderr
    assert "sudo agentctl" in done.stderr


REPLIES: dict[str, tuple[bytes, int, str]] = {
    "hangs up": (b"", Exit.UNREACHABLE, "not reachable"),
    "is no web server": (b"SSH-2.0-OpenSSH_9.2\r\n", Exit.UNREACHABLE, "not reachable"),
    "is no agentd": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Exit.UNREACHABLE, "is not agentd"),
    "breaks off": (b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"a', Exit.UNREACHABLE, "not reachable"),
    "refuses without words": (
        b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}",
        Exit.REFUSED,
        "500 without saying why",
    ),
    "refuses oddly": (b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\n[]", Exit.REFUSED, "400 without saying why"),
}


@pytest.mark.parametrize("case", REPLIES)
def test_something_else_answers(place: Path, case: str) -> None:
    data, code, words = REPLIES[case]
    with listening(place, lambda connection: connection.sendall(data)) as path:
        result = status(path)
    assert result.code == code
    assert words in result.err
    assert "Traceback" not in result.err


def test_a_daemon_that_hangs_is_not_waited_for_without_end(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT_S", 0.05)
    over = threading.Event()
    with listening(place, lambda _connection: _wait(over)) as path:
        result = status(path)
        over.set()
    assert result.code == Exit.UNREACHABLE
    assert "no answer within" in result.err


def _wait(over: threading.Event) -> None:
    over.wait(20)


ENDS = {400: Exit.USAGE, 403: Exit.REFUSED, 404: Exit.NOT_FOUND, 409: Exit.REFUSED, 413: Exit.USAGE, 503: Exit.REFUSED}


@pytest.mark.parametrize(("status_code", "code"), ENDS.items())
def test_how_refusals_end(place: Path, status_code: int, code: Exit) -> None:
    body = b'{"error": {"code": "a.b", "message": "No \\u001b[31m.", "hint": "Do\\nthis."}}'
    head = f"HTTP/1.1 {status_code} X\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with listening(place, lambda connection: connection.sendall(head + body)) as path:
        result = status(path)
    assert result.code == code
    assert result.err == "agentctl: No \\x1b[31m. [a.b]\n  Do\\nthis.\n"


def test_the_environment_names_the_socket_and_the_option_wins(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTD_OPERATOR_SOCKET", "/from/environment")
    assert "/from/environment" in run("status").err
    assert "/from/option" in run("--socket", "/from/option", "status").err
    assert "/from/command" in run("status", "--socket", "/from/command").err


def test_a_stream_that_breaks_off_is_told(place: Path) -> None:
    def answer(connection: socket.socket) -> None:
        rows: Any = b'{"kind": "gap", "missed": 3}\n'
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n" + rows + b"\r\n")

    with listening(place, answer) as path:
        result = run("--socket", path, "logs", "-f")
    assert result.out.startswith("... 3 lines were not shown")
    assert result.code == Exit.UNREACHABLE
