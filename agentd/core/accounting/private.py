"""The upstream's list of endpoints that keep nothing. In: the bytes of GET /endpoints/zdr. Out: the models that have one. And the
same list as a file, with its date, for a start without a network: a file that is none is no list, never an empty one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FORMAT: Final = 1
"""Of the file."""


@dataclass(frozen=True, slots=True)
class PrivateList:
    """Ids of models with at least one endpoint that keeps nothing, and when the upstream said so (RFC 3339)."""

    models: frozenset[str]
    at: str


def private_file(known: PrivateList) -> bytes:
    """The list as the bytes of a file."""
    return json.dumps({"format": FORMAT, "at": known.at, "models": sorted(known.models)}).encode()


def parse_private_file(data: bytes) -> PrivateList | None:
    """The list in such a file; None if it is none."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            return None
        models, at = document["models"], document["at"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(at, str) or not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        return None
    return PrivateList(frozenset(models), at)


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
