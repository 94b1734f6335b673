"""All processes of a call together, as its own /proc shows them: processor time and memory against the limits.

The kernel bounds each process (`rlimits`); only a cgroup bounds a tree. Where there is none, the first process looks four
times a second, which a tree can outrun for that long. Pages that several processes share are not counted.
"""

import os
import signal
from contextlib import suppress

from agentd.sandbox.protocol import Limits, Usage

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_USER_TIME = 11
"""Of /proc/PID/stat, counted after the name in brackets: user, system, and those of children that were waited for."""


def overuse(limits: Limits, ended: Usage) -> str:
    """`cpu` or `memory` where the tree uses more than it may, else empty. `ended`: what processes that have ended used."""
    ticks, pages = 0, 0
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1":
            one_ticks, one_pages = _used(name)
            ticks += one_ticks
            pages += one_pages
    if limits.cpu_s and ticks / _TICKS + ended.user_s + ended.system_s > limits.cpu_s:
        return "cpu"
    return "memory" if pages * _PAGE > limits.memory else ""


def _used(pid: str) -> tuple[int, int]:
    """Ticks and pages of its own of one process; nothing for one that has ended meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        with open(f"/proc/{pid}/statm", "rb") as file:
            sizes = file.read().split()
    except OSError:
        return 0, 0
    ticks = sum(int(value) for value in fields[_USER_TIME : _USER_TIME + 4])
    return ticks, max(0, int(sizes[1]) - int(sizes[2]))


def end_descendants() -> None:
    """End all that descends from this process, which must be their subreaper. For commands without a process namespace."""
    while True:
        alive = _descendants()
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while True:
                os.waitpid(-1, 0 if alive else os.WNOHANG)
                alive = set()
                if not _descendants():
                    break
        except ChildProcessError:
            return


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    found: set[int] = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found - {os.getpid()}
        found |= more
