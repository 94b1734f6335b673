"""The agents' door, spoken to in bytes: routes, refusals, hints, streams."""

import asyncio
import json
import os

import pytest

from agentd.core.types.calls import Dialect
from agentd.edge.api.body import MAX_BODY
from agentd.edge.api.protocol import Clocks
from agentd.gate.ports import Answer, Arrival
from edge.api.door import MODELS, Gate, Stream, get, opened, play, post, streaming


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/chat/completions", Dialect.CHAT),
        ("/v1/chat/completions?api-version=1", Dialect.CHAT),
        ("/api/v1/chat/completions", Dialect.CHAT),
        ("/v1/messages", Dialect.MESSAGES),
        ("/v1/messages?beta=true", Dialect.MESSAGES),
        ("/api/v1/messages", Dialect.MESSAGES),
        ("/v1/responses", Dialect.RESPONSES),
        ("/api/v1/responses?x=1", Dialect.RESPONSES),
    ],
)
def test_calls_reach_the_gate_with_their_bytes_and_their_peer(path: str, dialect: Dialect, loop: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            reply = await door.ask(post(path, b'{"model": "x",  "messages":[]}'))
        assert (reply.status, reply.headers["x-agentd-decision"]) == (200, "d-7")
        (arrival,) = gate.arrivals
        assert (arrival.dialect, arrival.body) == (dialect, b'{"model": "x",  "messages":[]}')
        assert (arrival.peer.door, arrival.peer.pid, arrival.peer.uid) == ("agent", os.getpid(), os.geteuid())
        assert arrival.peer.start_ticks is not None

    play(scene(), loop)


def test_hints_come_from_headers_and_credentials_do_not_come_at_all() -> None:
    async def scene() -> None:
        gate = Gate()
        headers = (
            "X-Agentd-Class: heartbeat\r\nX-Agentd-Tier: frontier\r\nX-Claude-Code-Session-Id: 7e0c\r\n"
            "User-Agent: claude-cli/2.1.330 (external, cli)\r\nanthropic-version: 2023-06-01\r\n"
            "anthropic-beta: a-1, b-2,a-1\r\nanthropic-beta: c-3\r\n"
            "Authorization: Bearer sk-canary\r\nx-api-key: sk-canary\r\nCookie: sk-canary\r\n"
        )
        async with opened(gate) as door:
            await door.ask(post("/v1/messages", headers=headers))
        (arrival,) = gate.arrivals
        hints = arrival.hints
        assert (hints.lane, hints.tier, hints.session) == ("heartbeat", "frontier", "7e0c")
        assert hints.client == "claude-cli/2.1.330"
        assert (arrival.beta, arrival.version) == (("a-1", "b-2", "c-3"), "2023-06-01")
        assert "canary" not in repr(arrival)

    play(scene())


@pytest.mark.parametrize(
    ("headers", "session"),
    [
        ("session-id: s1\r\nx-session-id: s2\r\n", "s1"),
        ("x-session-affinity: s3\r\n", "s3"),
        (
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        ("traceparent: junk\r\n", None),
        (f"session-id: {'x' * 257}\r\n", None),
        ("session-id: a\tb\r\n", None),
        ("session-id: \u00e9\r\n", None),
        ("", None),
    ],
)
def test_a_session_hint_is_plain_or_absent(headers: str, session: str | None) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            await door.ask(post("/v1/chat/completions", headers=headers))
        assert gate.arrivals[0].hints.session == session

    play(scene())


@pytest.mark.parametrize("agent", ["", "curl\x07/8", "k\u00f6nig/1 x", "x" * 65, "a;b"])
def test_a_client_name_is_plain_or_absent(agent: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            reply = await door.ask(post("/v1/chat/completions", headers=f"User-Agent: {agent}\r\n"))
        assert reply.status == 400 if "\x07" in agent else gate.arrivals[0].hints.client is None

    play(scene())


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (get("/v1/unknown"), 404, "request.unknown_route"),
        (post("/v1/completions"), 404, "request.unknown_route"),
        (post("/v1/presets/x"), 404, "request.unknown_route"),
        (get("/v1/../etc/passwd"), 404, "request.unknown_route"),
        (post("/v1/responses/compact"), 404, "request.unknown_route"),
        (get("/v1/chat/completions"), 405, "request.unknown_route"),
        (get("/v1/models", method="DELETE"), 405, "request.unknown_route"),
        (get("/v1/responses"), 405, "request.unknown_route"),
        (get("/v1/models/none"), 400, "request.unknown_model"),
        (post("/v1/messages", headers="Content-Encoding: gzip\r\n"), 400, "request.encoding"),
        (post("/agentd/v1/escalations", b"[]"), 400, "request.malformed"),
        (post("/agentd/v1/escalations", b"{"), 400, "request.malformed"),
        (post("/agentd/v1/escalations", b" " * 70_000), 413, "request.too_large"),
        (post("/v1/messages/count_tokens", b"nonsense"), 400, "request.malformed"),
        (b"nonsense\r\n\r\n", 400, "request.bad_http"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request.bad_http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400, "request.bad_http"),
        (
            b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "request.bad_http",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 400, "request.bad_http"),
    ],
)
def test_what_never_became_a_call_is_refused_and_recorded(request_bytes: bytes, status: int, code: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            reply = await door.ask(request_bytes)
            assert (await door.ask(post("/v1/messages"))).status == 200
        assert (reply.status, reply.json()["error"]["metadata"]["code"]) == (status, code)
        assert reply.headers["x-agentd-decision"] == "d-7"
        assert gate.codes() == [code]
        assert gate.refusals[0][0].pid == os.getpid()
        assert len(gate.arrivals) == 1

    play(scene())


def test_a_refused_method_says_which_ones_are_served() -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            reply = await door.ask(get("/v1/messages"))
        assert (reply.status, reply.headers["allow"]) == (405, "POST")

    play(scene())


def test_refusals_speak_the_dialect_of_the_path() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            await door.ask(get("/v1/messages/batches"))
            await door.ask(get("/v1/none", "anthropic-version: 2023-06-01\r\n"))
            await door.ask(get("/v1/none"))
        assert [dialect for _, dialect, _, _ in gate.refusals] == [Dialect.MESSAGES, Dialect.MESSAGES, Dialect.CHAT]

    play(scene())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_looking_whether_anybody_is_there(path: str, method: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            client.send(get(path, method=method))
            reply = await client.reply(head_only=method == "HEAD")
            client.send(get("/healthz"))
            assert (await client.reply()).json() == {"status": "ok"}
            client.close()
        assert reply.status == 200
        assert gate.refusals == []

    play(scene())


def test_a_websocket_is_answered_with_426_and_the_connection_ends() -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            client = await door.connect()
            upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n"
            client.send(get("/v1/responses", upgrade))
            reply = await client.reply()
            assert reply.status == 426
            assert reply.json()["error"]["code"] == 426
            assert await client.end() == b""
            client.close()

    play(scene())


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/responses/r-1", Dialect.RESPONSES),
        ("/api/v1/responses", Dialect.RESPONSES),
        ("/v1/messages/m-1", Dialect.MESSAGES),
        ("/v1/chat/unknown", Dialect.CHAT),
    ],
)
def test_refusals_are_worded_in_the_dialect_of_their_path(path: str, dialect: Dialect) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            await door.ask(get(path))
        assert [refusal[1] for refusal in gate.refusals] == [dialect]

    play(scene())


def test_models_in_the_shape_that_the_client_reads() -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            chat = await door.ask(get("/api/v1/models?offset=0&limit=500"))
            messages = await door.ask(get("/v1/models", "anthropic-version: 2023-06-01\r\n"))
            one = await door.ask(get("/v1/models/acme/frontier-1"))
            quoted = await door.ask(get("/v1/models/acme%2Ffrontier-1"))
        assert [entry["id"] for entry in chat.json()["data"]] == [entry["id"] for entry in MODELS]
        assert messages.json()["first_id"] == "acme/frontier-1"
        assert one.json()["id"] == quoted.json()["id"] == "acme/frontier-1"

    play(scene())


def test_models_by_the_paths_that_openrouter_has_beside() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            whole = await door.ask(get("/api/v1/models"))
            user = await door.ask(get("/api/v1/models/user"))
            count = await door.ask(get("/api/v1/models/count"))
            one = await door.ask(get("/api/v1/model/acme/frontier-1"))
            none = await door.ask(get("/api/v1/model/acme/none"))
        assert user.body == whole.body
        assert count.json() == {"data": {"count": len(MODELS)}}
        (known,) = [entry for entry in whole.json()["data"] if entry["id"] == "acme/frontier-1"]
        assert one.json() == {"data": known}
        assert (none.status, gate.codes()) == (400, ["request.unknown_model"])

    play(scene())


@pytest.mark.parametrize(
    ("query", "first", "number"),
    [
        ("limit=1", 0, 1),
        ("offset=1", 1, len(MODELS) - 1),
        ("offset=1&limit=1", 1, 1),
        ("offset=99&limit=5", 99, 0),
        ("limit=0", 0, len(MODELS)),
        ("offset=-1&limit=x", 0, len(MODELS)),
        ("limit=1" + 20 * "0", 0, len(MODELS)),
    ],
)
def test_a_page_of_the_list(query: str, first: int, number: int) -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            said = (await door.ask(get(f"/api/v1/models?{query}"))).json()
        ids = [entry["id"] for entry in said["data"]]
        assert (ids, len(ids)) == ([entry["id"] for entry in MODELS][first : first + number], number)
        assert said["total_count"] == len(MODELS)

    play(scene())


@pytest.mark.parametrize(("prefix", "metered"), [("/v1", False), ("/api/v1", True)])
def test_below_openrouters_path_streams_tell_what_they_used(prefix: str, metered: bool) -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            await door.ask(post(f"{prefix}/chat/completions", b"{}"))
        assert [arrival.metered for arrival in gate.arrivals] == [metered]

    play(scene())


@pytest.mark.parametrize(
    "data", [get("/v1/models"), get("/v1/models/chat"), post("/v1/messages/count_tokens", b'{"messages":[]}')]
)
def test_a_caller_to_whom_nothing_is_offered_is_told_nothing(data: bytes) -> None:
    async def scene() -> None:
        gate = Gate(offered=())
        async with opened(gate) as door:
            reply = await door.ask(data)
        assert reply.status == 403
        assert gate.codes() == ["caller.unknown"]

    play(scene())


def test_counting_tokens_is_a_labelled_estimate() -> None:
    async def scene() -> None:
        gate = Gate()
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 40_000}]}
        async with opened(gate) as door:
            small = await door.ask(post("/v1/messages/count_tokens?beta=true", json.dumps(body).encode()))
            body["messages"] = [{"role": "user", "content": "x" * 4_000_000}]
            large = await door.ask(post("/v1/messages/count_tokens", json.dumps(body).encode()))
        assert small.headers["x-agentd-estimate"] == "true"
        assert 10_000 <= small.json()["input_tokens"] <= 10_020
        assert 1_000_000 <= large.json()["input_tokens"] <= 1_000_020
        assert gate.arrivals == []

    play(scene())


