"""What a simulator is made of: all that it needs of the world is handed in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from agentd.core.accounting.catalogue import Catalogue
from agentd.simulator.words import Json

DEFAULT_MODEL: Final = "anthropic/claude-opus-4.6"
"""Stands for the default model of an account, which serves requests that name none: a dear one, so that it hurts."""


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """`catalogue` prices the answers; `wall_ns` gives UTC nanoseconds since 1970."""

    catalogue: Catalogue
    wall_ns: Callable[[], int]
    key: str | None = field(default=None, repr=False)  # the bearer key that is accepted; None: any that is not empty
    log: Callable[[Json], None] | None = None  # told of each request at its arrival, before the answer
    late: int = 1  # how often /generation says "not found" before it shows a new entry
    vanished: frozenset[str] = frozenset()  # models that the list no longer has
    management: bool = False  # whether GET /key calls the key one that manages others
    key_limit: float | None = 50.0  # USD a day that GET /key shows as the key's cap
    default_model: str = DEFAULT_MODEL
