"""How hard a model may think, for the two OpenAI dialects; and the words, numbers and reasons that all dialects share.

A word that nobody knows counts as too much, since it cannot be ranked. A field that was left out is written only where the model
would do more by itself than the class allows. A budget of tokens is bounded as the word is that stands for its share of the
answer.

Without any bound of the class two things are changed that the upstream would refuse: a budget that does not fit under the output
cap, and no thinking at all where the model always thinks. Then the least that it can do is asked for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.types.bounds import ANOTHER, NOTHING, CacheTtl, Clamp, Effort

MIN_THINKING: Final = 1_024
"""Anthropic's smallest budget for thinking, in tokens."""

USUAL: Final = Effort.MEDIUM
"""What a model does that is asked to think and not how hard, where its list does not say."""

PERCENT: Final[Mapping[Effort, int]] = {
    Effort.NONE: 0,
    Effort.MINIMAL: 10,
    Effort.LOW: 20,
    Effort.MEDIUM: 50,
    Effort.HIGH: 80,
    Effort.XHIGH: 95,
    Effort.MAX: 100,
}
"""Which share of the answer an effort stands for, in the upstream's own conversion."""

_WORDS: Final = {effort.value: effort for effort in Effort}

Path = tuple[str, str]
Said = Mapping[Path, str | int | None]
"""The settings of a request by field and key (see `Knob`)."""


@dataclass(frozen=True, slots=True)
class Room:
    """What one call may have of one model. `effort` None: the class does not bound it; `reasoning` None: nobody said."""

    task: str
    effort: Effort | None
    cache_ttl: CacheTtl
    max_output: int
    model: str
    reasoning: Reasoning | None = None
    openrouter: bool = True

    @property
    def most(self) -> Effort | None:
        """The most that the class allows and the model takes."""
        if self.effort is None or self.reasoning is None or not self.reasoning.efforts:
            return self.effort
        bound = self.effort.rank
        return max((one for one in self.reasoning.efforts if one.rank <= bound), key=_rank, default=Effort.NONE)

    @property
    def least(self) -> Effort:
        """As little as the model can do."""
        return Effort.NONE if self.reasoning is None else self.reasoning.least

    @property
    def mandatory(self) -> bool:
        """Whether the model is known to think always."""
        return self.reasoning is not None and self.reasoning.mandatory

    @property
    def by_class(self) -> str:
        """The reason that the class is."""
        return f"class {self.task}"

    @property
    def by_model(self) -> str:
        """The reason that the model is."""
        return f"{self.model} always thinks"


def _rank(effort: Effort) -> int:
    return effort.rank


def told(value: str | int | None) -> str:
    """A value for the record: words and numbers of the API as they are, anything else without its content."""
    if isinstance(value, str):
        return value if value in SHOWN else ANOTHER
    return ANOTHER if value is None else str(value).lower()[:MAX_DIGITS]


SHOWN: Final = frozenset({*_WORDS, "enabled", "adaptive", "disabled", "5m", "30m", "1h"})
MAX_DIGITS: Final = 24
"""What of a number is shown."""


def word(said: Said, path: Path, most: Effort | None, least: Effort, room: Room) -> Iterator[Clamp]:
    """Bring the word that stands at a place between two others."""
    if path not in said:
        return
    wanted = _WORDS.get(str(said[path]))
    if most is not None and (wanted is None or wanted.rank > most.rank):
        yield Clamp(*path, told(said[path]), most.value, room.by_class)
    elif wanted is not None and wanted.rank < least.rank:
        yield Clamp(*path, told(said[path]), least.value, room.by_model)


def budget(value: str | int | None, room: Room) -> tuple[int | None, str]:
    """The budget that is given for the one that was asked, and why it is another one; None where none can be given."""
    most = room.most
    limit = room.max_output if most is None else room.max_output * PERCENT[most] // 100
    why = room.by_class if limit < room.max_output else f"at most {room.max_output} tokens out"
    if type(value) is not int or value < 0:
        return None, why
    if value <= limit and value < room.max_output:
        return value, ""
    given = limit if value < room.max_output else min(limit, room.max_output // 2)
    return (given if given >= MIN_THINKING else None), why


def openai(said: Said, room: Room) -> Iterator[Clamp]:
    """The changes for chat completions and responses."""
    most = room.most
    talk = None if most is None else max(most, Effort.LOW, key=_rank)
    yield from word(said, ("reasoning_effort", ""), most, room.least, room)
    yield from word(said, ("verbosity", ""), talk, Effort.NONE, room)
    yield from word(said, ("text", "verbosity"), talk, Effort.NONE, room)
    if room.openrouter:
        yield from _reasoning(said, most, room)


def _reasoning(said: Said, most: Effort | None, room: Room) -> Iterator[Clamp]:
    if said.get(("reasoning", ""), True) is None:  # it is there, and no object
        if most is not None:
            yield Clamp("reasoning", "effort", ANOTHER, most.value, room.by_class)
        return
    yield from word(said, ("reasoning", "effort"), most, room.least, room)
    kept, why = budget(said.get(("reasoning", "max_tokens"), 0), room)
    asked = told(said.get(("reasoning", "max_tokens")))
    if kept is None and most is None:
        yield Clamp("reasoning", "", asked, None, why)
        return
    if why:
        yield Clamp("reasoning", "max_tokens", asked, kept, why)
    yield from _switch(said, most, room)
    if not _says(said, kept):
        yield from _unsaid(said, most, room)


def _says(said: Said, kept: int | None) -> bool:
    """Whether how hard to think is said: by a word, or by a budget that is kept."""
    by_budget = ("reasoning", "max_tokens") in said and kept is not None
    return by_budget or ("reasoning", "effort") in said or ("reasoning_effort", "") in said


def _switch(said: Said, most: Effort | None, room: Room) -> Iterator[Clamp]:
    """The switch beside the word: it may not say the contrary."""
    path = ("reasoning", "enabled")
    if path not in said:
        return
    enabled = said[path]
    none_said = Effort.NONE.value in (said.get(("reasoning", "effort")), said.get(("reasoning_effort", "")))
    none_given = most is Effort.NONE or (most is not None and none_said and not room.mandatory)
    if enabled is False and room.mandatory:
        yield Clamp(*path, "false", None, room.by_model)
    elif none_given and enabled is not False:
        yield Clamp(*path, told(enabled), False, room.by_class)
    elif most is not None and not isinstance(enabled, bool):
        yield Clamp(*path, told(enabled), None, room.by_class)


def _unsaid(said: Said, most: Effort | None, room: Room) -> Iterator[Clamp]:
    """A request that does not say how hard: what the model would do by itself must not be more than is allowed."""
    enabled, knows = said.get(("reasoning", "enabled")), room.reasoning
    if enabled is False:
        if room.mandatory:
            yield Clamp("reasoning", "effort", NOTHING, room.least.value, room.by_model)
        return
    thinks = knows.by_itself if knows is not None else ("reasoning", "") in said
    usual = knows.usual if knows is not None and knows.usual is not None else USUAL
    if most is not None and (thinks or enabled is not None) and usual.rank > most.rank:
        yield Clamp("reasoning", "effort", NOTHING, most.value, room.by_class)
