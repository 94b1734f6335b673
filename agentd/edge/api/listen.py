"""Sockets to serve on: bound here, or handed over by the service manager (`activation`).

A socket must never be reachable with the wrong rights, so it is bound, given its group and mode, and only then told to listen:
until then the kernel refuses every connect. The directory must not be writable by others, who could put something else in the
socket's place in between.

What stands in the way is looked at before it is removed: a socket that answers belongs to a daemon that runs; one that refuses
was left behind by a crash; anything else is not ours to delete. The directory is locked meanwhile, so that two daemons that start
together cannot both take a fresh socket for a stale one.

All of this happens once, at start, before there is an event loop to block.
"""

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentd.core.types.callers import Door
from agentd.core.types.errors import AgentdError
from agentd.edge.api.protocol import Names

MAX_PATH = 107  # bytes: sun_path of <linux/un.h> holds 108 with its end mark
BACKLOG = 512  # connections that the kernel holds while the daemon is busy
PROBE_SECONDS = 1.0  # the kernel accepts at once; it waits when a living daemon's backlog is full
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class ListenFailed(AgentdError):
    """A socket cannot be served on: what is in the way, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a door is to be opened, and for whom."""

    door: Door
    path: Path
    mode: int  # of the socket: 0o660 with a group, 0o600 in user mode
    group: str | None = None  # name of the group that may connect; None keeps the process' own
    directory_mode: int = 0o755  # of the directory, if it has to be made


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket. `bound` identifies the file that we made; None: it is somebody else's to remove. `names` tells who
    connects where that is no Unix socket."""

    door: Door
    sock: socket.socket
    path: Path | None
    bound: tuple[int, int, int] | None = None
    names: Names | None = None


def bind_door(place: Place) -> Listener:
    """Make the socket and listen on it, non-blocking. Raises `ListenFailed`."""
    length = len(os.fsencode(place.path))
    if length > MAX_PATH:
        hint = "Choose a shorter run directory, for example with --run /run/agentd."
        message = f"{place.path} has {length} bytes; the path of a socket has at most {MAX_PATH}."
        raise ListenFailed("listen.path_too_long", message, hint)
    gid = _group_id(place.group)
    try:
        _make_directory(place)
        with _directory_locked(place.path.parent):
            _clear(place.path)
            return _bind(place, gid)
    except OSError as error:
        hint = f"Check who owns {place.path.parent} and who may write there, or choose another place with --run."
        raise ListenFailed("listen.failed", f"{place.path} cannot be served on: {error.strerror}.", hint) from error


def release(listener: Listener) -> None:
    """Close a listening socket, and remove its file if we made it and it is still that one."""
    listener.sock.close()
    if listener.path is None or listener.bound is None:
        return
    with contextlib.suppress(OSError):  # gone already, or the directory is: nothing left to remove
        if _identity(listener.path) == listener.bound:
            listener.path.unlink()


def _bind(place: Place, gid: int) -> Listener:
    """Bind, restrict, listen: in this order."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind(str(place.path))
        _restrict(place, gid)
        sock.listen(BACKLOG)
        return Listener(place.door, sock, place.path, _identity(place.path))
    except BaseException:  # nothing may leak, whatever went wrong; it is raised again
        sock.close()
        raise


def _restrict(place: Place, gid: int) -> None:
    """Give the socket its group and mode."""
    try:
        os.chown(place.path, -1, gid, follow_symlinks=False)
    except PermissionError as error:
        place.path.unlink()
        hint = f"Run agentd as a member of it: sudo usermod --append --groups {place.group} USER"
        raise ListenFailed("listen.group", f"{place.path} cannot be given to group {place.group}.", hint) from error
    place.path.chmod(place.mode)


def _group_id(name: str | None) -> int:
    """The number of a group; -1 leaves the group as it is."""
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        hint = f"Make it: sudo groupadd --system {name}"
        raise ListenFailed("listen.no_group", f"There is no group {name}.", hint) from None


def _make_directory(place: Place) -> None:
    """Make the directory if it is missing; refuse one in which others could replace the socket."""
    directory = place.path.parent
    if not directory.exists():
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(place.directory_mode)  # mkdir's own mode is subject to the umask
    found = directory.stat()
    if found.st_mode & WRITABLE_BY_OTHERS or found.st_uid not in (0, os.geteuid()):
        hint = f"Make it so: chmod go-w {directory}; it must be owned by root or by the user that agentd runs as."
        message = f"Others may write in {directory}: they could put a socket of their own there."
        raise ListenFailed("listen.unsafe_directory", message, hint)


@contextlib.contextmanager
def _directory_locked(directory: Path) -> Iterator[None]:
    """Keep other daemons from looking and binding here at the same time. The lock ends with the descriptor."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        message = f"Another agentd is starting in {directory}."
        raise ListenFailed("listen.starting", message, "Wait for it, or stop it.") from error
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove a socket that a crash left behind; refuse to touch anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        hint = f"agentd does not delete it. Look what it is: ls -l {path}"
        raise ListenFailed("listen.not_a_socket", f"{path} is there and is no socket.", hint)
    if _is_served(path):
        hint = "Use that one (agentctl status), stop it first, or choose another place with --run."
        raise ListenFailed("listen.in_use", f"Another agentd is serving on {path}.", hint)
    path.unlink()


def _is_served(path: Path) -> bool:
    """Whether somebody listens there. Only a refusal proves that nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
        return True


def _identity(path: Path) -> tuple[int, int, int]:
    """Device, inode and change time: a file that took another's place may have its inode, but not its time too."""
    found = path.lstat()
    return found.st_dev, found.st_ino, found.st_ctime_ns
