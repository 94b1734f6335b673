"""The agents' door over loopback TCP, for clients that cannot speak to a Unix socket.

Who asks is told by two things that must agree. The kernel says which user owns the client's socket; the request brings a local
token, which says which agent it would be. A token in the hands of another user is worth nothing, and so is the right user
without a token. Everything after that is the same way as over the Unix socket.

* **The owner** is the user that *made* the socket, asked for when the connection is accepted, while both ends were seen alive:
  first the client's end, held by some process, then our own end, still connected. As long as ours lives, no other socket can be
  the other end of it, and a connection changes hands only together with its descriptor. So the answer holds for all requests
  on it. A process that gives its connection away answers for what is said on it, as over a Unix socket.
* **Loopback alone**: nothing else is bound to, nobody else is served.
* **Browsers** can reach loopback, on behalf of any web page. A page has no token; and a page whose name was made to point here
  shows in the Host header, which must be one that no stranger can give a meaning to. No answer has a CORS header.
"""

import ipaddress
import os
import re
import socket
from typing import Protocol

from aiohttp import web

from agentd.core.types.callers import Door, Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.tokens import Presented
from agentd.edge.api.listen import BACKLOG, Listener, ListenFailed
from agentd.edge.api.protocol import IDENTIFIED, PeerGone, connection_of
from agentd.edge.api.sock_diag import End, Found, Lookup, by_netlink, by_table, plain
from agentd.gate.ports import Answer
from agentd.gate.ports_tokens import TokenGate

ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT = 1, 4, 5, 8  # <linux/tcp_states.h>
CLIENT_STATES = frozenset({ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2})
"""Of a client's end: connected, or done with sending and waiting for its answer."""

OWN_STATES = frozenset({ESTABLISHED, CLOSE_WAIT})
"""Of our end, to the same two."""

HOSTS = frozenset({"localhost", "agentd.invalid"})
"""Names in a Host header, beside loopback addresses: no resolver gives either to a stranger."""

OPEN_PATHS = frozenset({"/", "/healthz"})
"""What is told without a token: that agentd is there. Clients look before they call."""

MAX_PORT = 65535
PROOF_SECONDS = 5.0  # for a connection to ourselves; it takes less than a millisecond
_PLACE = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):([0-9]{1,5})")
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:\[\]]+))(?::[0-9]{1,5})?")


class TcpSocket(Protocol):
    """The part of a socket that is asked here; the transports of both event loops offer it."""

    def getsockname(self) -> object:
        """See socket(7)."""

    def getpeername(self) -> object:
        """See socket(7)."""

    def fileno(self) -> int:
        """See socket(7)."""


def bind_tcp(place: str) -> Listener:
    """Listen on `127.0.0.1:PORT` or `[::1]:PORT`; port 0 takes a free one. Raises `ListenFailed`. Not for the event loop."""
    address, port = _place(place)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # or a restart would wait for old connections to time out
        sock.bind((str(address), port))
        sock.listen(BACKLOG)
        return Listener("agent", sock, None, names=TcpNames(choose_lookup()))
    except ListenFailed:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        hint = "Choose another port, or see who has it: ss -ltnp"
        raise ListenFailed("listen.failed", f"{place} cannot be served on: {error.strerror}.", hint) from error


def take_tcp(sock: socket.socket) -> Listener:
    """Serve on a TCP socket that somebody else bound and listens on. Raises `ListenFailed` where others than this machine's
    programs could reach it."""
    address, port = _end(sock.getsockname())
    if not address.is_loopback:
        raise _not_loopback(f"{address}:{port}")
    return Listener("agent", sock, None, names=TcpNames(choose_lookup()))


def is_at(listener: Listener, place: str) -> bool:
    """Whether a TCP listener is where `--tcp` says. Raises `ListenFailed` when that is no place."""
    return _end(listener.sock.getsockname()) == _place(place)


def address_of(listener: Listener) -> str:
    """Where a TCP listener is, as clients write it: `127.0.0.1:8710`, `[::1]:8710`."""
    address, port = _end(listener.sock.getsockname())
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


