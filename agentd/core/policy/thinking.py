"""How hard a model may think, for the Anthropic dialect: a switch (`thinking`) and a word (`output_config.effort`).

Its least word is `low`: a class that allows less switches thinking off, and a model that cannot be switched off does not serve
such a class in this dialect.
"""

from collections.abc import Iterator
from typing import Final

from agentd.core.policy.efforts import Room, Said, budget, told, word
from agentd.core.types.bounds import ANOTHER, NOTHING, Clamp, Effort

USUAL: Final = Effort.HIGH
"""What a model does in this dialect that is not told how hard, where its list does not say."""

_KIND: Final = ("thinking", "type")
_BUDGET: Final = ("thinking", "budget_tokens")
_EFFORT: Final = ("output_config", "effort")


def anthropic(said: Said, room: Room) -> Iterator[Clamp]:
    """The changes for messages."""
    most = room.most
    words = None if most is None else _at_least_low(most)
    if words is not None and said.get(("output_config", ""), True) is None:  # it is there, and no object
        yield Clamp(*_EFFORT, ANOTHER, words.value, room.by_class)
    yield from word(said, _EFFORT, words, Effort.NONE, room)
    kind = said.get(_KIND)
    if kind == "disabled":
        if room.mandatory:
            yield Clamp("thinking", "", "disabled", None, room.by_model)
            yield from _say(said, _at_least_low(room.least), room.by_model)
    elif most in (Effort.NONE, Effort.MINIMAL):
        if _thinks(said, room) or ("output_config", "") in said:  # the word alone may start it
            yield from _off(said, room)
    else:
        yield from _on(said, words, room)


def _on(said: Said, words: Effort | None, room: Room) -> Iterator[Clamp]:
    """A class that allows thinking: how much of it."""
    kind = said.get(_KIND)
    budgeted = _BUDGET in said or (kind == "enabled" and words is not None)
    kept, why = budget(said.get(_BUDGET), room) if budgeted else (0, "")
    strange = ("thinking", "") in said and kind not in ("enabled", "adaptive")
    if words is None:
        if why:
            key = "" if kept is None else "budget_tokens"
            yield Clamp("thinking", key, told(said.get(_BUDGET)), kept, why)
    elif kept is None or strange:
        yield from _instead(said, words, room)
    elif why:
        yield Clamp(*_BUDGET, told(said.get(_BUDGET)), kept, why)
    if words is not None and not strange and kind != "enabled" and _thinks(said, room):
        usual = room.reasoning.usual if room.reasoning is not None else None
        if (usual or USUAL).rank > words.rank:
            yield from _say(said, words, room.by_class)


def _thinks(said: Said, room: Room) -> bool:
    """Whether the model would think: asked to, or by itself."""
    return ("thinking", "") in said or (room.reasoning is not None and room.reasoning.by_itself)


def _instead(said: Said, words: Effort, room: Room) -> Iterator[Clamp]:
    """For thinking that cannot be brought within bounds: none, or by the word where the model always thinks."""
    if not room.mandatory:
        yield from _off(said, room)
        return
    yield Clamp("thinking", "", told(said.get(_KIND)), None, room.by_class)
    yield from _say(said, words, room.by_class)


def _off(said: Said, room: Room) -> Iterator[Clamp]:
    asked = told(said.get(_KIND)) if ("thinking", "") in said else NOTHING
    if asked != NOTHING:  # its other members mean nothing, or an error, beside the switch
        yield Clamp("thinking", "", asked, None, room.by_class)
    yield Clamp(*_KIND, NOTHING, "disabled", room.by_class)


def _say(said: Said, effort: Effort, why: str) -> Iterator[Clamp]:
    """Set the word, unless it stands there and is bounded already."""
    if _EFFORT not in said:
        yield Clamp(*_EFFORT, NOTHING, effort.value, why)


def _at_least_low(effort: Effort) -> Effort:
    return effort if effort.rank > Effort.LOW.rank else Effort.LOW
