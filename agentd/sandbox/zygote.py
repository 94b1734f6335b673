"""The resident process of a view: forks a cage for each command, so that namespaces and interpreter are paid for once.

It stands in the view's namespaces with their rights, serves one socket, and runs no program itself. A spare cage waits for the
next command. When its socket closes it ends, and the view's process namespace with it.
"""

import gc
import os
import select
import signal
import socket
from dataclasses import dataclass, field
from typing import NoReturn

from agentd.sandbox import call, inner, kernel, landlock, masks, seccomp, trying, wire
from agentd.sandbox.codec import Malformed, decode, encode
from agentd.sandbox.program import Identity
from agentd.sandbox.protocol import Kill, Run

ORDERS: dict[str, type] = {"Run": Run, "Kill": Kill}
PRIVATE = 0


@dataclass(slots=True)
class Child:
    """A cage: its first process, the socket to it, and what it has reported so far."""

    pid: int
    pidfd: int
    sock: socket.socket
    id: int = 0
    report: inner.Report | None = None
    placeholders: tuple[str, ...] = ()
    reader: wire.Receiver = field(init=False)

    def __post_init__(self) -> None:
        self.reader = wire.Receiver(self.sock)


def main(control: int) -> NoReturn:
    """Settle, then serve until the socket closes."""
    sock = socket.socket(fileno=control)
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
        self._poll = select.poll()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        profile = settle.profile
        self._placeholders: masks.Placeholders | None = None
        if settle.caged:
            trying.stand_in_the_right_places(settle)
            os.close(os.open(masks.EMPTY, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o444))
            os.mkdir(masks.VOID, 0o555)
            root = kernel.open_without_links(profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
            self._placeholders = masks.Placeholders(root, profile.protected)
            self._placeholders.clear()
        self._known: dict[Identity, str] = {}
        program = kernel.compiled(seccomp.command_filter(kernel.MACHINE))
        self._cage = call.Cage(settle, landlock.abi(), program, masks.matcher(profile.hidden), self._known)
        self._spare: Child | None = None
        gc.collect()
        gc.freeze()
        gc.disable()

    def serve(self) -> NoReturn:
        """The loop. Ends the process when the other end is gone or talks nonsense."""
        self._poll.register(self._sock, select.POLLIN)
        while True:
            for fd, _ in self._poll.poll():
                if fd == self._sock.fileno():
                    self._orders()
                else:
                    self._look(fd)
            if self._spare is None:
                self._spare = self._fork()

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
            os._exit(0)

    def _run(self, order: Run, frame: wire.Frame) -> None:
        child, self._spare = self._spare or self._fork(), None
        child.id = order.id
        self._children[child.pidfd] = child
        self._poll.register(child.pidfd, select.POLLIN)
        try:
            if self._placeholders is not None:
                child.placeholders = self._placeholders.take()
            wire.send(child.sock, frame)
        except OSError as error:
            child.report = inner.Report(code="cage-failed", message=str(error))
            os.kill(child.pid, signal.SIGKILL)
        for fd in frame.descriptors:
            os.close(fd)

    def _kill(self, number: int) -> None:
        for child in self._children.values():
            if child.id == number:
                os.kill(child.pid, signal.SIGKILL if self._cage.settled.caged else signal.SIGTERM)

    def _look(self, fd: int) -> None:
        """A first process has ended, and with it its namespace."""
        child = self._children.pop(fd)
        self._poll.unregister(fd)
        os.waitpid(child.pid, 0)
        try:
            while child.report is None:
                frames = child.reader.receive(socket.MSG_DONTWAIT)
                child.report = decode(frames[0].head, inner.FROM_CALL) if frames else None
        except (BlockingIOError, OSError, Malformed):
            child.report = child.report
        child.reader.close()
        os.close(fd)
        if self._placeholders is not None:
            self._placeholders.release(child.placeholders)
        wire.send(self._sock, wire.Frame(encode(inner.Finished(child.id, child.report))))

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
        return Child(pid, os.pidfd_open(pid), ours)

    def _forget(self) -> None:
        """In the child: what belongs to the zygote and to other calls."""
        self._sock.close()
        os.close(self._own_pids)
        for child in self._children.values():
            child.sock.close()
            os.close(child.pidfd)
