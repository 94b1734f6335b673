"""Prices of models, and what tokens cost at them. In: the pricing object of a model list, or two figures of a policy.
Out: nano-dollars. A price that cannot be read with certainty is None, "unpriced", and whoever reserves refuses it.

Why it is written this way:

* Rates are exact decimals of a dollar per token. Some are finer than a nano-dollar, so everything is multiplied and
  summed first and rounded once, upwards where money is reserved and to the nearest where it is booked.
* A rate that is missing takes the dearest plausible stand-in: cache reads and writes the prompt rate, writes that are
  kept for an hour twice the prompt rate where the model bills writes above prompts at all, reasoning the completion
  rate.
* Overrides change rates under conditions. `cost_of` applies those that hold; `upper_bound` assumes the dearest mix of
  all that could hold by the time the call is billed, since a call may run across the edge of a window of the day.
* An override with a condition unknown to this file may hold or not: it counts for the bound and not for the cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, InvalidOperation, localcontext
from typing import Any, Final

from agentd.core.types.money import Nusd, nusd_near, nusd_up
from agentd.core.types.receipts import Usage

MAX_RATE: Final = Decimal(1)
"""USD. No token and no request costs a dollar (the dearest known token is at 0.0006); more is a mistake of units."""

MAX_PLACES: Final = 24
"""Decimal places of a rate. Real ones have up to 12; the bound keeps sums within `EXACT`."""

EXACT: Final = Context(prec=120)
"""Room for a rate of 24 places times a discount of 24 places times a trillion tokens, without rounding."""

MILLION: Final = 10**6
NS_PER_MINUTE: Final = 60 * 10**9
MINUTES_PER_DAY: Final = 24 * 60
DAY_END: Final = 2400
"""HHMM of the end of a day: the default of a window that names no end."""

RATE_KEYS: Final[Mapping[str, str]] = {
    "prompt": "prompt",
    "completion": "completion",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
    "request": "request",
    "internal_reasoning": "reasoning",
}
"""Names in a model list to names here."""

CONDITION_KEYS: Final = frozenset({"min_prompt_tokens", "utc_start", "utc_end"})

UNUSED_KEYS: Final = frozenset(
    {"image", "image_output", "image_token", "audio", "audio_output", "input_audio_cache", "web_search", "discount"}
)
"""Priced things that agentd refuses to buy, so that their price does not matter."""


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per token, and per request, under one condition."""

    prompt: Decimal
    completion: Decimal
    cache_read: Decimal
    cache_write: Decimal
    cache_write_1h: Decimal
    request: Decimal
    reasoning: Decimal


RATE_NAMES: Final = tuple(field.name for field in fields(Rates))
"""The names that an override may change."""


@dataclass(frozen=True, slots=True)
class Override:
    """Rates that replace others while all conditions hold. Times are HHMM in UTC, the start within, the end not."""

    changes: tuple[tuple[str, Decimal], ...]  # names of `Rates`
    min_prompt_tokens: int | None = None  # holds for prompts strictly longer than this
    window: tuple[int, int] | None = None
    certain: bool = True  # False: it has a condition that is not understood


@dataclass(frozen=True, slots=True)
class Price(Rates):
    """What a model costs: its rates, and the overrides in order, of which later ones win name by name."""

    overrides: tuple[Override, ...] = ()


class _Unpriced(Exception):
    """Inside this file: the pricing object cannot be read with certainty."""


def parse_price(pricing: Mapping[str, Any]) -> Price | None:
    """Read the pricing object of a model list. None if anything in it is missing, negative or not understood."""
    try:
        with localcontext(EXACT):
            return _parse(pricing)
    except _Unpriced:
        return None


def fixed_price(prompt_per_million: str, completion_per_million: str) -> Price:
    """A price stated as USD per million tokens, without cache terms. Raises ValueError for other than amounts."""
    price = parse_price({"prompt": _per_token(prompt_per_million), "completion": _per_token(completion_per_million)})
    if price is None:
        stated = f"prompt {prompt_per_million!r}, completion {completion_per_million!r}"
        raise ValueError(f"not a price in USD per million tokens: {stated}")
    return price