def test_an_escalation_is_asked_of_the_gate() -> None:
    async def scene() -> None:
        gate = Gate()
        ask = {"class": "implementation", "tier": "frontier", "reason": "two attempts failed"}
        async with opened(gate) as door:
            data = post("/agentd/v1/escalations", json.dumps(ask).encode(), "session-id: s1\r\n")
            reply = await door.ask(data)
        assert (reply.status, reply.json()) == (201, {"grant": "g-1"})
        ((hints, asked),) = gate.asks
        assert (hints.session, asked) == ("s1", ask)

    play(scene())


def test_a_stream_comes_chunk_by_chunk_and_is_closed() -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n", b"data: 2\n\n"], held=True)
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/chat/completions"))
            status, headers = await client.head()
            assert (status, headers["content-type"], headers["x-agentd-decision"]) == (200, "text/event-stream", "d-8")
            chunks = client.chunks()
            assert await anext(chunks) == b"data: 1\n\n"  # although the stream has not ended
            assert await anext(chunks) == b"data: 2\n\n"
            stream.released.set()
            assert [chunk async for chunk in chunks] == []
            await stream.closed.wait()
            client.send(get("/healthz"))
            assert (await client.reply()).status == 200
            client.close()

    play(scene())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_vanishes_in_mid_stream_closes_the_stream_to_its_end(loop: str) -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], held=True)
        stream.may_close.clear()
        async with opened(Gate(streaming(stream))) as door:
            client = await door.connect()
            client.send(post("/v1/chat/completions"))
            await client.head()
            await stream.waiting.wait()
            client.close()
            await stream.close_begun.wait()
            assert not await door.server.finish(0)  # closing the record is waited for
            stream.may_close.set()
            await stream.closed.wait()
            assert await door.server.finish(20)
            assert (await door.ask(get("/healthz"))).status == 200

    play(scene(), loop)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_client_that_vanishes_before_the_first_byte_cancels_the_call_once(loop: str) -> None:
    async def scene() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        cancelled = []

        async def hang(_arrival: Arrival) -> Answer:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)
                await asyncio.sleep(0)  # a second cancel would end it here
                ended.set()
                raise
            raise AssertionError

        async with opened(Gate(hang)) as door:
            client = await door.connect()
            client.send(post("/v1/chat/completions"))
            await begun.wait()
            client.close()
            await ended.wait()
            assert cancelled == [1]

    play(scene(), loop)


