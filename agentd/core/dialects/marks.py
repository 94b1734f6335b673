"""How long the client's marks for the prompt cache keep a prompt: found wherever they stand, shortened where they stand.

Marks lie on messages, their parts, results of tools, tools and the body itself, and an upstream may take them in places that
nobody documents. So every object that can be part of the conversation is looked at. Left out is what is only data to the
upstream: arguments of a tool that was called, and schemas.

Hardly any body holds one. A body without the word `ttl` as a string of its own, and without an escaped letter in which it could
hide, is not walked.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentd.core.dialects import splice
from agentd.core.dialects.splice import Written
from agentd.core.types.bounds import ANOTHER, MARK, CacheTtl

TTL: Final = "ttl"

DATA: Final = frozenset({"input_schema", "parameters", "schema", "arguments"})
"""Members that hold data of the agent's, whose names mean nothing to the upstream."""

CALLS: Final = ("tool_use", "tool_call")
"""How the types of parts end whose `input` is such data."""

_WORD: Final = b'"ttl"'
_ESCAPE: Final = b"\\u00"
_LETTER: Final = re.compile(rb"\\u00[4-7]")
_EITHER: Final = re.compile(rb'"ttl"|\\u00[4-7]')


def long(body: bytes, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The lifetimes above five minutes that marks ask for, each once: an hour, or one that is no word of the API."""
    if _WORD not in body and (_ESCAPE not in body or _LETTER.search(body) is None):
        return ()
    return tuple(sorted(set(_lifetimes(fields))))


def _lifetimes(fields: Mapping[str, Any]) -> Iterator[str]:
    unread: list[Any] = [{name: value for name, value in fields.items() if name != "type"}]  # a body is no part
    while unread:
        value = unread.pop()
        if isinstance(value, list):
            unread.extend(value)
        elif isinstance(value, dict):
            called = _called(value.get("type"))
            mark = value.get(MARK)
            if isinstance(mark, dict) and _longer(mark.get(TTL), CacheTtl.SHORT):
                yield CacheTtl.HOUR.value if mark[TTL] == CacheTtl.HOUR else ANOTHER
            unread.extend(item for name, item in value.items() if not _is_data(name, called))


def shortened(raw: Written, most: CacheTtl, name: str = "") -> Written:
    """A value with every mark in it that asks for more than `most` set to `most`; the very same value if there is none. `name`:
    the member that it is of its object, where it has one."""
    if _EITHER.search(raw) is None or raw[:1] not in (b"{", b"["):
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
