"""Connections that wait for the next call; names and addresses behind a place."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentd.edge.enforce import dial, pool
from agentd.edge.enforce.dial import Place
from agentd.edge.enforce.pool import Pool
from agentd.edge.enforce.wire import Connection
from edge.enforce.far import HELLO, LOOPS, OK, Scene, answering, following, request, run, serving

EACH_LOOP = pytest.mark.parametrize("loop", LOOPS)
CONNECT_S = 10.0
POST = (b"POST / HTTP/1.1\r\nHost: far\r\nContent-Length: 2\r\n\r\n", b"{}")


def play(loop: str, act: Callable[[Pool, Place], Awaitable[None]], scene: Scene = answering) -> None:
    """Act on a pool and the place of a server that plays `scene`."""

    async def whole() -> None:
        async with serving(scene) as port:
            connections = Pool()
            try:
                await act(connections, Place("127.0.0.1", port, False))
            finally:
                await connections.close()

    run(loop, whole())


async def take(connections: Pool, place: Place) -> Connection:
    """A connection, used again or new."""
    return connections.idle(place) or await connections.connect(place, CONNECT_S)


async def ask(connection: Connection) -> Connection:
    """Make a call and read its answer."""
    connection.ask(POST, asyncio.get_running_loop().time() + 600, 600)
    assert await connection.answered() == 200
    while await following(connection):
        pass
    return connection


async def call(connections: Pool, place: Place) -> Connection:
    """A call whose connection is given back."""
    connection = await ask(await take(connections, place))
    connections.give_back(place, connection)
    return connection


@EACH_LOOP
def test_the_newest_waiting_connection_is_taken_first(loop: str) -> None:
    async def act(connections: Pool, place: Place) -> None:
        two = [await ask(await take(connections, place)) for _ in range(2)]
        for connection in two:
            connections.give_back(place, connection)
        assert [connections.idle(place) for _ in range(3)] == [two[1], two[0], None]

    play(loop, act)


@EACH_LOOP
def test_places_do_not_share(loop: str) -> None:
    async def act(connections: Pool, place: Place) -> None:
        await call(connections, place)
        assert connections.idle(Place("localhost", place.port, False)) is None
        assert connections.idle(Place("127.0.0.1", place.port, True)) is None
        assert connections.idle(place) is not None

    play(loop, act)


@EACH_LOOP
def test_an_answer_that_was_not_read_to_its_end_costs_the_connection(loop: str) -> None:
    async def halting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + b"Content-Length: 9\r\n\r\nhello")
        await reader.read()
        gone.set()

    gone = asyncio.Event()

    async def act(connections: Pool, place: Place) -> None:
        connection = await take(connections, place)
        connection.ask(POST, asyncio.get_running_loop().time() + 600, 600)
        assert await following(connection) == b"hello"
        connections.give_back(place, connection)
        assert connections.idle(place) is None
        await gone.wait()

    play(loop, act, halting)


@EACH_LOOP
@pytest.mark.parametrize("farewell", [b"", HELLO, b"\r\n"], ids=["end", "an answer to nothing", "a blank line"])
@pytest.mark.parametrize("heard", [True, False])
def test_a_connection_that_its_peer_is_done_with_is_not_handed_out(loop: str, farewell: bytes, heard: bool) -> None:
    """`heard`: the loop has had its turn; else what the peer did waits in the kernel."""
    listener = socket.create_server(("127.0.0.1", 0))

    async def whole() -> None:
        loop = asyncio.get_running_loop()
        connections, place = Pool(), Place("127.0.0.1", listener.getsockname()[1], False)
        dialled = await take(connections, place)
        peer, _ = listener.accept()
        dialled.ask(POST, loop.time() + 600, 600)
        while not peer.recv(1 << 16).endswith(b"{}"):
            pass
        peer.sendall(HELLO)
        assert await following(dialled) == b"hello"
        connections.give_back(place, dialled)
        peer.sendall(farewell)
        peer.close()
        while heard and not dialled.closing:
            await asyncio.sleep(0)
        assert connections.idle(place) is None
        await connections.close()

    with listener:
        run(loop, whole())


@EACH_LOOP
def test_what_waited_too_long_is_closed_and_not_used(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answering(reader, writer)
        finally:
            gone.set()

    gone = asyncio.Event()

    async def act(connections: Pool, place: Place) -> None:
        monkeypatch.setattr(pool, "KEEPALIVE_S", 0.05)
        await call(connections, place)
        await gone.wait()  # nobody asked for it: the sweep closed it
        assert connections.idle(place) is None
        await call(connections, place)
        monkeypatch.setattr(pool, "KEEPALIVE_S", 0.0)
        assert connections.idle(place) is None

    play(loop, act, counting)


@EACH_LOOP
def test_the_sweep_leaves_what_is_young(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(connections: Pool, place: Place) -> None:
        old, young = [await ask(await take(connections, place)) for _ in range(2)]
        connections.give_back(place, old)
        monkeypatch.setattr(pool, "KEEPALIVE_S", 0.3)
        await asyncio.sleep(0.3)
        connections.give_back(place, young)
        connections._clear()
        assert old.closing
        assert connections.idle(place) is young
        connections._clear()
        assert connections._idle == {}

    play(loop, act)


@EACH_LOOP
def test_of_too_many_the_oldest_goes(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(connections: Pool, place: Place) -> None:
        monkeypatch.setattr(pool, "MAX_IDLE", 2)
        three = [await ask(await take(connections, place)) for _ in range(3)]
        for connection in three:
            connections.give_back(place, connection)
        assert three[0].closing
        assert [connections.idle(place) for _ in range(3)] == [three[2], three[1], None]

    play(loop, act)


@EACH_LOOP
def test_closing_ends_what_waits_and_what_is_in_use(loop: str) -> None:
    async def act(connections: Pool, place: Place) -> None:
        waiting, used = [await ask(await take(connections, place)) for _ in range(2)]
        connections.give_back(place, waiting)
        used.ask(POST, asyncio.get_running_loop().time() + 600, 600)
        await connections.close()
        assert (waiting.closing, used.closing, connections._open) == (True, True, set())
        with pytest.raises(ConnectionAbortedError):
            await used.answered()

    play(loop, act)


Addresses = list[tuple[Any, ...]]


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name stand for these addresses; the list fills with the names that are asked for."""
    asked: list[str] = []

    async def getaddrinfo(_loop: Any, name: str, port: int, **_more: Any) -> Addresses:
        asked.append(name)
        await asyncio.sleep(0)
        return [info for at in addresses for info in socket.getaddrinfo(at, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_is_asked_for_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, "127.0.0.1")

    async def act(connections: Pool, place: Place) -> None:
        far = Place("far.invalid", place.port, False)
        for _ in range(2):
            await connections.connect(far, CONNECT_S)
        assert asked == ["far.invalid"]
        monkeypatch.setattr(dial, "NAME_S", 0.0)
        connections._dialer._names.clear()
        for _ in range(2):
            await connections.connect(far, CONNECT_S)
        assert asked == ["far.invalid"] * 3

    play("asyncio", act)


def test_the_next_address_is_tried_when_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "127.0.0.2", "127.0.0.1")  # the server listens at the second alone

    async def act(connections: Pool, place: Place) -> None:
        await call(connections, Place("far.invalid", place.port, False))

    play("asyncio", act)