def test_a_fault_of_the_gate_is_a_typed_answer_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        async def broken(_arrival: Arrival) -> Answer:
            raise ZeroDivisionError("secret detail")

        gate = Gate(broken)
        async with opened(gate) as door:
            reply = await door.ask(post("/v1/chat/completions"))
        assert (reply.status, gate.codes()) == (503, ["daemon.internal"])
        assert b"secret" not in reply.body
        assert b"Traceback" not in reply.body

    play(scene())
    assert "secret detail" in caplog.text


def test_a_gate_that_cannot_even_refuse_still_gives_a_typed_answer() -> None:
    async def scene() -> None:
        class Broken(Gate):
            async def govern(self, arrival: Arrival) -> Answer:
                raise ZeroDivisionError

            async def refuse(self, *_args: object) -> Answer:
                raise ZeroDivisionError

        async with opened(Broken()) as door:
            chat = await door.ask(post("/v1/chat/completions"))
            messages = await door.ask(post("/v1/messages"))
        assert chat.status == messages.status == 503
        assert chat.json()["error"]["code"] == 503
        assert messages.json()["type"] == "error"

    play(scene())


def test_a_fault_in_mid_stream_is_the_last_event_and_closes_the_stream() -> None:
    async def scene() -> None:
        stream = Stream([b"data: 1\n\n"], fault=ZeroDivisionError("secret detail"))
        async with opened(Gate(streaming(stream))) as door:
            reply = await door.ask(post("/v1/messages"))
            await stream.closed.wait()
        assert reply.body.startswith(b"data: 1\n\n")
        assert b"error" in reply.body
        assert b"secret" not in reply.body

    play(scene())