def countable(usage: Usage) -> bool:
    """Whether a usage says enough to compute a cost from it; otherwise a reservation has to stay."""
    return usage.prompt is not None and usage.completion is not None


def upper_bound(price: Price, prompt_tokens: int, max_output: int) -> Nusd:
    """The most that a call can cost with at most these many tokens in and out, at any time of day. Rounded up."""
    possible: list[Rates] = [price] + [
        _changed(price, override)
        for override in price.overrides
        if override.min_prompt_tokens is None or prompt_tokens > override.min_prompt_tokens
    ]
    dearest_in = _dearest(possible, ("prompt", "cache_read", "cache_write", "cache_write_1h"))
    dearest_out = _dearest(possible, ("completion", "reasoning"))
    with localcontext(EXACT):
        request = _dearest(possible, ("request",))
        return nusd_up(dearest_in * max(prompt_tokens, 0) + dearest_out * max(max_output, 0) + request)


def cost_of(price: Price, usage: Usage, at_ns: int, hour_writes: int = 0) -> Nusd:
    """What a call cost by the table, to the nearest. Ask `countable` first: a count that was not said adds nothing.

    `at_ns` is the time of the request (UTC); `hour_writes` says how many of the written tokens were kept for an hour.
    """
    rates = rates_at(price, _prompt_total(usage), at_ns)
    written = usage.cache_write or 0
    hours = min(max(hour_writes, 0), written)
    with localcontext(EXACT):
        extra = (rates.cache_write_1h - rates.cache_write) * hours
        return nusd_near(_tokens(rates, usage) + extra + rates.request)


def rates_at(price: Price, prompt_tokens: int, at_ns: int) -> Rates:
    """The rates that hold for a prompt of this length at this time."""
    minute = at_ns // NS_PER_MINUTE % MINUTES_PER_DAY
    clock = minute // 60 * 100 + minute % 60
    rates: Rates = price
    for override in price.overrides:
        if override.certain and _holds(override, prompt_tokens, clock):
            rates = _changed(rates, override)
    return rates


def per_million(price: Price) -> tuple[Decimal, Decimal]:
    """The base rates as people read them: USD per million prompt and completion tokens."""
    with localcontext(EXACT):
        return (price.prompt * MILLION).normalize(), (price.completion * MILLION).normalize()


def counterfactual(price: Price, usage: Usage, warm: bool) -> Nusd:
    """What the same tokens would have cost on another model. `usage` may be the sum of many calls.

    Warm: cached and written tokens at that model's cache rates. Cold: the whole prompt at its prompt rate, not at its
    write rate, as a client without cache marks pays. Base rates only and no request fees, because a sum no longer
    says how long each prompt was or how many there were; so the figure is rather too small than too large.
    """
    if not warm:
        usage = replace(usage, prompt=_prompt_total(usage), cached=0, cache_write=0)
    with localcontext(EXACT):
        return nusd_near(_tokens(price, usage))


def _prompt_total(usage: Usage) -> int:
    """All prompt tokens; never fewer than their parts, whatever the upstream added up."""
    return max(usage.prompt or 0, (usage.cached or 0) + (usage.cache_write or 0))


def _tokens(rates: Rates, usage: Usage) -> Decimal:
    """USD for the tokens alone, exact."""
    cached, written = usage.cached or 0, usage.cache_write or 0
    fresh = _prompt_total(usage) - cached - written
    completion = usage.completion or 0
    thought = min(usage.reasoning or 0, completion)
    return (
        rates.prompt * fresh
        + rates.cache_read * cached
        + rates.cache_write * written
        + rates.completion * (completion - thought)
        + rates.reasoning * thought
    )


def _dearest(possible: Iterable[Rates], names: Sequence[str]) -> Decimal:
    """The highest of some rates under any condition."""
    found: list[Decimal] = [getattr(rates, name) for rates in possible for name in names]
    return max(found)


def _changed(rates: Rates, override: Override) -> Rates:
    """The rates with an override's changes in them."""
    return Rates(**{**{name: getattr(rates, name) for name in RATE_NAMES}, **dict(override.changes)})


