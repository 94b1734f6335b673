"""The agents' door: model calls in three dialects, the list of models, escalations.

Every path is served below `/v1` and `/api/v1`, query strings are ignored but for the pages of a list, and what is not served
is a quick 404 in the shape of the API's own errors: clients probe, and some take a strange answer for a broken provider. Who
asks is the kernel's word; the credentials that clients insist on sending are looked at over TCP alone (`tcp`), where they are
a local token.

What is refused here, because it never became a call, goes through the gate as well, to be recorded and worded there.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from aiohttp import web

from agentd import __version__
from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import WHOLE, Page
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.tokens import without_tokens
from agentd.edge.api.answers import internal, send
from agentd.edge.api.body import MAX_BODY, Bodies, BodyRefused
from agentd.edge.api.estimate import estimate_tokens
from agentd.edge.api.hints import beta_of, hints_of, version_of
from agentd.edge.api.protocol import connection_of, peer_of
from agentd.edge.api.server import REFUSER
from agentd.gate.ports import Answer, Arrival, ModelGate

OPENROUTER = "/api/v1"
"""The base path of OpenRouter's own API: who asks below it expects OpenRouter's ways, beside those of the dialect."""

PREFIXES = ("/v1", OPENROUTER)
MAX_DIGITS = 9  # of a place in a list
MAX_ASK = 64 * 1024  # bytes of an escalation, which is three words and a reason
THREAD_BYTES = 1 << 20  # a larger body is read in a thread, so that nobody else waits for it
JSON = "application/json"
CLOSING = frozenset({"request.too_large", "request.too_slow", "request.incomplete", "request.encoding"})
"""Refusals after which the rest of the body would be taken for the next request: the connection ends."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Admission = Callable[[web.Request, Dialect], Awaitable[Answer | None]]
"""Judges who sent a request; answers with a refusal, or None to let it go on."""

log = logging.getLogger(__name__)


def agent_app(gate: ModelGate, admission: Admission | None = None) -> web.Application:
    """The door as an application; serve it with `DoorServer`, which knows the peers. `admission` judges each request first,
    where the kernel's word alone does not say who asks (`tcp.TcpDoor`)."""
    return _AgentDoor(gate, admission).app()


