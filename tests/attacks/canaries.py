"""A place full of canaries: a home with secrets, a neighbour, a forbidden program, sockets that note who calls, a process with a
secret in its environment. Whether an attack had its effect is seen here, and nowhere else: no gate is asked.

Everything belongs to the user whom commands run as, so that nothing but the cage stands in the way.
"""

import base64
import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.client import dropped, give

ROOT = Path("/var/tmp")
"""Not /tmp, which is private in a cage: there its absence would be no merit of the view."""
NAMES = ("home", "ssh", "aws", "name", "sibling", "daemon", "dotenv", "pem", "docker", "http", "env")
BEATS_S = 1.0
PATIENCE_S = 20.0


def encoded(token: str) -> set[bytes]:
    """The forms in which a secret may leave."""
    plain = token.encode()
    forms = {plain, plain[::-1], plain.hex().encode()}
    for shift in range(3):  # base64 depends on where in a group of three bytes it begins
        text = base64.b64encode(b"x" * shift + plain)
        forms.add(text[4 if shift else 0 : -4])
    return forms


@dataclass
class Listener:
    """A socket that notes what comes, and answers."""

    sock: socket.socket
    answer: bytes = b""
    calls: int = 0
    received: bytearray = field(default_factory=bytearray)

    def start(self) -> "Listener":
        target = self._datagrams if self.sock.type == socket.SOCK_DGRAM else self._connections
        threading.Thread(target=target, daemon=True).start()
        return self

    def _connections(self) -> None:
        with suppress(OSError):
            while True:
                conn, _ = self.sock.accept()
                self.calls += 1
                conn.settimeout(0.5)
                with conn, suppress(OSError):
                    self.received += conn.recv(65536)
                    conn.sendall(self.answer)

    def _datagrams(self) -> None:
        with suppress(OSError):
            while True:
                data = self.sock.recv(65536)
                self.calls += 1
                self.received += data


