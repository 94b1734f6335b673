"""What /proc says about one process: start time, effective user, systemd unit, executable.

Parsers are plain functions of text, so that tables of odd input can test them; `facts_of` reads. Everything that cannot be
read or understood is None: an absent fact matches no rule.

* **start time**: field 22 of `stat`. The second field, the command name, is chosen by the process and may hold spaces,
  parentheses and line breaks, so fields are counted from the *last* closing parenthesis.
* **unit**: the *outermost* service or scope below the slices, as systemd itself reads it. Whoever was given a cgroup of his own
  (`Delegate=yes`, every user's manager) may name the groups below it as he likes; an inner `openclaw.service` proves
  nothing. A unit of a user's own manager is therefore named together with that manager,
  `user@1000.service:openclaw.service`, which no other user can make and which no system unit is called.
* **executable**: only where agentd may look (same user, or root), and only of a process in agentd's own mount namespace: in
  another one, which any user may create, every path can be made to show any file. It tells programs apart; it does not
  fence them off, for a process may connect first and become another program then. Policy should rest on uid or unit.

Reads of procfs are served by the kernel from memory, some 100 microseconds in all, which is why they may happen in the event
loop: identity must be fixed before the first byte of a request is looked at.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PROC = "/proc"
MAX_READ = 65536  # bytes; `stat` and `status` have a few hundred, `cgroup` one line for each hierarchy
START_FIELD = 22  # of stat(5), counted from 1
FIRST_FIELD_AFTER_NAME = 3
DELETED = " (deleted)"  # what the kernel appends to the path of something that was removed
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(?:service|scope)")
_USER_MANAGER = re.compile(r"user@[0-9]+\.service")


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One reading of a process. Every field is None where it could not be had."""

    start_ticks: int | None = None  # since boot, in clock ticks
    euid: int | None = None
    unit: str | None = None
    exe: str | None = None


NOTHING = ProcessFacts()


def parse_start(stat: str) -> int | None:
    """The start time out of the text of `/proc/PID/stat`, in clock ticks since boot."""
    fields = stat[stat.rfind(")") + 1 :].split() if ")" in stat else []
    index = START_FIELD - FIRST_FIELD_AFTER_NAME
    if len(fields) <= index or not _is_number(fields[index]):
        return None
    return int(fields[index])


def parse_euid(status: str) -> int | None:
    """The effective user out of the text of `/proc/PID/status`. Its first line, the name, is escaped by the kernel."""
    for line in status.split("\n"):
        if line.startswith("Uid:"):
            ids = line.split()[1:]
            return int(ids[1]) if len(ids) == 4 and _is_number(ids[1]) else None
    return None


def parse_unit(cgroup: str) -> str | None:
    """The unit out of the text of `/proc/PID/cgroup`: from the unified hierarchy, else from systemd's own named one."""
    paths = {"": "", "name=systemd": ""}
    for line in cgroup.split("\n"):
        parts = line.split(":", 2)
        if len(parts) == 3 and parts[1] in paths:
            paths[parts[1]] = parts[2]
    return unit_of_path(paths[""]) or unit_of_path(paths["name=systemd"])


def unit_of_path(path: str) -> str | None:
    """The unit that a control group belongs to; None for a removed group, one outside of our view, or none of systemd's."""
    parts = path.split("/")[1:]
    if path.endswith(DELETED) or ".." in parts:
        return None
    outer, inner = _first_unit(parts)
    if outer is None or not _USER_MANAGER.fullmatch(outer):
        return outer
    own, _ = _first_unit(inner)
    return f"{outer}:{own}" if own else outer


@contextmanager
def pinned(pid: int, proc: str = PROC) -> Iterator[str | None]:
    """A path to the directory of one process, which keeps to that very process: once it is gone nothing can be read there, even
    if its pid was given to another one. None when there is no such process."""
    try:
        descriptor = os.open(f"{proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def facts_of(home: str) -> ProcessFacts:
    """Read one process from its `pinned` directory."""
    return ProcessFacts(
        start_ticks=parse_start(_read(f"{home}/stat")),
        euid=parse_euid(_read(f"{home}/status")),
        unit=parse_unit(_read(f"{home}/cgroup")),
        exe=_executable(home),
    )


def _first_unit(parts: list[str]) -> tuple[str | None, list[str]]:
    """The first part below the slices if it is a unit, and what lies below it."""
    for index, part in enumerate(parts):
        name = part.removeprefix("_")  # systemd puts it before names that the kernel could take for its own files
        if not name.endswith(".slice"):
            return (name if _UNIT.fullmatch(name) else None), parts[index + 1 :]
    return None, []


def _executable(home: str) -> str | None:
    """The path of the program, if it means the same file to agentd as to the process."""
    namespace = _link(f"{home}/ns/mnt")
    if namespace is None or namespace != _link(f"{PROC}/self/ns/mnt"):
        return None
    path = _link(f"{home}/exe")
    return path if path and path.startswith("/") and path.isprintable() and not path.endswith(DELETED) else None


def _link(path: str) -> str | None:
    """Where a link of procfs points, None when it may not be read. Bytes that are not UTF-8 come as unprintable characters."""
    try:
        return os.readlink(path)  # noqa: PTH115 - plain strings: building Path objects would cost as much as the reading
    except OSError:
        return None


def _read(path: str) -> str:
    """A file of procfs as text, empty when it cannot be read. Undecodable bytes become replacement characters."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, MAX_READ).decode("utf-8", "replace")
    except OSError:  # the process ended between open and read
        return ""
    finally:
        os.close(descriptor)


def _is_number(text: str) -> bool:
    """Whether a field is a plain decimal number that fits the kernel's 64 bits."""
    return text.isascii() and text.isdigit() and len(text) <= 20
