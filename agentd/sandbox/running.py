"""A command under way, as the sandbox process sees it: its pipes, its clocks, what of its output goes out.

Time is the monotonic clock's. A command is ended by whichever clock is first; the end is announced only when the zygote
says that its namespace is empty, and then whatever lies in the pipes is read without waiting for their end, which a
descriptor that went astray could put off.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator

from agentd.sandbox import cgroup, wire
from agentd.sandbox.bounds import Bounds
from agentd.sandbox.inner import Report
from agentd.sandbox.protocol import Exited, Output, Run, Usage
from agentd.sandbox.unavailable import Unavailable

READ = 64 << 10
PIPE = 256 << 10
"""Larger pipes, fewer wake-ups: the usual ones hold 64 KiB."""
STREAMS = (1, 2)
GRACE_S = 2.0
"""A cage that was told to end its command and has not done so is ended itself; a zygote that does not do that is lost."""
MAX_KILLS = 2


def standard_input(frame: wire.Frame) -> int:
    """Standard input for a command: the pipe that was handed over, or what the body holds, in memory. Raises Unavailable: any
    other descriptor would be a way out of the cage."""
    if frame.descriptors:
        fd = frame.descriptors[0]
        reading = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        if not stat.S_ISFIFO(os.fstat(fd).st_mode) or not reading:
            raise Unavailable("bad-stdin", "standard input is the reading end of a pipe", "pass a pipe, or bytes")
        return os.dup(fd)
    if not frame.body:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    left = memoryview(frame.body)
    while left:
        left = left[os.write(fd, left) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


class Running:
    """One command from its order to its end."""

    def __init__(self, run: Run, group: cgroup.Group | None) -> None:
        self.run = run
        self.group = group
        self.killed_by = ""
        self.kill_sent_at: float | None = None
        self.kills = 0
        self._bounds = Bounds(run.limits.output_bytes)
        self._began = time.monotonic()
        self._heard = self._began
        self.pipes: dict[int, int] = {}

    def open_pipes(self) -> tuple[int, ...]:
        """The writable ends, for the command; ours stay in `pipes`."""
        ends = []
        for stream in STREAMS:
            readable, writable = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(readable, False)
            fcntl.fcntl(readable, fcntl.F_SETPIPE_SZ, PIPE)
            self.pipes[readable] = stream
            ends.append(writable)
        return tuple(ends)

    def read(self, fd: int) -> Iterator[tuple[Output, bytes]]:
        """Read a pipe once. Gives what may go out; a pipe at its end is closed and forgotten."""
        try:
            data = os.read(fd, READ)
        except BlockingIOError:
            return
        if not data:
            self._close(fd)
            return
        self._heard = time.monotonic()
        stream = self.pipes[fd]
        now = self._bounds.take(stream, data)
        if now:
            yield Output(self.run.id, stream), now

    def due(self, now: float) -> float:
        """Seconds until a clock runs out."""
        limits = self.run.limits
        if self.kill_sent_at is not None:
            return self.kill_sent_at + GRACE_S - now
        clocks = [self._began + limits.wall_s]
        if limits.idle_s:
            clocks.append(self._heard + limits.idle_s)
        return min(clocks) - now

    def run_out(self, now: float) -> str:
        """Which clock has run out; empty: none."""
        limits = self.run.limits
        if now >= self._began + limits.wall_s:
            return "wall"
        return "idle" if limits.idle_s and now >= self._heard + limits.idle_s else ""

    def rest(self) -> Iterator[tuple[Output, bytes]]:
        """What still lies in the pipes, and the ends of the streams. Closes everything."""
        for fd in list(self.pipes):
            for _ in range(PIPE // READ):  # more cannot lie there: whoever wrote is dead, or has no business here
                if fd in self.pipes:
                    yield from self.read(fd)
            self._close(fd)
        for stream in STREAMS:
            tail = self._bounds.end(stream)
            if tail.data:
                yield Output(self.run.id, stream, tail.skipped), tail.data

    def exited(self, report: Report | None, otherwise: str) -> Exited:
        """The last word. `otherwise`: who ended it, where neither clock nor report knows."""
        wall_s = time.monotonic() - self._began
        if report is None:
            killed_by, status, signal, usage, program, digest = self.killed_by or otherwise, -1, 9, Usage(), "", ""
        else:
            killed_by = self.killed_by or report.killed_by
            status, signal, usage = report.status, report.signal, report.usage
            program, digest = report.program, report.digest
        if self.group is not None and not self.killed_by and self.group.out_of_memory():
            killed_by = "memory"
        return Exited(self.run.id, status, signal, usage, killed_by, self._bounds.truncated, wall_s, program, digest)

    def _close(self, fd: int) -> None:
        if self.pipes.pop(fd, None) is not None:
            os.close(fd)
