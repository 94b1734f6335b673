"""Calls over TLS: to whom a request is shown, and what is said when it is not."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.calls import Dialect
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.receipts import Permit, Receipt
from agentd.core.types.verdicts import Allow, ModelLimits, Reason
from agentd.edge.enforce.model import ModelUpstream, Way
from agentd.edge.host.clock import SystemClock
from agentd.gate.ports import Dispatch, Endpoint
from edge.enforce.authority import Authority, authority
from edge.enforce.far import LOOPS, OK, Scene, answering, request, run, serving

EACH_LOOP = pytest.mark.parametrize("loop", LOOPS)
PERMIT = Permit(Allow(Reason("ok", "rule", "yes"), ModelLimits("t", "m/one", "far", 100, 1000, 20.0)), Receipt(1, "00"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(autouse=True)
def _trusted(ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.file))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


def nobodys_key(_name: str) -> Any:
    raise AssertionError("a keyless upstream asks for no key")


async def fetch(upstream: ModelUpstream, url: str) -> bytes:
    asked = Dispatch(Endpoint("far", "openai", url, None), Dialect.CHAT, b'{"x":1}', False)
    async with upstream.open(PERMIT, asked) as reply:
        return b"".join([piece async for piece in reply.chunks()])


async def fetched(url: str, times: int = 1) -> list[bytes]:
    async with ModelUpstream(Way(nobodys_key, SystemClock())) as upstream:
        return [await fetch(upstream, url) for _ in range(times)]


def failure(loop: str, host: str, context: ssl.SSLContext | None, scene: Scene = answering) -> UpstreamFailed:
    """How a call to a server with this certificate fails, and that the request was not shown to it."""
    seen: list[UpstreamFailed] = []

    async def whole() -> None:
        async with serving(scene, context) as port:
            with pytest.raises(UpstreamFailed) as failed:
                await fetched(f"https://{host}:{port}/v1")
            seen.append(failed.value)

    run(loop, whole())
    return seen[0]


@EACH_LOOP
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_trusted_service_is_called_and_its_connection_used_again(loop: str, host: str, ours: Authority) -> None:
    context = ours.context("localhost", "127.0.0.1")
    context.set_alpn_protocols(["h2", "http/1.1"])
    spoken: list[str | None] = []

    async def noting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(reader, writer)

    async def whole() -> None:
        async with serving(noting, context) as port:
            assert await fetched(f"https://{host}:{port}/v1", times=3) == [b"hello"] * 3

    run(loop, whole())
    assert spoken == ["http/1.1"]


@EACH_LOOP
@pytest.mark.parametrize("size", [0, 1, 1 << 20])
def test_a_long_answer_comes_whole(loop: str, size: int, ours: Authority) -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        await writer.drain()

    async def whole() -> None:
        async with serving(long, ours.context("localhost")) as port:
            assert await fetched(f"https://localhost:{port}/v1") == [b"x" * size]

    run(loop, whole())


@EACH_LOOP
def test_a_stranger_is_shown_nothing(loop: str, tmp_path: Path) -> None:
    shown: list[bytes] = []

    async def curious(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        shown.append(await reader.read())

    failed = failure(loop, "localhost", authority(tmp_path).context("localhost"), curious)
    assert (failed.code, failed.billed, failed.retryable) == ("upstream.unreachable", False, True)
    assert "certificate is not accepted" in failed.message
    assert "clock" in failed.hint
    assert "ca-certificates" in failed.hint
    assert b"".join(shown) == b""


@EACH_LOOP
@pytest.mark.parametrize(
    ("names", "days", "words"),
    [(["far.example"], 1, "not valid for 'localhost'"), (["localhost"], -1, "expired")],
    ids=["another name", "expired"],
)
def test_why_a_certificate_is_not_accepted(loop: str, names: list[str], days: int, words: str, ours: Authority) -> None:
    failed = failure(loop, "localhost", ours.context(*names, days=days))
    assert failed.code == "upstream.unreachable"
    assert words in failed.message


@EACH_LOOP
def test_a_service_without_tls_is_not_spoken_to(loop: str) -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    failed = failure(loop, "127.0.0.1", None, plain)
    assert (failed.code, failed.billed) == ("upstream.unreachable", False)
    assert "TLS" in failed.message


@EACH_LOOP
def test_a_handshake_that_stalls_was_not_billed(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.edge.enforce.model.CONNECT_S", 0.1)

    async def stalling(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()
        gone.set()

    gone = asyncio.Event()
    failed = failure(loop, "127.0.0.1", None, stalling)
    assert (failed.code, failed.billed) == ("upstream.unreachable", False)
    assert "in time" in failed.message


@EACH_LOOP
@pytest.mark.parametrize("farewell", [True, False])
def test_an_answer_that_breaks_off_inside_tls_may_have_been_billed(loop: str, farewell: bool, ours: Authority) -> None:
    """With TLS's own farewell or without, as when somebody cuts the line."""

    async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK + b"Content-Length: 9\r\n\r\nhello")
        await writer.drain()
        if not farewell:
            writer.transport.abort()

    failed = failure(loop, "localhost", ours.context("localhost"), cutting)
    assert (failed.code, failed.billed) == ("upstream.cut", True)


@EACH_LOOP
def test_giving_up_is_heard_through_tls(loop: str, ours: Authority) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def working(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await request(reader)
        asked.set()
        await reader.read()
        gone.set()

    async def whole() -> None:
        async with serving(working, ours.context("localhost")) as port:
            call = asyncio.create_task(fetched(f"https://localhost:{port}/v1"))
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await gone.wait()

    run(loop, whole())
