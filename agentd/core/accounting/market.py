"""Taking in a newer list of models: what may change by itself, and what waits for a person.

Budgets are promises in money, so a price may fall unseen but not jump: a model that is in use keeps its old price when the new
one is more than a fifth higher in anything that agentd buys, or cannot be read. A model that is in use and vanished from the list
keeps its entry, too. Both are told. Everything else, sizes and models that nobody uses, is taken as it comes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any, Final

from agentd.core.accounting.catalogue import CatalogueRefused, ModelEntry, Reasoning
from agentd.core.accounting.price import EXACT, Price, parse_price, per_million
from agentd.core.types.bounds import Effort

JUMP: Final = Decimal("1.2")
"""A rate that is higher than so many times the old one has jumped: prices of running models move by less, if they move."""

FORMAT: Final = 1
"""Of the snapshot file."""

_BOUGHT: Final = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "request", "reasoning")


@dataclass(frozen=True, slots=True)
class Taken:
    """A list as it is in force, and what was not taken over: models by id, with what happened."""

    entries: dict[str, ModelEntry]
    jumped: dict[str, str]
    vanished: tuple[str, ...]


def take_in(held: Mapping[str, ModelEntry], listed: Mapping[str, ModelEntry], used: frozenset[str]) -> Taken:
    """The newer list over the one in force. `used`: models that the policy names."""
    entries = {**held, **listed}
    jumped: dict[str, str] = {}
    for name in used & held.keys() & listed.keys():
        words = _jump(parse_price(held[name].pricing), parse_price(listed[name].pricing))
        if words:
            jumped[name] = words
            entries[name] = replace(listed[name], pricing=held[name].pricing)
    vanished = sorted(used & (held.keys() - listed.keys()))
    return Taken(entries, jumped, tuple(vanished))


def prices_of(entries: Mapping[str, ModelEntry]) -> dict[str, Price]:
    """The prices that can be read."""
    read = {name: parse_price(entry.pricing) for name, entry in entries.items()}
    return {name: price for name, price in read.items() if price is not None}


def snapshot(entries: Mapping[str, ModelEntry]) -> bytes:
    """Entries as the bytes of a file; the same entries give the same bytes."""
    models = {name: asdict(entry) for name, entry in entries.items()}
    return json.dumps({"format": FORMAT, "models": models}, sort_keys=True, separators=(",", ":")).encode()


def parse_snapshot(data: bytes, source: str) -> dict[str, ModelEntry]:
    """The entries of such a file. Raises `CatalogueRefused`."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        return {name: _entry(row) for name, row in document["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueRefused("catalogue.unreadable", f"{source} is no snapshot of a list: {error!r}") from error


def digest_of(entries: Mapping[str, ModelEntry]) -> str:
    """The name of a list in force: SHA-256 of its snapshot, hex."""
    return hashlib.sha256(snapshot(entries)).hexdigest()


def _entry(row: Mapping[str, Any]) -> ModelEntry:
    return ModelEntry(
        context_length=int(row["context_length"]),
        max_output=int(row["max_output"]),
        name=str(row["name"]),
        created=int(row["created"]),
        modalities=tuple(row["modalities"]),
        pricing=dict(row["pricing"]),
        reasoning=_reasoning(row.get("reasoning")),
    )


def _reasoning(row: Mapping[str, Any] | None) -> Reasoning | None:
    """Snapshots of before this was kept have none."""
    if row is None:
        return None
    return Reasoning(
        mandatory=bool(row["mandatory"]),
        efforts=tuple(Effort(word) for word in row["efforts"]),
        usual=None if row["usual"] is None else Effort(row["usual"]),
        by_itself=bool(row["by_itself"]),
    )


def _jump(before: Price | None, now: Price | None) -> str:
    """What is wrong with a new price, in words; empty: nothing."""
    if before is None:
        return ""
    if now is None:
        return f"its price cannot be read any more; it was {_words(before)}"
    dearer = any(getattr(now, name) > EXACT.multiply(getattr(before, name), JUMP) for name in _BOUGHT)
    if dearer or len(now.overrides) > len(before.overrides):
        return f"its price went from {_words(before)} to {_words(now)}" + ("" if dearer else ", at times more")
    return ""


def _words(price: Price) -> str:
    prompt, completion = per_million(price)
    return f"${prompt:f} and ${completion:f} per million tokens in and out"
