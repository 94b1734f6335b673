"""The door over TCP: real connections of real users; browsers, strangers' addresses, and clients that leave."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.tokens import Presented
from agentd.edge.api import protocol, tcp
from agentd.edge.api.listen import ListenFailed
from agentd.edge.api.models import agent_app
from agentd.edge.api.protocol import PeerGone
from agentd.edge.api.server import DoorServer
from agentd.edge.api.sock_diag import End, Found, Lookup, by_netlink, by_table
from agentd.edge.api.tcp import TcpDoor, TcpNames, address_of, bind_tcp, browser_fault, choose_lookup, presented_by
from agentd.gate.ports import Answer
from edge.api.door import LOOPS, Client, Gate, Reply, get, play, post

NOBODY = 65534
TOKEN = "agentd-" + "t" * 43
BEARER = f"Authorization: Bearer {TOKEN}\r\n"


@dataclass
class Tokens:
    """Fulfils `TokenGate`: whoever shows `TOKEN` is agent main."""

    peers: list[Peer] = field(default_factory=list)
    away: list[str] = field(default_factory=list)

    async def admit(self, peer: Peer, dialect: Dialect, presented: Presented) -> Peer | Answer:
        self.peers.append(peer)
        if presented.values == (TOKEN,):
            return replace(peer, token="t-1", token_agent="main")
        return Answer(401, (("Content-Type", "application/json"),), b'{"error":{"type":"x"}}')

    async def turn_away(self, peer: Peer, dialect: Dialect, code: str, message: str) -> Answer:
        self.away.append(code)
        return Answer(400, (("Content-Type", "application/json"),), b"{}")


@dataclass
class Door:
    """What a test holds."""

    gate: Gate
    tokens: Tokens
    server: DoorServer
    host: str
    port: int

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection(self.host, self.port))

    async def ask(self, data: bytes) -> Reply:
        client = await self.connect()
        client.send(data.replace(b"Host: agentd\r\n", b"Host: 127.0.0.1:8710\r\n"))
        reply = await client.reply()
        client.close()
        return Reply(reply.status, reply.headers, reply.body)


@asynccontextmanager
async def opened(place: str = "127.0.0.1:0", gate: Gate | None = None) -> AsyncIterator[Door]:
    """A door that serves; closed in its stages afterwards."""
    gate, tokens = gate or Gate(), Tokens()
    listener = await asyncio.to_thread(bind_tcp, place)
    host, port = listener.sock.getsockname()[:2]
    async with asyncio.TaskGroup() as tasks:
        server = DoorServer(tasks)
        await server.start(listener.sock, agent_app(gate, TcpDoor(tokens)), "agent", listener.names)
        try:
            yield Door(gate, tokens, server, host, port)
        finally:
            server.stop_accepting()
            await server.cut()
            listener.sock.close()


@pytest.fixture(params=[by_netlink, by_table])
def names(request: pytest.FixtureRequest) -> TcpNames:
    """Named by each of the kernel's two ways."""
    return TcpNames(request.param)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(20)
        yield sock


