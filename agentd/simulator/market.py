"""Which simulated provider serves a model: each model has two or three, which differ as real ones do. The filters of the
request are hard: where nothing is left, the answer is a refusal with its reason, and never another model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.accounting.price import Price, per_million
from agentd.simulator.problems import of_type, unavailable
from agentd.simulator.words import Asked, Problem


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs a model. `lacks` are parameters that it ignores silently, or refuses to serve when they are required."""

    slug: str
    name: str
    zdr: bool = False
    trains: bool = False
    cancellable: bool = False  # a dropped stream stops generation and billing
    lacks: frozenset[str] = frozenset()


ANTHROPIC: Final = Provider("anthropic", "Anthropic", cancellable=True)
VERTEX: Final = Provider("google-vertex", "Google", zdr=True)
STUDIO: Final = Provider("google-ai-studio", "Google AI Studio")
BEDROCK: Final = Provider("amazon-bedrock", "Amazon Bedrock", zdr=True)
OPENAI: Final = Provider("openai", "OpenAI", cancellable=True)
AZURE: Final = Provider("azure", "Azure", zdr=True, cancellable=True)
FIREWORKS: Final = Provider("fireworks", "Fireworks", zdr=True, cancellable=True)
DEEPINFRA: Final = Provider("deepinfra", "DeepInfra", zdr=True, cancellable=True, lacks=frozenset({"response_format"}))
DEEPSEEK: Final = Provider("deepseek", "DeepSeek", trains=True, cancellable=True)

OF_AUTHOR: Final[Mapping[str, tuple[Provider, ...]]] = {
    "anthropic": (ANTHROPIC, VERTEX, BEDROCK),
    "google": (STUDIO, VERTEX),
    "openai": (OPENAI, AZURE),
    "amazon": (BEDROCK,),
    "deepseek": (DEEPSEEK, FIREWORKS, DEEPINFRA),
    "minimax": (Provider("minimax", "Minimax"), FIREWORKS),
    "moonshotai": (Provider("moonshotai", "Moonshot AI"), FIREWORKS),
    "qwen": (Provider("alibaba", "Alibaba"), DEEPINFRA),
}
"""By the first part of a model's name; the first one serves unless the request prefers another."""

OTHERS: Final = (DEEPINFRA, FIREWORKS)
NO_CONTEXT_MANAGEMENT: Final = "No endpoints available that support Anthropic's context management features"


def providers_of(model: str) -> tuple[Provider, ...]:
    """Who serves a model, in the order of preference."""
    return OF_AUTHOR.get(model.partition("/")[0], OTHERS)


def choose(asked: Asked, entry: ModelEntry, price: Price) -> Provider | Problem:
    """The provider that serves a request, or why none can."""
    if asked.prompt_tokens + (asked.cap or 1) > entry.context_length:
        return of_type(
            "context_length_exceeded", f"This model's maximum context length is {entry.context_length} tokens."
        )
    if (asked.cap or 0) > entry.max_output:
        return unavailable("no_endpoints", asked.model, (), _slugs(providers_of(asked.model)))
    wishes = asked.provider
    if _too_dear(wishes.get("max_price"), price):
        return unavailable("constraint_filtered", asked.model, ("max_price",), _slugs(providers_of(asked.model)))
    left: Sequence[Provider] = providers_of(asked.model)
    for name, keeps in _filters(asked):
        kept = [provider for provider in left if keeps(provider)]
        if not kept:
            code = "privacy_restricted" if name.startswith("data_policy") else "constraint_filtered"
            return unavailable(code, asked.model, (name,), _slugs(left))
        left = kept
    if asked.context_management and not any(provider is ANTHROPIC for provider in left):
        return of_type("invalid_request", NO_CONTEXT_MANAGEMENT)
    return _preferred(left, wishes, asked.context_management)


def _filters(asked: Asked) -> list[tuple[str, Any]]:
    """What the request demands of a provider: the name of each demand, and its test."""
    wishes = asked.provider
    only, ignore = tuple(wishes.get("only") or ()), tuple(wishes.get("ignore") or ())
    filters: list[tuple[str, Any]] = []
    if only:
        filters.append(("allowed_providers", lambda provider: _named(provider, only)))
    if ignore:
        filters.append(("allowed_providers", lambda provider: not _named(provider, ignore)))
    if wishes.get("zdr"):
        filters.append(("data_policy:zdr", lambda provider: provider.zdr))
    if wishes.get("data_collection") == "deny":
        filters.append(("data_policy:training", lambda provider: not provider.trains))
    if wishes.get("require_parameters"):
        filters.append(("require_parameters", lambda provider: not provider.lacks & asked.parameters))
    return filters


def _named(provider: Provider, slugs: Sequence[str]) -> bool:
    """Whether a list names a provider, by its base slug or with a region or variant."""
    return any(slug.partition("/")[0] == provider.slug for slug in slugs)


def _preferred(left: Sequence[Provider], wishes: Mapping[str, Any], first_party: bool) -> Provider:
    """The first of the request's own order that is left, else the market's first."""
    if first_party:
        return next(provider for provider in left if provider is ANTHROPIC)
    for slug in wishes.get("order") or ():
        found = next((provider for provider in left if _named(provider, (slug,))), None)
        if found is not None:
            return found
    return left[0]


def _too_dear(most: object, price: Price) -> bool:
    """Whether a price is above what the request accepts, in USD per million tokens. An unreadable bound accepts nothing."""
    if not isinstance(most, Mapping):
        return most is not None
    prompt, completion = per_million(price)
    try:
        return any(
            most.get(name) is not None and Decimal(str(most[name])) < rate
            for name, rate in (("prompt", prompt), ("completion", completion))
        )
    except InvalidOperation:
        return True


def _slugs(providers: Sequence[Provider]) -> tuple[str, ...]:
    """Their slugs."""
    return tuple(provider.slug for provider in providers)
