"""The resident process of a view: keeps cages ready for commands, so that namespaces and interpreter are paid for once.

It stands in the view's namespaces with their rights, serves one socket, and runs no program itself. Cages serve one
command after another while commands come; when none has come for a while they are closed, with the placeholders that they
needed, and fresh ones made. When its socket closes it ends, and the view's process namespace with it.
"""

import gc
import os
import select
import signal
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import NoReturn

from agentd.sandbox import call, inner, kernel, landlock, masks, seccomp, trying, wire
from agentd.sandbox.codec import Malformed, decode, encode
from agentd.sandbox.placeholders import Placeholders
from agentd.sandbox.protocol import Kill, Limits, Run

ORDERS: dict[str, type] = {"Run": Run, "Kill": Kill}
PRIVATE = 0
SAMPLE = Run(1, "sample", ("true", "x"), "/", (("PATH", "/bin"),), Limits())
"""An order like any other, to rehearse with."""
READY = 2
"""Cages that wait while nothing runs: one serves, the other is made anew meanwhile."""
SOON_MS = 2
"""A cage is forked when nothing has happened for so long: the command that has just begun goes first."""
LINGER_MS = 1000
"""Without a command for so long, used cages are closed and placeholders removed."""


@dataclass(slots=True)
class Child:
    """A cage: its first process, the socket to it, and the number of the command in it; 0: none."""

    pid: int
    pidfd: int
    sock: socket.socket
    id: int = 0
    used: bool = False
    asked_to_end: bool = False
    reader: wire.Receiver = field(init=False)

    def __post_init__(self) -> None:
        self.reader = wire.Receiver(self.sock)


def main(control: int) -> NoReturn:
    """Settle, then serve until the socket closes."""
    sock = socket.socket(fileno=control)
    sock.set_inheritable(False)
    receiver = wire.Receiver(sock)
    settle: inner.Settle = decode(receiver.one().head, inner.TO_ZYGOTE_FIRST)
    try:
        zygote = Zygote(sock, receiver, settle)
        rings = trying.rings_inside(settle) if settle.caged else ()
    except Exception as error:  # noqa: BLE001 - the one who waits is told what is wrong, whatever it is
        code = error.args[0] if isinstance(error, trying.Elsewhere) else "view-failed"
        wire.send(sock, wire.Frame(encode(inner.Unsettled(str(code), f"{type(error).__name__}: {error}"))))
        os._exit(1)
    wire.send(sock, wire.Frame(encode(inner.Settled(rings))))
    zygote.serve()


