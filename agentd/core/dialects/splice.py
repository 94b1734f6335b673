"""Changing a body at its top level while every other value keeps the client's very bytes.

Prompt caches of the upstream depend on an unchanged prefix, and signatures on unchanged blocks: re-encoding what was
parsed would lose both. So an object or a list is cut into its members' raw bytes and put together again.
Only bodies that `reading.load` has accepted come here.
"""

from collections.abc import Iterable, Mapping

import msgspec

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])


def members(raw: bytes) -> dict[str, bytes]:
    """An object's values as they are written, in order. Raises `msgspec.MsgspecError` if it is no object."""
    return {key: bytes(value) for key, value in _MEMBERS.decode(raw).items()}


def items(raw: bytes) -> list[bytes]:
    """A list's values as they are written. Raises `msgspec.MsgspecError` if it is no list."""
    return [bytes(value) for value in _ITEMS.decode(raw)]


def encode(value: object) -> bytes:
    """A value of agentd's own as JSON."""
    return msgspec.json.encode(value)


def object_of(values: Mapping[str, bytes]) -> bytes:
    """Raw values under their keys, as an object."""
    return b"{" + b",".join(encode(key) + b":" + value for key, value in values.items()) + b"}"


def list_of(values: Iterable[bytes]) -> bytes:
    """Raw values as a list."""
    return b"[" + b",".join(values) + b"]"


def without(raw: bytes, gone: frozenset[int]) -> bytes:
    """A list without the items at these places."""
    return list_of(item for place, item in enumerate(items(raw)) if place not in gone)


def overlay(kept: Mapping[str, bytes], own: Mapping[str, bytes]) -> bytes:
    """An object of the kept members, in which agentd's own stand at the client's place, or else at the end."""
    return object_of({**kept, **own})