def client(listening: socket.socket, code: str, uid: int | None = None) -> Any:
    """A program of a user that has connected, as `s`, before it does what `code` says."""
    imports = "import os, socket, sys, encodings.idna\n"  # before it becomes somebody who may not read them
    become = f"os.setgid({uid})\nos.setuid({uid})\n" if uid is not None else ""
    connect = f"s = socket.create_connection({listening.getsockname()!r})\n"
    command = [sys.executable, "-c", imports + become + connect + code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/")


def end(process: Any) -> None:
    process.communicate()


# -- who owns the other end ------------------------------------------------------------------------


def test_a_client_is_its_user_and_no_more_is_known_of_it(names: TcpNames, listening: socket.socket) -> None:
    process = client(listening, "sys.stdin.read()")
    accepted, _ = listening.accept()
    assert names.peer(accepted, "agent") == Peer("agent", os.geteuid(), transport="tcp")
    assert not names.is_gone(accepted)
    end(process)
    accepted.close()


@pytest.mark.root
def test_another_users_client_is_that_users(names: TcpNames, listening: socket.socket) -> None:
    process = client(listening, "sys.stdin.read()", NOBODY)
    accepted, _ = listening.accept()
    assert names.peer(accepted, "agent").uid == NOBODY
    end(process)
    accepted.close()


@pytest.mark.root
def test_a_socket_stays_the_users_that_made_it(names: TcpNames, listening: socket.socket) -> None:
    """A process that changes its user afterwards, or gives the socket away, answers for what it connected as."""
    process = client(listening, f"os.setgid({NOBODY})\nos.setuid({NOBODY})\nprint('now', flush=True)\nsys.stdin.read()")
    assert process.stdout.readline() == b"now\n"
    accepted, _ = listening.accept()
    assert names.peer(accepted, "agent").uid == 0
    end(process)
    accepted.close()


@pytest.mark.root
def test_a_client_that_left_is_nobody_although_the_kernel_shows_a_uid(
    names: TcpNames, listening: socket.socket
) -> None:
    """It sent its request and closed: what is left of its socket belongs to nobody, least of all to root."""
    process = client(listening, "s.sendall(b'GET / HTTP/1.1')", NOBODY)
    end(process)
    accepted, _ = listening.accept()
    with pytest.raises(PeerGone):
        names.peer(accepted, "agent")
    assert names.is_gone(accepted)
    accepted.close()


def test_one_who_only_sends_no_more_is_there(names: TcpNames, listening: socket.socket) -> None:
    process = client(listening, "s.shutdown(socket.SHUT_WR)\nprint('shut', flush=True)\nsys.stdin.read()")
    assert process.stdout.readline() == b"shut\n"
    accepted, _ = listening.accept()
    assert names.peer(accepted, "agent").uid == os.geteuid()
    assert not names.is_gone(accepted)
    end(process)
    assert names.is_gone(accepted)
    accepted.close()


def test_a_stopped_client_is_there(names: TcpNames, listening: socket.socket) -> None:
    process = client(listening, "print('up', flush=True)\nsys.stdin.read()")
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    accepted, _ = listening.accept()
    assert names.peer(accepted, "agent").uid == os.geteuid()
    process.send_signal(signal.SIGCONT)
    end(process)
    accepted.close()


class Socket:
    """A connection between two ends that exists nowhere else."""

    def __init__(self, near: tuple[Any, ...], far: tuple[Any, ...], fileno: int = 0) -> None:
        self._near, self._far, self._fileno = near, far, fileno

    def getsockname(self) -> tuple[Any, ...]:
        return self._near

    def getpeername(self) -> tuple[Any, ...]:
        if not self._far:
            raise OSError(107, "Transport endpoint is not connected")
        return self._far

    def fileno(self) -> int:
        return self._fileno


HERE = ("127.0.0.1", 8710)


def told(theirs: Found | None, ours: Found | None) -> Lookup:
    """A kernel that says this."""
    return lambda near, _far: ours if near[1] == HERE[1] else theirs


INODE = os.stat(0).st_ino
OURS = Found(1, 0, INODE)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (None, OURS),
        (Found(1, 1001, 0), OURS),  # nobody holds it
        (Found(10, 1001, 7), OURS),  # listens
        (Found(2, 1001, 7), OURS),  # is about to connect: a later one with the same port
        (Found(6, 0, 0), OURS),  # is over
        (Found(1, 1001, 7), None),
        (Found(1, 1001, 7), Found(1, 0, INODE + 1)),  # our end is another socket: another network namespace
        (Found(1, 1001, 7), Found(7, 0, INODE)),  # our end is closed: a later connection may have the same ends
    ],
)
def test_any_doubt_names_nobody(theirs: Found | None, ours: Found | None) -> None:
    with pytest.raises(PeerGone):
        TcpNames(told(theirs, ours)).peer(Socket(HERE, ("127.0.0.1", 4000)), "agent")


def test_both_ends_seen_alive_name_the_user() -> None:
    found = TcpNames(told(Found(1, 1001, 7), OURS)).peer(Socket(HERE, ("127.0.0.1", 4000)), "agent")
    assert found == Peer("agent", 1001, transport="tcp")


@pytest.mark.parametrize(("near", "far"), [(HERE, ("192.168.1.7", 4000)), (("192.168.1.7", 8710), ("127.0.0.1", 1))])
def test_other_machines_are_not_served(near: tuple[str, int], far: tuple[str, int]) -> None:
    with pytest.raises(OSError, match="loopback"):
        TcpNames(told(Found(1, 1001, 7), OURS)).peer(Socket(near, far), "agent")


