"""What the kernel knows of one TCP connection of this machine: whose it is, and whether anybody still holds it.

Over TCP there is no `SO_PEERCRED`. When both ends are on this machine, though, the other end is a socket that the kernel has on
its books, and can be asked for by its addresses and ports: by `sock_diag` over netlink (one question, one answer, some 15
microseconds), or, where that family is not allowed, in the table `/proc/self/net/tcp` (one line for every socket, so some
milliseconds on a busy machine: a unit should allow AF_NETLINK).

An answer counts only if the addresses in it are exactly those asked for: for a connection that is gone the kernel may offer
a socket that listens on the same port, and that may be anybody's.
"""

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

NETLINK_SOCK_DIAG = 4  # <linux/netlink.h>
SOCK_DIAG_BY_FAMILY = 20  # <linux/sock_diag.h>
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
ALL_STATES = 0xFFFFFFFF
ANY_COOKIE = b"\xff" * 8  # INET_DIAG_NOCOOKIE
MAX_ANSWER = 8192  # bytes; one socket with the attributes that are always sent has about 130
MAX_TABLE = 8 << 20  # bytes of /proc/self/net/tcp: more than 50,000 sockets
TABLES = {socket.AF_INET: ("/proc/self/net/tcp", "/proc/self/net/tcp6"), socket.AF_INET6: ("/proc/self/net/tcp6",)}
"""Where a socket may stand. One that was made for IPv6 and connected to an IPv4 address is in the table of IPv6."""

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_REQUEST = struct.Struct("=BBBBI")  # inet_diag_req_v2 up to the id: family, protocol, extensions, padding, states
_PORTS = struct.Struct("!HH")
_STATE = struct.Struct("=BBBB")  # inet_diag_msg: family, state, timer, retransmissions
_OWNER = struct.Struct("=IIIII")  # after the id: expires, receive queue, send queue, uid, inode
_ID_BYTES = 48
_TABLE_FIELDS = 10  # of a line of /proc/net/tcp, up to the inode

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
End = tuple[Address, int]
"""One end of a connection: address and port."""


@dataclass(frozen=True, slots=True)
class Found:
    """A TCP socket. `inode` 0 is one that no process holds any more; its `uid` says nothing then."""

    state: int  # of <linux/tcp_states.h>
    uid: int
    inode: int


Lookup = Callable[[End, End], Found | None]
"""(this end, the other end) -> the socket of this end, or None."""


def by_netlink(near: End, far: End) -> Found | None:
    """Ask `sock_diag`. Raises `OSError` where netlink cannot be used."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(_question(near, far), (0, 0))
        answer, sender = kernel.recvfrom(MAX_ANSWER)  # the kernel answers within the call before
    if sender[0] != 0:
        raise OSError(errno.EPROTO, "an answer that is not the kernel's")
    return parse_answer(answer, near, far)


def by_table(near: End, far: End) -> Found | None:
    """Look into the kernel's table. Raises `OSError` when it cannot be read."""
    family = socket.AF_INET if near[0].version == 4 else socket.AF_INET6
    found = None
    for path in TABLES[family]:
        found = found or parse_table(_read(path), near, far)
    return found


def parse_answer(answer: bytes, near: End, far: End) -> Found | None:
    """The socket out of a netlink answer; None for an error, anything cut short, and any other socket."""
    start = _HEADER.size
    if len(answer) < start + _STATE.size + _ID_BYTES + _OWNER.size:
        return None
    if _HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:
        return None
    _, state, _, _ = _STATE.unpack_from(answer, start)
    family, identity = answer[start], answer[start + _STATE.size : start + _STATE.size + _ID_BYTES]
    ports = _PORTS.unpack_from(identity)
    addresses = (_address(family, identity[4:20]), _address(family, identity[20:36]))
    if (addresses[0], ports[0]) != near or (addresses[1], ports[1]) != far:
        return None
    *_, uid, inode = _OWNER.unpack_from(answer, start + _STATE.size + _ID_BYTES)
    return Found(state, uid, inode)


def parse_table(table: str, near: End, far: End) -> Found | None:
    """The socket out of the text of a table; lines that cannot be understood are nobody's."""
    ports = f":{near[1]:04X} ", f":{far[1]:04X} "
    for line in table.split("\n"):
        if ports[0] not in line or ports[1] not in line:  # nearly all lines: not worth taking apart
            continue
        fields = line.split()
        if len(fields) < _TABLE_FIELDS:
            continue
        try:
            if (_table_end(fields[1]), _table_end(fields[2])) == (near, far):
                return Found(int(fields[3], 16), int(fields[7]), int(fields[9]))
        except ValueError:
            continue
    return None


def _question(near: End, far: End) -> bytes:
    family = socket.AF_INET if near[0].version == 4 else socket.AF_INET6
    identity = _PORTS.pack(near[1], far[1]) + _padded(near[0]) + _padded(far[0]) + bytes(4) + ANY_COOKIE
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ALL_STATES) + identity
    return _HEADER.pack(_HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + request


def _padded(address: Address) -> bytes:
    return address.packed.ljust(16, b"\0")


def _address(family: int, packed: bytes) -> Address:
    """An address as it stands in an answer; IPv4 inside IPv6 is plain IPv4."""
    return ipaddress.IPv4Address(packed[:4]) if family == socket.AF_INET else plain(ipaddress.IPv6Address(packed))


def plain(address: Address) -> Address:
    """An address by its usual name: `::ffff:127.0.0.1` is `127.0.0.1`."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _table_end(text: str) -> End:
    """`0100007F:1F90`: the address as 32-bit words of this machine, the port in hex. Raises `ValueError`."""
    words, _, port = text.partition(":")
    numbers = [int(words[at : at + 8], 16) for at in range(0, len(words), 8)]
    packed = struct.pack(f"={len(numbers)}I", *numbers)
    address: Address = ipaddress.IPv4Address(packed) if len(packed) == 4 else plain(ipaddress.IPv6Address(packed))
    return address, int(port, 16)


def _read(path: str) -> str:
    """A table of the kernel, which is made while it is read: it may come in many pieces."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        pieces: list[bytes] = []
        size = 0
        while size < MAX_TABLE and (piece := os.read(descriptor, 1 << 16)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces).decode("ascii", "replace")
    finally:
        os.close(descriptor)
