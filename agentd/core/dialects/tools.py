"""Which tools a request may offer. Only tools that the agent itself runs are its own business; every other kind is run by a
provider or by OpenRouter, with a bill, a model or a network of its own that no verdict covers.

A tool of a kind that is not known to be the agent's is left out, and that is recorded: some clients list a provider's
search in every request, and refusing would stop them. Refused are the kinds that contact a third party with the agent's
data or open a loop of their own. A choice that forces such a tool is refused as well, since without it the call would
mean something else. Definitions inside messages, and inside a namespace of tools, cannot be left out without touching the
client's bytes: there all of them are refused.
"""

from dataclasses import dataclass
from typing import Any, Final

from agentd.core.dialects.turns import unreadable
from agentd.core.types.calls import Dialect, Smuggled
from agentd.core.types.errors import Unreadable

MAX_TOOLS: Final = 2_048
"""Agents list some 15 to 300; a list of thousands only costs everybody time."""

NAME_CHARS: Final = 128
"""No API takes longer names."""

NAMESPACE: Final = "namespace"
"""A kind that holds tools of its own (responses)."""

LOCAL_SHELL: Final = "local_shell"
"""A kind that has no name (responses): the agent's own shell."""

OWN_KINDS: Final = {
    Dialect.CHAT: frozenset({"function"}),
    Dialect.MESSAGES: frozenset({"", "custom"}),
    Dialect.RESPONSES: frozenset({"function", "custom", NAMESPACE, LOCAL_SHELL}),
}
"""Kinds that the agent runs itself; "" is a tool without a type."""

REFUSED_PREFIXES: Final = ("openrouter:", "mcp")
"""Run by OpenRouter with models and bills of its own; a remote server that is sent the agent's data."""

CHOICES: Final = {
    Dialect.CHAT: frozenset({"none", "auto", "required", "function", "allowed_tools"}),
    Dialect.MESSAGES: frozenset({"none", "auto", "any", "tool"}),
    Dialect.RESPONSES: frozenset({"none", "auto", "required", "allowed_tools"}) | OWN_KINDS[Dialect.RESPONSES],
}
"""Forms of `tool_choice`, as a word or as an object's type."""


@dataclass(frozen=True, slots=True)
class Offered:
    """The tools of a request: names of those that pass, places of those that do not, and what is to be told."""

    names: tuple[str, ...] = ()
    gone: frozenset[int] = frozenset()
    found: tuple[Smuggled, ...] = ()


def offered(dialect: Dialect, fields: dict[str, Any]) -> Offered:
    """Judge `tools` and `tool_choice`. Raises `Unreadable` where they do not have their form."""
    entries = _entries(fields.get("tools"))
    names: list[str] = []
    found: list[Smuggled] = []
    gone: set[int] = set()
    gone_names: set[str] = set()
    for place, entry in enumerate(entries):
        kind, name = kind_of(dialect, entry, f"tools[{place}]")
        if kind in OWN_KINDS[dialect]:
            names.extend(_names_in(entry, name) if kind == NAMESPACE else [name])
            if kind == NAMESPACE:
                found.extend(inside_messages(dialect, entry, f"tools[{place}]"))
            continue
        gone.add(place)
        gone_names.add(name)
        found.append(Smuggled(f"tools[{place}].type", kind[:NAME_CHARS], kind.startswith(REFUSED_PREFIXES)))
    choice = _choice(dialect, fields.get("tool_choice"), gone_names - set(names))
    return Offered(tuple(names), frozenset(gone), (*found, *choice))


def kind_of(dialect: Dialect, entry: object, where: str) -> tuple[str, str]:
    """A tool's kind, "" if it has none, and its name, "" if it has none. Raises `Unreadable`."""
    if not isinstance(entry, dict):
        raise unreadable(where, "must be an object")
    kind = entry.get("type")
    if kind is None and dialect is Dialect.MESSAGES:
        kind = ""
    if not isinstance(kind, str):
        raise unreadable(f"{where}.type", "must be text")
    inner = entry.get("function") if dialect is Dialect.CHAT else entry
    name = inner.get("name", kind if kind == LOCAL_SHELL else None) if isinstance(inner, dict) else None
    if kind in OWN_KINDS[dialect] and not isinstance(name, str):
        raise unreadable(f"{where}.name", "must be text")
    return kind, name[:NAME_CHARS] if isinstance(name, str) else ""


def inside_messages(dialect: Dialect, holder: dict[str, Any], where: str) -> list[Smuggled]:
    """Tool definitions that a message, one of its parts or a namespace brings along: all that are not the agent's own are
    refused."""
    found: list[Smuggled] = []
    lists = [("tools", holder.get("tools")), ("tool", [holder["tool"]] if "tool" in holder else None)]
    for key, entries in lists:
        for place, entry in enumerate(entries if isinstance(entries, list) else []):
            at = f"{where}.{key}[{place}]"
            if isinstance(entry, dict) and entry.get("type") not in (None, *OWN_KINDS[dialect]):
                found.append(Smuggled(f"{at}.type", str(entry["type"])[:NAME_CHARS], refused=True))
            elif isinstance(entry, dict) and entry.get("type") == NAMESPACE:
                found.extend(inside_messages(dialect, entry, at))
    return found


def _names_in(namespace: dict[str, Any], name: str) -> list[str]:
    """The names of a namespace's tools, each behind the namespace's own."""
    tools = namespace.get("tools")
    inner = [tool.get("name") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [within(name, one) for one in inner if isinstance(one, str)]


def within(namespace: object, name: str) -> str:
    """The name of a tool in a namespace; of one that is in none, its own."""
    return f"{namespace}.{name}"[:NAME_CHARS] if isinstance(namespace, str) and namespace else name[:NAME_CHARS]


def _entries(tools: object) -> list[Any]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise unreadable("tools", "must be a list")
    if len(tools) > MAX_TOOLS:
        message = f"The request offers {len(tools)} tools, more than {MAX_TOOLS}."
        raise Unreadable("tools.too_many", message, "Offer fewer tools.")
    return tools


def _choice(dialect: Dialect, choice: object, gone_names: set[str]) -> list[Smuggled]:
    """A refusal if the choice takes a form, a kind or a name that no tool of the agent has."""
    if choice is None:
        return []
    for form, name in _chosen(choice):
        if form not in CHOICES[dialect] or (name and name in gone_names):
            return [Smuggled("tool_choice", (name or form)[:NAME_CHARS], refused=True)]
    return []


def _chosen(choice: object) -> list[tuple[str, str]]:
    """All (form, name) pairs of a choice: one, or those of a list of allowed tools as well."""
    if isinstance(choice, str):
        return [(choice, "")]
    if not isinstance(choice, dict) or not isinstance(choice.get("type"), str):
        raise unreadable("tool_choice", "must be a word or an object with a type")
    inner = choice.get("function")
    named = inner if isinstance(inner, dict) else choice
    pairs = [(choice["type"], str(named.get("name", "")))]
    allowed = choice.get("allowed_tools")
    for holder in (allowed, choice):  # both: a list at the one place must not hide the one at the other
        nested = holder.get("tools") if isinstance(holder, dict) else None
        for tool in nested if isinstance(nested, list) else []:
            pairs.extend(_chosen(tool))
    return pairs