def test_a_connection_that_is_no_more_is_gone() -> None:
    names = TcpNames(told(Found(1, 1001, 7), OURS))
    assert names.is_gone(Socket(HERE, ()))
    with pytest.raises(OSError, match="not connected"):
        names.peer(Socket(HERE, ()), "agent")
    assert names.is_gone(Socket(("/run/x",)[0], ("127.0.0.1", 1)))  # type: ignore[arg-type]


# -- where it listens ------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"])
def test_loopback_is_bound_to(place: str) -> None:
    listener = bind_tcp(place)
    assert address_of(listener).startswith(place.rpartition(":")[0])
    assert not address_of(listener).endswith(":0")
    listener.sock.close()


@pytest.mark.parametrize(
    "place", ["0.0.0.0:8710", "[::]:8710", "192.168.1.7:80", "[fe80::1]:80", "8.8.8.8:53", "[::ffff:8.8.8.8]:1"]
)
def test_anything_else_is_not(place: str) -> None:
    with pytest.raises(ListenFailed) as refused:
        bind_tcp(place)
    assert refused.value.code == "listen.not_loopback"


@pytest.mark.parametrize(
    "place", ["", "8710", "localhost:8710", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "::1:80", "127.1:80"]
)
def test_what_is_no_address(place: str) -> None:
    with pytest.raises(ListenFailed) as refused:
        bind_tcp(place)
    assert refused.value.code == "listen.not_an_address"


def test_a_port_that_is_taken_is_said() -> None:
    first = bind_tcp("127.0.0.1:0")
    with pytest.raises(ListenFailed, match="cannot be served on") as refused:
        bind_tcp(address_of(first))
    assert refused.value.code == "listen.failed"
    first.sock.close()


def test_the_quickest_way_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_near: End, _far: End) -> Found | None:
        raise OSError(97, "Address family not supported")

    assert choose_lookup() is by_netlink
    monkeypatch.setattr(tcp, "by_netlink", forbidden)
    assert choose_lookup() is by_table
    monkeypatch.setattr(tcp, "by_table", lambda _near, _far: None)
    with pytest.raises(ListenFailed) as refused:
        bind_tcp("127.0.0.1:0")
    assert refused.value.code == "listen.no_owner"


