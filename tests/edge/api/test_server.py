"""The door under pressure: slow, half-closed, too many and vanishing clients; and closing in stages."""

import asyncio
import os
import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from agentd.core.types.callers import Peer
from agentd.edge.api import protocol, server
from agentd.edge.api.body import Bodies
from agentd.edge.api.protocol import Clocks
from agentd.edge.api.server import Bounds, bounds_within, connection_of, peer_of
from agentd.gate.ports import Answer, Arrival
from edge.api.door import Gate, Stream, get, opened, play, post, streaming

BOTH = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@BOTH
@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_headers_that_do_not_come_are_refused_recorded_and_cut(begun: bytes, loop: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate, Clocks(head=0.1)) as door:
            client = await door.connect()
            client.send(begun)
            reply = await client.reply()
            assert reply.json()["error"]["metadata"]["code"] == "request.too_slow"
            assert await client.end() == b""
            client.close()
        assert gate.codes() == ["request.too_slow"]
        assert gate.refusals[0][0].pid == os.getpid()

    play(scene(), loop)


LONG = b"".join(b"X-%d: %b\r\n" % (place, b"x" * 15_000) for place in range(5))
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"


@BOTH
@pytest.mark.parametrize(
    "said",
    [
        [REQUEST + LONG + b"\r\n"],
        [REQUEST, LONG[:40_000], LONG[40_000:]],
        [REQUEST + LONG[:40_000], LONG[40_000:] + b"\r\n"],
        [b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n" + LONG + b"\r\n123"],
        [(REQUEST + b"X: " + b"x" * 10_000 + b"\r\n\r\n") * 7],
    ],
    ids=["whole", "coming", "in two", "with a body", "waiting"],
)
def test_heads_without_end_are_refused_and_not_kept(said: list[bytes], loop: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            for piece in said:
                client.send(piece)
                await client.writer.drain()
            reply = await client.reply()
            assert (reply.status, reply.headers["server"]) == (400, "agentd")
            assert await client.end() == b""
            client.close()
        assert (gate.codes(), gate.arrivals) == (["request.bad_http"], [])
        assert str(protocol.MAX_HEAD_BYTES) in gate.refusals[0][3]

    play(scene(), loop)


@BOTH
def test_large_bodies_and_many_requests_are_no_long_heads(loop: str) -> None:
    body = b"x" * (3 * protocol.MAX_HEAD_BYTES)
    head = (
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 15_000 + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )

    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            for _ in range(6):
                client.send(head)
                await client.writer.drain()
                client.send(body)
                assert (await client.reply()).json() == {"length": len(body)}
            client.send(post("/v1/messages", b"{}") * 20)
            for _ in range(20):
                assert (await client.reply()).json() == {"length": 2}
            client.close()

    play(scene(), loop)


def test_a_drip_of_header_bytes_does_not_win_time() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate, Clocks(head=0.2)) as door:
            client = await door.connect()

            async def drip() -> None:
                client.send(b"GET / HTTP/1.1\r\n")
                while not client.reader.at_eof():
                    client.send(b"X-A: b\r\n")
                    await asyncio.sleep(0.01)

            dripping = asyncio.ensure_future(drip())
            assert (await client.reply()).status == 400
            await client.end()
            dripping.cancel()
            client.close()
        assert gate.codes() == ["request.too_slow"]

    play(scene())


def test_the_second_request_of_a_connection_has_a_clock_too_and_idling_has_another() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate, Clocks(head=0.2, idle=0.5)) as door:
            client = await door.connect()
            client.send(get("/healthz"))
            assert (await client.reply()).status == 200
            client.send(b"GET /heal")
            assert (await client.reply()).json()["error"]["metadata"]["code"] == "request.too_slow"
            client.close()
            client = await door.connect()
            client.send(get("/healthz"))
            assert (await client.reply()).status == 200
            assert await client.end() == b""  # closed without a word: nothing was asked
            client.close()
        assert gate.codes() == ["request.too_slow"]

    play(scene())


@pytest.mark.parametrize("clocks", [Clocks(body_stall=0.1), Clocks(body=0.1)])
def test_a_body_that_does_not_come_is_refused(clocks: Clocks) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate, clocks) as door:
            client = await door.connect()
            client.send(post("/v1/messages", b"{}")[:-1])
            reply = await client.reply()
            assert reply.json()["error"]["metadata"]["code"] == "request.too_slow"
            assert reply.headers["connection"] == "close"
            client.close()
        assert (gate.codes(), gate.arrivals) == (["request.too_slow"], [])

    play(scene())


