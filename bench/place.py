"""The machine: which core does what, where the files lie, and what a process has used."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
CACHE = REPO / ".cache" / "bench"
"""On the disk of the checkout, since a ledger in memory would be no ledger."""

MAX_SOCKET_PATH = 107
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cores:
    """Where the gateways run, and where client and upstream do. The same set on a machine with one core."""

    gateway: frozenset[int]
    client: frozenset[int]


def cores() -> Cores:
    """The first core for the gateways, the second for the rest."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(usable[:1]), frozenset(usable[1:2] or usable[:1]))


@contextmanager
def on(wanted: frozenset[int]) -> Iterator[None]:
    """Run on these cores; what is started meanwhile stays there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_ns(pid: int) -> int:
    """Processor time that a process, its threads and its children have used."""
    used = sum(_first_number(task / "schedstat") for task in Path(f"/proc/{pid}/task").iterdir())
    return used + sum(cpu_ns(child) for child in _children(pid))


def resident_mb(pid: int) -> float:
    """Memory in MiB that a process and its children hold."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0.0
    return pages * PAGE / 2**20 + sum(resident_mb(child) for child in _children(pid))


def described() -> str:
    """The machine in one line."""
    name = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} cores, Linux {os.uname().release}, ledger on {_filesystem(CACHE)}"


def load() -> str:
    """How busy the machine is: the load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _filesystem(path: Path) -> str:
    """Type and device of the file system that holds a path."""
    best = ("", "?", "?")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        device, place, kind = line.split()[:3]
        if path.is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind, device)
    return f"{best[1]} ({best[2]})"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:  # the thread has ended, or this kernel lists no children
            continue
    return found


def _first_number(path: Path) -> int:
    try:
        return int(path.read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0
