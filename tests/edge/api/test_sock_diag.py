"""What the kernel says of a connection: the same by netlink and by its table, for every kind of end; and odd answers."""

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.edge.api import sock_diag
from agentd.edge.api.sock_diag import End, Found, Lookup, by_netlink, by_table, parse_answer, parse_table, plain

ESTABLISHED, FIN_WAIT = 1, (4, 5)
NEAR: End = (ipaddress.ip_address("127.0.0.1"), 40000)
FAR: End = (ipaddress.ip_address("127.0.0.1"), 8080)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
LINE = "   0: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 4711 1 0 20 4 30 10 -1\n"


@pytest.fixture(params=[by_netlink, by_table])
def lookup(request: pytest.FixtureRequest) -> Lookup:
    """Both ways to ask."""
    found: Lookup = request.param
    return found


@pytest.fixture(params=["127.0.0.1", "::1", "mapped"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and its accepted connection: IPv4, IPv6, and a client that reaches IPv4 by a socket of IPv6."""
    host = request.param
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.create_server(("127.0.0.1" if host == "mapped" else host, 0), family=family) as listening:
        port = listening.getsockname()[1]
        client = socket.socket(socket.AF_INET6 if host != "127.0.0.1" else socket.AF_INET)
        client.connect(("::ffff:127.0.0.1" if host == "mapped" else host, port))
        accepted, _ = listening.accept()
    yield client, accepted
    client.close()
    accepted.close()


def end(name: tuple[object, ...]) -> End:
    return plain(ipaddress.ip_address(str(name[0]))), int(str(name[1]))


def ends(accepted: socket.socket) -> tuple[End, End]:
    """(the client's, ours)."""
    return end(accepted.getpeername()), end(accepted.getsockname())


def test_a_connected_client_is_its_users(lookup: Lookup, pair: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = pair
    theirs, ours = ends(accepted)
    assert lookup(theirs, ours) == Found(ESTABLISHED, os.geteuid(), os.fstat(client.fileno()).st_ino)
    assert lookup(ours, theirs) == Found(ESTABLISHED, os.geteuid(), os.fstat(accepted.fileno()).st_ino)


def test_one_who_sends_no_more_still_holds_his_end(lookup: Lookup, pair: tuple[socket.socket, socket.socket]) -> None:
    client, accepted = pair
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    found = lookup(*ends(accepted))
    assert found is not None
    assert found.state in FIN_WAIT
    assert (found.uid, found.inode) == (os.geteuid(), os.fstat(client.fileno()).st_ino)


def test_an_end_that_nobody_holds_has_no_inode(lookup: Lookup, pair: tuple[socket.socket, socket.socket]) -> None:
    """Its uid would be a lie then: the kernel says 0 for some of these, which is root."""
    client, accepted = pair
    client.close()
    accepted.recv(1)
    found = lookup(*ends(accepted))
    assert found is None or found.inode == 0


def test_a_socket_that_listens_on_the_clients_port_is_not_the_client(lookup: Lookup) -> None:
    """For a connection that is not there, the kernel offers whoever listens on that port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = end(listening.getsockname())
        assert lookup(near, FAR) is None


def test_a_connection_that_never_was(lookup: Lookup) -> None:
    assert lookup((ipaddress.ip_address("127.9.9.9"), 1), FAR) is None
    assert lookup((ipaddress.ip_address("::1"), 1), (ipaddress.ip_address("::1"), 2)) is None


def test_a_refusal_of_the_kernel_is_nobody() -> None:
    error = struct.pack("=IHHIIi", 36, sock_diag.NLMSG_ERROR, 0, 1, 0, -2) + bytes(200)
    assert parse_answer(error, NEAR, FAR) is None


@given(st.binary(max_size=200))
def test_no_answer_makes_somebody_out_of_chance(answer: bytes) -> None:
    assert parse_answer(answer, NEAR, FAR) is None


def test_an_answer_about_another_connection_is_nobody() -> None:
    header = struct.pack("=IHHII", 124, sock_diag.SOCK_DIAG_BY_FAMILY, 0, 1, 0)

    def answer(near: End, far: End) -> bytes:
        ports = struct.pack("!HH", near[1], far[1])
        addresses = b"".join(one[0].packed.ljust(16, b"\0") for one in (near, far))
        return header + bytes([2, 1, 0, 0]) + ports + addresses + bytes(12) + struct.pack("=IIIII", 0, 0, 0, 1001, 4711)

    assert parse_answer(answer(NEAR, FAR), NEAR, FAR) == Found(1, 1001, 4711)
    assert parse_answer(answer(NEAR, FAR)[:-1], NEAR, FAR) is None
    for near, far in ((FAR, NEAR), (NEAR, (FAR[0], 8081)), ((ipaddress.ip_address("127.0.0.2"), 40000), FAR)):
        assert parse_answer(answer(near, far), NEAR, FAR) is None


def test_a_line_of_the_table() -> None:
    assert parse_table(HEAD + LINE, NEAR, FAR) == Found(1, 1001, 4711)


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace("0100007F:9C40", "0200007F:9C40"),
        LINE.replace("0100007F:1F90", "0100007F:1F91"),
        LINE.replace("1001", "root"),
        LINE.replace(" 01 ", " zz "),
        LINE[:60] + "\n",
        LINE.replace("0100007F:9C40", "0100007F7F:9C40"),
        LINE.replace("0100007F:9C40", ":9C40"),
        "\0\0\0\n",
        "",
    ],
)
def test_lines_that_are_another_ones_or_none(line: str) -> None:
    assert parse_table(HEAD + line, NEAR, FAR) is None
    assert parse_table(HEAD + line + LINE, NEAR, FAR) == Found(1, 1001, 4711)


@given(st.text(max_size=300))
def test_no_table_makes_somebody_out_of_chance(text: str) -> None:
    assert parse_table(text, NEAR, FAR) is None


def test_an_answer_that_did_not_come_from_the_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forged:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> "Forged":
            return self

        def __exit__(self, *_: object) -> None: ...
        def sendto(self, *_: object) -> None: ...
        def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
            return bytes(200), (4242, 0)

    monkeypatch.setattr(socket, "socket", Forged)
    with pytest.raises(OSError, match="not the kernel's"):
        by_netlink(NEAR, FAR)
