"""The policy as frozen types: what the YAML means after it was read once. Nothing re-reads the file at use.

Names refer to each other by string; `parse` has checked that every name exists. Places are kept so that a verdict can
say which line decided.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.documents import Mark
from agentd.core.types.money import Nusd

NOWHERE = Mark(0, 0)


@dataclass(frozen=True, slots=True)
class Match:
    """One way to recognise an agent: all the facts given must hold. None is not asked; `parse` refuses an empty one."""

    uid: int | None = None
    gid: int | None = None
    unit: str | None = None
    exe: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of this box: whose it is, until when, how it is recognised, what it may do."""

    name: str
    owner: str
    expires: date
    match: tuple[Match, ...]
    default_class: str
    classes: tuple[str, ...]
    ceiling: str  # tier that nothing this agent does may exceed
    label: str  # the data label of its calls until content is labelled
    place: Mark = NOWHERE


class UpstreamKind(StrEnum):
    """Which contract a server fulfils."""

    OPENROUTER = "openrouter"  # all dialects, reports cost
    OPENAI = "openai"  # any OpenAI-compatible server: chat only, priced by the policy


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server that models are reached at."""

    name: str
    kind: UpstreamKind
    url: str
    key: str | None  # name in the keyring; None: the server wants none
    place: Mark = NOWHERE


@dataclass(frozen=True, slots=True)
class FixedPrice:
    """A price stated in the policy, USD per million tokens as written: for local models that no catalogue lists."""

    prompt: str
    completion: str


@dataclass(frozen=True, slots=True)
class Model:
    """A member of a tier; the order in the tier is the order of preference."""

    id: str
    upstream: str
    providers: tuple[str, ...] = ()
    price: FixedPrice | None = None
    place: Mark = NOWHERE


@dataclass(frozen=True, slots=True)
class Tier:
    """A level of model privilege. `rank` is its place in the file, cheapest first."""

    name: str
    owner: str
    rank: int
    models: tuple[Model, ...]
    max_output: int
    max_label: str
    max_price: tuple[str, str] | None = None  # USD per million tokens: prompt, completion
    zdr: bool = False
    place: Mark = NOWHERE


class Window(StrEnum):
    """How long a limit counts. Calendar windows are UTC; `session` is the life of a session."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class EscalationRule:
    """How a class may leave its own tier upwards: to which tier, how often, for how long a grant holds."""

    to: str
    quota: int
    window: Window
    grant_s: int
    owner: str
    place: Mark = NOWHERE


@dataclass(frozen=True, slots=True)
class TaskClass:
    """A class of work: its tier, the bounds within which an ask may move it, and how a client declares it."""

    name: str
    owner: str
    tier: str
    floor: str  # never served below
    ceiling: str  # never served above, whatever is asked
    max_output: int
    deadline_s: float
    lanes: tuple[str, ...] = ()  # model names that declare this class; a trailing * matches any ending
    escalation: EscalationRule | None = None
    effort: Effort | None = None  # most that a model may think; None: not bounded
    cache_ttl: CacheTtl = CacheTtl.SHORT  # longest that a prompt may be kept
    place: Mark = NOWHERE


class Scope(StrEnum):
    """Whose calls a budget adds up."""

    BOX = "box"
    AGENT = "agent"
    CLASS = "class"
    TIER = "tier"
    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Budget:
    """A ceiling. `of` names one agent, class or tier; None gives each of them an account of its own."""

    name: str
    owner: str
    scope: Scope
    window: Window
    of: str | None = None
    limit: Nusd | None = None
    calls: int | None = None
    tokens: int | None = None
    place: Mark = NOWHERE


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A case inside the file, judged at every load. `given` and `expect` hold the keys of `docs/policy.md`."""

    name: str
    given: dict[str, Any] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)
    place: Mark = NOWHERE


@dataclass(frozen=True, slots=True)
class Policy:
    """One version of the policy, whole."""

    version: int
    owner: str
    reviewed: date
    change: str
    labels: tuple[str, ...]  # lowest first
    agents: dict[str, Agent]
    upstreams: dict[str, Upstream]
    tiers: dict[str, Tier]  # cheapest first
    classes: dict[str, TaskClass]
    budgets: tuple[Budget, ...] = ()
    retention_days: int = 400
    tests: tuple[PolicyTest, ...] = ()
    source: str = "policy.yaml"

    def at(self, kind: str, name: str, place: Mark) -> str:
        """How a rule is named in a verdict: `classes.heartbeat (policy.yaml:41)`."""
        return f"{kind}.{name} ({self.source}:{place.line})"
