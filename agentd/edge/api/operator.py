"""The operator's door: HTTP with JSON over its own Unix socket, for `agentctl` and whatever else an operator writes.

All routes stand under `/operator/v1`. Answers are JSON; `logs?follow=1` and `raw` are newline-delimited JSON as it comes.
An error is `{"error": {"code", "message", "hint"}}` with a status that says what kind it is. Who asks is the kernel's word
(`peer_of`), and the desk may refuse them (`admit`) before anything is read of what they want."""

import base64
import json
import logging
from collections.abc import AsyncIterator, Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agentd.core.types.callers import Peer
from agentd.core.types.errors import AgentdError
from agentd.core.types.verdicts import Answer
from agentd.edge.api.operator_query import (
    flag,
    halt_ask,
    json_body,
    line_query,
    number,
    prune_ask,
    spend_ask,
    text_field,
    whole_field,
)
from agentd.edge.api.server import peer_of as peer_of_connection
from agentd.gate.ports_operator import Json, OperatorFace, OperatorRefused

PREFIX = "/operator/v1"

MAX_BODY = 2 * 2**20
"""Bytes of a request: a policy file is the largest thing an operator sends, and a real one has some 20 kB."""

STATUS = {Answer.INVALID: 400, Answer.DENY: 403, Answer.NOT_FOUND: 404, Answer.UNAVAILABLE: 503}
"""How a refusal by the desk is put in HTTP. What is not listed here (no record above all) is 503."""

PeerOf = Callable[[web.Request], Peer]

_log = logging.getLogger("agentd.operator")


