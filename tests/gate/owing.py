"""The world that affairs with an upstream need, replaced by scripts: its accounting, and what the record knows to be owed."""

import json
from dataclasses import dataclass, field
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer
from agentd.gate.ports import Endpoint
from builders import NOON

ENDPOINT = Endpoint("or", "openrouter", "https://up.example/api/v1", "or")


def unreachable() -> UpstreamFailed:
    return UpstreamFailed("upstream.unreachable", "no way there", status=0, retryable=True, answer=Answer.WAIT)


def record_of(cost: float | None = 0.0001, **more: Any) -> bytes:
    """An accounting record; 100 tokens in, 7 out."""
    data = {"total_cost": cost, "native_tokens_prompt": 100, "native_tokens_completion": 7, "provider_name": "Acme"}
    return json.dumps({"data": {**data, "model": "small/one", "cancelled": True, **more}}).encode()


@dataclass
class Accounts:
    """Answers each question with the next script of its kind: bytes, None, or an error; the last one is used again."""

    scripts: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def generation(self, endpoint: Endpoint, generation: str) -> bytes | None:
        return self._next("generation", generation)

    async def key(self, endpoint: Endpoint, value: str | None = None) -> bytes:
        return self._next("key", value or endpoint.name) or b""

    async def models(self, endpoint: Endpoint) -> bytes:
        return self._next("models", endpoint.name) or b""

    async def private(self, endpoint: Endpoint) -> bytes:
        return self._next("private", endpoint.name) or b""

    def _next(self, what: str, about: str) -> bytes | None:
        self.asked.append((what, about))
        scripts = self.scripts.get(what, [None])
        answer = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        if isinstance(answer, Exception):
            raise answer
        made: bytes | None = answer
        return made


@dataclass
class Reader:
    """What the record says is owed."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    broken: Exception | None = None

    async def owed(self, since_ns: int) -> list[dict[str, Any]]:
        if self.broken is not None:
            raise self.broken
        return [row for row in self.rows if row["closed_at"] >= rfc3339(since_ns)]


def row_of(seq: int, age_s: int = 0, **more: Any) -> dict[str, Any]:
    """A call that was closed so long ago."""
    at = rfc3339(NOON - age_s * 10**9)
    base = {
        "seq": seq,
        "at": at,
        "closed_at": at,
        "agent": "main",
        "class": "routine",
        "tier": "economy",
        "session": "s1",
        "request": "r-1",
        "model": "small/one",
        "policy": "f0",
        "upstream": "or",
        "reserved_nusd": 500_000,
        "generation": f"gen-{seq}",
        "tokens": 0,
        "given_up": None,
    }
    return {**base, **more}