def test_one_slow_reader_delays_nobody_and_is_cut() -> None:
    async def scene() -> None:
        slow = Stream([b"x" * 65_536] * 200)
        gate = Gate(streaming(slow))
        async with opened(gate, Clocks(write_stall=0.3)) as door:
            client = await door.connect()
            client.send(post("/v1/chat/completions"))
            await client.line()  # and nothing after it, though the reader's own buffer takes a little
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            other = await door.ask(get("/healthz"))
            assert other.status == 200
            await slow.closed.wait()
            assert await door.server.finish(20)
            client.close()

    play(scene())


def test_a_large_whole_answer_is_not_written_into_the_void() -> None:
    async def scene() -> None:
        async def large(_arrival: Arrival) -> Answer:
            return Answer(200, (("Content-Type", "application/json"),), b" " * 4_000_000)

        async with opened(Gate(large), Clocks(write_stall=0.3)) as door:
            client = await door.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(post("/v1/chat/completions"))
            assert (await door.ask(get("/healthz"))).status == 200
            reply = await door.ask(post("/v1/messages"))
            assert len(reply.body) == 4_000_000
            assert await door.server.finish(20)
            client.close()

    play(scene())


def test_a_body_that_is_too_large_is_refused_unread_and_the_answer_arrives() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            reply = await door.ask(post("/v1/messages", b" " * 50_000_000))
            assert reply.status == 413
            client = await door.connect()  # the same, its length not announced
            client.send(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(34):
                client.send(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
            assert (await client.reply()).status == 413
            client.close()
            assert (await door.ask(post("/v1/messages", b" " * MAX_BODY))).json() == {"length": MAX_BODY}
        assert gate.codes() == ["request.too_large", "request.too_large"]

    play(scene())


def test_expect_100_continue() -> None:
    async def scene() -> None:
        async with opened(Gate()) as door:
            client = await door.connect()
            client.send(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.reply()).status == 100
            client.send(b"{}")
            assert (await client.reply()).json() == {"length": 2}
            client.send(
                b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
            )
            assert (await client.reply()).status == 413
            client.close()

    play(scene())


def test_chunked_uploads_and_pipelined_requests() -> None:
    async def scene() -> None:
        gate = Gate()
        async with opened(gate) as door:
            client = await door.connect()
            chunked = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunked += b"3\r\n{ \n\r\n1\r\n}\r\n0\r\n\r\n"
            client.send(chunked + post("/v1/messages", b"{}") + get("/healthz"))
            assert [(await client.reply()).body for _ in range(3)] == [
                b'{"length": 4}',
                b'{"length": 2}',
                b'{"status": "ok"}',
            ]
            client.close()
        assert [arrival.body for arrival in gate.arrivals] == [b"{ \n}", b"{}"]

    play(scene())