@BOTH
def test_a_client_that_says_it_will_send_no_more_still_gets_its_answers(loop: str) -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            client = await door.connect()
            client.send(post("/v1/messages", b"{}") + get("/healthz"))
            client.say_no_more()
            assert (await client.reply()).json() == {"length": 2}
            assert (await client.reply()).json() == {"status": "ok"}
            assert await client.end() == b""
            client.close()

    play(scene(), loop)


@BOTH
def test_a_half_closed_stream_runs_to_its_end(loop: str) -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            client.say_no_more()
            await client.head()
            chunks = client.chunks()
            assert await anext(chunks) == b"data: 1\n\n"
            stream.released.set()
            assert [chunk async for chunk in chunks] == []
            client.close()

    play(scene(), loop)


@BOTH
def test_a_half_closed_client_that_then_vanishes_is_noticed(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HALF_CLOSED_TICK_S", 0.05)

    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            client.say_no_more()
            await client.head()
            await stream.waiting.wait()
            client.close()
            await stream.closed.wait()

    play(scene(), loop)


@BOTH
def test_a_client_that_stops_sending_in_mid_body_is_told(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HALF_CLOSED_TICK_S", 0.05)

    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            client.send(post("/v1/messages", b"{}")[:-1])
            client.say_no_more()
            assert (await client.reply()).json()["error"]["metadata"]["code"] == "request.incomplete"
            client.close()
        assert (gate.codes(), gate.arrivals) == (["request.incomplete"], [])

    play(scene(), loop)


def test_an_empty_connection_that_closes_leaves_nothing() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            for _ in range(20):
                (await door.connect()).close()
            assert (await door.ask(get("/healthz"))).status == 200
        assert gate.refusals == []

    play(scene())


@BOTH
def test_connections_are_bounded_for_each_user_and_places_come_free(loop: str) -> None:
    async def scene() -> None:
        async with opened(Gate(), bounds=Bounds(per_uid=2)) as door:
            first, second = await door.connect(), await door.connect()
            for client in (first, second):
                client.send(get("/healthz"))
                assert (await client.reply()).status == 200
            third = await door.connect()
            reply = await third.reply()
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert "connections" in reply.json()["error"]["message"]
            assert await third.end() == b""
            assert (door.server.turned_away, door.server.connections) == (1, 2)
            first.send(get("/healthz"))
            assert (await first.reply()).status == 200
            first.send(get("/healthz", "Connection: close\r\n"))
            await first.end()
            fourth = await door.connect()
            fourth.send(get("/healthz"))
            assert (await fourth.reply()).status == 200
            for client in (first, second, third, fourth):
                client.close()

    play(scene(), loop)


def test_connections_are_bounded_in_all() -> None:
    async def scene() -> None:
        async with opened(Gate(), bounds=Bounds(total=1)) as door:
            client = await door.connect()
            client.send(get("/healthz"))
            await client.reply()
            other = await door.connect()
            assert (await other.reply()).status == 503
            client.close()
            other.close()

    play(scene())


@BOTH
def test_stop_accepting_then_finish_what_runs(loop: str) -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        async with opened(Gate(streaming(stream))) as door:
            idle = await door.connect()
            idle.send(get("/healthz"))
            await idle.reply()
            busy = await door.connect()
            busy.send(post("/v1/messages"))
            await busy.head()
            chunks = busy.chunks()
            await anext(chunks)
            door.server.stop_accepting()
            assert await idle.end() == b""  # nothing was owed to it
            with pytest.raises(ConnectionRefusedError):
                await door.connect()
            assert not await door.server.finish(0.05)
            stream.released.set()
            assert [chunk async for chunk in chunks] == []
            assert await door.server.finish(20)
            assert await busy.end() == b""
            assert stream.closed.is_set()
            idle.close()
            busy.close()

    play(scene(), loop)


@BOTH
def test_cut_ends_what_does_not_finish_and_waits_until_it_is_closed(loop: str) -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            await client.head()
            await stream.waiting.wait()
            stalled = await door.connect()  # one that sends headers for ever must not hold us up
            stalled.send(b"GET / HTTP/1.1\r\n")
            door.server.stop_accepting()
            await door.server.cut()
            assert stream.closed.is_set()
            assert door.server.connections == 0
            client.close()
            stalled.close()

    play(scene(), loop)


def test_a_call_that_runs_is_cancelled_once_even_when_the_cut_follows() -> None:
    async def scene() -> None:
        begun, cancelled, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def call(_arrival: Arrival) -> Answer:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                await asyncio.sleep(0.05)  # as a ledger takes its time
                done.set()
                raise
            raise AssertionError

        async with opened(Gate(call)) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            await begun.wait()
            client.close()
            await cancelled.wait()
            door.server.stop_accepting()
            await door.server.cut()
            assert done.is_set()

    play(scene())


def test_work_is_cancelled_once_however_often_its_handler_is() -> None:
    async def scene() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        seen: list[str] = []

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("cancelled")
                await go_on.wait()
                seen.append("closed")

        async with asyncio.TaskGroup() as tasks:
            door = server.DoorServer(tasks)
            handler = tasks.create_task(door.run(work()))
            await begun.wait()
            for _ in range(3):
                handler.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert not await door.finish(0)
            go_on.set()
            assert await door.finish(20)
            assert seen == ["cancelled", "closed"]
            with pytest.raises(ZeroDivisionError):
                await door.run(_broken())

    play(scene())


async def _broken() -> None:
    raise ZeroDivisionError


def test_work_that_does_not_end_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "CUT_SECONDS", 0.05)

    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        stream.may_close.clear()
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            await stream.waiting.wait()
            await door.server.cut()
            stream.may_close.set()
            client.close()

    play(scene())
    assert "1 pieces of work did not end" in caplog.text


def test_a_user_may_make_us_hold_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.edge.api.models.Bodies", lambda: Bodies(100, 150))

    async def scene() -> None:
        running, go_on = asyncio.Event(), asyncio.Event()

        async def call(arrival: Arrival) -> Answer:
            running.set()
            await go_on.wait()
            return Answer(200, (), b"done")

        gate = Gate(call)
        async with opened(gate) as door:
            client = await door.connect()
            client.send(post("/v1/messages", b" " * 100))
            await running.wait()
            reply = await door.ask(post("/v1/messages", b" " * 60))
            assert (reply.status, gate.codes()) == (400, ["request.busy"])
            go_on.set()
            assert (await client.reply()).body == b"done"
            assert (await door.ask(post("/v1/messages", b" " * 60))).body == b"done"
            client.close()

    play(scene())


def test_any_app_can_ask_who_is_there_and_has_plain_refusals() -> None:
    async def scene() -> None:
        async def who(request: web.Request) -> web.Response:
            peer = peer_of(request)
            assert connection_of(request).peer is peer
            return web.json_response([peer.door, peer.pid])

        app = web.Application()
        app.router.add_get("/who", who)
        async with opened(None, app=app) as door:
            assert (await door.ask(get("/who"))).json() == ["agent", os.getpid()]
            assert (await door.ask(b"nonsense\r\n\r\n")).json()["error"]["code"] == "request.bad_http"

    play(scene())


def test_a_request_that_came_by_no_door_has_no_peer() -> None:
    with pytest.raises(TypeError):
        peer_of(make_mocked_request("GET", "/"))


def test_a_connection_whose_peer_is_not_named_is_not_served(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody(*_args: object) -> Peer:
        raise OSError("no credentials")

    monkeypatch.setattr(protocol, "read_peer", nobody)

    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            client.send(post("/v1/messages"))
            try:
                assert await client.end() == b""
            except ConnectionError:
                pass
            client.close()
        assert gate.arrivals == []

    play(scene())
    assert "without a known peer" in caplog.text


def test_two_hundred_clients_at_once_each_get_their_own_answer() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            replies = await asyncio.gather(*(door.ask(post("/v1/messages", b" " * size)) for size in range(1, 201)))
        assert [reply.json()["length"] for reply in replies] == list(range(1, 201))
        assert len(gate.arrivals) == 200

    play(scene())


def test_the_socket_of_the_door_is_gone_after_it_was_released() -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            path = door.path
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(FileNotFoundError):
            client.connect(str(path))

    play(scene())


@pytest.mark.parametrize(
    ("descriptors", "doors", "expected"),
    [
        (16_384, 2, Bounds(512, 2048)),
        (1_024, 2, Bounds(224, 224)),
        (4_096, 3, Bounds(512, 661)),
        (200, 2, Bounds(18, 18)),
        (64, 2, Bounds(8, 8)),
    ],
)
def test_doors_let_in_what_there_are_descriptors_for(descriptors: int, doors: int, expected: Bounds) -> None:
    assert bounds_within(descriptors, doors) == expected
