"""What a decision needs to know besides policy and request: the state of the box at one moment, handed in as values.

Together with (policy, request, class) this makes the verdict reproducible: nothing else votes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.accounting.price import Price
from agentd.core.types.money import Nusd
from agentd.core.types.verdicts import Deny


@dataclass(frozen=True, slots=True)
class Memory:
    """What the last call of this session was given, so that an open tool loop keeps it."""

    class_name: str
    tier: str
    model: str
    upstream: str
    turn: str = ""  # digest of the human turn that it was given for
    raised_until_ns: int = 0  # a tier above the class's own, given by a grant, lasts this long
    foreign: int = 0  # so many messages from the first on were written before the session came to this model
    asked: str | None = None  # class of the last turn that no machine made; "": none yet; None: as `class_name`

    @property
    def inherited(self) -> str:
        """The class that a person means who answers "yes, go on": not that of a heartbeat in between."""
        return self.class_name if self.asked is None else self.asked


@dataclass(frozen=True, slots=True)
class Used:
    """What an account has used in its current window, open reservations included."""

    spent: Nusd = 0
    calls: int = 0
    tokens: int = 0
    resets: str = ""  # when the window ends, RFC 3339; empty: never


@dataclass(frozen=True, slots=True)
class Grant:
    """An escalation that was granted and not used yet; bound to agent, session and class."""

    id: str  # "g-12"
    class_name: str
    to_tier: str
    reason: str
    quota: str = ""  # "implementation: 3 of 20 per day"


@dataclass(frozen=True, slots=True)
class Halt:
    """An operator's stop: of the whole box (name empty), one agent, or one tier."""

    scope: str  # "box" | "agent" | "tier"
    name: str
    reason: str
    at: str
    seq: int  # the line that ordered it


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of the box for one decision. `used` holds (budget name, account) pairs; an absent pair used nothing."""

    at_ns: int
    prices: Mapping[str, Price] = field(default_factory=dict)  # by model id
    used: Mapping[tuple[str, str], Used] = field(default_factory=dict)
    escalated: Mapping[str, int] = field(default_factory=dict)  # class -> grants paid in the rule's window
    memory: Memory | None = None
    grant: Grant | None = None
    halts: tuple[Halt, ...] = ()
    without: frozenset[str] = frozenset()  # models that just failed for this request
    keys: frozenset[str] = frozenset()  # key names in use; an upstream whose key is missing cannot serve
    simulated: bool = False  # the simulator stands in for keyed upstreams
    shut: Mapping[str, Deny] = field(default_factory=dict)  # upstreams that nothing goes to now, and what callers are told
    models: Mapping[str, ModelEntry] = field(default_factory=dict)  # what is known of models besides their prices, by id
