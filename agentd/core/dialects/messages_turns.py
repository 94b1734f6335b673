"""The messages of the messages dialect: their outline, and the removal of what another model signed.

Tool results are parts of user messages, with a person's words beside them at times; a system message may stand among the
others.
"""

import json
from typing import Any, Final

from agentd.core.dialects import splice
from agentd.core.dialects.parts import doors_in
from agentd.core.dialects.splice import Written
from agentd.core.dialects.tools import inside_messages
from agentd.core.dialects.turns import Outline, Role, Turn, messages_of, parts_of
from agentd.core.types.calls import Dialect, Smuggled

ROLES: Final = {"system": Role.SYSTEM, "user": Role.USER, "assistant": Role.ASSISTANT}

CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})

RESULTS: Final = frozenset(
    {"tool_result", "mcp_tool_result", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result"}
)

THINKING: Final = frozenset({"thinking", "redacted_thinking"})
"""Parts that are signed by the model that wrote them; another model answers them with a permanent error."""


def outline(fields: dict[str, Any]) -> Outline:
    """The conversation of a body. Raises `Unreadable`."""
    result = Outline()
    system = Turn(Role.SYSTEM)
    for index, part in enumerate(parts_of(fields.get("system"), "system")):
        _take(system, part, f"system[{index}]", result.found)
    result.system_chars = system.chars
    for place, message in enumerate(messages_of(fields, frozenset(ROLES))):
        where = f"messages[{place}]"
        turn = Turn(ROLES[message["role"]])
        result.found.extend(inside_messages(Dialect.MESSAGES, message, where))
        for index, part in enumerate(parts_of(message.get("content"), f"{where}.content")):
            _take(turn, part, f"{where}.content[{index}]", result.found)
        result.turns.append(turn)
    return result


def _take(turn: Turn, part: dict[str, Any], where: str, found: list[Smuggled]) -> None:
    """Note one part, and the side doors in it."""
    kind = part["type"]
    if kind == "text":
        turn.say(part["text"])
        turn.results_last = False
    elif kind == "tool_result":
        _take_result(turn, part, where)
    elif kind in CALLS and isinstance(part.get("name"), str):
        turn.calls.append(part["name"])
    elif kind in THINKING:
        turn.state = turn.state or bool(part.get("signature") or part.get("data"))
    elif kind == "image":
        turn.images += 1
    elif kind == "document":
        turn.documents += 1
    found.extend(doors_in(Dialect.MESSAGES, part, where))


def _take_result(turn: Turn, part: dict[str, Any], where: str) -> None:
    """A tool's result is counted and never kept: its text is not a person's."""
    inner = Turn(Role.TOOL)
    for index, piece in enumerate(parts_of(part.get("content"), f"{where}.content")):
        if piece["type"] != "tool_result":  # results do not nest
            _take(inner, piece, f"{where}.content[{index}]", [])  # what lies in results is found with the result
    turn.results = True
    turn.results_last = bool(turn.texts)
    turn.chars += inner.chars
    turn.images += inner.images
    turn.documents += inner.documents


def without_state(messages: Written, foreign: int) -> bytes:
    """The messages, the first `foreign` of them without signed thinking; an assistant message of nothing else goes whole, every
    other keeps its bytes."""
    listed = splice.items(messages)
    plain = (_plain(message) for message in listed[:foreign])
    return splice.list_of([*(message for message in plain if message), *listed[foreign:]])


def _plain(message: Written) -> Written:
    """The message, or b"" if nothing of it is left."""
    members = splice.members(message)
    if not splice.is_list(members.get("content", b"")):
        return message
    parts = splice.items(members["content"])
    kept = [part for part in parts if json.loads(bytes(part))["type"] not in THINKING]
    if len(kept) == len(parts):
        return message
    members["content"] = splice.list_of(kept)
    return splice.object_of(members) if kept else b""