class _AgentDoor:
    """One method per route: read the request, ask the gate, write the answer."""

    def __init__(self, gate: ModelGate, admission: Admission | None) -> None:
        self._gate = gate
        self._admission = admission
        self._bodies = Bodies()

    def app(self) -> web.Application:
        """Routes and guard."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await connection_of(request).keeper.run(self._answered(request, handler))

        app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
        app[REFUSER] = self._refuse_bytes
        for prefix in PREFIXES:
            self._post(app, f"{prefix}/chat/completions", self._chat)
            self._post(app, f"{prefix}/messages", self._messages)
            self._post(app, f"{prefix}/messages/count_tokens", self._count_tokens)
            self._post(app, f"{prefix}/responses", self._responses)
            app.router.add_get(f"{prefix}/models", self._models)
            app.router.add_get(f"{prefix}/models/user", self._models)
            app.router.add_get(f"{prefix}/models/count", self._count_models)
            app.router.add_get(f"{prefix}/models/{{id:.+}}", self._model)
            app.router.add_get(f"{prefix}/model/{{id:.+}}", self._wrapped_model)
            app.router.add_get(f"{prefix}/responses", self._websocket)
        self._post(app, "/agentd/v1/escalations", self._escalate)
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/", _root)
        return app

    def _post(self, app: web.Application, path: str, handler: Handler) -> None:
        app.router.add_post(path, handler, expect_handler=self._expect)

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """An answer, whatever happens: a refusal for what the client did, an apology for what we did."""
        try:
            refusal = await self._admission(request, _dialect(request)) if self._admission else None
            return await (handler(request) if refusal is None else send(request, _dialect(request), refusal))
        except BodyRefused as error:
            response = await self._refuse(request, error.code, f"{error.message}. {error.hint}".rstrip(" ."))
            if error.code in CLOSING:
                response.force_close()
            return response
        except web.HTTPMethodNotAllowed as error:
            return await self._refuse_method(request, sorted(error.allowed_methods))
        except web.HTTPException:  # no route: aiohttp raises nothing else before a handler of ours
            return await self._refuse(request, "request.unknown_route", f"agentd does not serve {_told(request)}")
        except ConnectionError:
            raise
        except Exception:  # whatever our fault is, the client is told in its dialect, and the operator in the log
            log.exception("a request failed because of a fault of agentd")
            return await self._apologise(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._govern(request, Dialect.CHAT)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        return await self._govern(request, Dialect.MESSAGES)

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._govern(request, Dialect.RESPONSES)

    async def _govern(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        """A model call: all of it goes to the gate, all that comes back goes to the client."""
        with self._bodies.taken_from(request) as body:
            content = await body.read()
            arrival = Arrival(
                peer_of(request),
                dialect,
                content,
                hints_of(request),
                beta_of(request),
                version_of(request),
                metered=request.path.startswith(OPENROUTER),
            )
            return await send(request, dialect, await self._gate.govern(arrival))

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        """A local estimate; the header says that it is one."""
        if not self._gate.models(peer_of(request)):
            return await self._refuse_stranger(request)
        with self._bodies.taken_from(request) as body:
            content = await body.read()
            try:
                large = len(content) > THREAD_BYTES
                tokens = await asyncio.to_thread(estimate_tokens, content) if large else estimate_tokens(content)
            except ValueError as error:
                return await self._refuse(request, "request.malformed", str(error))
        return web.json_response({"input_tokens": tokens}, headers={"X-Agentd-Estimate": "true"})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        """What this caller may ask for."""
        offered = self._gate.models(peer_of(request))
        if not offered:
            return await self._refuse_stranger(request)
        return web.Response(body=grammar(_dialect(request)).models(offered, _page(request)), content_type=JSON)

    async def _count_models(self, request: web.Request) -> web.StreamResponse:
        """How many that are."""
        offered = self._gate.models(peer_of(request))
        if not offered:
            return await self._refuse_stranger(request)
        return web.json_response({"data": {"count": len(offered)}})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        """One of them."""
        return await self._one(request, lambda entry: entry)

    async def _wrapped_model(self, request: web.Request) -> web.StreamResponse:
        """The same by OpenRouter's own path and in its wrapping."""
        return await self._one(request, lambda entry: {"data": entry})

    async def _one(self, request: web.Request, shape: Callable[[Any], Any]) -> web.StreamResponse:
        """The model of the path; ids may hold slashes."""
        name = request.match_info["id"]
        offered = self._gate.models(peer_of(request))
        if not offered:
            return await self._refuse_stranger(request)
        entry = next((entry for entry in offered if entry["id"] == name), None)
        if entry is None:
            return await self._refuse(request, "request.unknown_model", f"no model {name[:200]!r} is offered to you")
        listed = msgspec.json.decode(grammar(_dialect(request)).models([entry]))
        return web.Response(body=msgspec.json.encode(shape(listed["data"][0])), content_type=JSON)

    async def _escalate(self, request: web.Request) -> web.StreamResponse:
        """An agent asks for a dearer tier."""
        with self._bodies.taken_from(request) as body:
            ask = _json_object(await body.read(MAX_ASK))
        if ask is None:
            return await self._refuse(
                request, "request.malformed", "an escalation is a JSON object: class, tier, reason"
            )
        return await send(request, Dialect.CHAT, await self._gate.escalate(peer_of(request), hints_of(request), ask))

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        """Codex tries a WebSocket first and takes plain HTTP when it is told that there is none."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"])
        message = "agentd speaks HTTP with server-sent events here, no WebSocket"
        error = {"error": {"code": 426, "type": "invalid_request_error", "message": message}}
        response = web.json_response(error, status=426, headers={"Upgrade": "HTTP/1.1"})
        response.force_close()
        return response

    async def _expect(self, request: web.Request) -> None:
        """Ask for the body, unless it was announced as too large: that is refused without it."""
        if (request.content_length or 0) <= self._bodies.largest:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # nothing of the answer itself is sent yet

    async def _refuse(self, request: web.Request, code: str, message: str) -> web.StreamResponse:
        """Record and word a refusal."""
        dialect = _dialect(request)
        return await send(request, dialect, await self._gate.refuse(peer_of(request), dialect, code, message))

    async def _refuse_stranger(self, request: web.Request) -> web.StreamResponse:
        """Nothing is offered to this caller, so nothing is told."""
        return await self._refuse(request, "caller.unknown", "policy offers no model to this process")

    async def _refuse_method(self, request: web.Request, allowed: list[str]) -> web.StreamResponse:
        """The refusal of a method, with HTTP's own status for it, unless the gate had something graver to say."""
        dialect = _dialect(request)
        message = f"agentd does not serve {_told(request)}, only {', '.join(allowed)}"
        answer = await self._gate.refuse(peer_of(request), dialect, "request.unknown_route", message)
        if answer.status in (400, 404):
            answer = replace(answer, status=405, headers=(*answer.headers, ("Allow", ", ".join(allowed))))
        return await send(request, dialect, answer)

    async def _refuse_bytes(self, request: web.BaseRequest, peer: Peer, code: str, message: str) -> web.StreamResponse:
        """The refusal of bytes that are no request; nothing tells their dialect."""
        answer = await self._gate.refuse(peer, Dialect.CHAT, code, message.rstrip("."))
        return _whole(answer)

    async def _apologise(self, request: web.Request) -> web.StreamResponse:
        """The answer to our own fault, recorded if that can still be done."""
        dialect = _dialect(request)
        try:
            answer = await self._gate.refuse(
                peer_of(request), dialect, "daemon.internal", "agentd failed by a fault of its own"
            )
        except Exception:  # the gate may be what is broken; there is nothing left but to say so
            log.exception("a refusal failed because of a fault of agentd")
            answer = internal(dialect)
        return _whole(answer)


