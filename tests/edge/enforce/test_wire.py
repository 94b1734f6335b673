"""One connection: what is an answer, however it is cut into pieces; what is none; and how an exchange ends."""

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.edge.enforce import wire
from agentd.edge.enforce.wire import BadAnswer, Connection, CutOff, NotSent, WireError
from edge.enforce.far import HELLO, LOOPS, OK, Read, answering, connect, following, read, request, reset, run, serving

POST = b"POST / HTTP/1.1\r\nHost: far\r\nContent-Length: 2\r\n\r\n"
LONG_S = 600.0
EACH_LOOP = pytest.mark.parametrize("loop", LOOPS)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def ask(connection: Connection, body: bytes = b"{}", *, within_s: float = LONG_S, silence_s: float = LONG_S) -> None:
    head = POST if body == b"{}" else b"POST / HTTP/1.1\r\nHost: far\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.ask((head, body), asyncio.get_running_loop().time() + within_s, silence_s)


def fed(pieces: Iterable[bytes], *, end: bool = False) -> Read:
    """What a connection makes of these pieces, then of the peer's end; a peer that says no more is an end as well."""

    async def scene() -> Read:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            _, connection = await loop.create_connection(lambda: Connection(loop, lambda _gone: None), sock=ours)
            ask(connection)
            for piece in pieces:
                connection.data_received(piece)
            if end:
                connection.eof_received()
            if connection.phase in (wire.Phase.HEAD, wire.Phase.BODY):
                connection.connection_lost(CutOff())
            return await read(connection)

    return asyncio.run(scene())


