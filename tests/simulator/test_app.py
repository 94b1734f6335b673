"""The application in process, as agentd hosts it: lists, accounting, the log of arrivals, the books."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from agentd.core.accounting.price import parse_price
from agentd.simulator import BOOKS, SimulatorConfig, simulator_app
from simulator.served import CATALOGUE, CHEAP, DEAR, KEY, PATHS, Hands, asked

Talk = Callable[[aiohttp.ClientSession, web.Application], Awaitable[None]]


def hosted(directory: Path, talk: Talk, **config: Any) -> None:
    """Serve an application on a Unix socket, and talk to it."""

    async def run() -> None:
        app = simulator_app(SimulatorConfig(CATALOGUE, Hands(), **config))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(directory / "s")).start()
            connector = aiohttp.UnixConnector(str(directory / "s"))
            headers = {"Authorization": f"Bearer {KEY}"}
            async with aiohttp.ClientSession("http://sim", connector=connector, headers=headers) as session:
                await talk(session, app)
        finally:
            await runner.cleanup()

    asyncio.run(run())


async def read(session: aiohttp.ClientSession, path: str) -> tuple[int, dict[str, Any]]:
    async with session.get(path) as response:
        return response.status, await response.json()


async def ask(session: aiohttp.ClientSession, api: str, body: object) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post(PATHS[api], data=data) as response:
        return response.status, await response.json()


def test_the_model_list_has_every_price_and_a_trap(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        for path in ("/api/v1/models", "/api/v1/models/user"):
            status, listed = await read(session, path)
            assert status == 200
            models = {model["id"]: model for model in listed["data"]}
            assert parse_price(models.pop("openrouter/auto")["pricing"]) is None
            assert models.keys() == CATALOGUE.entries.keys() - {DEAR}
            for name, model in models.items():
                assert parse_price(model["pricing"]) == CATALOGUE.prices[name]
                assert model["top_provider"]["max_completion_tokens"] == CATALOGUE.entries[name].max_output
            assert listed["total_count"] == len(models) + 1

    hosted(tmp_path, talk, vanished=frozenset({DEAR}))


def test_the_model_list_comes_in_pages(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        whole = (await read(session, "/api/v1/models"))[1]
        assert whole["links"]["next"] is None
        paged: list[str] = []
        target: str | None = "/api/v1/models?limit=9"
        while target is not None:
            _, page = await read(session, target)
            assert page["total_count"] == whole["total_count"]
            assert 0 < len(page["data"]) <= 9
            paged += [model["id"] for model in page["data"]]
            target = page["links"]["next"]
        assert paged == [model["id"] for model in whole["data"]]
        assert (await read(session, f"/api/v1/models?offset={len(paged)}"))[1]["data"] == []
        assert (await read(session, "/api/v1/models?limit=many"))[0] == 400

    hosted(tmp_path, talk)


def test_single_models_and_endpoints(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        status, body = await read(session, f"/api/v1/model/{CHEAP}")
        assert (status, body["data"]["id"]) == (200, CHEAP)
        status, body = await read(session, f"/api/v1/models/{DEAR}/endpoints")
        assert [endpoint["tag"] for endpoint in body["data"]["endpoints"]] == [
            "anthropic",
            "google-vertex",
            "amazon-bedrock",
        ]
        status, body = await read(session, "/api/v1/endpoints/zdr")
        assert {endpoint["tag"] for endpoint in body["data"] if endpoint["model_id"] == DEAR} == {
            "google-vertex",
            "amazon-bedrock",
        }
        assert (await read(session, "/api/v1/model/acme/none"))[0] == 404

    hosted(tmp_path, talk)


def test_accounting(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        _, answer = await ask(session, "chat", asked("[[sim:long 50]]"))
        path = f"/api/v1/generation?id={answer['id']}"
        assert [(await read(session, path))[0] for _ in range(3)] == [404, 404, 200]
        _, record = await read(session, path)
        assert record["data"]["total_cost"] == answer["usage"]["cost"]
        assert record["data"]["native_tokens_completion"] == 50
        _, key = await read(session, "/api/v1/key")
        assert key["data"]["usage_daily"] == answer["usage"]["cost"]
        assert key["data"]["limit_remaining"] == 50 - answer["usage"]["cost"]
        assert key["data"]["is_management_key"] is False
        _, books = await read(session, "/__sim/books")
        assert books["simulated"] is True
        assert books["total_nusd"] == app[BOOKS].total == round(answer["usage"]["cost"] * 10**9)
        assert (await read(session, "/api/v1/generation?id=gen-other"))[0] == 404
        assert (await read(session, "/api/v1/generation"))[0] == 404

    hosted(tmp_path, talk, late=2)


def test_what_is_not_served(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        for path, status in {"/api/v1/credits": 403, "/api/v1/keys": 404, "/api/v1/messages": 405, "/": 404}.items():
            found, body = await read(session, path)
            assert (found, "error" in body) == (status, True), path

    hosted(tmp_path, talk)


def test_bodies_that_are_no_requests(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        for body in (b"", b"{", b"[]", b'"hello"', b"[" * 100_000):
            status, answer = await ask(session, "chat", body)
            assert (status, answer["error"]["metadata"]["error_type"]) == (400, "invalid_request")
            status, answer = await ask(session, "messages", body)
            assert (status, answer["error"]["type"]) == (400, "invalid_request_error")

    hosted(tmp_path, talk)


def test_arrivals_are_logged_whole_and_without_the_key(tmp_path: Path) -> None:
    arrivals: list[dict[str, Any]] = []

    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        await ask(session, "chat", asked("[[sim:fault status:500]]", extra={"ü": 1}))
        await ask(session, "messages", b"not json")
        async with session.get(
            "/api/v1/models", headers={"Authorization": "", "X-Api-Key": KEY, "Cookie": KEY}
        ) as response:
            assert response.status == 401

    hosted(tmp_path, talk, log=arrivals.append)
    assert [(arrival["method"], arrival["path"]) for arrival in arrivals] == [
        ("POST", PATHS["chat"]),
        ("POST", PATHS["messages"]),
        ("GET", "/api/v1/models"),
    ]
    assert json.loads(arrivals[0]["body"])["extra"] == {"ü": 1}
    assert len(arrivals[0]["sha256"]) == 64
    assert KEY not in json.dumps(arrivals)


def test_any_key_will_do_where_none_is_set_and_only_the_key_where_one_is(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        assert (await read(session, "/api/v1/key"))[0] == 200

    async def fail(session: aiohttp.ClientSession, app: web.Application) -> None:
        assert (await read(session, "/api/v1/key"))[0] == 401
        assert (await read(session, "/__sim/books"))[0] == 200

    hosted(tmp_path, talk)
    hosted(tmp_path, talk, key=KEY)
    hosted(tmp_path, fail, key=KEY + "x")


def test_two_simulators_share_nothing(tmp_path: Path) -> None:
    first, second = (simulator_app(SimulatorConfig(CATALOGUE, Hands())) for _ in range(2))
    assert first[BOOKS] is not second[BOOKS]


def test_a_stop_does_not_wait_for_silence(tmp_path: Path) -> None:
    async def talk(session: aiohttp.ClientSession, app: web.Application) -> None:
        request = session.post(PATHS["chat"], json=asked("[[sim:fault hang-mid]]", stream=True))
        response = await request
        assert response.status == 200
        await response.content.readany()
        response.close()

    hosted(tmp_path, talk)
