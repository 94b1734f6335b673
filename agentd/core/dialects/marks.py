"""How long the client's marks for the prompt cache keep a prompt: found wherever they stand, shortened where they stand.

Marks lie on messages, their parts, results of tools, tools and the body itself, and an upstream may take them in places that
nobody documents. So every object that can be part of the conversation is looked at. Left out is what is only data to the
upstream: arguments of a tool that was called, and schemas.

Looking goes by what was read, so that no way of writing a name hides it, and passes over texts without touching them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from agentd.core.dialects import splice
from agentd.core.dialects.splice import Written
from agentd.core.types.bounds import ANOTHER, MARK, CacheTtl

TTL: Final = "ttl"

DATA: Final = frozenset({"input_schema", "parameters", "schema", "arguments"})
"""Members that hold data of the agent's, whose names mean nothing to the upstream."""

CALLS: Final = ("tool_use", "tool_call")
"""How the types of parts end whose `input` is such data."""

_NAME: Final = re.compile(rb'"ttl"')
_LETTER: Final = re.compile(rb"\\u00[4-7]")
"""The name of a lifetime, and an escaped letter in which it could hide: without either, a value is not taken apart. Two searches
for fixed beginnings are several times quicker than one for both."""


def long(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The lifetimes above five minutes that marks ask for, each once: an hour, or one that is no word of the API."""
    found: set[str] = set()
    level: list[Any] = [{name: value for name, value in fields.items() if name != "type"}]  # a body is no part
    while level:
        below: list[Any] = []
        for holder in level:
            if type(holder) is list:
                below += [item for item in holder if type(item) is dict or type(item) is list]
                continue
            for name, item in holder.items():
                if (type(item) is dict or type(item) is list) and _walked(name, holder):
                    below.append(item)
                    if name == MARK:
                        found.update(_lifetime(item))
        level = below
    return tuple(sorted(found))


def _lifetime(mark: object) -> tuple[str, ...]:
    ttl = mark.get(TTL) if isinstance(mark, dict) else None
    if not _longer(ttl, CacheTtl.SHORT):
        return ()
    return (CacheTtl.HOUR.value if ttl == CacheTtl.HOUR else ANOTHER,)


def _walked(name: str, holder: Mapping[str, Any]) -> bool:
    return name not in DATA and (name != "input" or not _called(holder.get("type")))


def shortened(raw: Written, most: CacheTtl, name: str = "") -> Written:
    """A value with every mark in it that asks for more than `most` set to `most`; the very same value if there is none. `name`:
    the member that it is of its object, where it has one."""
    if raw[:1] not in (b"{", b"[") or (_NAME.search(raw) is None and _LETTER.search(raw) is None):
        return raw
    if splice.is_list(raw):
        before = splice.items(raw)
        items = [shortened(item, most) for item in before]
        return raw if _same(before, items) else splice.list_of(items)
    held = splice.members(raw)
    called = _called(_word(held.get("type")))
    turned = {key: item if _is_data(key, called) else shortened(item, most, key) for key, item in held.items()}
    if name == MARK and _longer(_word(held.get(TTL)), most):
        turned[TTL] = splice.encode(most.value)
    return raw if _same(list(held.values()), list(turned.values())) else splice.object_of(turned)


def _same(before: list[Written], after: list[Written]) -> bool:
    return all(one is other for one, other in zip(before, after, strict=True))


def _word(raw: Written | None) -> object:
    """What stands there if it is text, null as None, and anything else as itself, unread."""
    if raw is None or raw == b"null":
        return None
    return splice.text(raw) if raw[:1] == b'"' else raw


def _longer(ttl: object, most: CacheTtl) -> bool:
    return ttl is not None and ttl != CacheTtl.SHORT and ttl != most


def _called(kind: object) -> bool:
    return isinstance(kind, str) and kind.endswith(CALLS)


def _is_data(name: str, called: bool) -> bool:
    return name in DATA or (called and name == "input")
