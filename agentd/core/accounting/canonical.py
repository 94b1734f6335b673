"""The one way in which a line of the record becomes bytes.

A digest can only be checked later if the same line always gives the same bytes. So: JSON in UTF-8, keys sorted, no
spaces, every field present, whole numbers only. A float has several spellings and rounds silently, and a number beyond
64 bits would be read back differently by the database: both are refused, not bent. Half of a surrogate pair cannot be
written as UTF-8, and the database ends a text at NUL; both come from hostile input that must still be recordable, so they are
kept visibly, spelled out as their escapes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agentd.core.types.errors import AgentdError
from agentd.core.types.records import Kind, Line

MAX_LINE_BYTES = 1 << 18
"""256 KiB. A usual line has about 1 KiB; only a policy's diff comes near. More is a mistake of the caller."""

MAX_DEPTH = 16
"""Nesting of lists and maps in one field. Our own evidence needs four."""

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1
"""What SQLite's INTEGER holds."""

PREFIXES: Mapping[Kind, str] = {Kind.DECISION: "d", Kind.OUTCOME: "o", Kind.ESCALATION: "e"}
"""Short names for what people quote every day. Any other kind is named in full: `policy-3`, `halt-17`."""

_FIELDS: tuple[tuple[str, str], ...] = tuple((name.rstrip("_"), name) for name in Line.__slots__)


class Uncanonical(AgentdError):
    """A line that has no canonical bytes: a float, a huge number, a foreign type, too deep, too large."""

    def __init__(self, where: str, problem: str) -> None:
        """`where` is the path in the line, `detail.limits[2]`."""
        super().__init__(
            "record.unwritable", f"The line cannot be written: {where} {problem}.", "This is a fault in agentd."
        )


def name_of(kind: Kind, seq: int) -> str:
    """The id of a line: `d-41` for decisions, `o-42` for outcomes, `policy-3` and the like for the rest."""
    return f"{PREFIXES.get(kind, kind.value)}-{seq}"


def record_of(line: Line, seq: int, prev: str) -> dict[str, Any]:
    """The line under its wire names, numbered and tied to the digest before it. Not checked: `canonical` does that."""
    record: dict[str, Any] = {wire: getattr(line, field) for wire, field in _FIELDS}
    record["seq"] = seq
    record["id"] = name_of(line.kind, seq)
    record["prev"] = prev
    return record


def canonical(record: Mapping[str, Any]) -> bytes:
    """Canonical bytes of a record. Raises `Uncanonical`."""
    plain: dict[str, object] = {}
    for name, value in record.items():
        try:
            plain[name] = _clean(value, 0)
        except _Unclean as unclean:
            raise Uncanonical(name + unclean.where, unclean.problem) from None
    body = msgspec.json.encode(plain, order="sorted")
    if len(body) > MAX_LINE_BYTES:
        raise Uncanonical("it", f"has {len(body)} bytes, more than {MAX_LINE_BYTES}")
    return body


class _Unclean(Exception):
    """A value that cannot be written, found below `where`: the path is put together on the way out, for the rare case."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where


def _clean(value: object, depth: int) -> object:
    """The value in plain JSON types. Raises `_Unclean`."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, int):
        return _number(int(value))
    if depth >= MAX_DEPTH:
        raise _Unclean(f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        return _clean_map(value, depth + 1)
    if isinstance(value, (list, tuple)):
        return _clean_list(value, depth + 1)
    raise _Unclean(f"is a {type(value).__name__}, and only text, whole numbers, lists and maps are written")


def _clean_map(value: Mapping[object, object], depth: int) -> dict[str, object]:
    clean: dict[str, object] = {}
    for key, item in value.items():
        try:
            clean[_key(key)] = _clean(item, depth)
        except _Unclean as unclean:
            at = f".{key}" if isinstance(key, str) else ""
            raise _Unclean(unclean.problem, at + unclean.where) from None
    return clean


def _clean_list(value: Sequence[object], depth: int) -> list[object]:
    clean: list[object] = []
    for place, item in enumerate(value):
        try:
            clean.append(_clean(item, depth))
        except _Unclean as unclean:
            raise _Unclean(unclean.problem, f"[{place}]{unclean.where}") from None
    return clean


def visible(text: str) -> str:
    """The text as it is written: halves of surrogate pairs and NUL spelled out, all else as it is."""
    plain = text if type(text) is str else str.__str__(text)
    if "\0" in plain:
        plain = plain.replace("\0", "\\u0000")
    return plain if plain.isascii() else plain.encode("utf-8", "backslashreplace").decode("utf-8")


def _key(key: object) -> str:
    """A map's key, which must be text."""
    if not isinstance(key, str):
        raise _Unclean(f"has a key of type {type(key).__name__}")
    return visible(key)


def _number(value: int) -> int:
    """A whole number of at most 64 bits."""
    if not INT_MIN <= value <= INT_MAX:
        raise _Unclean("is a number of more than 64 bits")
    return value
