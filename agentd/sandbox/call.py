"""A cage from the inside: the first process of a process namespace, in which one command after another runs, each alone.

Before a command: private /tmp, /dev/shm, /dev/pts and home, an IPC namespace, and a second process that has given up every
right (`command`); so an order costs only a look at the masks and the start of the program. After it: every other process
of the namespace is killed in one step and taken in until there is none, which is the proof that nothing is left; then the
report, then all that was private is made anew. A cage that is killed from outside takes its namespace with it.
"""

import os
import re
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from agentd.sandbox import command, kernel, masks, mounts, tree, wire
from agentd.sandbox.codec import decode, encode
from agentd.sandbox.inner import Report, Settle
from agentd.sandbox.program import Identity, NotRun
from agentd.sandbox.protocol import Limits, Run, Usage

TICK_S = 0.25
"""How often processor time and memory of the tree are looked at, where no cgroup does it better."""
WORD = 64 << 10
"""Bytes of what a command's process says before it becomes the program."""
MAX_KNOWN = 256
"""Digests of programs that are remembered."""


@dataclass(frozen=True, slots=True)
class Cage:
    """What the zygote hands to each cage."""

    settled: Settle
    abi: int
    filter: kernel.Filter
    hidden: re.Pattern[str] | None
    sample: bytes


@dataclass(frozen=True, slots=True)
class Second:
    """The process that will be the command: its number, the socket for its order, the pipe in which it says how it went."""

    pid: int
    sock: socket.socket
    word: int


@dataclass(slots=True)
class Ended:
    """What is known when all has ended."""

    status: int = -1
    signal: int = 0
    killed_by: str = ""
    usage: Usage = field(default_factory=Usage)


def main(cage: Cage, sock: socket.socket) -> NoReturn:
    """The life of a cage's first process: until the zygote closes the socket, or something is wrong with the cage itself."""
    try:
        First(cage, sock).serve()
    except wire.Closed:
        os._exit(0)
    except Exception as error:  # noqa: BLE001 - in this process nobody else would tell what was wrong
        message = f"{type(error).__name__}: {error}"
        with suppress(OSError):  # the zygote is gone: nobody is left to be told
            wire.send(sock, wire.Frame(encode(Report(code="cage-failed", message=message))))
    os._exit(1)


