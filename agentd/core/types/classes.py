"""What kind of work a request is, and the evidence that says so."""

from dataclasses import dataclass
from enum import StrEnum

Fact = str | int | bool
"""A value that evidence may hold: never content of a prompt."""


class Stage(StrEnum):
    """Which kind of evidence decided, in the order in which they are asked."""

    LANE = "lane"  # declared: header, model alias
    CONTINUATION = "continuation"  # an open tool loop keeps its class and model
    SHAPE = "shape"  # structure: heartbeat, title, compaction
    TEXT = "text"  # the last human turn
    SESSION = "session"  # "yes", "go on": inherits
    ABSTAINED = "abstained"  # nothing decided: the agent's default class


@dataclass(frozen=True, slots=True)
class Classified:
    """The class, the stage that decided, one sentence for people, and the facts, from which it can be decided again."""

    name: str
    stage: Stage
    why: str
    evidence: tuple[tuple[str, Fact], ...] = ()