def operator_app(face: OperatorFace, peer_of: PeerOf = peer_of_connection) -> web.Application:
    """The door as an application: `face` answers, `peer_of` tells who asks."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_guard(face, peer_of)])
    door = _Door(face, peer_of)
    app.add_routes([web.route(method, PREFIX + path, handler) for method, path, handler in door.routes()])
    app.router.add_get("/healthz", _healthz)
    return app


class _Door:
    """One method per route: read the question, ask the desk, write the answer."""

    def __init__(self, face: OperatorFace, peer_of: PeerOf) -> None:
        self._face = face
        self._peer = peer_of

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Every route."""
        return [
            ("GET", "/status", self.status),
            ("GET", "/logs", self.logs),
            ("GET", "/explain/{seq}", self.explain),
            ("GET", "/spend", self.spend),
            ("GET", "/keys", self.keys),
            ("PUT", "/keys/{name}", self.set_key),
            ("DELETE", "/keys/{name}", self.delete_key),
            ("GET", "/agents", self.agents),
            ("GET", "/tokens", self.tokens),
            ("POST", "/tokens", self.create_token),
            ("POST", "/tokens/rotate", self.rotate_token),
            ("DELETE", "/tokens/{id}", self.revoke_token),
            ("GET", "/policy", self.policy),
            ("GET", "/policy/history", self.policy_history),
            ("GET", "/policy/version/{digest}", self.policy),
            ("POST", "/policy/why", self.policy_why),
            ("POST", "/policy/test", self.policy_test),
            ("GET", "/raw", self.raw),
            ("GET", "/anchor", self.anchor),
            ("GET", "/sums", self.sums),
            ("POST", "/prune", self.prune),
            ("GET", "/halts", self.halts),
            ("POST", "/halt", self.halt),
            ("POST", "/resume", self.resume),
            ("GET", "/doctor", self.doctor),
        ]

    async def status(self, _request: web.Request) -> web.Response:
        return _json(await self._face.status())

    async def logs(self, request: web.Request) -> web.StreamResponse:
        query = line_query(request.query, self._face.now_ns())
        if flag(request.query, "follow"):
            return await _stream(request, self._face.follow(query))
        return _json({"rows": await self._face.logs(query)})

    async def explain(self, request: web.Request) -> web.Response:
        return _json(await self._face.explain(number(request.match_info["seq"], "seq")))

    async def spend(self, request: web.Request) -> web.Response:
        return _json(await self._face.spend(spend_ask(request.query, self._face.now_ns())))

    async def keys(self, _request: web.Request) -> web.Response:
        return _json(await self._face.keys())

    async def set_key(self, request: web.Request) -> web.Response:
        value = text_field(await json_body(request), "value")
        return _json(await self._face.set_key(self._peer(request), request.match_info["name"], value))

    async def delete_key(self, request: web.Request) -> web.Response:
        return _json(await self._face.delete_key(self._peer(request), request.match_info["name"]))

    async def agents(self, _request: web.Request) -> web.Response:
        return _json(await self._face.agents())

    async def tokens(self, _request: web.Request) -> web.Response:
        return _json(await self._face.tokens())

    async def create_token(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        agent, life_s = text_field(body, "agent"), whole_field(body, "expires_s")
        return _json(await self._face.create_token(self._peer(request), agent, life_s))

    async def rotate_token(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        agent, life_s, grace_s = text_field(body, "agent"), whole_field(body, "expires_s"), whole_field(body, "grace_s")
        return _json(await self._face.rotate_token(self._peer(request), agent, life_s, grace_s))

    async def revoke_token(self, request: web.Request) -> web.Response:
        return _json(await self._face.revoke_token(self._peer(request), request.match_info["id"]))

    async def policy(self, request: web.Request) -> web.Response:
        return _json(await self._face.policy(request.match_info.get("digest")))

    async def policy_history(self, _request: web.Request) -> web.Response:
        return _json({"versions": await self._face.policy_history()})

    async def policy_why(self, request: web.Request) -> web.Response:
        return _json(await self._face.policy_why(await json_body(request)))

    async def policy_test(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        text = text_field(body, "text") if "text" in body else None
        source = text_field(body, "source") if "source" in body else "policy.yaml"
        return _json(await self._face.policy_test(text, source))

    async def raw(self, request: web.Request) -> web.StreamResponse:
        first = number(request.query.get("first", "1"), "first")
        return await _stream(request, _raw_rows(self._face.raw(first)))

    async def anchor(self, _request: web.Request) -> web.Response:
        return _json(await self._face.anchor())

    async def sums(self, _request: web.Request) -> web.Response:
        return _json(await self._face.sums())

    async def prune(self, request: web.Request) -> web.Response:
        ask = prune_ask(await json_body(request), self._face.now_ns())
        return _json(await self._face.prune(self._peer(request), ask))

    async def halts(self, _request: web.Request) -> web.Response:
        return _json({"halts": await self._face.halts()})

    async def halt(self, request: web.Request) -> web.Response:
        ask = halt_ask(await json_body(request))
        return _json(await self._face.halt(self._peer(request), ask))

    async def resume(self, request: web.Request) -> web.Response:
        ask = halt_ask(await json_body(request))
        return _json(await self._face.resume(self._peer(request), ask))

    async def doctor(self, _request: web.Request) -> web.Response:
        return _json({"checks": await self._face.doctor()})


async def _raw_rows(raws: AsyncIterator[tuple[int, bytes, str]]) -> AsyncIterator[Json]:
    """Lines with their bytes in base64: a damaged line need not be UTF-8, and must travel as it is."""
    async for seq, body, digest in raws:
        yield {"seq": seq, "digest": digest, "body": base64.b64encode(body).decode("ascii")}


async def _stream(request: web.Request, rows: AsyncIterator[Json]) -> web.StreamResponse:
    """Rows as lines of JSON, each sent at once. The rows are closed when the client is gone."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        async for row in rows:
            await response.write(json.dumps(row).encode() + b"\n")
        await response.write_eof()
    except ConnectionError:
        _log.debug("a reader hung up")
    finally:
        close = getattr(rows, "aclose", None)
        if close is not None:
            await close()
    return response


async def _healthz(_request: web.Request) -> web.Response:
    return _json({"status": "ok"})


def _guard(face: OperatorFace, peer_of: PeerOf) -> Middleware:
    """Admission first, and every failure in one shape."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if request.path != "/healthz":
                await face.admit(peer_of(request))
            return await handler(request)
        except OperatorRefused as refused:
            return _error(STATUS.get(refused.answer, 503), refused)
        except AgentdError as failed:
            return _error(503, failed)
        except web.HTTPException as http:
            hint = "agentctl and the daemon may be of different versions: agentctl status"
            return _error(
                http.status, AgentdError("request.invalid", f"{request.method} {request.path}: {http.reason}", hint)
            )
        # An unforeseen fault of this room must reach the operator as an answer and the log, not as a closed socket.
        except Exception:  # noqa: BLE001 - said above
            _log.exception("the operator's door failed")
            return _error(500, AgentdError("operator.failed", "agentd failed to answer.", "See the daemon's log."))

    return guard


def _error(status: int, error: AgentdError) -> web.Response:
    return _json({"error": {"code": error.code, "message": error.message, "hint": error.hint}}, status)


def _json(data: Json, status: int = 200) -> web.Response:
    return web.Response(body=json.dumps(data).encode(), status=status, content_type="application/json")
