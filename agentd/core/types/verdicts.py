"""What is decided. There is no boolean: an allow carries its limits, a deny says what the agent can do instead."""

from dataclasses import dataclass
from enum import StrEnum

from agentd.core.types.bounds import CacheTtl, Clamp, Effort
from agentd.core.types.money import Nusd


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code for machines, the deciding rule with its place in the policy file, words and a next step."""

    code: str  # "budget.exhausted": never renamed
    rule: str  # "classes.heartbeat (policy.yaml:41)"
    message: str
    hint: str = ""


class Answer(StrEnum):
    """How a refusal is to be put to the agent; each dialect knows the status that its clients survive."""

    DENY = "deny"  # policy says no; asking again is useless
    BUDGET = "budget"  # a limit is used up, and resets
    WAIT = "wait"  # later it will work
    INVALID = "invalid"  # the request cannot be read
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"  # the caller is nobody that policy knows
    UNIDENTIFIED = "unidentified"  # came by TCP without a valid token
    UNAVAILABLE = "unavailable"  # agentd itself cannot serve: no record, no policy, stopping


class EscalationKind(StrEnum):
    """Who or what brought a dearer tier about."""

    REQUESTED = "requested"
    CLASSIFIED = "classified"
    OUTCOME = "outcome"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Escalation:
    """A step above the default tier: who wanted it, from where to where, why, and which quota paid."""

    kind: EscalationKind
    code: str  # "class.analysis", "agent.requested"
    reason: str
    from_tier: str
    to_tier: str
    quota: str = ""  # "implementation: 3 of 20 used today"
    grant: str = ""  # "g-12" where one was consumed


@dataclass(frozen=True, slots=True)
class Charge:
    """One budget account that a call is charged to: the budget's name and whose account it is under it."""

    budget: str
    account: str  # "box", "agent:main", "session:ab12…"
    before: Nusd = 0  # used in the window when it was decided, reservations included
    limit: Nusd | None = None


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """What an allowed model call may use: exactly one model at one upstream, within these bounds."""

    tier: str
    model: str
    upstream: str
    max_output: int  # tokens, always sent upstream
    reserved: Nusd  # upper bound of the cost, held until settled
    deadline_s: float  # for the whole call
    providers: tuple[str, ...] = ()
    max_price: tuple[str, str] | None = None  # USD per million tokens: prompt, completion
    zdr: bool = False
    charges: tuple[Charge, ...] = ()
    label: str = ""  # the data label of the call, not above the tier's ceiling
    escalation: Escalation | None = None
    effort: Effort | None = None  # the class's most; None: not bounded
    cache_ttl: CacheTtl = CacheTtl.SHORT
    clamps: tuple[Clamp, ...] = ()  # what is changed in the body so that it keeps within these bounds


@dataclass(frozen=True, slots=True)
class Allow:
    """Yes, within limits."""

    reason: Reason
    limits: ModelLimits


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must say; until then, no."""

    reason: Reason
    question: str


@dataclass(frozen=True, slots=True)
class Deny:
    """No. `retry_after_s` only where waiting helps."""

    reason: Reason
    answer: Answer = Answer.DENY
    retry_after_s: int | None = None


Verdict = Allow | Ask | Deny