def _whole(answer: Answer) -> web.Response:
    """A refusal as a response; refusals are never streams."""
    return web.Response(status=answer.status, headers=answer.headers, body=answer.body or b"")


def _dialect(request: web.Request) -> Dialect:
    """In which dialect a client that asks for this is to be answered."""
    if "/messages" in request.path or version_of(request) is not None:
        return Dialect.MESSAGES
    return Dialect.RESPONSES if "/responses" in request.path else Dialect.CHAT


def _page(request: web.Request) -> Page:
    """Which part of a list is asked for; what is no number asks for nothing."""
    offset, limit = (_number(request.query.get(name)) for name in ("offset", "limit"))
    return Page(offset or WHOLE.offset, limit or WHOLE.limit)


def _number(text: str | None) -> int | None:
    """A plain number of at most nine digits."""
    return int(text) if text and len(text) <= MAX_DIGITS and text.isascii() and text.isdigit() else None


def _told(request: web.Request) -> str:
    """Method and path for a message, short and printable; a token that was put there by mistake belongs in no record."""
    text = without_tokens(f"{request.method} {request.path}")[:200]
    return "".join(char if char.isprintable() else "?" for char in text)


def _json_object(body: bytes) -> dict[str, Any] | None:
    """A JSON object, or None."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


async def _healthz(_request: web.Request) -> web.StreamResponse:
    """The daemon is there and its loop turns."""
    return web.json_response({"status": "ok"})


async def _root(_request: web.Request) -> web.StreamResponse:
    """Who answers here; some clients look before they call."""
    return web.json_response({"name": "agentd", "version": __version__, "models": "/v1/models", "health": "/healthz"})
