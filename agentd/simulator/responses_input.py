"""Bodies of the responses API, read. It keeps no state: what would refer to an earlier response is refused.

The items of the model that stand together in an input are one turn, since one answer is several items.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.simulator.cache import mark_last
from agentd.simulator.contract import (
    OPTIONAL,
    check,
    check_marks,
    mark_of,
    parts_of,
    provider_of,
    segment,
    session_of,
    text_of,
)
from agentd.simulator.words import MESSAGE_TOKENS, Asked, Invalid, Json, Segment, ToolOffer, Turn, objects, whole_number

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
NAMED: Final = frozenset({"function", "custom"})
"""Kinds of tools that have a name."""


def read(body: Json, headers: Mapping[str, str]) -> Asked:
    """Read a body. Raises `Invalid`."""
    check(body)
    _check_stateless(body)
    instructions = parts_of(body.get("instructions"), "instructions")
    items = _items(body.get("input"))
    turns = (*([Turn("system", text_of(instructions))] if instructions else []), *_turns(items))
    tools = objects(body, "tools")
    parts = [segment("tool", tool) for tool in tools] + [segment("system", part) for part in instructions]
    parts += [part for item in items for part in _segments(item)]
    whole = mark_of(body)
    asked = Asked(
        model=body.get("model", ""),
        stream=body.get("stream", False),
        turns=turns,
        segments=tuple(parts),
        tools=tuple(offer for tool in tools for offer in _offers(tool)),
        cap=whole_number(body, "max_output_tokens"),
        provider=provider_of(body),
        parameters=OPTIONAL & body.keys(),
        session=session_of(body, headers, turns),
    )
    check_marks(asked, whole)
    return replace(asked, segments=mark_last(asked.segments, whole))


def _check_stateless(body: Json) -> None:
    """Refuse what wants state at the upstream. Raises `Invalid`."""
    for name in ("background", "prompt", "conversation"):
        if body.get(name) not in (None, False):
            raise Invalid(f"{name} is not supported")


def _items(said: object) -> list[Json]:
    """The items of an input; text alone is one message of the user. Raises `Invalid`."""
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said or not all(isinstance(item, dict) for item in said):
        raise Invalid("input must be a string or a list of items")
    return said


def _turns(items: list[Json]) -> Iterator[Turn]:
    """The items as turns. Raises `Invalid`."""
    turns: list[Turn] = []
    for item in items:
        turn = _turn(item)
        if turns and turn.role == turns[-1].role == "assistant":
            last = turns.pop()
            turn = Turn("assistant", "\n".join(text for text in (last.text, turn.text) if text))
        turns.append(turn)
    return iter(turns)


def _turn(item: Json) -> Turn:
    """One item. Raises `Invalid`."""
    kind = item.get("type") or "message"
    if kind == "item_reference":
        raise Invalid("item_reference is not supported: nothing is stored")
    if kind == "message":
        role = item.get("role")
        if role not in ROLES:
            raise Invalid(f"input: unknown role {role!r}")
        return Turn(role, text_of(parts_of(item.get("content"), "content")))
    if str(kind).endswith("_output"):
        return Turn("tool", "", (text_of(parts_of(item.get("output"), "output")),))
    return Turn("assistant")


def _segments(item: Json) -> list[Segment]:
    """One item as stretches of the prompt."""
    if item.get("type") not in (None, "message"):
        return [segment("item", item, MESSAGE_TOKENS)]
    role = str(item.get("role"))
    parts = parts_of(item.get("content"), "content")
    found = [segment(role, part, 0 if index else MESSAGE_TOKENS) for index, part in enumerate(parts)]
    return found or [segment(role, "", MESSAGE_TOKENS)]


def _offers(tool: Json, namespace: str = "") -> Iterator[ToolOffer]:
    """The tools that an entry offers: itself, or those in its namespace."""
    kind = str(tool.get("type", ""))
    if kind == "namespace":
        for inner in objects(tool, "tools"):
            yield from _offers(inner, str(tool.get("name", "")))
        return
    schema = tool.get("parameters")
    name = str(tool.get("name", "")) if kind in NAMED else kind
    yield ToolOffer(name, schema if isinstance(schema, dict) else {}, kind, namespace)
