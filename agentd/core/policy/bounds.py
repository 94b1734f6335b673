"""What a class of work bounds beside the size of an answer: how hard a model thinks, and how long its prompt is kept.

In: what a request says of both, the class's bounds, and what the list says of the model. Out: the changes that bring the request
within them, each with its reason; none for a request that keeps within.
"""

from collections.abc import Iterator
from typing import Final

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.policy.efforts import Room, Said, openai, told
from agentd.core.policy.thinking import anthropic
from agentd.core.types.bounds import ANOTHER, MARK, CacheTtl, Clamp, Effort
from agentd.core.types.calls import Dialect, ModelCall

MINUTES: Final = {"5m": 5, "30m": 30, "1h": 60}
"""How long the words for a lifetime last."""

LIFETIME: Final = ("prompt_cache_options", "ttl")


def clamps(call: ModelCall, room: Room) -> tuple[Clamp, ...]:
    """The changes that a call needs."""
    if not call.knobs and not call.long_marks and (room.effort is None or room.reasoning is None):
        return ()
    said: Said = {(knob.field, knob.key): knob.value for knob in call.knobs}
    thinking = anthropic if call.dialect is Dialect.MESSAGES else openai
    return (*thinking(said, room), *_kept(call, said, room))


def too_eager(reasoning: Reasoning | None, dialect: Dialect, effort: Effort | None) -> bool:
    """Whether a model cannot do with as little as a class allows, as far as is known."""
    if reasoning is None or effort is None:
        return False
    least = reasoning.least
    if reasoning.mandatory and dialect is Dialect.MESSAGES and least is Effort.MINIMAL:
        least = Effort.LOW  # the least word of that dialect
    return least.rank > effort.rank


def _kept(call: ModelCall, said: Said, room: Room) -> Iterator[Clamp]:
    """How long the prompt is kept. A lifetime that is no word of the API is too long for every class."""
    most = room.cache_ttl
    if call.long_marks and (most is CacheTtl.SHORT or ANOTHER in call.long_marks):
        yield Clamp(MARK, "ttl", ", ".join(call.long_marks), most.value, room.by_class)
    if room.openrouter and LIFETIME in said:
        asked = MINUTES.get(str(said[LIFETIME]))
        if asked is None or asked > MINUTES[most.value]:
            yield Clamp(*LIFETIME, told(said[LIFETIME]), None, room.by_class)
