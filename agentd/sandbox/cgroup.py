"""Control groups: bounds for a command's whole tree, where the machine hands a group over. Version 2, or single
hierarchies of version 1.

Only what was handed over is used (`--cgroup`): a process may be able to write in groups that are not its own, as root can,
and must not. A group is made for each command and removed after it; that it is empty is the second proof that nothing is
left, after the process namespace.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.sandbox.protocol import Limits

CONTROLLERS = ("memory", "pids", "cpu")
CPU_PERIOD_US = 100_000
EMPTY_WITHIN_S = 2.0
"""After its namespace is gone a group is empty; the kernel may need moments to say so."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A directory that was handed over, and what it controls."""

    path: Path
    unified: bool
    controllers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of one command, one in each hierarchy."""

    paths: tuple[Path, ...]

    def joiners(self) -> tuple[int, ...]:
        """Open files through which a process joins by writing `0`."""
        return tuple(os.open(path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC) for path in self.paths)

    def out_of_memory(self) -> bool:
        """Whether the kernel ended something in it for want of memory."""
        files = [path / name for path in self.paths for name in ("memory.events", "memory.oom_control")]
        return any(_count(file, "oom_kill") for file in files)

    def remove(self) -> bool:
        """End what is left and remove them. False: something is still there."""
        deadline = time.monotonic() + EMPTY_WITHIN_S
        removed = [_remove(path, deadline) for path in self.paths]
        return all(removed)


def handed_over(directories: Sequence[str]) -> tuple[Hierarchy, ...]:
    """What these directories control; `auto` is this process' own group under a service manager that delegates it."""
    return tuple(_hierarchy(own_group() if name == "auto" else Path(name)) for name in directories)


def own_group() -> Path:
    """This process' group of version 2, left for a child of it: a group that hands out controllers may hold no process."""
    line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    group = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
    main = group / "main"
    main.mkdir(exist_ok=True)
    (main / "cgroup.procs").write_text("0")
    return group


def make(hierarchies: Sequence[Hierarchy], name: str, limits: Limits) -> Group:
    """Groups for a command. Raises OSError, having removed what it made."""
    made: list[Path] = []
    try:
        for hierarchy in hierarchies:
            path = hierarchy.path / name
            path.mkdir()
            made.append(path)
            for file, value in _settings(hierarchy, limits):
                if (path / file).exists():
                    (path / file).write_text(value)
    except OSError:
        Group(tuple(made)).remove()
        raise
    return Group(tuple(made))


def _hierarchy(path: Path) -> Hierarchy:
    unified = (path / "cgroup.controllers").exists()
    if unified:
        there = (path / "cgroup.controllers").read_text().split()
        wanted = tuple(name for name in CONTROLLERS if name in there)
        (path / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
        return Hierarchy(path, True, wanted)
    files = {"memory": "memory.limit_in_bytes", "pids": "cgroup.procs", "cpu": "cpu.shares"}
    if not (path / "cgroup.procs").exists():
        raise OSError(f"{path} is no cgroup")
    there_v1 = tuple(
        name for name in CONTROLLERS if (path / files[name]).exists() and (name != "pids" or _is_pids(path))
    )
    return Hierarchy(path, False, there_v1)


def _is_pids(path: Path) -> bool:
    return (path / "pids.current").exists() or "pids" in path.parts


def _settings(hierarchy: Hierarchy, limits: Limits) -> list[tuple[str, str]]:
    tasks = str(limits.tasks)
    quota = str(int(limits.cpus * CPU_PERIOD_US))
    settings = [("pids.max", tasks)]
    if hierarchy.unified:
        settings += [("memory.max", str(limits.memory)), ("memory.swap.max", "0"), ("memory.oom.group", "0")]
        return settings + ([("cpu.max", f"{quota} {CPU_PERIOD_US}")] if limits.cpus else [])
    settings += [("memory.limit_in_bytes", str(limits.memory))]
    return settings + ([("cpu.cfs_quota_us", quota)] if limits.cpus else [])


def _remove(path: Path, deadline: float) -> bool:
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            kill = path / "cgroup.kill"
            if kill.exists():
                kill.write_text("1")
            time.sleep(0.001)
        else:
            return True


def _count(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[:1] == [name]), 0)
