"""Sockets handed over by the service manager, sd_listen_fds(3): they stay open across a restart, so no client is refused.

Its unit must name each one, `FileDescriptorName=agent`, `operator` or `tcp`, since a door that was mistaken for another would
give agents the operator's powers, or let in by TCP whom nobody identified. A descriptor that is not a listening Unix socket (for
`tcp`: a listening TCP socket on loopback), has another name, or has a name twice, is refused: better no start than a wrong door.
"""

import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import get_args

from agentd.core.types.callers import Door
from agentd.edge.api.listen import Listener, ListenFailed
from agentd.edge.api.tcp import take_tcp

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START: after standard input, output and error
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
TCP = "tcp"  # the agents' door as well, by another way in
HINT = (
    "Each door needs a socket unit of its own: ListenStream= with an absolute path and FileDescriptorName=agent or =operator, "
    "or with 127.0.0.1:PORT and FileDescriptorName=tcp."
)


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
    """One descriptor as a listener, once it proved to be a listening socket of the kind that its name says."""
    door = next((door for door in get_args(Door) if door == name), None)
    if door is None and name != TCP:
        raise _refused(f"A socket was handed over under the name {name!r}.")
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _refused(f"Descriptor {descriptor} ({name}) is no socket: {error.strerror}.") from error
    if door is None:
        return _take_tcp(sock, listening=bool(listening))
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listening:
        raise _refused(f"Descriptor {descriptor} ({name}) is no listening Unix stream socket.")
    sock.setblocking(False)
    path = sock.getsockname()
    return Listener(door, sock, Path(path) if isinstance(path, str) and path else None)


def _take_tcp(sock: socket.socket, *, listening: bool) -> Listener:
    """The agents' door over TCP. Whether it is on loopback alone is for `take_tcp` to say."""
    inet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not (inet and sock.proto == socket.IPPROTO_TCP and listening):
        raise _refused(f"Descriptor {sock.fileno()} ({TCP}) is no listening TCP socket.")
    sock.setblocking(False)
    return take_tcp(sock)


def _refused(message: str) -> ListenFailed:
    """What is wrong with the sockets that we were handed, with how a unit must be written."""
    return ListenFailed("listen.activation", message, HINT)
