"""Calls over real sockets to upstreams that answer in pieces, oddly, late or not at all."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.calls import Dialect
from agentd.core.types.errors import AgentdError, KeyUnavailable, UpstreamFailed
from agentd.core.types.receipts import Permit, Receipt
from agentd.core.types.verdicts import Allow, Answer, ModelLimits, Reason
from agentd.edge.enforce.model import SIMULATOR_KEY, ModelUpstream, Way
from agentd.edge.host.clock import SystemClock
from agentd.gate.ports import Dispatch, Endpoint
from edge.enforce.far import LOOPS, request, reset, run, serving

KEY = "sk-or-v1-secret"
HEAD = b"HTTP/1.1 200 OK\r\nX-Generation-Id: gen-1\r\n"
GOOD = HEAD + b"Content-Length: 5\r\n\r\nhello"
SILENT = object()
"""In a script: say nothing until the other side has gone."""


class Shown:
    def reveal(self) -> str:
        return KEY


@dataclass
class Far:
    """An upstream that plays a script for each request: bytes, written piece by piece; then it closes unless told to keep."""

    script: list[Any]
    keep: bool = False
    url: str = ""
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                await reader.readexactly(length)
                for piece in self.script:
                    if piece is SILENT:
                        await reader.read()
                    else:
                        writer.write(piece)
                        await writer.drain()
                    await asyncio.sleep(0)
                if not self.keep:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.gone.set()

    def sent(self) -> dict[str, str]:
        """The headers of the last request, in lower case."""
        rows = [line.decode().partition(": ") for line in self.heads[-1].split(b"\r\n")[1:] if line]
        return {name.lower(): value for name, _, value in rows}


def permit(deadline_s: float = 20.0) -> Permit:
    limits = ModelLimits("t", "m/one", "far", 100, 1000, deadline_s)
    return Permit(Allow(Reason("ok", "rule", "yes"), limits), Receipt(1, "00"))


def dispatch(url: str, dialect: Dialect = Dialect.CHAT, *, kind: str = "openrouter", **more: Any) -> Dispatch:
    key = "openrouter" if kind == "openrouter" else None
    return Dispatch(Endpoint("far", kind, url, key), dialect, b'{"x":1}', more.pop("stream", False), **more)


Scene = Callable[[ModelUpstream, Far], Awaitable[None]]


def play(scene: Scene, *script: Any, keep: bool = False, simulator: str | None = None) -> Far:
    """Run a scene against an upstream with this script, on TCP or, as the simulator, on a Unix socket."""
    far = Far(list(script), keep)

    async def run() -> None:
        if simulator is None:
            server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
            far.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        else:
            server = await asyncio.start_unix_server(far.serve, simulator)
        async with server, ModelUpstream(Way(lambda _name: Shown(), SystemClock(), simulator)) as upstream:
            await scene(upstream, far)

    asyncio.run(run())
    return far


async def fetch(upstream: ModelUpstream, asked: Dispatch, by: Permit | None = None) -> bytes:
    async with upstream.open(by or permit(), asked) as reply:
        return b"".join([chunk async for chunk in reply.chunks()])


def failure(*script: Any, by: Permit | None = None) -> UpstreamFailed:
    """How a call to such an upstream fails."""
    caught: list[UpstreamFailed] = []

    async def scene(upstream: ModelUpstream, far: Far) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await fetch(upstream, dispatch(far.url), by)
        caught.append(failed.value)

    play(scene, *script)
    return caught[0]


def test_a_request_carries_the_key_and_what_the_dialect_needs_and_nothing_else() -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        assert await fetch(upstream, dispatch(far.url)) == b"hello"

    far = play(scene, GOOD)
    assert far.heads[0].startswith(b"POST /api/v1/chat/completions HTTP/1.1\r\n")
    wanted = {"host", "content-type", "accept", "accept-encoding", "user-agent", "authorization", "content-length"}
    assert far.sent().keys() == wanted | {"x-openrouter-metadata"}
    assert far.sent()["authorization"] == f"Bearer {KEY}"


def test_messages_carry_their_version_and_flags() -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        await fetch(upstream, dispatch(far.url, Dialect.MESSAGES, beta=("a", "b"), version="2024", stream=True))
        assert (far.sent()["anthropic-version"], far.sent()["anthropic-beta"]) == ("2024", "a,b")
        assert far.sent()["accept"] == "text/event-stream"
        await fetch(upstream, dispatch(far.url, Dialect.MESSAGES))
        assert far.sent()["anthropic-version"] == "2023-06-01"
        assert "anthropic-beta" not in far.sent()

    far = play(scene, GOOD, keep=True)
    assert far.heads[0].startswith(b"POST /api/v1/messages ")


def test_a_plain_upstream_gets_no_key() -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        await fetch(upstream, dispatch(far.url, kind="openai"))

    sent = play(scene, GOOD).sent()
    assert "authorization" not in sent
    assert "x-openrouter-metadata" not in sent


def test_the_simulator_gets_its_own_key_at_its_own_socket(tmp_path: Path) -> None:
    async def scene(upstream: ModelUpstream, _far: Far) -> None:
        await fetch(upstream, dispatch("https://openrouter.ai/api/v1"))

    far = play(scene, GOOD, simulator=str(tmp_path / "s"))
    assert far.sent()["authorization"] == f"Bearer {SIMULATOR_KEY}"


def test_without_connections_nothing_is_sent() -> None:
    upstream = ModelUpstream(Way(lambda _name: Shown(), SystemClock()))
    with pytest.raises(KeyUnavailable):
        asyncio.run(fetch(upstream, dispatch("http://127.0.0.1:9/")))


@pytest.mark.parametrize("whole", [True, False])
def test_only_a_connection_that_was_read_to_its_end_is_used_again(whole: bool) -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        for _ in range(2):
            async with upstream.open(permit(), dispatch(far.url)) as reply:
                assert reply.generation == "gen-1"
                async for _chunk in reply.chunks():
                    if not whole:
                        break
        assert far.connections == (1 if whole else 2)

    script = [GOOD] if whole else [HEAD + b"Content-Length: 9\r\n\r\nhello"]
    play(scene, *script, keep=True)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_that_was_closed_meanwhile_costs_no_call(loop: str) -> None:
    """The peer's farewell waits in the kernel when the next call looks for a connection."""
    closing = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(GOOD)
        await writer.drain()
        closing.set()

    async def scene() -> None:
        async with serving(once) as port, ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream:
            for _ in range(20):
                assert await fetch(upstream, dispatch(f"http://127.0.0.1:{port}")) == b"hello"
                await closing.wait()
                closing.clear()

    run(loop, scene())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("again", [True, False], ids=["there", "gone"])
