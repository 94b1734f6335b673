"""Changing a body at its top level while every other value keeps the client's very bytes.

Prompt caches of the upstream depend on an unchanged prefix, and signatures on unchanged blocks: re-encoding what was
parsed would lose both. So an object or a list is cut into its members' raw bytes and put together again.
Only bodies that `reading.load` has accepted come here.

The parts are views of the client's bytes, and each joining copies once: a late body has hundreds of kilobytes, and every
copy of them fetches fresh memory from the kernel.
"""

from collections.abc import Iterable, Mapping

import msgspec

Written = bytes | memoryview
"""A value as it is written: agentd's own, or a view of the client's bytes."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)


def members(raw: Written) -> dict[str, Written]:
    """An object's values as they are written, in order. Raises `msgspec.MsgspecError` if it is no object."""
    return {key: memoryview(value) for key, value in _MEMBERS.decode(raw).items()}


def items(raw: Written) -> list[Written]:
    """A list's values as they are written. Raises `msgspec.MsgspecError` if it is no list."""
    return [memoryview(value) for value in _ITEMS.decode(raw)]


def text(raw: Written) -> str:
    """A text's characters. Raises `msgspec.MsgspecError` if it is no text."""
    return _TEXT.decode(raw)


def is_list(raw: Written) -> bool:
    """Whether a value is a list."""
    return raw[:1] == b"["


def encode(value: object) -> bytes:
    """A value of agentd's own as JSON."""
    return msgspec.json.encode(value)


def object_of(values: Mapping[str, Written]) -> bytes:
    """Raw values under their keys, as an object."""
    pieces: list[Written] = []
    for key, value in values.items():
        pieces += (b"," if pieces else b"{", encode(key), b":", value)
    return b"".join([*pieces, b"}" if pieces else b"{}"])


def list_of(values: Iterable[Written]) -> bytes:
    """Raw values as a list."""
    pieces: list[Written] = []
    for value in values:
        pieces += (b"," if pieces else b"[", value)
    return b"".join([*pieces, b"]" if pieces else b"[]"])


def without(raw: Written, gone: frozenset[int]) -> bytes:
    """A list without the items at these places."""
    return list_of(item for place, item in enumerate(items(raw)) if place not in gone)


def overlay(kept: Mapping[str, Written], own: Mapping[str, Written]) -> bytes:
    """An object of the kept members, in which agentd's own stand at the client's place, or else at the end."""
    return object_of({**kept, **own})