# -- what a request shows --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ([], ()),
        ([("Authorization", f"Bearer {TOKEN}")], (TOKEN,)),
        ([("authorization", f"bearer  {TOKEN} ")], (TOKEN,)),
        ([("x-api-key", TOKEN)], (TOKEN,)),
        ([("x-api-key", TOKEN), ("Authorization", f"Bearer {TOKEN}")], (TOKEN,)),
        ([("x-api-key", "one"), ("Authorization", "Bearer two")], ("one", "two")),
        ([("Authorization", "Bearer one"), ("Authorization", "Bearer two")], ("one", "two")),
        ([("x-api-key", ""), ("Authorization", f"Bearer {TOKEN}")], (TOKEN,)),
        ([("Authorization", f"Basic {TOKEN}")], ()),
        ([("Authorization", TOKEN)], ()),
    ],
)
def test_tokens_of_a_request(headers: list[tuple[str, str]], shown: tuple[str, ...]) -> None:
    from multidict import CIMultiDict

    assert presented_by(make_mocked_request("GET", "/", headers=CIMultiDict(headers))).values == shown


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1:8710", True),
        ("127.0.0.1", True),
        ("127.8.8.8:1", True),
        ("[::1]:8710", True),
        ("localhost:8710", True),
        ("LOCALHOST", True),
        ("agentd.invalid", True),
        ("evil.example", False),
        ("evil.example:8710", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("192.168.1.7:8710", False),
        ("[::ffff:8.8.8.8]:80", False),
        ("user@127.0.0.1", False),
        ("127.0.0.1:8710, evil.example", False),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_the_host_must_be_one_that_no_stranger_gives_a_meaning_to(host: str, own: bool) -> None:
    assert (browser_fault(make_mocked_request("GET", "/", headers={"Host": host})) is None) == own


def test_no_host_or_two_are_none() -> None:
    from multidict import CIMultiDict

    two = CIMultiDict([("Host", "127.0.0.1"), ("Host", "127.0.0.1")])
    for headers in (CIMultiDict(), two):
        assert browser_fault(make_mocked_request("GET", "/", headers=headers)) is not None


# -- the whole door --------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("place", ["127.0.0.1:0", "[::1]:0"])
def test_a_call_is_the_agents_whose_token_it_shows(place: str, loop: str) -> None:
    async def scene() -> None:
        async with opened(place) as door:
            reply = await door.ask(post("/v1/chat/completions", b"{}", BEARER))
            assert reply.status == 200
            (arrival,) = door.gate.arrivals
            assert arrival.peer == Peer("agent", os.geteuid(), transport="tcp", token="t-1", token_agent="main")

    play(scene(), loop)


def test_each_request_of_a_connection_shows_its_own_token() -> None:
    async def scene() -> None:
        async with opened() as door:
            client = await door.connect()
            for headers, status in ((BEARER, 200), ("", 401), (BEARER, 200)):
                client.send(post("/v1/messages", b"{}", headers).replace(b"Host: agentd", b"Host: localhost"))
                assert (await client.reply()).status == status
            client.close()
            assert len(door.gate.arrivals) == 2

    play(scene())


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/chat", "/v1/nowhere", "/v1/responses"])
def test_nothing_but_its_being_there_is_told_without_a_token(path: str) -> None:
    async def scene() -> None:
        async with opened() as door:
            assert (await door.ask(get(path))).status == 401
            assert (await door.ask(post("/agentd/v1/escalations"))).status == 401
            assert (await door.ask(get("/healthz"))).status == 200
            assert (await door.ask(get("/"))).status == 200
            assert door.gate.refusals == []

    play(scene())


@pytest.mark.parametrize(
    "data",
    [
        post("/v1/chat/completions", b"{}", BEARER).replace(b"Host: agentd", b"Host: evil.example:8710"),
        get("/", "Origin: http://evil.example\r\n").replace(b"Host: agentd", b"Host: evil.example"),
        get("/v1/models", BEARER).replace(b"Host: agentd\r\n", b""),
        get(
            "/v1/chat/completions",
            "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n",
            "OPTIONS",
        ),
    ],
)
def test_a_web_page_gets_nothing(data: bytes) -> None:
    """Not even with a token: a name that was made to point here is no name of ours."""

    async def scene() -> None:
        async with opened() as door:
            reply = await door.ask(data)
            assert reply.status == 400
            assert not [name for name in reply.headers if name.startswith("access-control")]
            assert door.tokens.away == ["request.bad_host"] or door.gate.codes() == ["request.bad_http"]
            assert (door.gate.arrivals, door.tokens.peers) == ([], [])

    play(scene())


def test_an_answer_carries_no_leave_for_web_pages() -> None:
    async def scene() -> None:
        async with opened() as door:
            reply = await door.ask(post("/v1/messages", b"{}", BEARER + "Origin: http://localhost:3000\r\n"))
            assert not [name for name in reply.headers if name.startswith("access-control")]

    play(scene())


@pytest.mark.parametrize("loop", LOOPS)
def test_a_half_closed_client_gets_its_answer(loop: str) -> None:
    async def scene() -> None:
        async with opened() as door:
            client = await door.connect()
            client.send(post("/v1/messages", b"{}", BEARER).replace(b"Host: agentd", b"Host: localhost"))
            client.say_no_more()
            assert (await client.reply()).status == 200
            client.close()

    play(scene(), loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_work_for_a_client_that_left_is_cancelled(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed TCP socket looks as one that only sends no more does; who holds the other end tells them apart."""
    monkeypatch.setattr(protocol, "HALF_CLOSED_TICK_S", 0.02)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(_arrival: Any) -> Answer:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        raise AssertionError

    async def scene() -> None:
        async with opened(gate=Gate(answer)) as door:
            client = await door.connect()
            client.send(post("/v1/messages", b"{}", BEARER).replace(b"Host: agentd", b"Host: localhost"))
            await begun.wait()
            client.close()
            await cancelled.wait()

    play(scene(), loop)


def test_one_who_left_before_he_was_named_is_not_served_and_not_a_fault(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        async with opened() as door:
            door.server.names = TcpNames(lambda _near, _far: None)
            client = await door.connect()
            client.send(post("/v1/messages", b"{}", BEARER))
            try:
                assert await client.end() == b""
            except ConnectionError:
                pass
            client.close()
            assert door.gate.arrivals == []
        assert "Traceback" not in caplog.text

    play(scene())


def test_bytes_that_are_no_request_are_refused_without_a_token() -> None:
    async def scene() -> None:
        async with opened() as door:
            client = await door.connect()
            client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n")
            assert (await client.reply()).status == 400
            client.close()
            ((peer, _, code, _),) = door.gate.refusals
            assert (code, peer.transport, peer.token_agent) == ("request.bad_http", "tcp", None)

    play(scene())
