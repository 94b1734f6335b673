"""How hard a model may think about a call, and how long its prompt may be kept: what is asked, and what is given instead.

Both multiply what a call costs without changing its model or its size, so a class of work bounds them. A request says them in
fields of its own dialect (`Knob`); a verdict answers with the changes that bring them within the bounds (`Clamp`). The dialect
makes exactly these changes and the record tells exactly these, so that the two cannot say different things.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ANOTHER: Final = "another value"
"""How a value is told that is no word or number of the API: it may be anybody's text."""

NOTHING: Final = "nothing"
"""How it is told that a request left a field out."""

MARK: Final = "cache_control"
"""Name of the marks for a prompt cache, wherever in a body they stand."""


class Effort(StrEnum):
    """How hard to think, least first. `MAX` is a model's own most."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"

    @property
    def rank(self) -> int:
        """Its place in the order."""
        return _RANKS[self]


_RANKS: Final = {effort: rank for rank, effort in enumerate(Effort)}


class CacheTtl(StrEnum):
    """How long a marked prompt is kept, shorter first. An hour is written at twice the price of the prompt."""

    SHORT = "5m"
    HOUR = "1h"


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting as a request has it; null counts as left out. `key` is empty for the field itself: of a field that should
    hold others, `value` is then True, and of any that does not have its form None."""

    field: str
    key: str
    value: str | int | None


@dataclass(frozen=True, slots=True)
class Clamp:
    """One change to a body: `key` of `field` (the field itself if empty) gets the value `given`; None leaves it out."""

    field: str
    key: str
    asked: str  # a word or number of the API, `ANOTHER` or `NOTHING`
    given: str | int | bool | None
    why: str

    @property
    def words(self) -> str:
        """For the record and for people: `reasoning.effort high -> low (class heartbeat)`."""
        path = f"{self.field}.{self.key}" if self.key else self.field
        given = "left out" if self.given is None else str(self.given).lower()
        return f"{path} {self.asked} -> {given} ({self.why})"
