"""The upstream's lists: models with prices, endpoints with their data terms, the key and its usage."""

from collections.abc import Mapping
from typing import Any, Final

from agentd.core.accounting.catalogue import ModelEntry
from agentd.simulator.books import Books, usd
from agentd.simulator.config import SimulatorConfig
from agentd.simulator.market import providers_of
from agentd.simulator.words import Json

ROUTER: Final = "openrouter/auto"
"""A model that is a router: it is listed with prices of -1, which nobody may take for prices."""

PAGE: Final = 500
"""Models of one page of the list where none is asked for."""

ROUTING_SUFFIXES: Final = frozenset({"nitro", "floor", "online", "exacto"})

PARAMETERS: Final = (
    "include_reasoning", "max_tokens", "reasoning", "response_format", "seed", "stop", "temperature", "tool_choice",
    "tools", "top_k", "top_p",
)  # fmt: skip


def listed(config: SimulatorConfig) -> dict[str, ModelEntry]:
    """The models that the list has."""
    return {name: entry for name, entry in config.catalogue.entries.items() if name not in config.vanished}


def model_list(config: SimulatorConfig, offset: int = 0, limit: int = PAGE) -> Json:
    """GET /models: the page of so many models from a place on."""
    data = [model_record(name, entry) for name, entry in listed(config).items()]
    router = ModelEntry(2_000_000, 32_000, "Auto Router", 0, ("text",), {"prompt": "-1", "completion": "-1"})
    data.append(model_record(ROUTER, router))
    after = offset + limit
    following = f"/api/v1/models?offset={after}&limit={limit}" if after < len(data) else None
    return {"data": data[offset:after], "links": {"next": following}, "total_count": len(data)}


def model_record(name: str, entry: ModelEntry) -> Json:
    """One model of the list."""
    inputs = list(entry.modalities)
    return {
        "id": name,
        "canonical_slug": name,
        "name": entry.name,
        "created": entry.created,
        "description": "(simulated) listed with agentd's own snapshot of prices",
        "context_length": entry.context_length,
        "architecture": {
            "modality": "+".join(inputs) + "->text",
            "input_modalities": inputs,
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": _pricing(entry.pricing),
        "top_provider": {
            "context_length": entry.context_length,
            "max_completion_tokens": entry.max_output,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "default_parameters": None,
        "supported_parameters": list(PARAMETERS),
        "supported_voices": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{name}/endpoints"},
    }


def _pricing(pricing: Mapping[str, Any]) -> Json:
    """Prices as the list shows them: strings per token, with the keys that are always there."""
    return {**pricing, "request": "0", "image": "0", "web_search": "0", "internal_reasoning": "0", "discount": 0}


def endpoints_of(name: str, entry: ModelEntry) -> Json:
    """GET /models/AUTHOR/SLUG/endpoints."""
    return {"data": {"id": name, "name": entry.name, "created": entry.created, "endpoints": _endpoints(name, entry)}}


def _endpoints(name: str, entry: ModelEntry, zdr_only: bool = False) -> list[Json]:
    """The endpoints of a model."""
    return [
        {
            "name": f"{provider.name} | {name}",
            "model_id": name,
            "model_name": entry.name,
            "provider_name": provider.name,
            "tag": provider.slug,
            "context_length": entry.context_length,
            "max_completion_tokens": entry.max_output,
            "pricing": _pricing(entry.pricing),
            "supported_parameters": [parameter for parameter in PARAMETERS if parameter not in provider.lacks],
            "status": 0,
            "uptime_last_30m": 100.0,
        }
        for provider in providers_of(name)
        if provider.zdr or not zdr_only
    ]


def zdr_list(config: SimulatorConfig) -> Json:
    """GET /endpoints/zdr: the endpoints that keep nothing."""
    entries = listed(config)
    return {
        "data": [endpoint for name, entry in entries.items() for endpoint in _endpoints(name, entry, zdr_only=True)]
    }


def key_record(config: SimulatorConfig, books: Books) -> Json:
    """GET /key: what the key may spend and has spent. The simulator counts from its own start, in every window."""
    used = usd(books.total)
    byok = usd(books.total_spend - books.total)
    return {
        "data": {
            "label": "sk-or-v1-sim...ulated",
            "limit": config.key_limit,
            "limit_remaining": None if config.key_limit is None else config.key_limit - used,
            "limit_reset": None if config.key_limit is None else "daily",
            "usage": used,
            "usage_daily": used,
            "usage_weekly": used,
            "usage_monthly": used,
            "byok_usage": byok,
            "byok_usage_daily": byok,
            "byok_usage_weekly": byok,
            "byok_usage_monthly": byok,
            "include_byok_in_limit": False,
            "is_free_tier": False,
            "is_management_key": config.management,
            "expires_at": None,
            "rate_limit": {"requests": -1, "interval": "10s", "note": "ignore"},
        }
    }


def find(config: SimulatorConfig, model: str) -> tuple[str, ModelEntry] | None:
    """A model of the list by name, with its own name; suffixes that only steer the routing are left aside."""
    name, _, suffix = model.partition(":")
    if suffix and suffix not in ROUTING_SUFFIXES:
        name = model
    entry = None if name in config.vanished else config.catalogue.entries.get(name)
    return None if entry is None else (name, entry)
