"""What the operator's desk works with: the rooms it asks, handed in once by the daemon."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agentd.core.accounting.price import Price
from agentd.core.policy.schema import Policy
from agentd.core.types.errors import PolicyRefused
from agentd.gate.books.affairs import Affairs, nothing_known
from agentd.gate.desk.vitals import Vitals
from agentd.gate.halts import Halts
from agentd.gate.ports import Clock, Keys, Ledger, RecordReader
from agentd.gate.ports_operator import Json, Pruner
from agentd.gate.tokens import Tokens


async def _unasked(_name: str, _value: str) -> None:
    """No upstream is asked about a key before it is stored."""


def _unheard() -> None:
    """Nobody has to know that a key was set or deleted."""


class HeldPolicy(Protocol):
    """A version in force: see `gate.current.Held`."""

    @property
    def policy(self) -> Policy: ...  # noqa: D102 - named by its class
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def text(self) -> str: ...  # noqa: D102
    @property
    def loaded_at(self) -> str: ...  # noqa: D102


class Policies(Protocol):
    """What is in force, and what is wrong with the newest file: see `gate.current.CurrentPolicy`."""

    @property
    def current(self) -> HeldPolicy | None: ...  # noqa: D102
    @property
    def fault(self) -> PolicyRefused | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything the desk needs. `read_policy` parses a text; `try_policy` also judges its tests; both raise `PolicyRefused`."""

    ledger: Ledger
    reader: RecordReader
    keys: Keys
    policies: Policies
    halts: Halts
    clock: Clock
    vitals: Callable[[], Vitals]
    used: Callable[[], list[Json]]  # budgets: name account spent limit calls calls_limit resets
    judge: Callable[[Json], Json]  # the verdict that a described call would get now
    read_policy: Callable[[str, str], Policy]
    try_policy: Callable[[str, str], Policy]
    prices: Mapping[str, Price]
    tokens: Tokens
    recompute: Callable[[], Awaitable[list[Json]]]  # where sums of spend differ from the lines: [] is good
    pruner: Pruner
    keep_s: int | None = None  # how long the settings keep a line; None: for ever
    affairs: Callable[[], Affairs] = nothing_known  # with the upstreams: alarms, what is not settled
    try_key: Callable[[str, str], Awaitable[None]] = _unasked  # raises `OperatorRefused` for a value of the wrong kind
    key_changed: Callable[[], None] = _unheard
