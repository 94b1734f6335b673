"""What the tests of the record share: a clock that is told the time, lines as the gate writes them, and looking at a record."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from agentd.core.accounting.chain import Link, Report, Verifier
from agentd.core.accounting.times import rfc3339
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.ports import LineQuery

NOON = 1_790_000_000 * 10**9
HOUR_NS = 3_600 * 10**9
HOUR = NOON // HOUR_NS
POLICY = "f0" * 32

T = TypeVar("T")


class Clock:
    """Stands still unless it is moved."""

    def __init__(self, at: int = NOON) -> None:
        self.at = at

    def wall_ns(self) -> int:
        return self.at

    def mono_ns(self) -> int:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += int(seconds * 10**9)


class Key:
    """A signer with a real Ed25519 key."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._private = Ed25519PrivateKey.generate()

    @property
    def public_hex(self) -> str:
        return self._private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def signature_is_good(public: str, message: bytes, signature: str) -> bool:
    """The check that a verifier hands to the chain."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def decision(at_ns: int = NOON, **more: Any) -> Line:
    """An allow as the gate writes it; `more` changes fields."""
    line = Line(
        kind=Kind.DECISION,
        at=rfc3339(at_ns),
        agent="main",
        caller={"uid": 1001, "gid": 1001, "pid": 4242, "start": 77, "unit": "openclaw.service", "exe": "/usr/bin/node"},
        session="ab12cd34ef56ab12cd34ef56",
        request="r-0123456789abcdef",
        class_="implementation",
        class_why={
            "stage": "text",
            "why": "the last human turn asks for code",
            "evidence": {"fence": True, "turns": 12},
        },
        verdict="allow",
        code="policy.allowed",
        rule="classes.implementation (policy.yaml:95)",
        tier="standard",
        model_asked="claude-sonnet-4-6",
        model="minimax/minimax-m2.5",
        label="private",
        reserved_nusd=1_000,
        policy=POLICY,
        detail={"message": "Served at the class's own tier.", "limits": {"max_output": 8192, "upstream": "openrouter"}},
    )
    return replace(line, **more)


def outcome(opens: int | None, at_ns: int = NOON, **more: Any) -> Line:
    """What came of it."""
    line = Line(
        kind=Kind.OUTCOME,
        at=rfc3339(at_ns),
        agent="main",
        session="ab12cd34ef56ab12cd34ef56",
        class_="implementation",
        tier="standard",
        model="minimax/minimax-m2.5",
        provider="Minimax",
        cost_nusd=300,
        tokens={"prompt": 100, "completion": 20, "cached": 60, "cache_write": 7, "reasoning": 3},
        status="done",
        opens=opens,
        detail={"generation": "gen-1"},
    )
    return replace(line, **more)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, within a minute."""
    return asyncio.run(asyncio.wait_for(work, 60))


async def verified(ledger: Ledger, **more: Any) -> Report:
    """The whole chain, verified against its anchor as the operator's command does it."""
    noted = await ledger.reader.anchor()
    assert noted is not None
    verifier = Verifier(anchors=[Link(noted["seq"], noted["digest"])], **more)
    async for row in ledger.reader.raw():
        verifier.feed(*row)
    return verifier.finish()


async def lines_of(ledger: Ledger, *kinds: str) -> list[dict[str, Any]]:
    """Lines of some kinds, or all."""
    return await ledger.reader.lines(LineQuery(kinds=kinds, limit=10_000))
