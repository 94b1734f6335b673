"""What the upstream's accounting says of one call, long after it ended. In: the bytes of GET /generation. Out: cost, counts, and
who saw the data.

It is the last word on a call whose answer did not say what it cost: one that was cut, or left by its client. As with usage, the
cost is the router's fee alone where a provider is paid by a key of the account's own, so the provider's share is added, and
without that share the cost stays unknown. Signs that the call was not served as it was sent (a router, a preset, a search, an
answer kept from an earlier call, which nobody asked for) become alarms: the fields that ask for such things never leave agentd.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from agentd.core.types.money import nusd_near
from agentd.core.types.receipts import Usage

MAX_BYTES: Final = 1 << 20
"""A record has about one kilobyte; a mebibyte holds any that is one."""

MAX_COUNT: Final = 10**9
"""No call has more tokens; a larger number is a fault."""

MAX_COST_USD: Final = Decimal(10_000)
"""No single call comes near."""

MAX_ATTEMPTS: Final = 16
"""Attempts kept of one call."""

MAX_NAME: Final = 100
"""Characters of a name that came from outside."""

UNASKED: Final = ("router", "preset_id", "web_search_engine", "response_cache_source_id", "num_fetches")
"""Fields that are null (or zero) for every call that agentd sent."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The accounting of one call. `usage.cost` None: it does not say what was billed."""

    usage: Usage
    model: str | None
    provider: str | None
    recipients: tuple[str, ...]  # every provider that was tried, in order, each once
    attempts: tuple[str, ...]  # "Beta 429"
    cancelled: bool
    finish: str | None
    alarms: tuple[str, ...]  # "router = auto"


def parse_generation(body: bytes) -> Generation | None:
    """Read the accounting record of a call; None if the bytes are none."""
    try:
        document = json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):  # arithmetic: an exponent beyond all numbers
        return None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, dict):
        return None
    tried = [entry for entry in _listed(data.get("provider_responses")) if _text(entry, "provider_name")]
    provider = _text(data, "provider_name")
    seen = [str(_text(entry, "provider_name")) for entry in tried] + ([provider] if provider else [])
    return Generation(
        usage=_usage(data),
        model=_text(data, "model"),
        provider=provider,
        recipients=tuple(dict.fromkeys(seen)),
        attempts=tuple(f"{_text(entry, 'provider_name')} {_count(entry, 'status') or '-'}" for entry in tried),
        cancelled=data.get("cancelled") is True,
        finish=_text(data, "finish_reason"),
        alarms=tuple(f"{name} = {str(data[name])[:MAX_NAME]}" for name in UNASKED if data.get(name) not in (None, "", 0)),
    )


def _usage(data: Mapping[str, Any]) -> Usage:
    cost = _usd(data.get("total_cost"))
    if cost is not None and data.get("is_byok") is True:
        share = _usd(data.get("upstream_inference_cost"))
        cost = None if share is None else cost + share
    return Usage(
        prompt=_either(data, "native_tokens_prompt", "tokens_prompt"),
        completion=_either(data, "native_tokens_completion", "tokens_completion"),
        cached=_count(data, "native_tokens_cached"),
        reasoning=_count(data, "native_tokens_reasoning"),
        cost=None if cost is None else nusd_near(cost),
    )


def _either(data: Mapping[str, Any], native: str, normalised: str) -> int | None:
    """The provider's own count, which is what is billed; else the one in the tokens that all models are compared by."""
    found = _count(data, native)
    return _count(data, normalised) if found is None else found


def _listed(value: object) -> list[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping)][:MAX_ATTEMPTS]


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value[:MAX_NAME] if isinstance(value, str) and value else None


def _count(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not 0 <= value <= MAX_COUNT:
        return None
    return int(value) if value == int(value) else None


def _usd(value: object) -> Decimal | None:
    """An exact, finite, sane number of dollars."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    amount = Decimal(value)
    return amount if amount.is_finite() and 0 <= amount <= MAX_COST_USD else None
