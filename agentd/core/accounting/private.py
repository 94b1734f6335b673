"""The upstream's list of endpoints that keep nothing. In: the bytes of GET /endpoints/zdr. Out: the models that have one."""

import json
from collections.abc import Mapping


def parse_private(body: bytes) -> frozenset[str] | None:
    """Ids of models with at least one such endpoint; None if the bytes are no list."""
    try:
        rows = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(rows, list):
        return None
    return frozenset(name for row in rows if isinstance(row, Mapping) and (name := _model_of(row)))


def _model_of(row: Mapping[str, object]) -> str:
    """By its field, else out of the endpoint's name: `Provider | author/model`."""
    model, name = row.get("model_id"), row.get("name")
    if isinstance(model, str):
        return model
    return name.rpartition(" | ")[2] if isinstance(name, str) else ""