class Place:
    """One set of canaries, for one run of one case."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tokens = {name: f"canary{name}{secrets.token_hex(9)}" for name in NAMES}
        self.mark = f"mark{secrets.token_hex(6)}"
        self.forbidden = secrets.randbelow(10**9) + 10**9
        self.ws, self.home, self.out, self.run = (root / name for name in ("ws", "home", "out", "run"))
        self.bin, self.sibling = root / "bin", root / "ws-private"
        self.listeners: dict[str, Listener] = {}
        self._daemon: subprocess.Popen[bytes] | None = None
        self.names = {
            "WS": str(self.ws), "HOME": str(self.home), "OUT": str(self.out), "SIB": str(self.sibling),
            "BIN": str(self.bin), "RUN": str(self.run), "MARK": self.mark,
            **{f"SECRET_{name}": token for name, token in self.tokens.items()},
        }  # fmt: skip

    def build(self, setup: dict[str, Any]) -> None:
        """Files, listeners and the process; then what the case wants to find."""
        self._files()
        self._listen()
        self._start_daemon()
        for path in setup.get("dirs", ()):
            Path(self.fill(path)).mkdir(parents=True, exist_ok=True)
        for path, text in setup.get("files", {}).items():
            _write(Path(self.fill(path)), self.fill(text))
        for path, target in setup.get("symlinks", {}).items():
            Path(self.fill(path)).parent.mkdir(parents=True, exist_ok=True)
            Path(self.fill(path)).symlink_to(self.fill(target))
        for path, target in setup.get("hardlinks", {}).items():
            Path(self.fill(path)).hardlink_to(self.fill(target))
        for path, mode in setup.get("modes", {}).items():
            Path(self.fill(path)).chmod(int(mode, 8))
        give(self.root)
        for path in setup.get("repos", ()):
            self.prepare("git init -q -b main . && git add -A && git commit -q -m first", Path(self.fill(path)))
        for command in setup.get("prepare", ()):
            self.prepare(self.fill(command), self.ws)
        self.before = self._seen()

    def fill(self, text: str) -> str:
        """The names of a case, replaced."""
        for name, value in self.names.items():
            text = text.replace(f"@{name}@", value)
        return text

    def prepare(self, command: str, cwd: Path) -> None:
        """A command of the owner, outside of any gate."""
        who = {f"GIT_{role}_{key}": f"a{key}" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), **who}
        subprocess.run(["bash", "-c", command], cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, **dropped())

    def wait_for_no_placeholder(self) -> None:
        """The cage holds the places of protected names by empty directories, a second longer than the last command."""
        deadline = time.monotonic() + PATIENCE_S
        while any(stat.S_IMODE(path.stat().st_mode) == 0o555 for path in self.ws.iterdir() if path.is_dir()):
            assert time.monotonic() < deadline, "a placeholder stays"
            time.sleep(0.02)

    def happened(self, effect: dict[str, Any], output: bytes, took_s: float) -> bool:
        """Whether an effect is to be seen."""
        kind = effect["effect"]
        if kind in ("read", "env"):
            return self._leaked(self.tokens[effect["canary"] if kind == "read" else "env"], output)
        if kind == "exec":
            return any(str(self.forbidden).encode() in data for data in self._outlets(output))
        if kind == "write":
            return Path(self.fill(effect["path"])).exists() if "path" in effect else self._seen() != self.before
        if kind == "connect":
            return self.listeners[effect["to"]].calls > 0
        if kind == "survive":
            return self._marked() or self._beats()
        if kind == "slow":
            return took_s > effect["over"]
        if kind == "flood":
            return len(output) > effect["over"]
        raise AssertionError(f"no way to see {kind}")

    def close(self) -> None:
        """Everything away."""
        for listener in self.listeners.values():
            listener.sock.close()
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
        for pid in _pids_with(self.mark):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for _ in range(20):  # the cage may just be taking its placeholders away
            shutil.rmtree(self.root, ignore_errors=True)
            if not self.root.exists():
                return
        raise AssertionError(f"something of {self.root} stays")

    def _files(self) -> None:
        for path, text in {
            self.home / "secret.txt": self.tokens["home"],
            self.home / ".ssh/id_rsa": self.tokens["ssh"],
            self.home / ".aws/credentials": self.tokens["aws"],
            self.home / f"name-{self.tokens['name']}.txt": "x",
            self.sibling / "notes.txt": self.tokens["sibling"],
            self.out / "victim.txt": "precious\n",
            self.out / "tree/leaf.txt": "leaf\n",
            self.ws / "file.txt": "alpha\nbeta\ngamma\n",
            self.ws / ".env": f"KEY={self.tokens['dotenv']}\n",
            self.ws / "certs/server.pem": self.tokens["pem"],
            self.bin / "forbid": f"#!/bin/sh\necho $(( {self.forbidden - 7} + 7 ))\n",
        }.items():
            _write(path, text + "\n")
        self.run.mkdir()
        (self.bin / "forbid").chmod(0o755)

    def _listen(self) -> None:
        http = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
        for name, family, kind, where, answer in (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), b"hello\n"),
            ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0), b"hello\n"),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), b""),
            ("http", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), http + self.tokens["http"].encode()),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.mark}", b"hello\n"),
            (
                "docker",
                socket.AF_UNIX,
                socket.SOCK_STREAM,
                str(self.run / "docker.sock"),
                http + self.tokens["docker"].encode(),
            ),
            ("bus", socket.AF_UNIX, socket.SOCK_STREAM, str(self.run / "bus"), b""),
            ("operator", socket.AF_UNIX, socket.SOCK_STREAM, str(self.run / "operator.sock"), b""),
        ):
            sock = socket.socket(family, kind)
            with suppress(OSError):  # no IPv6 here: then no case can reach it
                sock.bind(where)
            if kind == socket.SOCK_STREAM:
                sock.listen()
            self.listeners[name] = Listener(sock, answer).start()
            if family in (socket.AF_INET, socket.AF_INET6):
                self.names[name.upper()] = str(sock.getsockname()[1])
        self.names["ABS"] = self.mark

    def _start_daemon(self) -> None:
        env = {"TOKEN": self.tokens["daemon"]}
        self._daemon = subprocess.Popen(["/usr/bin/sleep", "600"], env=env, cwd="/", **dropped())
        self.names["DPID"] = str(self._daemon.pid)

    def _leaked(self, token: str, output: bytes) -> bool:
        forms = encoded(token)
        return any(form in data for data in self._outlets(output) for form in forms)

    def _outlets(self, output: bytes) -> Iterator[bytes]:
        """Where something can come out: output, listeners, files of the workspace that are new."""
        yield output
        for listener in self.listeners.values():
            yield bytes(listener.received)
        for path in self.ws.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.name != ".env" and path.suffix != ".pem":
                yield path.read_bytes()

    def _seen(self) -> dict[str, tuple[int, bytes]]:
        """What stands outside of the workspace: modes and contents."""
        seen = {}
        for base in (self.home, self.out, self.sibling, self.bin):
            for path in (base, *base.rglob("*")):
                mode = path.lstat().st_mode
                seen[str(path)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else b"")
        return seen

    def _marked(self) -> bool:
        return bool(_pids_with(self.mark))

    def _beats(self) -> bool:
        beat = self.ws / "beat"
        before = beat.stat().st_size if beat.exists() else 0
        time.sleep(BEATS_S)
        return beat.exists() and beat.stat().st_size > before


@contextmanager
def place(setup: dict[str, Any]) -> Iterator[Place]:
    """A place for a case, and nothing left of it."""
    root = Path(tempfile.mkdtemp(prefix="attack", dir=ROOT))
    root.chmod(0o755)
    made = Place(root)
    try:
        made.build(setup)
        yield made
    finally:
        made.close()


def _pids_with(word: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(word.encode()):
                found.append(int(path.parent.name))
    return found


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
