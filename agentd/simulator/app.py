"""The simulator as an aiohttp application: routes, the key, the log of arrivals. `simulator_app` is all that its hosts need:
agentd itself serves it on a private socket under `--simulate`, and `python -m agentd.simulator` as a process of its own.

A further API is a grammar in `GRAMMARS`. `/__sim/books` shows the books; it exists only here.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from agentd.simulator.books import Books, record_of
from agentd.simulator.chat import Chat, compact
from agentd.simulator.config import SimulatorConfig
from agentd.simulator.engine import Engine
from agentd.simulator.listing import PAGE, endpoints_of, find, key_record, model_list, model_record, zdr_list
from agentd.simulator.messages import Messages
from agentd.simulator.problems import TYPE_OF_STATUS, of_type, unavailable
from agentd.simulator.responses import Responses
from agentd.simulator.words import Grammar, Json, Problem
from agentd.simulator.writer import JSON_TYPE, LABEL, Writer, problem_response

BASE: Final = "/api/v1"
GRAMMARS: Final[Mapping[str, Grammar]] = {
    "/chat/completions": Chat(),
    "/messages": Messages(),
    "/responses": Responses(),
}
"""By path under `BASE`."""

BOOKS: Final = web.AppKey("books", Books)
ENGINE: Final = web.AppKey("engine", Engine)
WRITER: Final = web.AppKey("writer", Writer)
MAX_BODY: Final = 64 * 1024 * 1024
"""Bytes of a request: above anything that agentd lets through, so that the limit under test is agentd's own."""

SECRET_HEADERS: Final = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
OPEN_PREFIX: Final = "/__sim/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def simulator_app(config: SimulatorConfig) -> web.Application:
    """A simulator with books and caches of its own. Must be called where an event loop runs or will run it."""
    app = web.Application(middlewares=[_guard], client_max_size=MAX_BODY)
    engine = Engine(config)
    app[ENGINE], app[BOOKS], app[WRITER] = engine, engine.books, Writer(engine.books)
    for path in GRAMMARS:
        app.router.add_post(BASE + path, _infer)
    for path, handler in READS.items():
        app.router.add_get(path, handler)
    app.on_shutdown.append(_stop)
    return app


async def _stop(app: web.Application) -> None:
    """Let waiting clients go, so that a shutdown need not wait for them."""
    app[WRITER].stop()


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log the arrival, check the key, and put every error into the API's own shape."""
    config = request.app[ENGINE].config
    grammar = GRAMMARS.get(request.path.removeprefix(BASE), GRAMMARS["/chat/completions"])
    try:
        if config.log is not None:
            config.log(_arrival(request, await request.read(), config.wall_ns()))
        if not (request.path.startswith(OPEN_PREFIX) or _has_key(request, config.key)):
            return problem_response(grammar, of_type("authentication"), None)
        return await handler(request)
    except web.HTTPException as error:
        kind = TYPE_OF_STATUS.get(error.status, "invalid_request")
        return problem_response(grammar, Problem(error.status, kind, error.reason), None)


def _has_key(request: web.Request, key: str | None) -> bool:
    """Whether the request bears the key, as a bearer token."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        return False
    return key is None or hmac.compare_digest(given.strip().encode(), key.encode())


def _arrival(request: web.Request, body: bytes, now_ns: int) -> Json:
    """What the log keeps of a request: all of it, but for secrets."""
    return {
        "at_ns": now_ns,
        "method": request.method,
        "path": request.path_qs,
        "headers": [[name, value] for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS],
        "sha256": hashlib.sha256(body).hexdigest(),
        "body": body.decode(errors="replace"),
    }


async def _infer(request: web.Request) -> web.StreamResponse:
    """POST to a model."""
    grammar = GRAMMARS[request.path.removeprefix(BASE)]
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        return problem_response(grammar, of_type("invalid_request", "The body is not JSON"), None)
    if not isinstance(body, dict):
        return problem_response(grammar, of_type("invalid_request", "The body is not a JSON object"), None)
    headers = {name.lower(): value for name, value in request.headers.items()}
    served = request.app[ENGINE].serve(grammar, body, headers)
    return await request.app[WRITER].write(request, grammar, served)


async def _models(request: web.Request) -> web.Response:
    """A page of the list."""
    try:
        offset, limit = int(request.query.get("offset", 0)), int(request.query.get("limit", PAGE))
    except ValueError:
        raise web.HTTPBadRequest(reason="offset and limit must be whole numbers") from None
    return _json(model_list(request.app[ENGINE].config, max(0, offset), max(1, limit)))


async def _model(request: web.Request) -> web.Response:
    """One model, or its endpoints."""
    name = f"{request.match_info['author']}/{request.match_info['slug']}"
    found = find(request.app[ENGINE].config, name)
    if found is None:
        return problem_response(GRAMMARS["/chat/completions"], unavailable("no_endpoints", name), None)
    return _json(endpoints_of(*found) if request.path.endswith("/endpoints") else {"data": model_record(*found)})


async def _generation(request: web.Request) -> web.Response:
    """The accounting record of a generation."""
    record = request.app[BOOKS].lookup(request.query.get("id", ""))
    if record is None:
        raise web.HTTPNotFound(reason="Generation not found")
    return _json({"data": record})


async def _key(request: web.Request) -> web.Response:
    return _json(key_record(request.app[ENGINE].config, request.app[BOOKS]))


async def _credits(request: web.Request) -> web.Response:
    raise web.HTTPForbidden(reason="Only management keys can perform this operation")


async def _zdr(request: web.Request) -> web.Response:
    return _json(zdr_list(request.app[ENGINE].config))


async def _books(request: web.Request) -> web.Response:
    """The books, whole. No such path exists at the real service."""
    books = request.app[BOOKS]
    entries = [{**record_of(entry), "cost_nusd": entry.cost, "api": entry.api} for entry in books.entries]
    totals = {"total_nusd": books.total, "total_spend_nusd": books.total_spend}
    return _json({"simulated": True, **totals, "generations": entries})


def _json(data: Json) -> web.Response:
    """A JSON answer with the simulator's label."""
    return web.Response(body=compact(data), content_type=JSON_TYPE, headers={"Server": LABEL})


READS: Final[Mapping[str, Handler]] = {
    BASE + "/models": _models,
    BASE + "/models/user": _models,
    BASE + "/model/{author}/{slug}": _model,
    BASE + "/models/{author}/{slug}/endpoints": _model,
    BASE + "/endpoints/zdr": _zdr,
    BASE + "/generation": _generation,
    BASE + "/key": _key,
    BASE + "/credits": _credits,
    OPEN_PREFIX + "books": _books,
}
"""What can be read, by path."""
