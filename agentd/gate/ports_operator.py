"""The operator's desk as the operator's door sees it. `gate.desk.operator.OperatorDesk` fulfils it; the door at
`edge/api/operator.py` knows nothing else, so that it needs neither the policy nor the pipeline.

Every answer is plain JSON data. Every method may raise `OperatorRefused` (what was asked cannot be done, and why) and
`RecordUnavailable` (an act that could not be written down did not happen)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

from agentd.core.types.callers import Peer
from agentd.core.types.errors import AgentdError
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Answer
from agentd.gate.ports import LineQuery

Json = dict[str, Any]
"""A JSON object."""

DEFAULT_ROWS = 50
"""Rows of `logs` when none are asked for: about a terminal's height."""

MAX_ROWS = 10_000
"""Rows of one `logs` answer: they are gathered in memory; `audit export` streams the rest."""


class OperatorRefused(AgentdError):
    """Something an operator asked for that is not done. `answer` tells the door which status says so."""

    def __init__(self, code: str, message: str, hint: str = "", answer: Answer = Answer.INVALID) -> None:
        """See `AgentdError`; `answer` is INVALID, DENY, NOT_FOUND or UNAVAILABLE."""
        super().__init__(code, message, hint)
        self.answer = answer


@dataclass(frozen=True, slots=True)
class SpendAsk:
    """What `spend` is to add up: by class, tier, model, agent or day, since an hour counted from 1970."""

    by: str = "class"
    since_hour: int | None = None  # None: since the start of today, UTC
    compare: bool = False  # with the same tokens on the dearest tier


@dataclass(frozen=True, slots=True)
class HaltAsk:
    """What to stop or to let go on: the box (name empty), an agent or a tier."""

    scope: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class PruneAsk:
    """Which old lines of the record are to go: those of before a time, as far as a checkpoint follows them. Of the newest
    `keep_lines` none goes. `to` cuts exactly there, as a plan said; `archive` is the SHA-256 of the export of those lines."""

    before_ns: int
    keep_lines: int = 0
    reason: str = ""
    to: int | None = None
    archive: str | None = None
    dry_run: bool = False


class Pruner(Protocol):
    """The record, made shorter. Both raise `OperatorRefused` for what cannot be, `RecordUnavailable`."""

    async def plan_prune(self, ask: PruneAsk) -> Json:
        """What would go; see `edge.ledger.planning`. `to` is missing where nothing would, and `because` says why."""

    async def prune(self, ask: PruneAsk, line: Line) -> Json:
        """The plan once more, and with it the line, durable; then what it names is removed in the background."""


class OperatorFace(Protocol):
    """Everything an operator can see and do."""

    def now_ns(self) -> int:
        """Wall time, UTC nanoseconds: what "two hours ago" counts from."""

    async def admit(self, peer: Peer) -> None:
        """Raise `OperatorRefused` for a peer that is one of the agents, unless this is a trial where uids are shared."""

    async def status(self) -> Json:
        """The daemon, its policy, record, keys, halts, budgets and today's spend."""

    async def logs(self, query: LineQuery) -> list[Json]:
        """Rows, oldest first: decisions with their outcome filled in, other lines as they are."""

    def follow(self, query: LineQuery) -> AsyncIterator[Json]:
        """The rows of `logs`, then each new one as it closes. Never ends by itself."""

    async def explain(self, seq: int) -> Json:
        """The page on one decision: `{decision, headline, sections, line, outcome, proof}`."""

    async def spend(self, ask: SpendAsk) -> Json:
        """`{by, since, rows, total, budgets, compare}`."""

    async def keys(self) -> Json:
        """Names of keys, who uses them, and the health of the keyring. Never a value."""

    async def set_key(self, peer: Peer, name: str, value: str) -> Json:
        """Store a key and put it in use."""

    async def delete_key(self, peer: Peer, name: str) -> Json:
        """Forget a key."""

    async def agents(self) -> Json:
        """The agents of the policy in force."""

    async def tokens(self) -> Json:
        """`{tokens, tcp, misuse}`: local tokens and what they are worth now, never a value."""

    async def create_token(self, peer: Peer, agent: str, life_s: int) -> Json:
        """A new token for an agent, in this answer and nowhere else."""

    async def rotate_token(self, peer: Peer, agent: str, life_s: int, grace_s: int) -> Json:
        """The same, and those that the agent has end after the grace."""

    async def revoke_token(self, peer: Peer, name: str) -> Json:
        """End a token, now."""

    async def policy(self, digest: str | None) -> Json:
        """One version with its text: by (the beginning of) its hash, or the one in force."""

    async def policy_history(self) -> list[Json]:
        """Versions, newest first."""

    async def policy_why(self, given: Json) -> Json:
        """The verdict that a call would get now. Records nothing, changes nothing."""

    async def policy_test(self, text: str | None, source: str) -> Json:
        """Faults and tests of a policy text (None: the one in force), judged with the prices of the daemon."""

    def raw(self, first: int) -> AsyncIterator[tuple[int, bytes, str]]:
        """Lines as they were digested, for verification and export."""

    async def anchor(self) -> Json:
        """`{anchor: {ledger, seq, digest, public}, pruned: {seq, body, digest}}`: what verification compares with, and the newest
        prune line with its bytes in base64; each None where there is none."""

    async def sums(self) -> Json:
        """`{differs: [], policies: []}`: where kept sums of spend differ from the lines, and versions of the policy that are not
        kept as they were. Reads the whole record, so it takes its time."""

    async def prune(self, peer: Peer, ask: PruneAsk) -> Json:
        """Write down that old lines go, then remove them in the background; a dry run only says which."""

    async def halt(self, peer: Peer, ask: HaltAsk) -> Json:
        """Stop it, after that was recorded; running streams are cut."""

    async def resume(self, peer: Peer, ask: HaltAsk) -> Json:
        """Let it go on, after that was recorded."""

    async def halts(self) -> list[Json]:
        """What is stopped now."""

    async def doctor(self) -> list[Json]:
        """Checks: `{name, state, says, cure}` with state ok, warn or bad."""
