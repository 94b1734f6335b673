"""The input of responses: its outline, and the removal of what another model sealed.

A conversation is a list of items: messages, calls of tools and their results, sealed reasoning. What a model said in one
answer is several items, so every item of the model counts as the assistant's turn. Items that carry no material and name
nothing of the upstream's are records; every other kind, known or not, is looked through for side doors.
"""

import json
from typing import Any, Final

from agentd.core.dialects import splice
from agentd.core.dialects.parts import doors_in
from agentd.core.dialects.splice import Written
from agentd.core.dialects.tools import inside_messages, within
from agentd.core.dialects.turns import Outline, Role, Turn, parts_of, unreadable
from agentd.core.types.calls import Dialect, Smuggled

ROLES: Final = {"system": Role.SYSTEM, "developer": Role.SYSTEM, "user": Role.USER, "assistant": Role.ASSISTANT}

WORDS: Final = frozenset({"text", "input_text", "output_text"})
"""Parts that are text of their speaker. What a model cites beside its words is a record: nobody fetches it."""

ASIDE: Final = frozenset({"refusal", "summary_text", "reasoning_text"})
"""Other parts that are text."""

IMAGES: Final = frozenset({"input_image", "image_url", "computer_screenshot"})

CALLS: Final = frozenset(
    {
        "function_call", "custom_tool_call", "local_shell_call", "shell_call", "apply_patch_call", "computer_call",
        "tool_search_call", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call",
        "mcp_call",
    }
)  # fmt: skip
"""Items by which the model calls a tool, run by the agent or by the upstream."""

RESULTS: Final = frozenset(
    {
        "function_call_output", "custom_tool_call_output", "local_shell_call_output", "shell_call_output",
        "apply_patch_call_output", "computer_call_output", "tool_search_output", "program_output",
    }
)  # fmt: skip
"""Items by which the agent answers a call."""

SEALED: Final = frozenset({"reasoning", "compaction", "compaction_summary"})
"""Items that only the model that wrote them can open; without their seal they refer to what the upstream did not keep."""

RECORDS: Final = frozenset({"mcp_list_tools", "mcp_approval_request", "program"})
"""Further items that only tell what happened."""

DEFINING: Final = frozenset({"additional_tools", "tool_search_output"})
"""Items that bring tools along. In their schemas an address is only an example."""

REFUSED: Final = frozenset({"item_reference", "configuration_update", "mcp_approval_response"})
"""Items that stand for what the upstream keeps, lift the limits of reasoning, or let a remote server act."""

_SEAL: Final = "encrypted_content"


def outline(fields: dict[str, Any]) -> Outline:
    """The conversation of a body. Raises `Unreadable`."""
    result = Outline()
    instructions = fields.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise unreadable("instructions", "must be text")
    result.system_chars = len(instructions or "")
    for place, item in enumerate(_items(fields.get("input"))):
        result.turns.append(_turn(item, f"input[{place}]", result.found))
    return result


def call_name(item: dict[str, Any]) -> str:
    """The name of the tool that an item calls, behind its namespace; of one that has none, its kind."""
    name = item.get("name")
    if isinstance(name, str) and name:
        return within(item.get("namespace"), name)
    return str(item.get("type")).removesuffix("_call")


def without_state(items: Written, foreign: int) -> bytes:
    """The input without the sealed ones of the first `foreign` items; every other keeps its bytes."""
    if not splice.is_list(items):
        return bytes(items)
    listed = splice.items(items)
    kept = [item for item in listed[:foreign] if not _sealed(json.loads(bytes(item)))]
    return splice.list_of([*kept, *listed[foreign:]])


def _sealed(item: dict[str, Any]) -> bool:
    return item.get("type") in SEALED or bool(item.get(_SEAL))


def _items(said: object) -> list[Any]:
    """The items; text alone is one message of the user. Raises `Unreadable`."""
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said:
        raise unreadable("input", "must be text or a list with at least one item")
    return said


def _turn(item: object, where: str, found: list[Smuggled]) -> Turn:
    if not isinstance(item, dict):
        raise unreadable(where, "must be an object")
    kind = _kind(item, where)
    turn = _message(item, where, found) if kind == "message" else _other(item, kind, where, found)
    turn.state = bool(item.get(_SEAL) or item.get("signature"))
    return turn


def _kind(item: dict[str, Any], where: str) -> str:
    """An item's kind: one without is a message if somebody speaks, else it names a stored item. Raises `Unreadable`."""
    kind = item.get("type")
    if kind is None:
        return "message" if "role" in item else "item_reference"
    if not isinstance(kind, str):
        raise unreadable(f"{where}.type", "must be text")
    return kind


def _message(item: dict[str, Any], where: str, found: list[Smuggled]) -> Turn:
    if not isinstance(role := item.get("role"), str) or role not in ROLES:
        raise unreadable(f"{where}.role", f"must be one of {', '.join(sorted(ROLES))}")
    turn = Turn(ROLES[role])
    found.extend(inside_messages(Dialect.RESPONSES, item, where))
    for index, part in enumerate(parts_of(item.get("content"), f"{where}.content")):
        at = f"{where}.content[{index}]"
        if part["type"] in WORDS and not isinstance(part.get("text"), str):
            raise unreadable(f"{at}.text", "must be text")
        _take(turn, part, at, found)
    return turn


def _other(item: dict[str, Any], kind: str, where: str, found: list[Smuggled]) -> Turn:
    """An item that is no message."""
    if kind in REFUSED:
        found.append(Smuggled(f"{where}.type", kind, refused=True))
    elif kind in CALLS:
        return Turn(Role.ASSISTANT, calls=[call_name(item)])
    elif kind in SEALED:
        return Turn(Role.ASSISTANT)
    elif kind in DEFINING:
        found.extend(inside_messages(Dialect.RESPONSES, item, where))
        return Turn(Role.TOOL, results=kind in RESULTS)
    elif kind in RESULTS:
        return _result(item, where, found)
    elif kind not in RECORDS:
        found.extend(doors_in(Dialect.RESPONSES, {**item, "type": kind}, where))
    return Turn(Role.TOOL)


def _result(item: dict[str, Any], where: str, found: list[Smuggled]) -> Turn:
    """A tool's result is counted and never kept: its text is not a person's."""
    turn = Turn(Role.TOOL, results=True)
    output = item.get("output")
    if isinstance(output, str):
        turn.chars = len(output)
        return turn
    pieces = output if isinstance(output, list) else [output]
    for index, piece in enumerate(pieces):
        if isinstance(piece, dict):
            kind = piece.get("type")
            _take(turn, {**piece, "type": kind if isinstance(kind, str) else ""}, f"{where}.output[{index}]", found)
    turn.texts.clear()
    return turn


def _take(turn: Turn, part: dict[str, Any], where: str, found: list[Smuggled]) -> None:
    """Note one part, and the side doors in it."""
    kind = part["type"]
    if kind in WORDS:
        turn.say(str(part.get("text", "")))
    elif kind in IMAGES:
        turn.images += 1
    elif kind and kind not in ASIDE:
        turn.documents += 1  # files, audio, and whatever comes: material that is not text
    if kind not in WORDS and kind not in ASIDE:
        found.extend(doors_in(Dialect.RESPONSES, part, where))
