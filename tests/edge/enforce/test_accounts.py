"""Questions beside the calls, over real sockets: what is asked, what comes back, and how they fail."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agentd.core.types.errors import UpstreamFailed
from agentd.edge.enforce import accounts as module
from agentd.edge.enforce.accounts import UpstreamAccounts
from agentd.edge.enforce.model import SIMULATOR_KEY, ModelUpstream, Way
from agentd.edge.host.clock import SystemClock
from agentd.gate.ports import Endpoint

KEY = "sk-or-v1-secret"


class Shown:
    def reveal(self) -> str:
        return KEY


def answer(body: bytes, status: int = 200) -> bytes:
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


Scene = Callable[[UpstreamAccounts, Endpoint], Awaitable[None]]


def play(scene: Scene, reply: bytes, simulator: str | None = None) -> list[str]:
    """Run a scene against an upstream with one answer for everything; the heads that it saw."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(reply)
        await writer.drain()
        writer.close()

    async def run() -> None:
        if simulator is None:
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        else:
            server, url = await asyncio.start_unix_server(serve, simulator), "https://never.example/api/v1"
        clock = SystemClock()
        async with server, ModelUpstream(Way(lambda _name: Shown(), clock, simulator)) as upstream:
            await scene(UpstreamAccounts(upstream, clock), Endpoint("or", "openrouter", url, "openrouter"))

    asyncio.run(run())
    return heads


def test_each_question_is_one_get_with_the_key() -> None:
    async def scene(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        assert await accounts.generation(endpoint, "gen-1&limit=2") == b"{}"
        assert await accounts.key(endpoint) == b"{}"
        assert await accounts.models(endpoint) == b"{}"
        assert await accounts.private(endpoint) == b"{}"

    heads = play(scene, answer(b"{}"))
    paths = ["/generation?id=gen-1%26limit%3D2", "/key", "/models", "/endpoints/zdr"]
    assert [head.split(" HTTP")[0] for head in heads] == [f"GET /api/v1{path}" for path in paths]
    assert all(f"Authorization: Bearer {KEY}\r\n" in head for head in heads)


def test_a_key_that_is_not_in_use_yet_can_be_asked_about() -> None:
    async def scene(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        await accounts.key(endpoint, "sk-or-v1-other")

    (head,) = play(scene, answer(b"{}"))
    assert "Bearer sk-or-v1-other\r\n" in head
    assert KEY not in head


def test_the_simulator_is_asked_where_it_stands_in(tmp_path: Any) -> None:
    async def scene(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        await accounts.generation(endpoint, "gen-1")

    (head,) = play(scene, answer(b"{}"), str(tmp_path / "sim.sock"))
    assert f"Bearer {SIMULATOR_KEY}\r\n" in head


def test_a_call_that_is_not_known_yet_is_none() -> None:
    async def scene(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        assert await accounts.generation(endpoint, "gen-1") is None
        with pytest.raises(UpstreamFailed):
            await accounts.models(endpoint)

    play(scene, answer(b'{"error":{"code":404,"message":"Generation not found"}}', 404))


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(b"no", 401), "upstream.key_refused"),
        (answer(b"no" * 80_000, 500), "upstream.error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "upstream.cut"),
        (b"nonsense\r\n\r\n", "upstream.cut"),
        (answer(b"x" * 2_000), "upstream.error"),
    ],
    ids=["key", "long error", "half", "nonsense", "too long"],
)
def test_what_is_no_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch, reply: bytes, code: str) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1_000)

    async def scene(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        with pytest.raises(UpstreamFailed) as failed:
            await accounts.generation(endpoint, "gen-1")
        assert failed.value.code == code

    play(scene, reply)


def test_an_upstream_that_is_not_there_or_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(accounts: UpstreamAccounts, _endpoint: Endpoint) -> None:
        away = Endpoint("or", "openrouter", "http://127.0.0.1:1/api/v1", "openrouter")
        with pytest.raises(UpstreamFailed) as failed:
            await accounts.key(away)
        assert failed.value.code == "upstream.unreachable"

    async def silent(accounts: UpstreamAccounts, endpoint: Endpoint) -> None:
        monkeypatch.setattr(module, "ANSWER_S", 0.01)
        async with await asyncio.start_server(lambda _r, _w: asyncio.Event().wait(), "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(UpstreamFailed) as failed:
                await accounts.key(Endpoint("or", "openrouter", url, "openrouter"))
            server.close_clients() if hasattr(server, "close_clients") else None
        assert failed.value.code == "upstream.timeout"

    play(nobody, b"")
    play(silent, b"")