ANSWERS: dict[str, tuple[bytes, int, bytes, bool]] = {  # raw, status, body, whether the connection may serve another
    "length": (HELLO, 200, b"hello", True),
    "nothing": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "an error": (b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}", 503, b"{}", True),
    "no content": (b"HTTP/1.1 204 None\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "chunks": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello", True),
    "no chunks": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "long numbers": (CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", 200, b"hello", True),
    "extensions": (CHUNKED + b'5;a=1;b="x y"\r\nhello\r\n0;last\r\n\r\n', 200, b"hello", True),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Time: 2\r\n\r\n", 200, b"hello", True),
    "capitals": (OK + b"TRANSFER-ENCODING:\t CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, b"hello", True),
    "close": (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", False),
    "1.0, kept": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO, 200, b"hello", True),
    "early hints": (b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" * 3 + HELLO, 200, b"hello", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "tight": (b"HTTP/1.1 200 \r\nContent-Length:5\r\n\r\nhello", 200, b"hello", True),
    "an offer to upgrade": (OK + b"Upgrade: h2c\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "a blank line before": (b"\r\n" + HELLO, 200, b"hello", True),
}
UNTIL_CLOSE = {
    "until close": (OK + b"\r\nhello", 200, b"hello", False),
    "until close, 1.0": (b"HTTP/1.0 200 OK\r\n\r\nhello", 200, b"hello", False),
    "nothing until close": (OK + b"\r\n", 200, b"", False),
}


@pytest.mark.parametrize("name", [*ANSWERS, *UNTIL_CLOSE])
def test_an_answer_reads_the_same_wherever_it_is_cut(name: str) -> None:
    raw, status, body, again = {**ANSWERS, **UNTIL_CLOSE}[name]
    cuts = [[raw[:at], raw[at:]] for at in range(1, len(raw))]
    singly = [raw[at : at + 1] for at in range(len(raw))]
    for pieces in [[raw], singly, *cuts]:
        seen = fed(pieces, end=name in UNTIL_CLOSE)
        assert (seen.status, seen.body, seen.failed, seen.again) == (status, body, None, again), pieces


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("end", [True, False], ids=["end", "error"])
def test_a_part_of_an_answer_is_none(name: str, end: bool) -> None:
    raw, _, body, _ = ANSWERS[name]
    for length in range(len(raw)):
        seen = fed([raw[:length]], end=end)
        assert isinstance(seen.failed, CutOff)
        assert body.startswith(seen.body)
        assert not seen.again


def test_headers_go_by_small_names_and_the_first_counts() -> None:
    seen = fed([OK + b"X-Generation-ID:  gen-1 \r\nx-generation-id: gen-2\r\nContent-Length: 0\r\n\r\n"])
    assert seen.headers == {b"x-generation-id": b"gen-1", b"content-length": b"0"}


def test_trailers_and_interim_answers_are_not_headers() -> None:
    interim = b"HTTP/1.1 103 Hints\r\nX-Generation-Id: wrong\r\n\r\n"
    seen = fed([interim + CHUNKED + b"0\r\nX-Generation-Id: late\r\n\r\n"])
    assert seen.headers == {b"transfer-encoding": b"chunked"}


BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An answer in one of the framings, and its body."""
    parts = draw(BODIES)
    body = b"".join(parts)
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * draw(st.integers(0, 2))
    if draw(st.booleans()):
        return interim + OK + b"Content-Length: %d\r\n\r\n" % len(body) + body, body
    extension = draw(st.sampled_from([b"", b";x", b";x=1", b';x="1"']))
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts)
    trailer = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    return interim + CHUNKED + chunks + b"0\r\n" + trailer + b"\r\n", body


@given(answer=answers(), data=st.data())
def test_any_answer_in_any_pieces(answer: tuple[bytes, bytes], data: st.DataObject) -> None:
    raw, body = answer
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    seen = fed([piece for piece in pieces if piece])
    assert (seen.status, seen.body, seen.failed, seen.again) == (200, body, None, True)


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_never_an_answer_nor_a_fault(noise: bytes, headed: bool) -> None:
    seen = fed([OK + noise if headed else noise], end=False)
    assert seen.failed is None or isinstance(seen.failed, WireError)


HUGE = b"x" * (wire.MAX_HEAD_BYTES + 1)
MANY = b"".join(b"X-%d: 1\r\n" % at for at in range(wire.MAX_HEADERS + 1))
BAD: dict[str, bytes] = {
    "another protocol": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "TLS": b"\x15\x03\x03\x00\x02\x02\x28",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "bare returns": b"HTTP/1.1 200 OK\rContent-Length: 5\r\rhello",
    "no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "a folded header": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a blank in a name": OK + b"Content-Length : 0\r\n\r\n",
    "a null": OK + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths in one": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "length and chunks": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "a signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "a negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "a length without end": OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
    "an unknown framing": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "a framing with a blank behind": OK + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "two framings": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "the framing twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no length of a chunk": CHUNKED + b"x\r\nhello\r\n0\r\n\r\n",
    "a chunk too long": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "a chunk by bare line feeds": CHUNKED + b"5\nhello\n0\n\n",
    "an endless number": CHUNKED + b"fffffffffffffffff\r\n",
    "another protocol after all": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "101 without a word": b"HTTP/1.1 101 Switching\r\n\r\n" + HELLO,
    "many headers": OK + MANY + b"Content-Length: 0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 9\r\n\r\n",
    "many trailers": CHUNKED + b"0\r\n" + MANY + b"\r\n",
    "a huge header": OK + b"X: " + HUGE,
    "a huge name": OK + HUGE,
    "a huge reason": b"HTTP/1.1 200 " + HUGE,
    "a huge extension": CHUNKED + b"5;" + HUGE,
    "a huge trailer": CHUNKED + b"0\r\nX: " + HUGE,
    "interim for ever": b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_answer(name: str) -> None:
    raw = BAD[name]
    step = 1 if len(raw) < 2000 else 1000
    for pieces in ([raw], [raw[at : at + step] for at in range(0, len(raw), step)]):
        seen = fed(pieces, end=True)
        assert isinstance(seen.failed, BadAnswer), pieces
        assert not seen.again


@pytest.mark.parametrize("more", [HELLO, HELLO[:9], b"x", b"\x00", b"0\r\n\r\n"], ids=repr)
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("name", ["length", "chunks", "no content", "close"])
def test_bytes_behind_an_answer_cost_the_connection_and_not_the_answer(name: str, together: bool, more: bytes) -> None:
    raw, status, body, _ = ANSWERS[name]
    seen = fed([raw + more] if together else [raw, more])
    assert (seen.status, seen.body, seen.failed, seen.again) == (status, body, None, False)


@EACH_LOOP
def test_one_connection_serves_many_calls(loop: str) -> None:
    async def scene() -> None:
        async with serving(answering) as port:
            connection = await connect(port)
            for _ in range(3):
                assert connection.alive()
                ask(connection)
                seen = await read(connection)
                assert (seen.body, seen.again) == (b"hello", True)
            connection.abort()

    run(loop, scene())


@EACH_LOOP
def test_who_speaks_before_being_asked_is_not_asked(loop: str) -> None:
    async def eager(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HELLO)
        await reader.read()

    async def scene() -> None:
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with serving(eager) as port:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: Connection(loop, lambda _gone: lost.set_result(None)), "127.0.0.1", port
            )
            await lost
            assert not connection.alive()

    run(loop, scene())


@EACH_LOOP
def test_a_reader_that_is_behind_stops_the_peer(loop: str) -> None:
    whole = bytes(range(256)) * (64 << 10)  # 16 MiB: more than the kernel holds for both
    written = 0

    async def pouring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request(reader)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % len(whole))
        for at in range(0, len(whole), 1 << 16):
            writer.write(whole[at : at + (1 << 16)])
            await writer.drain()
            written = at

    async def scene() -> None:
        async with serving(pouring) as port:
            connection = await connect(port)
            ask(connection, silence_s=0.05)
            assert await connection.answered() == 200
            stuck = -1
            while stuck != written:  # until nothing moves for four times as long as a peer may be silent
                stuck = written
                await asyncio.sleep(0.2)
            assert written < len(whole) - (1 << 20)
            assert sum(map(len, connection._pieces)) <= wire.MOST_UNREAD + (1 << 18)
            seen = await read(connection)
            assert (seen.body == whole, seen.failed, seen.again) == (True, None, True)

    run(loop, scene())


@EACH_LOOP
@pytest.mark.parametrize("clock", ["within_s", "silence_s"])
@pytest.mark.parametrize("said", [b"", OK, OK + b"Content-Length: 9\r\n\r\nhello"], ids=["nothing", "head", "body"])
def test_both_clocks_end_an_exchange_that_stalls(loop: str, clock: str, said: bytes) -> None:
    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(said)
        assert await reader.read() == b""
        gone.set()

    gone = asyncio.Event()

    async def scene() -> None:
        async with serving(stalling) as port:
            connection = await connect(port)
            ask(connection, **{clock: 0.05})
            seen = await read(connection)
            assert isinstance(seen.failed, TimeoutError)
            assert seen.body == (b"hello" if said.endswith(b"hello") else b"")
            await gone.wait()

    run(loop, scene())


@EACH_LOOP
@pytest.mark.parametrize("head", [True, False], ids=["head", "chunks"])
def test_a_peer_that_trickles_is_bound_by_the_deadline(loop: str, head: bool) -> None:
    async def trickling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK if head else CHUNKED)
        while not reader.at_eof():
            writer.write(b"X: 1\r\n" if head else b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def scene() -> None:
        async with serving(trickling) as port:
            connection = await connect(port)
            ask(connection, within_s=0.2, silence_s=0.1)
            assert isinstance((await read(connection)).failed, TimeoutError)

    run(loop, scene())


@EACH_LOOP
def test_hurrying_brings_the_end_forward(loop: str) -> None:
    async def stalling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + b"Content-Length: 9\r\n\r\nhello")
        await reader.read()

    async def scene() -> None:
        async with serving(stalling) as port:
            connection = await connect(port)
            ask(connection)
            assert await connection.answered() == 200
            connection.hurry(asyncio.get_running_loop().time() + 0.05)
            assert isinstance((await read(connection)).failed, TimeoutError)

    run(loop, scene())


@EACH_LOOP
@pytest.mark.parametrize("when", ["asked", "answered", "reading"])
def test_aborting_is_heard_by_the_peer_at_once(loop: str, when: str) -> None:
    async def working(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        if when != "asked":
            writer.write(OK + b"Content-Length: 9\r\n\r\nhello")
        asked.set()
        try:
            assert await reader.read() == b""
        except ConnectionResetError:  # what the peer had said was not read
            pass
        gone.set()

    asked, gone = asyncio.Event(), asyncio.Event()

    async def scene() -> None:
        async with serving(working) as port:
            connection = await connect(port)
            ask(connection)
            await asked.wait()
            if when == "reading":
                assert await connection.answered() == 200
                assert await following(connection) == b"hello"
            connection.abort()
            await gone.wait()
            with pytest.raises(ConnectionAbortedError):
                connection.take()

    run(loop, scene())


@EACH_LOOP
def test_a_request_that_did_not_leave_whole_was_not_received(loop: str) -> None:
    async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started.set()
        await asked.wait()
        reset(writer)

    started, asked = asyncio.Event(), asyncio.Event()

    async def scene() -> None:
        async with serving(deaf) as port:
            connection = await connect(port)
            await started.wait()
            ask(connection, b"x" * (64 << 20))
            asked.set()
            assert isinstance((await read(connection)).failed, NotSent)

    run(loop, scene())


@EACH_LOOP
@pytest.mark.parametrize("hard", [True, False], ids=["reset", "end"])
def test_of_a_request_that_left_nobody_knows(loop: str, hard: bool) -> None:
    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        if hard:
            reset(writer)

    async def scene() -> None:
        async with serving(leaving) as port:
            connection = await connect(port)
            ask(connection)
            failed = (await read(connection)).failed
            assert isinstance(failed, ConnectionResetError if hard else CutOff)

    run(loop, scene())


@EACH_LOOP
def test_an_answer_before_the_request_is_through_counts_but_the_connection_is_done_with(loop: str) -> None:
    async def hasty(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await asked.wait()
        writer.write(b"HTTP/1.1 413 Large\r\nContent-Length: 2\r\n\r\n{}")
        await answered.wait()

    asked, answered = asyncio.Event(), asyncio.Event()

    async def scene() -> None:
        async with serving(hasty) as port:
            connection = await connect(port)
            ask(connection, b"x" * (64 << 20))
            asked.set()
            seen = await read(connection)
            answered.set()
            assert (seen.status, seen.body, seen.failed, seen.again) == (413, b"{}", None, False)

    run(loop, scene())


def test_what_has_come_is_given_before_what_went_wrong() -> None:
    seen: Any = fed([CHUNKED + b"5\r\nhello\r\n", b"zzz\r\n"])
    assert seen.body == b"hello"
    assert isinstance(seen.failed, BadAnswer)