class First:
    """State of a cage's first process."""

    def __init__(self, cage: Cage, sock: socket.socket) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
        self._cage = cage
        self._caged = cage.settled.caged
        self._sock = sock
        self._orders = wire.Receiver(sock)
        self._known: dict[Identity, str] = {}
        self._mounts = mounts.Mounts(cage.settled) if self._caged else None
        self._masks = masks.Masks(cage.settled.profile, cage.hidden) if self._caged else None

    def serve(self) -> NoReturn:
        """One command after another. Raises wire.Closed at the end."""
        while True:
            if self._mounts is not None:
                self._mounts.fresh()
            second = self._fork()
            self._make_ready()
            frame = self._orders.one()
            try:
                report = self._run(frame, second)
            except NotRun as error:
                report = Report(code=error.code, message=error.message)
            wire.send(self._sock, wire.Frame(encode(report)))

    def _make_ready(self) -> None:
        """What an order will need, once, while nobody waits; after the fork, since memory is copied when first touched."""
        if self._masks is not None and self._mounts is not None:
            if self._mounts.shadowing:
                self._masks.forget()
            self._masks.put(complete=False)
        decode(self._cage.sample, {"Run": Run})

    def _fork(self) -> Second:
        ours, theirs = socket.socketpair()
        readable, writable = os.pipe2(os.O_CLOEXEC)
        proc = self._mounts.proc if self._mounts else -1
        pid = os.fork()
        if pid == 0:
            shut = command.Shut(self._cage.settled, self._cage.abi, self._cage.filter, proc, self._cage.sample)
            self._sock.close()
            ours.close()
            command.main(shut, self._known, theirs, writable)
        theirs.close()
        os.close(writable)
        return Second(pid, ours, readable)

    def _run(self, frame: wire.Frame, second: Second) -> Report:
        """Let the command begin, and wait until it has ended and with it all that it started. Raises NotRun."""
        run: Run = decode(frame.head, {"Run": Run})
        ended = Ended()
        try:
            self._hand_on(frame, second)
            program, digest = self._begun(second.word)
            self._wait(second.pid, run.limits, ended)
        finally:
            second.sock.close()
            self._clear(ended)
        return Report(ended.status, ended.signal, ended.usage, ended.killed_by, program, digest)

    def _hand_on(self, frame: wire.Frame, second: Second) -> None:
        """Look after the masks, then give the order to the process that becomes the command."""
        try:
            if self._masks is not None:
                self._masks.put(complete=True)
            wire.send(second.sock, frame)
        except OSError as error:
            raise NotRun("cage-failed", str(error)) from error
        finally:
            for fd in frame.descriptors:
                os.close(fd)

    def _begun(self, word: int) -> tuple[str, str]:
        """Path and digest of the program that has started. Raises NotRun with what the process says instead."""
        said = b""
        while chunk := os.read(word, WORD):
            said += chunk
        os.close(word)
        parts = [os.fsdecode(part) for part in said.split(b"\0")]
        if parts[0] == "run" and len(parts) == command.SAID:
            if parts[2] and parts[3] and len(self._known) < MAX_KNOWN:
                first, *rest = map(int, parts[3].split())
                self._known[first, rest[0], rest[1], rest[2], rest[3]] = parts[2]
            return parts[1], parts[2]
        raise NotRun(parts[-2] if len(parts) > 1 else "cage-failed", parts[-1] or "the command could not be started")

    def _wait(self, child: int, limits: Limits, ended: Ended) -> None:
        """Until the command has ended; its tree is ended early where it uses too much."""
        while True:
            heard = signal.sigtimedwait({signal.SIGCHLD, signal.SIGTERM}, TICK_S)
            if heard is not None and heard.si_signo == signal.SIGTERM and self._from_above(heard):
                ended.signal = signal.SIGKILL
                return
            while (pid := _take_in(ended, child, os.WNOHANG)) > 0:
                if pid == child:
                    return
            if self._caged and not ended.killed_by and (by := tree.overuse(limits, ended.usage)):
                ended.killed_by = by
                os.kill(child, signal.SIGKILL)

    def _from_above(self, heard: signal.struct_siginfo) -> bool:
        """Whether the zygote sent it: whoever is outside of this process namespace has no number in it."""
        return heard.si_pid == (0 if self._caged else os.getppid())

    def _clear(self, ended: Ended) -> None:
        """End everything else in the namespace and take it in until there is nothing: only then it is empty."""
        if not self._caged:
            tree.end_descendants()
            return
        try:
            while True:
                os.kill(-1, signal.SIGKILL)
                _take_in(ended, 0, 0)
        except (ChildProcessError, ProcessLookupError):
            pass
        try:
            while True:
                _take_in(ended, 0, 0)
        except ChildProcessError:
            return


def _take_in(ended: Ended, command_pid: int, how: int) -> int:
    """Wait for one process that has ended and add up what it used. Its number, or 0. Raises ChildProcessError."""
    pid, status, used = os.wait4(-1, how)
    if pid == 0:
        return 0
    before = ended.usage
    ended.usage = Usage(
        before.user_s + used.ru_utime,
        before.system_s + used.ru_stime,
        max(before.max_rss, used.ru_maxrss << 10),
        before.blocks_in + used.ru_inblock,
        before.blocks_out + used.ru_oublock,
    )
    if pid == command_pid:
        code = os.waitstatus_to_exitcode(status)
        ended.status, ended.signal = max(code, -1), max(-code, 0)
    return pid
