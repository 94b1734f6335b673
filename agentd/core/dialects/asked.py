"""What a body asks for in the few fields that the way needs: model, stream, output cap."""

from collections.abc import Mapping
from typing import Any, Final

from agentd.core.dialects.turns import unreadable

MAX_MODEL_CHARS: Final = 256
"""Longer than any model's name; the name goes into the record."""


def model_of(fields: Mapping[str, Any]) -> str:
    """The model's name, "" if there is none: agentd always writes its own. Raises `Unreadable`."""
    model = fields.get("model")
    if model is None:
        return ""
    if not isinstance(model, str) or len(model) > MAX_MODEL_CHARS:
        raise unreadable("model", f"must be text of at most {MAX_MODEL_CHARS} characters")
    return model


def flag_of(fields: Mapping[str, Any], name: str) -> bool:
    """A switch that is off by default. Raises `Unreadable`."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise unreadable(name, "must be true or false")
    return value


def cap_of(fields: Mapping[str, Any], name: str) -> int | None:
    """An output cap in tokens, None if there is none. Raises `Unreadable`."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise unreadable(name, "must be a whole number of at least 1")
    return value
