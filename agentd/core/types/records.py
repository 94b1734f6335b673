"""A line of the ledger, before it is numbered and chained. Every line has every field, so a reader needs one shape.

What a line may hold: names, numbers, digests, codes, evidence. Never content of a prompt or answer, never a secret.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a line tells."""

    GENESIS = "genesis"  # the first line of a chain
    START = "start"  # the daemon came up
    STOP = "stop"
    DECISION = "decision"
    OUTCOME = "outcome"  # closes the decision in `opens`
    SETTLEMENT = "settlement"  # what a call cost whose outcome could not say; `opens` is its decision
    ALARM = "alarm"  # something that an operator should look at: drift, a price, a list that changed
    ESCALATION = "escalation"  # a grant asked for, given or refused
    POLICY = "policy"  # a version was loaded or refused
    KEY = "key"  # set, rotated, deleted: the name, never the value
    TOKEN = "token"  # noqa: S105 - a word. A local token was made, replaced or revoked: its digest, never itself
    HALT = "halt"
    RESUME = "resume"
    CHECKPOINT = "checkpoint"  # signed head
    PRUNE = "prune"  # old lines are removed: up to which, by whom and why, and what stays of them


@dataclass(frozen=True, slots=True)
class Line:
    """What happened, in the words of the record. The ledger adds `seq`, `id`, `prev` and `digest`."""

    kind: Kind
    at: str  # RFC 3339, UTC, microseconds
    agent: str | None = None
    caller: dict[str, Any] | None = None  # uid gid pid start unit exe
    session: str | None = None
    request: str | None = None
    class_: str | None = None  # "class" on the wire
    class_why: dict[str, Any] | None = None  # stage, why, evidence
    verdict: str | None = None  # allow | ask | deny
    code: str | None = None
    rule: str | None = None
    tier_asked: str | None = None
    tier: str | None = None
    model_asked: str | None = None
    model: str | None = None
    provider: str | None = None
    label: str | None = None
    reserved_nusd: int | None = None
    cost_nusd: int | None = None
    tokens: dict[str, int | None] | None = None
    status: str | None = None  # outcome: an `Ending`
    overhead_us: int | None = None
    upstream_ms: int | None = None
    escalation: dict[str, Any] | None = None
    policy: str | None = None  # hash of the version that decided
    opens: int | None = None  # outcome, settlement: the decision's seq
    detail: dict[str, Any] | None = None  # what this kind adds: message, hint, limits, diff, signature


LINE_FIELDS: tuple[str, ...] = (
    "seq", "id", "at", "kind", "agent", "caller", "session", "request", "class", "class_why", "verdict", "code", "rule",
    "tier_asked", "tier", "model_asked", "model", "provider", "label", "reserved_nusd", "cost_nusd", "tokens", "status",
    "overhead_us", "upstream_ms", "escalation", "policy", "opens", "detail", "prev", "digest",
)  # fmt: skip
"""The fields of a line as JSON. `digest` is not part of the bytes that it digests."""
