"""Who is at the other end of a connection, as the kernel says, fixed when it is accepted.

`SO_PEERCRED` gives the pid, uid and gid of the process that *connected*. If it hands the connected socket to another process, the
first one answers for what is said on it.

A pid is a number that is given away again, and the other facts are looked up by it, so they must be proven to belong to the
process that connected. They are read through one descriptor of its directory, which never shows another process, and:

* Linux 6.5 and later give a descriptor of the process itself (`SO_PEERPIDFD`). If that process is still there *after* the
  reading, then the number was its own all the while.
* Before that: the process must not have started later than the accept. What remains is a pid that was given away between
  connect and accept to a process of the same user; only another process of that user profits.

In both cases the process must still run as the user that connected. Any doubt leaves those facts None: never those of another
process. What is executed may change after this reading (see `procfs`).
"""

import errno
import os
import select
import socket
import struct
import time
from typing import Protocol

from agentd.core.types.callers import Door, Peer
from agentd.edge.api.procfs import NOTHING, PROC, ProcessFacts, facts_of, pinned

SO_PEERPIDFD = 77  # <asm-generic/socket.h>; Python's socket module has no name for it
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid
_DESCRIPTOR = struct.Struct("i")
NS_PER_S = 10**9


class PeerSocket(Protocol):
    """The part of a socket that is asked here; the transports of both event loops offer it."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """See socket(7)."""


def read_peer(sock: PeerSocket, door: Door, proc: str = PROC) -> Peer:
    """Identify the peer of an accepted Unix socket. Raises `OSError` when the kernel names none: then nothing may be served."""
    accepted = boot_ticks()
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    facts = _proven(sock, pid, accepted, proc)
    if facts.euid != uid:
        facts = NOTHING
    return Peer(door, uid, gid, pid, start_ticks=facts.start_ticks, unit=facts.unit, exe=facts.exe)


def boot_ticks() -> int:
    """The clock that start times are counted by, now: clock ticks since boot, suspended time included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") // NS_PER_S


def _proven(sock: PeerSocket, pid: int, accepted: int, proc: str) -> ProcessFacts:
    """The facts of the process that connected, or none."""
    if pid <= 0:
        return NOTHING  # a process of another pid namespace, which has no number in ours
    with pinned(pid, proc) as home:
        facts = facts_of(home) if home else NOTHING
    try:
        handle = _process_handle(sock)
    except OSError as error:
        if error.errno != errno.ENOPROTOOPT:
            return NOTHING  # the process is gone
        started = facts.start_ticks
        return facts if started is not None and started <= accepted else NOTHING
    try:
        return facts if _is_alive(handle) else NOTHING
    finally:
        os.close(handle)


def _process_handle(sock: PeerSocket) -> int:
    """A descriptor of the process that connected. Raises `OSError`: ENOPROTOOPT is an older kernel, else the process is gone."""
    (handle,) = _DESCRIPTOR.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD, _DESCRIPTOR.size))
    return int(handle)


def _is_alive(handle: int) -> bool:
    """Whether the process has not ended yet: its descriptor becomes readable when it does, before its pid is free again."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return not poll.poll(0)
