"""The messages of chat completions: their outline, and the removal of what another model signed."""

from collections.abc import Iterator
from typing import Any

from agentd.core.dialects import splice
from agentd.core.dialects.parts import doors_in
from agentd.core.dialects.splice import Written
from agentd.core.dialects.tools import inside_messages
from agentd.core.dialects.turns import Outline, Role, Turn, messages_of, parts_of
from agentd.core.types.calls import Dialect, Smuggled

ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
}

_ROLES = frozenset(ROLES)
_STATE = "reasoning_details"
_PLAIN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
"""Members of a message in which nothing else can hide: one with more is looked through."""


def outline(fields: dict[str, Any]) -> Outline:
    """The conversation of a body. Raises `Unreadable`."""
    result = Outline()
    for place, message in enumerate(messages_of(fields, _ROLES)):
        turn = Turn(ROLES[message["role"]])
        turn.results = turn.role is Role.TOOL
        content = message.get("content")
        if isinstance(content, str):  # nearly all of them, and text hides nothing
            turn.say(content)
        elif content is not None:
            result.found.extend(_parts(turn, content, f"messages[{place}]"))
        if not message.keys() <= _PLAIN:
            result.found.extend(_beside(message, f"messages[{place}]"))
            turn.state = _signed(message.get(_STATE))
        if "tool_calls" in message:
            turn.calls.extend(_calls(message["tool_calls"]))
        result.turns.append(turn)
    return result


def _parts(turn: Turn, content: object, where: str) -> Iterator[Smuggled]:
    """Take content in parts into its turn; what hides in them comes back."""
    for index, part in enumerate(parts_of(content, f"{where}.content")):
        _take(turn, part)
        yield from doors_in(Dialect.CHAT, part, f"{where}.content[{index}]")


def _beside(message: dict[str, Any], where: str) -> Iterator[Smuggled]:
    """What hides beside the content: tools, and pictures as answers have them."""
    yield from inside_messages(Dialect.CHAT, message, where)
    if message.get("images") is not None:
        yield from doors_in(Dialect.CHAT, {"type": "images", "images": message["images"]}, where)


def _take(turn: Turn, part: dict[str, Any]) -> None:
    kind = part["type"]
    if kind == "text":
        turn.say(part["text"])
    elif kind in ("image_url", "input_image"):
        turn.images += 1
    elif kind not in ("refusal", "thinking"):
        turn.documents += 1  # file, audio, video, and whatever comes: material that is not text


def _calls(calls: object) -> list[str]:
    """Names of the tools that an assistant message called; what has no name is no call."""
    names = []
    for call in calls if isinstance(calls, list) else []:
        inner = (call.get("function") or call.get("custom")) if isinstance(call, dict) else None
        name = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(name, str):
            names.append(name)
    return names


def _signed(details: object) -> bool:
    """Whether reasoning is bound to the model that wrote it: a signature, or text that only it can open."""
    listed = details if isinstance(details, list) else []
    return any(isinstance(one, dict) and (one.get("signature") or one.get("data")) for one in listed)


def without_state(messages: Written, foreign: int) -> bytes:
    """The messages, the first `foreign` of them without `reasoning_details`; every message that has none keeps its bytes."""
    listed = splice.items(messages)
    return splice.list_of([*map(_plain, listed[:foreign]), *listed[foreign:]])


def _plain(message: Written) -> Written:
    members = splice.members(message)
    if members.pop(_STATE, None) is None:
        return message
    return splice.object_of(members)
