"""A synchronous client of a real sandbox process, for tests and benches.

As root the process runs under a user of its own, as it would in service, so that the kernel's exceptions for root hide
nothing. That user cannot read root's own Python, so the system's is taken.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentd.sandbox import wire
from agentd.sandbox.codec import decode, encode
from agentd.sandbox.protocol import (
    FROM_SANDBOX,
    Exited,
    Kill,
    Limits,
    Output,
    Prepare,
    Prepared,
    Profile,
    Refused,
    Rings,
    Run,
)

REPO = Path(__file__).resolve().parents[2]
USER = 61_543
"""Of nobody else."""
PATIENCE_S = 60.0
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/agent", "LANG": "C.UTF-8", "TERM": "dumb", "TZ": "UTC"}


@dataclass
class Done:
    """All that was said of a command."""

    end: Exited | Refused | None = None
    out: bytes = b""
    err: bytes = b""
    pieces: list[Output] = field(default_factory=list)

    @property
    def exited(self) -> Exited:
        assert isinstance(self.end, Exited), self.end
        return self.end

    @property
    def refused(self) -> Refused:
        assert isinstance(self.end, Refused), (self.end, self.out, self.err)
        return self.end

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")


class Sandbox:
    """A sandbox process and the socket to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", sock: socket.socket) -> None:
        self.process = process
        self.sock = sock
        sock.settimeout(PATIENCE_S)
        self._receiver = wire.Receiver(sock)
        self._ready: list[tuple[Any, bytes]] = []
        self._runs: dict[int, Done] = {}
        self._next = 0
        first = self.hear()[0]
        assert isinstance(first, Rings)
        self.rings = {ring.name: ring for ring in first.rings}

    def say(self, message: object, body: bytes = b"", descriptors: tuple[int, ...] = ()) -> None:
        wire.send(self.sock, wire.Frame(encode(message), body, descriptors))

    def hear(self) -> tuple[Any, bytes]:
        """The next message and its body."""
        while not self._ready:
            self._ready += [(decode(frame.head, FROM_SANDBOX), frame.body) for frame in self._receiver.receive()]
        return self._ready.pop(0)

    def prepare(self, profile: Profile) -> Prepared | Refused:
        self.say(Prepare(profile))
        return self.until(
            lambda message: isinstance(message, Prepared) or (isinstance(message, Refused) and message.id == 0)
        )

    def say_prepare(self, profile: Profile) -> None:
        """Prepare and wait, keeping what is said of commands meanwhile."""
        self.say(Prepare(profile))
        self.until(lambda message: isinstance(message, Prepared))

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Hear until a message is the wanted one; what concerns commands is kept on the way."""
        while True:
            message, body = self.hear()
            done = self._runs.get(getattr(message, "id", 0))
            if done is not None:
                if isinstance(message, Output):
                    done.pieces.append(message)
                    if message.stream == 1:
                        done.out += body
                    else:
                        done.err += body
                else:
                    done.end = message
            if wanted(message):
                return message

    def begin(self, profile: str, argv: Sequence[str], **more: Any) -> int:
        """Order a command; its number."""
        self._next += 1
        self._runs[self._next] = Done()
        env = tuple((more.get("env") or ENV).items())
        limits = more.get("limits", Limits(wall_s=20))
        run = Run(self._next, profile, tuple(argv), more.get("cwd", "/"), env, limits, more.get("digest", ""))
        self.say(run, more.get("stdin", b""), more.get("descriptors", ()))
        return self._next

    def result(self, number: int) -> Done:
        """Wait for the end of a command."""
        if self._runs[number].end is None:
            self.until(lambda message: isinstance(message, Exited | Refused) and message.id == number)
        return self._runs.pop(number)

    def run(self, profile: str, argv: Sequence[str], **more: Any) -> Done:
        return self.result(self.begin(profile, argv, **more))

    def sh(self, profile: Profile, command: str, **more: Any) -> Done:
        """A command line by bash, in the workspace."""
        return self.run(profile.name, ["bash", "-c", command], **{"cwd": profile.workspace, **more})

    def kill(self, number: int) -> None:
        self.say(Kill(number))

    def wait_for(self, number: int, word: bytes) -> None:
        """Until the command has printed this."""
        while word not in self._runs[number].out:
            assert self._runs[number].end is None, self._runs[number]
            self.until(lambda message: getattr(message, "id", 0) == number)

    def close(self) -> None:
        self._receiver.close()
        self.process.wait(PATIENCE_S)


def dropped() -> dict[str, Any]:
    """How a child is started under the user of tests, where this one is root."""
    if os.geteuid() != 0:
        return {}
    return {"user": USER, "group": USER, "extra_groups": []}


def interpreter() -> str:
    """A Python that the other user can start."""
    return "/usr/bin/python3" if os.geteuid() == 0 else sys.executable


def give(*paths: Path) -> None:
    """Make these, and all that is in them, that user's."""
    if os.geteuid() != 0:
        return
    for path in paths:
        for each in (path, *path.rglob("*")):
            os.chown(each, USER, USER, follow_symlinks=False)


@contextmanager
def sandbox(*arguments: str, as_root: bool = False) -> Iterator[Sandbox]:
    """A sandbox process as a child of this one."""
    ours, theirs = socket.socketpair()
    words = [interpreter(), "-m", "agentd.sandbox", "--fd", str(theirs.fileno()), *arguments]
    env = {"PATH": "/usr/sbin:/usr/bin:/bin", "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    more = {} if as_root else dropped()
    process = subprocess.Popen(words, cwd="/", env=env, pass_fds=[theirs.fileno()], **more)
    theirs.close()
    made = Sandbox(process, ours)
    try:
        yield made
    finally:
        ours.close()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def lacking() -> str:
    """Why no cage can be had here; empty where one can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    words = [interpreter(), "-m", "agentd.sandbox", "--rings"]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPO)}
    done = subprocess.run(words, cwd="/", env=env, capture_output=True, text=True, check=False, **dropped())
    return "" if done.returncode == 0 else f"no cage on this machine: {done.stdout}{done.stderr}"


def gone(pids: Sequence[int], within_s: float = 10.0) -> bool:
    """Whether processes are gone before the time is over."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.01)
    return False