def _holds(override: Override, prompt_tokens: int, clock: int) -> bool:
    """Whether every condition holds; a window that ends before it starts runs through midnight."""
    if override.min_prompt_tokens is not None and prompt_tokens <= override.min_prompt_tokens:
        return False
    if override.window is None:
        return True
    start, end = override.window
    return start <= clock < end if start < end else clock >= start or clock < end


def _parse(pricing: Mapping[str, Any]) -> Price:
    """The price, in the exact context. Raises `_Unpriced`."""
    factor = 1 - _amount(pricing.get("discount", 0))
    stated = _stated(pricing, factor)
    if "prompt" not in stated or "completion" not in stated:
        raise _Unpriced
    base = {"request": Decimal(0), **stated, **_stand_ins(stated, stated)}
    entries = pricing.get("overrides") or ()
    if isinstance(entries, (str, bytes)) or not isinstance(entries, Sequence):
        raise _Unpriced
    return Price(**base, overrides=tuple(_override(entry, stated, factor) for entry in entries))


def _stated(source: Mapping[str, Any], factor: Decimal) -> dict[str, Decimal]:
    """The rates that an object states, discounted. Null is not stated; a reasoning rate of 0 means none of its own."""
    found = {name: _amount(source[key]) * factor for key, name in RATE_KEYS.items() if source.get(key) is not None}
    if not found.get("reasoning"):
        found.pop("reasoning", None)
    return found


def _stand_ins(changed: Mapping[str, Decimal], base: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Rates that neither the base nor the change states, as far as the change moves what they follow."""
    both = {**base, **changed}
    result: dict[str, Decimal] = {}
    if "prompt" in changed:
        result |= {name: both["prompt"] for name in ("cache_read", "cache_write") if name not in both}
    if "cache_write_1h" not in both and ("prompt" in changed or "cache_write" in changed):
        write = both.get("cache_write", both["prompt"])
        dear = any(rates.get("cache_write", Decimal(0)) > rates["prompt"] for rates in (base, both))
        result["cache_write_1h"] = max(write, 2 * both["prompt"]) if dear else write
    if "reasoning" not in both and "completion" in changed:
        result["reasoning"] = both["completion"]
    return result


def _override(entry: object, base: Mapping[str, Decimal], factor: Decimal) -> Override:
    """One override with the stand-ins that follow its changes. Raises `_Unpriced`."""
    if not isinstance(entry, Mapping):
        raise _Unpriced
    stated = _stated(entry, factor)
    changes = {**stated, **_stand_ins(stated, base)}
    known = RATE_KEYS.keys() | CONDITION_KEYS | UNUSED_KEYS
    return Override(
        changes=tuple(changes.items()),
        min_prompt_tokens=_count(entry.get("min_prompt_tokens")),
        window=_window(entry.get("utc_start"), entry.get("utc_end")),
        certain=all(key in known for key in entry),
    )


def _window(start: object, end: object) -> tuple[int, int] | None:
    """A window of the day in HHMM; one without length could mean never or always, and is not guessed."""
    if start is None and end is None:
        return None
    window = (_count(start) or 0, DAY_END if end is None else _count(end) or 0)
    if window[0] == window[1] or any(time > DAY_END or time % 100 > 59 for time in window):
        raise _Unpriced
    return window


def _count(value: object) -> int | None:
    """A whole number that is not negative, or None where there is none."""
    if value is None:
        return None
    amount = _decimal(value)
    if amount != amount.to_integral_value() or not 0 <= amount < 10**12:
        raise _Unpriced
    return int(amount)


def _amount(value: object) -> Decimal:
    """A rate or a discount: finite, from 0 to 1, of bounded precision."""
    amount = _decimal(value)
    if not 0 <= amount <= MAX_RATE or -int(amount.as_tuple().exponent) > MAX_PLACES:
        raise _Unpriced
    return amount


def _decimal(value: object) -> Decimal:
    """A finite decimal of a string or number; floats as they print."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise _Unpriced
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise _Unpriced from None
    if not amount.is_finite():
        raise _Unpriced
    return amount


def _per_token(per_million: str) -> str:
    """USD per million tokens to USD per token, as text; what is no number stays, to be refused as such."""
    try:
        return str(Decimal(per_million).scaleb(-6, EXACT))
    except (InvalidOperation, TypeError, ValueError):
        return str(per_million)
