"""The policy as frozen types: what the YAML means after it was read once. Nothing re-reads the file at use.

Names refer to each other by string; `parse` has checked that every name exists. Places are kept so that a verdict can
say which line decided.
"""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

from agentd.core.policy.index import Index, indexed
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
    index: "Indexes" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the rules; the only way to set a field of a frozen class is the one that its own constructor uses."""
        object.__setattr__(self, "index", _indexes(self))

    def at(self, kind: str, name: str, place: Mark) -> str:
        """How a rule is named in a verdict: `classes.heartbeat (policy.yaml:41)`."""
        return f"{kind}.{name} ({self.source}:{place.line})"


@dataclass(frozen=True, slots=True)
class Indexes:
    """A policy's rules by what they ask for."""

    agents: Index[Agent]  # by ("uid", 1000) and the like: the first fact of each match
    lanes: Index[TaskClass]  # by the lane; those that end in * under `OPEN_LANES`
    budgets: Index[Budget]  # by (scope, name), or (scope, None) where each name has an account of its own


OPEN_LANES = "*"
"""Where the index keeps classes with a lane that is only a beginning: they are asked about every model's name."""

FACTS = ("uid", "gid", "unit", "exe")
"""The facts of a match, in the order in which the index takes the first that is named."""


def _indexes(policy: Policy) -> Indexes:
    return Indexes(
        indexed((_facts_of(agent), agent) for agent in policy.agents.values()),
        indexed((map(_lane_key, task.lanes), task) for task in policy.classes.values()),
        indexed((((budget.scope, budget.of),), budget) for budget in policy.budgets),
    )


def _facts_of(agent: Agent) -> list[tuple[str, object]]:
    """For each match one fact without which it cannot hold; one without facts holds for nobody."""
    named = ([(name, getattr(match, name)) for name in FACTS] for match in agent.match)
    return [known for facts in named if (known := next((fact for fact in facts if fact[1] is not None), None))]


def _lane_key(lane: str) -> str:
    return OPEN_LANES if lane.endswith("*") else lane
