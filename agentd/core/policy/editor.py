"""The policy file's description as a JSON Schema, so that editors complete keys and mark faults while one types.

A schema cannot say what spans keys (names that exist, tiers in order, prices): `agentctl policy check` does. What it does say
is the same as `parse`, since both come from `spec`.
"""

from typing import Any

from agentd.core.policy.entries import NAME_PATTERN
from agentd.core.policy.kinds import (
    MAX_LIST,
    Account,
    Choice,
    Day,
    Flag,
    Key,
    Kind,
    ListOf,
    MapOf,
    Money,
    Number,
    Rate,
    Record,
    Span,
    Text,
)
from agentd.core.policy.spec import FILE

Schema = dict[str, Any]

AMOUNT_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,9})?$"
SPAN_PATTERN = r"^[0-9]{1,7}[smhd]$"


def json_schema() -> Schema:
    """The schema of the whole file, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agentd policy",
        **_kind(FILE),
    }


def _kind(kind: Kind) -> Schema:
    match kind:
        case Record():
            return _record(kind)
        case ListOf():
            return {"type": "array", "items": _kind(kind.item), "minItems": kind.low, "maxItems": kind.high}
        case MapOf():
            return {
                "type": "object",
                "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
                "additionalProperties": _kind(kind.item),
                "minProperties": kind.low,
                "maxProperties": MAX_LIST,
            }
        case _:
            return _leaf(kind)


def _record(kind: Record) -> Schema:
    return {
        "type": "object",
        "properties": {key.name: _key(key) for key in kind.keys},
        "required": [key.name for key in kind.keys if key.required],
        "additionalProperties": False,
    }


def _key(key: Key) -> Schema:
    absent = f" If absent: {absent_words(key)}." if not key.required else ""
    return {**_kind(key.kind), "description": f"{key.doc}{absent} Example: {key.example}"}


def absent_words(key: Key) -> str:
    """What it means that a key is absent, for people."""
    if key.absent:
        return key.absent
    if key.default in ((), {}, "", None):
        return "none"
    if isinstance(key.default, tuple):
        return f"[{', '.join(map(str, key.default))}]"
    return str(key.default).lower()


def _leaf(kind: Kind) -> Schema:
    match kind:
        case Text():
            return _text(kind)
        case Number():
            return {"type": "integer", "minimum": kind.low, "maximum": kind.high}
        case Money() | Rate():
            return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": AMOUNT_PATTERN}]}
        case Span():
            return {"type": "string", "pattern": SPAN_PATTERN}
        case Day():
            return {"type": "string", "format": "date"}
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"enum": list(kind.options)}
        case Account():
            return {"type": ["integer", "string"]}
        case _:
            return {"type": "string"}


def _text(kind: Text) -> Schema:
    text: Schema = {"type": "string", "minLength": 1, "maxLength": kind.max_chars}
    return text if kind.pattern is None else {**text, "pattern": f"^(?:{kind.pattern})$"}