def test_a_request_that_cannot_have_been_received_is_sent_once_more(loop: str, again: bool) -> None:
    heads: list[bytes] = []

    async def leaving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await request(reader))
        writer.write(GOOD)
        await writer.drain()
        if len(heads) == 1:  # the connection goes while the next, large request is being sent
            await reader.readuntil(b"\r\n\r\n")
            reset(writer)

    async def scene() -> None:
        async with (
            serving(leaving) as port,
            ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream,
        ):
            small = dispatch(f"http://127.0.0.1:{port}")
            large = replace(small, body=b"x" * (64 << 20))
            assert await fetch(upstream, small) == b"hello"
            assert await fetch(upstream, large) == b"hello"

    async def alone() -> None:
        async with ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream:
            async with serving(leaving) as port:
                small = dispatch(f"http://127.0.0.1:{port}")
                large = replace(small, body=b"x" * (64 << 20))
                assert await fetch(upstream, small) == b"hello"
            with pytest.raises(UpstreamFailed) as failed:
                await fetch(upstream, large)
            assert (failed.value.code, failed.value.billed) == ("upstream.unreachable", False)

    run(loop, scene() if again else alone())
    assert len(heads) == (2 if again else 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_new_connection_that_is_lost_while_sending_was_not_billed(loop: str) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async def scene() -> None:
        async with serving(deaf) as port, ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream:
            with pytest.raises(UpstreamFailed) as failed:
                await fetch(upstream, replace(dispatch(f"http://127.0.0.1:{port}"), body=b"x" * (64 << 20)))
            assert (failed.value.code, failed.value.billed) == ("upstream.unreachable", False)
            assert "before the request was sent" in failed.value.message

    run(loop, scene())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("status", [b"", HEAD + b"Content-Length: 9\r\n\r\nhello"], ids=["asked", "reading"])
def test_a_call_that_is_given_up_is_heard_of_at_once(loop: str, status: bytes) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def working(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(status)
        asked.set()
        assert await reader.read() == b""
        gone.set()

    async def scene() -> None:
        async with serving(working) as port, ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream:
            call = asyncio.create_task(fetch(upstream, dispatch(f"http://127.0.0.1:{port}")))
            await asked.wait()
            for _ in range(3):  # let a piece that has come be read
                await asyncio.sleep(0.01)
            call.cancel()
            await gone.wait()
            with pytest.raises(asyncio.CancelledError):
                await call

    run(loop, scene())


def test_an_error_that_was_read_whole_leaves_its_connection_to_the_next_call() -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        for _ in range(2):
            with pytest.raises(UpstreamFailed):
                await fetch(upstream, dispatch(far.url))
        assert far.connections == 1

    play(scene, b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}", keep=True)


def test_an_error_says_when_to_come_back_and_what_to_settle_by() -> None:
    failed = failure(HEAD.replace(b"200 OK", b"503 Busy") + b"Retry-After: 7\r\nContent-Length: 2\r\n\r\n{}")
    assert (failed.retry_after_s, failed.generation) == (7, "gen-1")


def test_of_a_compressed_error_only_the_status_counts() -> None:
    failed = failure(
        b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
        % (len(SHORTAGE), SHORTAGE.encode())
    )
    assert failed.code == "upstream.invalid"


def test_an_answer_in_an_encoding_that_was_not_asked_for_is_named() -> None:
    failed = failure(HEAD + b"Content-Encoding: x-secret\r\nContent-Length: 5\r\n\r\nhello")
    assert "compressed" in failed.message
    assert "x-secret" not in failed.message


def test_identity_is_no_encoding() -> None:
    async def scene(upstream: ModelUpstream, far: Far) -> None:
        assert await fetch(upstream, dispatch(far.url)) == b"hello"

    play(scene, HEAD + b"Content-Encoding: Identity\r\nContent-Length: 5\r\n\r\nhello")


SHORTAGE = json.dumps({"error": {"availability": {"code": "capacity_exhausted", "retry_after": 12}}, "user_id": "u"})
REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(SHORTAGE)


def test_an_error_that_comes_in_pieces_is_read_whole() -> None:
    failed = failure(REFUSED, *(byte.encode() for byte in SHORTAGE))
    assert (failed.code, failed.retry_after_s, failed.billed) == ("upstream.overloaded", 12, False)


@pytest.mark.parametrize("rest", [[], [SILENT]], ids=["cut", "silent"])
def test_of_half_an_error_only_the_status_counts(rest: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.edge.enforce.model.ERROR_BODY_S", 0.05)
    assert failure(REFUSED, SHORTAGE[:30].encode(), *rest).code == "upstream.invalid"


def test_an_error_without_end_is_read_to_a_bound() -> None:
    endless = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert failure(endless, SILENT).code == "upstream.overloaded"


def test_a_redirect_is_not_followed() -> None:
    failed = failure(b"HTTP/1.1 302 Found\r\nLocation: /api/v1/other\r\nContent-Length: 0\r\n\r\n")
    assert (failed.code, failed.status) == ("upstream.error", 302)


BROKEN: dict[str, list[bytes]] = {
    "at once": [],
    "in the head": [b"HTTP/1.1 200"],
    "no http": [b"SSH-2.0-OpenSSH_9\r\n\r\n"],
    "lying length": [HEAD + b"Content-Length: 100\r\n\r\nhello"],
    "half a chunk": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n20\r\nhello"],
    "no gzip": [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"],
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
def test_an_answer_that_breaks_off_may_have_been_billed(script: list[bytes]) -> None:
    failed = failure(*script)
    assert (failed.code, failed.billed, failed.retryable, failed.answer) == ("upstream.cut", True, False, Answer.WAIT)


@pytest.mark.parametrize("script", [[SILENT], [HEAD + b"Content-Length: 9\r\n\r\nhello", SILENT]], ids=["head", "body"])
@pytest.mark.parametrize("clock", ["deadline", "silence"])
def test_an_answer_that_takes_too_long_may_have_been_billed(
    script: list[Any], clock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if clock == "silence":
        monkeypatch.setattr("agentd.edge.enforce.model.SILENCE_S", 0.05)
    failed = failure(*script, by=permit(0.05 if clock == "deadline" else 20.0))
    assert (failed.code, failed.billed, failed.retryable) == ("upstream.timeout", True, False)


def unreachable(url: str) -> AgentdError:
    async def run() -> AgentdError:
        async with ModelUpstream(Way(lambda _name: Shown(), SystemClock())) as upstream:
            with pytest.raises(UpstreamFailed) as failed:
                await fetch(upstream, dispatch(url))
            return failed.value

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["127.0.0.1", "nobody.invalid"])
def test_where_nobody_listens_nothing_was_billed(name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        failed = unreachable(f"http://{name}:{closed.getsockname()[1]}/")
    assert isinstance(failed, UpstreamFailed)
    assert (failed.code, failed.billed, failed.retryable) == ("upstream.unreachable", False, True)
    assert ("connection refused" if name == "127.0.0.1" else "name cannot be resolved") in failed.message


def test_a_connection_that_does_not_come_about_was_not_billed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.edge.enforce.model.CONNECT_S", 0.05)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # one fits into the queue; the kernel leaves the next without an answer
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        failed = unreachable(f"http://127.0.0.1:{full.getsockname()[1]}/")
    assert isinstance(failed, UpstreamFailed)
    assert (failed.code, failed.billed, failed.retryable) == ("upstream.unreachable", False, True)


@pytest.mark.parametrize("script", [[HEAD + b"Content-Length: 9\r\n\r\nhello", SILENT], [GOOD]], ids=["half", "whole"])
def test_an_abort_ends_the_reading_even_of_what_was_whole(script: list[Any]) -> None:
    async def aborting(upstream: ModelUpstream, far: Far) -> None:
        async with upstream.open(permit(), dispatch(far.url)) as reply:
            async for chunk in reply.chunks():
                assert chunk == b"hello"
                reply.abort()

    async def scene(upstream: ModelUpstream, far: Far) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await aborting(upstream, far)
        assert failed.value.code == "upstream.cut"
        await far.gone.wait()

    play(scene, *script)