class Zygote:
    """State of the resident process."""

    def __init__(self, sock: socket.socket, receiver: wire.Receiver, settle: inner.Settle) -> None:
        kernel.prctl(kernel.PR_SET_DUMPABLE, PRIVATE)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self._sock = sock
        self._receiver = receiver
        self._children: dict[int, Child] = {}
        self._by_socket: dict[int, Child] = {}
        self._idle: deque[Child] = deque()
        self._poll = select.poll()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        profile = settle.profile
        self._placeholders: Placeholders | None = None
        if settle.caged:
            trying.stand_in_the_right_places(settle)
            os.close(os.open(masks.EMPTY, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
            os.mkdir(masks.VOID, 0o555)
            root = kernel.open_without_links(profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
            self._placeholders = Placeholders(root, profile.protected)
        program = kernel.compiled(seccomp.command_filter(kernel.MACHINE))
        hidden = masks.matcher(profile.hidden)
        self._cage = call.Cage(settle, landlock.abi(), program, hidden, encode(SAMPLE))
        gc.collect()
        gc.freeze()
        gc.disable()

    def serve(self) -> NoReturn:
        """The loop. Ends the process when the other end is gone or talks nonsense."""
        self._poll.register(self._sock, select.POLLIN)
        while True:
            events = self._poll.poll(self._patience())
            for fd, _ in events:
                if fd == self._sock.fileno():
                    self._orders()
                elif fd in self._by_socket:
                    self._reported(self._by_socket[fd])
                elif fd in self._children:
                    self._died(self._children[fd])
            if not events:
                self._rest()

    def _patience(self) -> int | None:
        """Milliseconds until there is something to do although nobody asks."""
        if len(self._idle) < READY:
            return SOON_MS
        lingering = any(child.used for child in self._idle) and len(self._idle) == len(self._children)
        return LINGER_MS if lingering else None

    def _rest(self) -> None:
        if len(self._idle) < READY:
            self._idle.append(self._fork())
            return
        for child in [each for each in self._idle if each.used]:
            self._idle.remove(child)
            os.kill(child.pid, signal.SIGKILL)
        if self._placeholders is not None:
            self._placeholders.remove()

    def _orders(self) -> None:
        try:
            for frame in self._receiver.receive(socket.MSG_DONTWAIT):
                order = decode(frame.head, ORDERS)
                if isinstance(order, Run):
                    self._run(order, frame)
                else:
                    self._kill(order.id)
        except BlockingIOError:
            return
        except (wire.Closed, Malformed, OSError):
            self._end()

    def _end(self) -> NoReturn:
        """End every cage, leave nothing in the workspace, and end."""
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL if self._cage.settled.caged else signal.SIGTERM)
            child.sock.close()
        for child in self._children.values():
            os.waitpid(child.pid, 0)
        if self._placeholders is not None:
            self._placeholders.remove()
        os._exit(0)

    def _run(self, order: Run, frame: wire.Frame) -> None:
        child = self._idle.popleft() if self._idle else self._fork()
        child.id, child.used, child.asked_to_end = order.id, True, False
        try:
            if self._placeholders is not None:
                self._placeholders.ensure()
            wire.send(child.sock, frame)
        except OSError as error:
            self._finish(child, inner.Report(code="cage-failed", message=str(error)))
            os.kill(child.pid, signal.SIGKILL)
        for fd in frame.descriptors:
            os.close(fd)

    def _kill(self, number: int) -> None:
        """Ask a cage to end its command, so that it can tell what was used; at the second time end the cage."""
        for child in self._children.values():
            if child.id == number:
                hard = child.asked_to_end and self._cage.settled.caged
                child.asked_to_end = True
                os.kill(child.pid, signal.SIGKILL if hard else signal.SIGTERM)

    def _reported(self, child: Child) -> None:
        """A cage says how its command ended; it is empty."""
        try:
            for frame in child.reader.receive(socket.MSG_DONTWAIT):
                report: inner.Report = decode(frame.head, inner.FROM_CALL)
                if child.id:
                    self._finish(child, report)
                    if report.code != "cage-failed":
                        self._idle.append(child)
        except (BlockingIOError, OSError, Malformed):  # it is ending, which its descriptor tells
            self._poll.unregister(child.sock)
            del self._by_socket[child.sock.fileno()]

    def _finish(self, child: Child, report: inner.Report | None) -> None:
        number, child.id = child.id, 0
        wire.send(self._sock, wire.Frame(encode(inner.Finished(number, report))))

    def _died(self, child: Child) -> None:
        """A first process has ended, and with it its namespace."""
        os.waitpid(child.pid, 0)
        if child.sock.fileno() in self._by_socket:
            self._reported(child)
        if child.sock.fileno() in self._by_socket:
            self._poll.unregister(child.sock)
            del self._by_socket[child.sock.fileno()]
        self._poll.unregister(child.pidfd)
        del self._children[child.pidfd]
        if child in self._idle:
            self._idle.remove(child)
        if child.id:
            self._finish(child, None)
        child.reader.close()
        os.close(child.pidfd)

    def _fork(self) -> Child:
        """A cage in a process namespace of its own, waiting for its order."""
        ours, theirs = socket.socketpair()
        caged = self._cage.settled.caged
        if caged:
            kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._forget()
            if not caged:
                kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
            call.main(self._cage, theirs)
        if caged:
            kernel.setns(self._own_pids, kernel.CLONE_NEWPID)
        theirs.close()
        child = Child(pid, os.pidfd_open(pid), ours)
        self._children[child.pidfd] = child
        self._by_socket[ours.fileno()] = child
        self._poll.register(child.pidfd, select.POLLIN)
        self._poll.register(ours, select.POLLIN)
        return child

    def _forget(self) -> None:
        """In the child: what belongs to the zygote and to other cages."""
        self._sock.close()
        os.close(self._own_pids)
        for child in self._children.values():
            child.sock.close()
            os.close(child.pidfd)
