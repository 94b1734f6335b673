"""What the way needs of the world, as types. The edge fulfils them without knowing the pipeline; `daemon.py` joins the two,
and the type checker proves that they fit."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect, Hints
from agentd.core.types.receipts import Permit, Receipt
from agentd.core.types.records import Line


class Clock(Protocol):
    """Time, handed in: nothing in gate or core reads a clock of its own."""

    def wall_ns(self) -> int:
        """UTC nanoseconds since 1970."""

    def mono_ns(self) -> int:
        """Nanoseconds that never step: for durations."""


class Ledger(Protocol):
    """The record."""

    def append(self, line: Line, *, linger: bool = False) -> Awaitable[Receipt]:
        """Queue a line, at once; its receipt comes when it is durable and chained. Awaiting it raises `RecordUnavailable`; then
        nothing may happen. `linger`: nobody waits for it, so it may be written together with the next."""

    async def keep_policy(self, digest: str, text: str) -> None:
        """Keep a policy version whole, by the SHA-256 of its text, durable before it is used. Raises `RecordUnavailable`."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A model call as it came through a door: nothing read yet."""

    peer: Peer
    dialect: Dialect
    body: bytes = field(repr=False)
    hints: Hints = Hints()
    beta: tuple[str, ...] = ()  # anthropic-beta flags as sent
    version: str | None = None  # anthropic-version
    metered: bool = False  # the door tells in each stream what it used, asked for or not, as OpenRouter does


class ByteStream(Protocol):
    """Bytes as they come. Whoever takes it closes it, also when the client is gone: that closes the record."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """An asynchronous iterator, itself."""

    async def __anext__(self) -> bytes:
        """The next bytes; raises `StopAsyncIteration` after the last."""

    async def aclose(self) -> None:
        """End it; runs to its end whatever happens to the caller."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: headers always name the decision. `body` is whole, `stream` is not; exactly one is set."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    stream: ByteStream | None = None


class ModelGate(Protocol):
    """The way, seen from a door."""

    async def govern(self, arrival: Arrival) -> Answer:
        """Decide, record, enforce. Never raises for anything that a caller or an upstream did."""

    def models(self, peer: Peer) -> Sequence[dict[str, Any]]:
        """What this caller may ask for: dicts with id, name, created, context_length, max_output."""

    async def escalate(self, peer: Peer, hints: Hints, ask: dict[str, Any]) -> Answer:
        """An agent asks for a dearer tier for its session: {class, tier, reason}. Recorded; 201 with a grant, or a refusal."""

    async def refuse(self, peer: Peer, dialect: Dialect, code: str, message: str) -> Answer:
        """Record and word a refusal of something that never became a call: too large, unreadable, too slow."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a call goes, as the policy that decided it says: base URL and the name of the key, not its value."""

    name: str
    kind: str  # "openrouter" | "openai"
    url: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What is to be sent, after rewriting."""

    endpoint: Endpoint
    dialect: Dialect
    body: bytes = field(repr=False)
    stream: bool
    beta: tuple[str, ...] = ()
    version: str | None = None


class Reply(Protocol):
    """An upstream's answer with status 200, being read."""

    generation: str | None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises `UpstreamFailed` when it breaks off."""

    def abort(self) -> None:
        """Cut the connection: `chunks` then raises."""


class Upstream(Protocol):
    """Sends permitted calls."""

    def open(self, permit: Permit, dispatch: Dispatch) -> AbstractAsyncContextManager[Reply]:
        """Send; enter when the status line says 200. Raises `UpstreamFailed` before that, `KeyUnavailable` without a key.

        Leaving the context closes the connection if the answer was not read to its end.
        """


class Keys(Protocol):
    """Secrets in the OS keyring. Values never leave through `repr`, logs or errors."""

    async def set(self, name: str, value: str) -> None:
        """Store and put in use at once. Raises `KeyUnavailable`."""

    async def delete(self, name: str) -> None:
        """Forget, in the keyring and in memory. Raises `KeyUnavailable`."""

    def names(self) -> Sequence[str]:
        """Names of the keys that are in use now."""

    def health(self) -> tuple[str, str]:
        """(code, sentence with the next step): `ok` or which failure of the keyring there is."""


class RecordReader(Protocol):
    """Reading the record, off the event loop."""

    async def line(self, seq: int) -> dict[str, Any] | None:
        """One line as it was written, or None."""

    async def outcome_of(self, seq: int) -> dict[str, Any] | None:
        """The outcome that closed a decision, or None while it is open."""

    async def settlement_of(self, seq: int) -> dict[str, Any] | None:
        """The line that said later what a call cost, or that nobody will; None if there is none."""

    async def lines(self, query: "LineQuery") -> list[dict[str, Any]]:
        """Lines that match, oldest first, at most `query.limit`, the newest ones when there are more."""

    def raw(self, first: int = 1) -> AsyncIterator[tuple[int, bytes, str]]:
        """(seq, canonical bytes, digest) from `first` on, in order: for verification and export."""

    async def anchor(self) -> dict[str, Any] | None:
        """The head as it is kept outside the database: seq, digest."""

    async def extent(self) -> dict[str, Any]:
        """How long the record is: first, since, last, bytes, pruned, pruning; see `edge.ledger.reader`."""

    async def newest_prune(self) -> tuple[int, bytes, str] | None:
        """The newest line that says what was pruned: seq, canonical bytes, digest; None: nothing ever was."""

    async def policy_flaws(self) -> list[dict[str, str]]:
        """Policy versions that are not kept as they were in force: digest, flaw ("altered", "missing")."""

    async def spend(self, by: str, since_hour: int) -> list[dict[str, Any]]:
        """Sums by class, tier, model, agent or day since an hour (hours since 1970): calls, tokens, reserved, cost."""

    async def policy_text(self, digest: str) -> str | None:
        """A policy version, whole, by its hash."""

    async def policies(self) -> list[dict[str, Any]]:
        """Versions, newest first: hash, at, owner, change, diff, accepted."""

    def on_append(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Hear each durable line, on the event loop; the answer unsubscribes. For `logs -f`."""


@dataclass(frozen=True, slots=True)
class LineQuery:
    """Filters for reading lines; None is "any"."""

    kinds: tuple[str, ...] = ()
    agent: str | None = None
    class_: str | None = None
    tier: str | None = None
    verdict: str | None = None
    session: str | None = None
    since_ns: int | None = None
    after_seq: int | None = None
    limit: int = 100


class Notify(Protocol):
    """The service manager, if there is one."""

    def __call__(self, **state: str) -> None:
        """sd_notify: READY, RELOADING, STOPPING, WATCHDOG, STATUS."""


Sleep = Callable[[float], Awaitable[None]]
