"""Model lists. In: the bytes of agentd's own catalogue file, or of an upstream's list. Out: prices and facts by model id; of
the file also its date and digest.

The file states USD per million tokens, as people compare prices; here it is turned into the per-token form of a model
list and read by the one reader of prices. A model whose price cannot be read stays in `entries` and is missing in
`prices`: it is known and unpriced, so it can be named in a refusal and never be bought.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from agentd.core.accounting.price import EXACT, Price, parse_price
from agentd.core.types.bounds import Effort
from agentd.core.types.errors import AgentdError

RATE_NAMES: Final[Mapping[str, str]] = {
    "in": "prompt",
    "out": "completion",
    "read": "input_cache_read",
    "write": "input_cache_write",
    "write_1h": "input_cache_write_1h",
}
"""Rates in the file (USD per million tokens) to names in a model list (USD per token)."""

HINT: Final = "Compare the file with agentd/data/catalogue.json, or leave the setting out to use that one."


class CatalogueRefused(AgentdError):
    """A catalogue file that cannot be used."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a list says of how a model thinks; of a model that it says nothing of, nothing is known."""

    mandatory: bool = False  # it cannot be switched off
    efforts: tuple[Effort, ...] = ()  # those it takes, least first; none listed: all
    usual: Effort | None = None  # what it does when it is not told how hard; None: not said
    by_itself: bool = True  # it thinks when it is not asked to

    @property
    def least(self) -> Effort:
        """As little as it can do."""
        if not self.mandatory:
            return Effort.NONE
        return next((effort for effort in self.efforts if effort is not Effort.NONE), Effort.MINIMAL)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What is known of a model besides what it costs. `context_length` and `max_output` are tokens, at or below the truth."""

    context_length: int
    max_output: int
    name: str
    created: int  # seconds since 1970; 0 where unknown
    modalities: tuple[str, ...]  # of its input: text, image, file, audio, video
    pricing: Mapping[str, Any] = field(default_factory=dict)  # the price in the form of a model list, USD per token
    reasoning: Reasoning | None = None  # None: it does not think, or nobody said


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One snapshot. `digest` is the SHA-256 of the file's bytes, so that a record can name the prices that it used."""

    prices: dict[str, Price]
    entries: dict[str, ModelEntry]
    digest: str
    dated: str  # YYYY-MM-DD


def parse_catalogue(data: bytes, source: str) -> Catalogue:
    """Read a catalogue file; `source` names it in errors. Raises `CatalogueRefused` if its shape is not understood."""
    try:
        document = json.loads(data)
        dated = date.fromisoformat(document["dated"]).isoformat()
        entries = {name: _entry(row) for name, row in document["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CatalogueRefused("catalogue.unreadable", f"{source} is not a catalogue: {reason}", HINT) from error
    read = {name: parse_price(entry.pricing) for name, entry in entries.items()}
    prices = {name: price for name, price in read.items() if price is not None}
    return Catalogue(prices, entries, hashlib.sha256(data).hexdigest(), dated)


def parse_list(data: bytes, source: str) -> dict[str, ModelEntry]:
    """Read an upstream's list of models. A row that is none is left out, since lists grow new kinds of rows; a list without
    any is refused: `CatalogueRefused`."""
    try:
        rows = json.loads(data)["data"]
        entries = {row["id"]: entry for row in rows if (entry := _listed(row)) is not None}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CatalogueRefused("catalogue.unreadable", f"{source} is not a list of models: {error!r}") from error
    if not entries:
        raise CatalogueRefused("catalogue.empty", f"{source} lists no models")
    return entries


def _listed(row: object) -> ModelEntry | None:
    """One row of an upstream's list."""
    if (
        not isinstance(row, Mapping)
        or not isinstance(row.get("id"), str)
        or not isinstance(row.get("pricing"), Mapping)
    ):
        return None
    best, shape = _map(row, "top_provider"), _map(row, "architecture")
    context = _tokens(row.get("context_length")) or _tokens(best.get("context_length"))
    if context is None:
        return None
    created = row.get("created")
    kinds = shape.get("input_modalities")
    return ModelEntry(
        context_length=context,
        max_output=_tokens(best.get("max_completion_tokens")) or context,
        name=str(row.get("name") or row["id"]),
        created=created if isinstance(created, int) and created > 0 else 0,
        modalities=tuple(str(kind) for kind in kinds) if isinstance(kinds, list) else ("text",),
        pricing=row["pricing"],
        reasoning=_reasoning(row.get("reasoning")),
    )


def _reasoning(said: object) -> Reasoning | None:
    """What a row says of thinking, in the names of an upstream's list."""
    if not isinstance(said, Mapping):
        return None
    listed = said.get("supported_efforts")
    words = set(map(str, listed)) if isinstance(listed, list) else set()
    usual = said.get("default_effort")
    return Reasoning(
        mandatory=said.get("mandatory") is True,
        efforts=tuple(effort for effort in Effort if effort.value in words),
        usual=next((effort for effort in Effort if effort.value == usual), None),
        by_itself=said.get("default_enabled") is not False,
    )


def _map(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = row.get(name)
    return value if isinstance(value, Mapping) else {}


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _entry(row: Mapping[str, Any]) -> ModelEntry:
    """One row. Raises what a wrong shape raises: KeyError, TypeError, ValueError, AttributeError."""
    born = row.get("created")
    return ModelEntry(
        context_length=_size(row["context"]),
        max_output=_size(row["cap"]),
        name=str(row["name"]),
        created=int(datetime.combine(date.fromisoformat(born), datetime.min.time(), UTC).timestamp()) if born else 0,
        modalities=tuple(str(kind) for kind in row["accepts"]),
        pricing=_pricing(row),
    )


def _pricing(row: Mapping[str, Any]) -> dict[str, Any]:
    """The pricing object of a model list for a row, overrides included."""
    pricing: dict[str, Any] = _rates(row)
    overrides = [{"min_prompt_tokens": _size(over["above"]), **_rates(over)} for over in row.get("over", ())]
    return {**pricing, "overrides": overrides} if overrides else pricing


def _rates(row: Mapping[str, Any]) -> dict[str, str]:
    """The rates of a row, per token. Text that is no number stays as it is, and makes the model unpriced."""
    return {there: _per_token(str(row[here])) for here, there in RATE_NAMES.items() if here in row}


def _per_token(per_million: str) -> str:
    """USD per million tokens to USD per token, in plain digits."""
    try:
        return f"{Decimal(per_million).scaleb(-6, EXACT):f}"
    except InvalidOperation:
        return per_million


def _size(value: object) -> int:
    """A positive number of tokens. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{value!r} is not a number of tokens")
    return value
