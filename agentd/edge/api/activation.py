"""Sockets handed over by the service manager, sd_listen_fds(3): they stay open across a restart, so no client is refused.

Its unit must name each one, `FileDescriptorName=agent` or `operator`, since a door that was mistaken for the other would give
agents the operator's powers. A descriptor that is not a listening Unix socket, has another name, or has a name twice, is
refused: better no start than a wrong door.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import get_args

from agentd.core.types.callers import Door
from agentd.edge.api.listen import Listener, ListenFailed

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START: after standard input, output and error
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
HINT = "Each door needs a socket unit of its own: ListenStream= with an absolute path, FileDescriptorName=agent or =operator."


def activated(environ: MutableMapping[str, str], pid: int, first: int = FIRST_DESCRIPTOR) -> tuple[Listener, ...]:
    """The sockets that were handed to process `pid`, or none. Their variables are removed, for they are not for our children.

    Raises `ListenFailed` when they are not what they must be.
    """
    values = {name: environ.pop(name, "") for name in VARIABLES}
    if values["LISTEN_PID"] != str(pid):
        return ()  # meant for another process
    count = values["LISTEN_FDS"]
    if not count.isascii() or not count.isdigit():
        raise _refused(f"LISTEN_FDS is {count!r}, which is no number.")
    names = values["LISTEN_FDNAMES"].split(":") if values["LISTEN_FDNAMES"] else []
    if len(names) != int(count) or len(set(names)) != len(names):
        raise _refused(f"{count} sockets were handed over under the names {names}.")
    return tuple(_take(first + index, name) for index, name in enumerate(names))


def _take(descriptor: int, name: str) -> Listener:
    """One descriptor as a listener, once it proved to be a listening Unix socket with the name of a door."""
    door = next((door for door in get_args(Door) if door == name), None)
    if door is None:
        raise _refused(f"A socket was handed over under the name {name!r}.")
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _refused(f"Descriptor {descriptor} ({name}) is no socket: {error.strerror}.") from error
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listening:
        raise _refused(f"Descriptor {descriptor} ({name}) is no listening Unix stream socket.")
    sock.setblocking(False)
    path = sock.getsockname()
    return Listener(door, sock, Path(path) if isinstance(path, str) and path else None)


def _refused(message: str) -> ListenFailed:
    """What is wrong with the sockets that we were handed, with how a unit must be written."""
    return ListenFailed("listen.activation", message, HINT)
