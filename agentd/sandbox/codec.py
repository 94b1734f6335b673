"""Frozen dataclasses to JSON and back, strictly: a field too many, too few or of another type is a `Malformed`.

Text is UTF-8 with surrogates for bytes that are none, so that arguments and names of any bytes travel unharmed; JSON's
ASCII form carries surrogates. Numbers are bounded, and no number is a boolean.
"""

import json
import types
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

MAX_NUMBER = 2**53
"""What JSON readers of all kinds agree on."""

_KNOWN_HINTS: dict[type[Any], dict[str, Any]] = {}


class Malformed(ValueError):
    """Bytes that are no message. The peer that sent them is not trusted any more."""


def encode(message: object) -> bytes:
    """A message as JSON; its class by name under `is`."""
    return json.dumps({"is": type(message).__name__, **_plain(message)}, separators=(",", ":")).encode("ascii")


def decode(data: bytes, kinds: dict[str, type[Any]]) -> Any:  # noqa: ANN401 - one of `kinds`, which the caller knows
    """The message that some bytes are, one of `kinds`. Raises Malformed."""
    try:
        document = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Malformed("not an object")
    name = document.pop("is", None)
    kind = kinds.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Malformed(f"no such message here: {name!r}")
    return _build(kind, document, name)


def _plain(message: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    return {field.name: _value(getattr(message, field.name)) for field in fields(message)}


def _value(value: Any) -> Any:  # noqa: ANN401 - what JSON holds
    if is_dataclass(value):
        return _plain(value)
    return [_value(each) for each in value] if isinstance(value, tuple) else value


def _hints(kind: type[Any]) -> dict[str, Any]:
    if kind not in _KNOWN_HINTS:
        _KNOWN_HINTS[kind] = get_type_hints(kind)
    return _KNOWN_HINTS[kind]


def _build(kind: type[Any], document: Any, where: str) -> Any:  # noqa: ANN401 - checked here
    hints = _hints(kind)
    if not isinstance(document, dict) or document.keys() != hints.keys():
        raise Malformed(f"{where}: the fields are {', '.join(hints)}")
    values = {name: _checked(hint, document[name], f"{where}.{name}") for name, hint in hints.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise Malformed(f"{where}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - this is the check
    origin = get_origin(hint)
    if origin is tuple:
        return _sequence(get_args(hint), value, where)
    if origin is types.UnionType:
        return None if value is None else _checked(get_args(hint)[0], value, where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, where)
    return _scalar(hint, value, where)


def _scalar(hint: Any, value: Any, where: str) -> Any:  # noqa: ANN401 - this is the check
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise Malformed(f"{where}: {hint.__name__} expected")
    if hint in (int, float) and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Malformed(f"{where}: out of range")
    return value


def _sequence(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:  # noqa: ANN401 - this is the check
    if not isinstance(value, list):
        raise Malformed(f"{where}: list expected")
    if hints[-1] is Ellipsis:
        return tuple(_checked(hints[0], each, where) for each in value)
    if len(value) != len(hints):
        raise Malformed(f"{where}: {len(hints)} values expected")
    return tuple(_checked(hint, each, where) for hint, each in zip(hints, value, strict=True))
