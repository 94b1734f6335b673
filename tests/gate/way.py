"""The way with its world replaced by scripts: a record that can fail, an upstream that answers as told, a clock that stands.

`journal` tells in which order things happened, so that a test reads as a conversation.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from agentd.core.policy.schema import Policy
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect, Hints
from agentd.core.types.errors import RecordUnavailable, UpstreamFailed
from agentd.core.types.receipts import Permit, Receipt
from agentd.core.types.records import Kind, Line
from agentd.core.types.verdicts import Answer
from agentd.gate import ports
from agentd.gate.current import CurrentPolicy, Held
from agentd.gate.escalations import Escalations
from agentd.gate.halts import Halts
from agentd.gate.pipeline import ModelPipeline, Way
from agentd.gate.refusing import Refuser
from agentd.gate.relay import Relay
from agentd.gate.sessions import Sessions
from agentd.gate.spend import Spend
from agentd.gate.state import State
from builders import NOON, PEER, PRICES, policy


def whole(cost: float | None = 0.001, **more: Any) -> bytes:
    """A chat completion with its bill."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "cost": cost}
    message = {"role": "assistant", "content": "hello"}
    body = {
        "id": "gen-1",
        "model": "small/one",
        "provider": "Acme",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    return json.dumps({**body, **more}).encode()


def stream(cost: float | None = 0.001, *, end: bool = True) -> list[bytes]:
    """The same as events."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110, "cost": cost}
    parts: list[dict[str, Any]] = [
        {
            "id": "gen-1",
            "model": "small/one",
            "choices": [{"index": 0, "delta": {"content": "hel"}, "finish_reason": None}],
        },
        {
            "id": "gen-1",
            "model": "small/one",
            "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}],
        },
        {"id": "gen-1", "model": "small/one", "choices": [], "usage": usage},
    ]
    events = [b"data: " + json.dumps(part).encode() + b"\n\n" for part in parts]
    return [*events, b"data: [DONE]\n\n"] if end else events[:2]


def failed(status: int = 503, *, retryable: bool = True, billed: bool = False) -> UpstreamFailed:
    """An upstream that gives no answer."""
    return UpstreamFailed(
        "upstream.overloaded",
        "no capacity",
        status=status,
        retryable=retryable,
        answer=Answer.WAIT,
        retry_after_s=3,
        billed=billed,
    )


@dataclass
class Record:
    """A ledger of lists. `broken` refuses; `hold` makes appends wait."""

    journal: list[str]
    lines: list[Line] = field(default_factory=list)
    broken: bool = False
    hold: asyncio.Event | None = None
    lingered: list[str] = field(default_factory=list)

    def append(self, line: Line, *, linger: bool = False) -> asyncio.Task[Receipt]:
        return asyncio.get_running_loop().create_task(self._append(line, linger))

    async def _append(self, line: Line, linger: bool) -> Receipt:
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.broken:
            raise RecordUnavailable("record.disk_full", "the disk is full")
        self.lines.append(line)
        self.lingered += [line.kind.value] if linger else []
        self.journal.append(f"{line.kind.value}:{line.verdict or line.status}")
        return Receipt(len(self.lines), "00")

    async def keep_policy(self, digest: str, text: str) -> None:
        raise NotImplementedError

    def of(self, kind: Kind) -> list[Line]:
        return [line for line in self.lines if line.kind is kind]


@dataclass
class Reply:
    """An answer being read: chunks, an error, or a wait that only `abort` ends."""

    script: list[Any]
    generation: str | None = "gen-1"
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

    async def chunks(self) -> AsyncIterator[bytes]:
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if step is WAIT:
                await self.aborted.wait()
                raise failed(0, billed=True)
            await asyncio.sleep(0)
            yield step

    def abort(self) -> None:
        self.aborted.set()


SESSION = Hints(session="x")

WAIT = object()

CLOSING_TURNS = 10
"""Turns of the loop in which this world, where nothing really waits, closes a call that was answered."""
"""In a script: silence until somebody cuts."""


@dataclass
class Upstream:
    """Answers each call with the next script; the last one is used again."""

    journal: list[str]
    scripts: list[Any] = field(default_factory=lambda: [[whole()]])
    sent: list[ports.Dispatch] = field(default_factory=list)
    closed: int = 0

    @asynccontextmanager
    async def open(self, permit: Permit, dispatch: ports.Dispatch) -> AsyncIterator[ports.Reply]:
        self.journal.append(f"send:{permit.allow.limits.model}")
        self.sent.append(dispatch)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        await asyncio.sleep(0)
        if isinstance(script, Exception):
            raise script
        if script is WAIT:
            await asyncio.Event().wait()
        try:
            yield Reply(list(script))
        finally:
            self.closed += 1


class Clock:
    """Stands, until a test moves it."""

    now = NOON

    def wall_ns(self) -> int:
        return self.now

    def mono_ns(self) -> int:
        return self.now


@dataclass
class Keyring:
    known: tuple[str, ...] = ("or",)

    def names(self) -> tuple[str, ...]:
        return self.known

    async def set(self, name: str, value: str) -> None:
        raise NotImplementedError

    async def delete(self, name: str) -> None:
        raise NotImplementedError

    def health(self) -> tuple[str, str]:
        return "ok", ""


@dataclass
class Box:
    """Everything together, for one test."""

    by: Policy
    tasks: asyncio.TaskGroup
    journal: list[str] = field(default_factory=list)
    prices: dict[str, Any] = field(default_factory=lambda: dict(PRICES))

    def __post_init__(self) -> None:
        self.record = Record(self.journal)
        self.upstream = Upstream(self.journal)
        self.clock = Clock()
        self.spend = Spend()
        self.halts = Halts(self.record, self.clock)
        self.escalations = Escalations()
        self.policies = CurrentPolicy(self.record, self.clock, _never)
        self.policies.current = Held(self.by, "f" * 64, "", "2026")
        self.relay = Relay(self.record, self.upstream, self.clock, self.spend, self.tasks)
        self.keyring = Keyring()
        refuser = Refuser(self.record, self.clock, self.policies, lambda: "r-1")
        state = State(self.keyring, self.halts, self.spend, Sessions(), self.escalations, lambda _: self.prices, False)
        self.gate = ModelPipeline(Way(refuser, state, self.relay, b"secret"))

    async def ask(
        self,
        text: str = "the blue one",
        *,
        peer: Peer = PEER,
        body: bytes | None = None,
        hints: Hints = SESSION,
        **more: Any,
    ) -> ports.Answer:
        """One chat call, answered and, if it is not a stream, closed."""
        asked = {"model": "agentd", "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}
        answer = await self.gate.govern(
            ports.Arrival(peer, Dialect.CHAT, body if body is not None else json.dumps(asked).encode(), hints)
        )
        await self.rest()
        return answer

    async def rest(self) -> None:
        """Let what was answered be closed."""
        for _ in range(CLOSING_TURNS):
            await asyncio.sleep(0)

    def spent(self) -> int:
        """What the box has used today, reservations included."""
        from agentd.core.policy.schema import Budget, Scope, Window

        return self.spend.of(Budget("b", "o", Scope.BOX, Window.DAY), "box", self.clock.now).spent


def _never(_text: str, _source: str) -> Policy:
    raise NotImplementedError


async def read(answer: ports.Answer) -> bytes:
    """A stream to its end, closed as a door does."""
    if answer.stream is None:
        raise TypeError("no stream")
    got = b""
    try:
        async for chunk in answer.stream:
            got += chunk
    finally:
        await answer.stream.aclose()
    return got


def error_of(answer: ports.Answer) -> dict[str, Any]:
    """agentd's part of a chat refusal."""
    metadata: dict[str, Any] = json.loads(answer.body or b"")["error"]["metadata"]
    return metadata


def play(scene: Callable[[Box], Any], by: Policy | None = None) -> Box:
    """Run a scene in a box of its own and give the box back."""

    async def run() -> Box:
        async with asyncio.TaskGroup() as tasks:
            box = Box(by or policy(), tasks)
            await scene(box)
        return box

    return asyncio.run(run())
