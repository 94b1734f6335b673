"""Side doors inside message parts: addresses that an upstream would fetch, files that it keeps, tools that it would add.

An address in a picture or document is fetched by the provider or by OpenRouter: traffic that no gate saw. Only material
that stands in the request itself (`data:`) passes. The scan looks at every part that is neither text nor a record of tool
use, known or not, since new kinds of parts appear without notice; arguments and results of tools are the agent's own text,
nobody fetches what they name.
"""

import re
from typing import Any, Final

from agentd.core.dialects import tools
from agentd.core.types.calls import Dialect, Smuggled

TEXTS: Final = frozenset(
    {
        "text", "refusal", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "mcp_tool_use",
        "mcp_tool_result", "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result",
    }
)  # fmt: skip
"""Kinds of parts that hold words and the record of tools, in which an address is only a word."""

ADDRESS_KEYS: Final = frozenset({"url", "uri", "image_url", "video_url", "audio_url", "file_url"})
"""Keys whose text is fetched unless it is a `data:` address."""

DATA_KEYS: Final = frozenset({"file_data"})
"""Keys that hold the material itself, where OpenRouter also takes an address."""

STORED_KEYS: Final = frozenset({"file_id"})
"""Keys that name what the upstream keeps: state that no verdict saw."""

HOST_CHARS: Final = 64
"""What of an address is recorded: scheme and host, since the rest may hold a secret."""

KEY_CHARS: Final = 32
PATH_CHARS: Final = 128
"""What of a key, and of a path of keys, is recorded."""

MAX_FOUND: Final = 64
"""Doors that are looked for in one part: one is enough to refuse."""

_Trail = tuple["_Trail | None", str]
"""A step and those before it."""

_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,15}):")
_HOST: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]{0,15}://)(?:[^/?#@]*@)?([^/?#]*)")


def doors_in(dialect: Dialect, part: dict[str, Any], where: str) -> list[Smuggled]:
    """What a part would make the upstream fetch, look up or run; each is refused."""
    if part["type"] in TEXTS:
        return _inside(dialect, part.get("content"), where)
    found = tools.inside_messages(dialect, part, where)
    unread: list[tuple[str, _Trail | None, Any]] = [("", None, part)]
    while unread and len(found) < MAX_FOUND:
        key, trail, value = unread.pop()
        if isinstance(value, str):
            door = _door(key, value)
            found.extend([] if door is None else [Smuggled(where + _path(trail), door, refused=True)])
        elif isinstance(value, list):
            unread.extend((key, (trail, f"[{place}]"), item) for place, item in enumerate(value))
        elif isinstance(value, dict):
            unread.extend((name, (trail, f".{name[:KEY_CHARS]}"), item) for name, item in value.items())
    return found


def _inside(dialect: Dialect, content: object, where: str) -> list[Smuggled]:
    """Pictures and documents that lie in the result of a tool, however deep results lie in results."""
    found: list[Smuggled] = []
    unread: list[tuple[str, object]] = [(f"{where}.content", content)]
    while unread and len(found) < MAX_FOUND:
        place, value = unread.pop()
        if isinstance(value, list):
            unread.extend((f"{place[:PATH_CHARS]}[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind not in TEXTS and not kind.endswith("_result"):
                found.extend(doors_in(dialect, value, place))
            else:
                unread.append((f"{place[:PATH_CHARS]}.content", value.get("content")))
    return found


def _path(trail: _Trail | None) -> str:
    """The steps to a value, put together only where they are told: joined at every step they would cost a square."""
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    return "".join(reversed(steps))[:PATH_CHARS]


def _door(key: str, value: str) -> str | None:
    """What is wrong with one text, if it is an address or a stored file."""
    if key in STORED_KEYS:
        return "a file kept by the upstream"
    scheme = _SCHEME.match(value)
    if scheme is not None and scheme.group(1).lower() == "data":
        return None
    if key in ADDRESS_KEYS or (key in DATA_KEYS and scheme is not None):
        return _host(value)
    return None


def _host(address: str) -> str:
    found = _HOST.match(address)
    return (found.group(1) + found.group(2))[:HOST_CHARS] if found else "an address"
