"""Token counts and cost out of what an upstream reported, piece by piece.

Usage may come on any event, more than once, with nulls: a value that is not null wins over an earlier one, and nothing is
ever added up across events, since later ones are cumulative. A count that is no whole number, negative or absurd was not
said. Cost is in dollars; with a key of one's own at the provider (`is_byok`) it is only the router's fee, and the
provider's share has to be added, or else the cost is unknown.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from agentd.core.types.money import Nusd, nusd_near
from agentd.core.types.receipts import Usage

MAX_TOKENS: Final = 10**9
"""No context comes near; a larger number is a fault, and must not reach budgets or the database."""

MAX_COST_USD: Final = 10_000
"""No single call comes near; the same reason."""

MAX_DEPTH: Final = 2
"""Usage has groups of details, and those have none."""


MAX_KEYS: Final = 64
"""Names that are kept of one group; real usage has about ten."""


SERVED: Final = ("server_tool_use", "server_tool_use_details")
"""Where the dialects count the tools that they ran themselves."""

MAX_TOLD: Final = 100
"""What is kept of one such count."""


def merge(known: dict[str, Any], news: object, depth: int = 0) -> None:
    """Take what `news` says into `known`: what is not null wins, group by group."""
    if not isinstance(news, Mapping):
        return
    for key, value in news.items():
        if key not in known and len(known) >= MAX_KEYS:
            continue
        if isinstance(value, Mapping) and depth < MAX_DEPTH:
            group = known.setdefault(key, {})
            if isinstance(group, dict):
                merge(group, value, depth + 1)
        elif value is not None:
            known[key] = value


def chat_usage(said: Mapping[str, Any]) -> Usage:
    """The counts of chat completions: `prompt_tokens` includes what was read from and written to the cache."""
    prompt = _group(said, "prompt_tokens_details")
    completion = _group(said, "completion_tokens_details")
    return Usage(
        prompt=_count(said, "prompt_tokens"),
        completion=_count(said, "completion_tokens"),
        cached=_count(prompt, "cached_tokens"),
        cache_write=_count(prompt, "cache_write_tokens"),
        reasoning=_count(completion, "reasoning_tokens"),
        cost=_cost(said),
    )


def messages_usage(said: Mapping[str, Any]) -> Usage:
    """The counts of messages: `input_tokens` leaves cache reads and writes out, so they are added here."""
    fresh = _count(said, "input_tokens")
    cached = _count(said, "cache_read_input_tokens")
    written = _count(said, "cache_creation_input_tokens")
    return Usage(
        prompt=None if fresh is None else fresh + (cached or 0) + (written or 0),
        completion=_count(said, "output_tokens"),
        cached=cached,
        cache_write=written,
        reasoning=_count(_group(said, "output_tokens_details"), "reasoning_tokens"),
        cost=_cost(said),
    )


def unasked(said: Mapping[str, Any]) -> tuple[str, ...]:
    """Counts of tools that ran at the provider, by name; agentd offers none, so each says that somebody else did."""
    counts = [(name, key, value) for name in SERVED for key, value in _group(said, name).items()]
    return tuple(
        f"{name}.{key} = {value}"[:MAX_TOLD]
        for name, key, value in counts
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
    )


def _group(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = said.get(name)
    return group if isinstance(group, Mapping) else {}


def _count(said: Mapping[str, Any], name: str) -> int | None:
    value = said.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_TOKENS:
        return None
    return int(value) if value == int(value) else None


def _cost(said: Mapping[str, Any]) -> Nusd | None:
    cost = _usd(said.get("cost"))
    if cost is not None and said.get("is_byok") is True:
        share = _usd(_group(said, "cost_details").get("upstream_inference_cost"))
        cost = None if share is None else cost + share
    return None if cost is None else nusd_near(cost)


def _usd(value: object) -> Decimal | None:
    """A finite, sane number of dollars. The shortest text of a float is the decimal that was sent."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_COST_USD:
        return None
    return Decimal(str(value))