def test_addresses_of_which_none_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, "127.0.0.2")

    async def act(connections: Pool, place: Place) -> None:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                await connections.connect(Place("far.invalid", place.port, False), CONNECT_S)
        assert len(asked) == 2

    play("asyncio", act)


def test_an_address_that_does_not_answer_does_not_hold_up_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.2", 0))
        full.listen(0)  # one fits into the queue; the kernel leaves the next without an answer
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        resolving(monkeypatch, "127.0.0.2", "127.0.0.1")
        port = full.getsockname()[1]

        async def whole() -> None:
            server = await asyncio.start_server(answering, "127.0.0.1", port)
            connections = Pool()
            async with server:
                await call(connections, Place("far.invalid", port, False))
                await connections.close()

        run("asyncio", whole())


@EACH_LOOP
def test_nobody_at_a_socket_of_this_machine(loop: str, tmp_path: Any) -> None:
    async def act(connections: Pool, _place: Place) -> None:
        with pytest.raises(FileNotFoundError):
            await connections.connect(Place("simulator", 0, False, str(tmp_path / "none")), CONNECT_S)

    play(loop, act)


@EACH_LOOP
def test_a_connection_that_is_given_up_leaves_nothing_open(loop: str) -> None:
    async def act(connections: Pool, place: Place) -> None:
        with pytest.raises(TimeoutError):
            await connections.connect(place, 0.0)
        assert connections._open == set()

    play(loop, act)