class TcpNames:
    """Names the peers of TCP connections. Fulfils `protocol.Names`."""

    def __init__(self, lookup: Lookup) -> None:
        """`lookup`: see `choose_lookup`."""
        self._lookup = lookup

    def peer(self, sock: TcpSocket, door: Door) -> Peer:
        """Who owns the other end. Raises `PeerGone` when nobody does any more, `OSError` when the kernel does not say."""
        near, far = _end(sock.getsockname()), _end(sock.getpeername())
        if not (near[0].is_loopback and far[0].is_loopback):
            raise OSError(f"a connection from {far[0]}, which is not this machine's loopback")
        theirs = self._lookup(far, near)
        if not _is_held(theirs) or theirs is None:
            raise PeerGone("the client has gone already")
        ours = self._lookup(near, far)  # after theirs: see the head of this file
        if ours is None or ours.state not in OWN_STATES or ours.inode != os.fstat(sock.fileno()).st_ino:
            raise PeerGone("the connection has ended already, or is not of this network namespace")
        return Peer(door, theirs.uid, transport="tcp")

    def is_gone(self, sock: TcpSocket) -> bool:
        """Whether nobody holds the other end any more. A client that only sends no more still does."""
        try:
            near, far = _end(sock.getsockname()), _end(sock.getpeername())
            return not _is_held(self._lookup(far, near))
        except OSError:  # no longer connected, or nobody can say
            return True


def choose_lookup() -> Lookup:
    """The quickest way to ask the kernel that works here, tried on a connection to ourselves. Raises `ListenFailed`: without
    one nobody could be told from anybody."""
    for lookup in (by_netlink, by_table):
        try:
            if _names_ourselves(lookup):
                return lookup
        except OSError:
            continue
    hint = "Allow agentd AF_NETLINK or /proc/self/net/tcp, or leave --tcp out and use the Unix socket."
    raise ListenFailed("listen.no_owner", "The kernel does not tell who owns a TCP connection here.", hint)


class TcpDoor:
    """Admits requests that came by TCP. Fulfils `models.Admission`."""

    def __init__(self, gate: TokenGate) -> None:
        """`gate` judges tokens and records what it refuses."""
        self._gate = gate

    async def __call__(self, request: web.Request, dialect: Dialect) -> Answer | None:
        """None for a request that may go on, now with its agent; else the refusal."""
        peer = connection_of(request).peer
        fault = browser_fault(request)
        if fault is not None:
            return await self._gate.turn_away(peer, dialect, "request.bad_host", fault)
        if request.path in OPEN_PATHS:
            return None
        admitted = await self._gate.admit(peer, dialect, presented_by(request))
        if isinstance(admitted, Answer):
            return admitted
        request[IDENTIFIED] = admitted
        return None


def presented_by(request: web.BaseRequest) -> Presented:
    """The tokens of a request: `Authorization: Bearer` and `x-api-key`, whichever its client sends."""
    values = [value.strip() for value in request.headers.getall("x-api-key", [])]
    for header in request.headers.getall("Authorization", []):
        scheme, _, value = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            values.append(value.strip())
    return Presented(tuple(dict.fromkeys(value for value in values if value)))


def browser_fault(request: web.BaseRequest) -> str | None:
    """What shows that a request could be a web page's; None when nothing does."""
    if request.method == "OPTIONS":
        return "agentd answers no preflight requests: it serves programs on this machine, no web pages"
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not _is_own_host(hosts[0]):
        return "the Host header must name this machine's loopback, for example 127.0.0.1 or localhost"
    return None


def _is_own_host(text: str) -> bool:
    found = _HOST.fullmatch(text.strip())
    if found is None:
        return False
    name = (found[1] or found[2]).lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name in HOSTS


def _place(text: str) -> End:
    """The address and port of `--tcp`. Raises `ListenFailed`."""
    found = _PLACE.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address(found[1] or found[2]) if found else None
    except ValueError:
        address = None
    if found is None or address is None or int(found[3]) > MAX_PORT:
        message = f"{text!r} is no address and port to listen on."
        raise ListenFailed("listen.not_an_address", message, "Write it as 127.0.0.1:8710 or [::1]:8710.")
    if not address.is_loopback:
        raise _not_loopback(str(address))
    return address, int(found[3])


def _not_loopback(where: str) -> ListenFailed:
    message = f"{where} is not loopback: agentd serves agents of this machine alone."
    return ListenFailed("listen.not_loopback", message, "Use 127.0.0.1:PORT or [::1]:PORT.")


def _end(name: object) -> End:
    """An end out of what getsockname and getpeername give. Raises `OSError` for anything that is no IP socket's."""
    if not isinstance(name, tuple) or len(name) < 2:
        raise OSError("no TCP connection")
    return plain(ipaddress.ip_address(str(name[0]).partition("%")[0])), int(name[1])


def _is_held(found: Found | None) -> bool:
    return found is not None and found.inode != 0 and found.state in CLIENT_STATES


def _names_ourselves(lookup: Lookup) -> bool:
    """Whether a lookup says of our own connection that it is ours. Raises `OSError` when it cannot be used."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PROOF_SECONDS)
        with socket.create_connection(listening.getsockname(), PROOF_SECONDS) as client:
            accepted, peer = listening.accept()
            with accepted:
                ours = peer == client.getsockname()
                return ours and TcpNames(lookup).peer(accepted, "agent").uid == os.geteuid()
