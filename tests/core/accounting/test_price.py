"""Prices: what is read, what is refused, what tokens cost, and that a reservation is never too small."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.price import (
    Override,
    Price,
    cost_of,
    countable,
    counterfactual,
    fixed_price,
    parse_price,
    per_million,
    rates_at,
    upper_bound,
)
from agentd.core.types.receipts import Usage

OPUS = {
    "prompt": "0.000005",
    "completion": "0.000025",
    "input_cache_read": "0.0000005",
    "input_cache_write": "0.00000625",
    "input_cache_write_1h": "0.00001",
    "request": "0",
    "image": "0",
    "internal_reasoning": "0",
    "web_search": "0.01",
    "discount": 0,
    "overrides": [
        {"min_prompt_tokens": 200000, "prompt": "0.00001", "completion": "0.0000375"},
        {"utc_start": 1800, "utc_end": 600, "completion": "0.0000125"},
    ],
}
BASE = {"prompt": "0.000001", "completion": "0.000002"}
MINUTE = 60 * 10**9
NOON = 12 * 60 * MINUTE


def priced(**pricing: object) -> Price:
    price = parse_price(pricing)
    assert price is not None
    return price


def at(clock: str) -> int:
    hours, minutes = clock.split(":")
    return (int(hours) * 60 + int(minutes)) * MINUTE


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "-0.000001"},
        {"completion": "-0.000001"},
        {"prompt": "NaN"},
        {"prompt": "Infinity"},
        {"completion": "-Infinity"},
        {"prompt": "sNaN"},
        {"prompt": "cheap"},
        {"prompt": ""},
        {"prompt": None},
        {"completion": None},
        {"prompt": True},
        {"prompt": ["0"]},
        {"prompt": {"usd": "1"}},
        {"prompt": "1.01"},
        {"prompt": "1e999999"},
        {"prompt": "1e-999999"},
        {"prompt": float("nan")},
        {"input_cache_read": "-1"},
        {"input_cache_write": "x"},
        {"request": "-1"},
        {"internal_reasoning": "nan"},
        {"discount": 1.5},
        {"discount": -0.1},
        {"discount": "half"},
        {"overrides": "often"},
        {"overrides": {"prompt": "0"}},
        {"overrides": ["0.1"]},
        {"overrides": [{"prompt": "-1"}]},
        {"overrides": [{"min_prompt_tokens": -1, "prompt": "0"}]},
        {"overrides": [{"min_prompt_tokens": 1.5, "prompt": "0"}]},
        {"overrides": [{"min_prompt_tokens": "many", "prompt": "0"}]},
        {"overrides": [{"utc_start": 1860, "utc_end": 600, "prompt": "0"}]},
        {"overrides": [{"utc_start": 2500, "utc_end": 600, "prompt": "0"}]},
        {"overrides": [{"utc_start": 600, "utc_end": 600, "prompt": "0"}]},
    ],
    ids=str,
)
def test_what_cannot_be_read_is_unpriced(change: dict[str, object]) -> None:
    assert parse_price({**BASE, **change}) is None


@pytest.mark.parametrize("missing", ["prompt", "completion"])
def test_both_rates_are_needed(missing: str) -> None:
    assert parse_price({name: rate for name, rate in BASE.items() if name != missing}) is None


def test_missing_cache_rates_take_the_prompt_rate() -> None:
    price = priced(**BASE)
    assert price.cache_read == price.cache_write == price.cache_write_1h == price.prompt
    assert price.reasoning == price.completion
    assert price.request == 0


def test_an_hour_of_cache_costs_twice_the_prompt_where_writes_cost_more() -> None:
    price = priced(**BASE, input_cache_write="0.00000125")
    assert price.cache_write_1h == Decimal("0.000002")


def test_a_discount_lowers_every_rate() -> None:
    price = priced(**{**OPUS, "discount": 0.25})
    assert (price.prompt, price.completion) == (Decimal("0.00000375"), Decimal("0.00001875"))
    assert dict(price.overrides[0].changes)["prompt"] == Decimal("0.0000075")


def test_a_free_model_is_priced_at_nothing() -> None:
    price = priced(prompt="0", completion="0")
    assert upper_bound(price, 10**6, 10**6) == 0


def test_numbers_are_read_like_strings() -> None:
    assert priced(prompt=0.000001, completion=2e-6) == priced(**BASE)


@pytest.mark.parametrize(
    ("prompt", "clock", "expected"),
    [
        (200000, "12:00", ("0.000005", "0.000025")),
        (200001, "12:00", ("0.00001", "0.0000375")),
        (200001, "17:59", ("0.00001", "0.0000375")),
        (200001, "18:00", ("0.00001", "0.0000125")),
        (1, "17:59", ("0.000005", "0.000025")),
        (1, "18:00", ("0.000005", "0.0000125")),
        (1, "23:59", ("0.000005", "0.0000125")),
        (1, "00:00", ("0.000005", "0.0000125")),
        (1, "05:59", ("0.000005", "0.0000125")),
        (1, "06:00", ("0.000005", "0.000025")),
    ],
)
def test_overrides_hold_strictly_above_and_within_their_window(
    prompt: int, clock: str, expected: tuple[str, str]
) -> None:
    rates = rates_at(priced(**OPUS), prompt, at(clock))
    assert (rates.prompt, rates.completion) == tuple(map(Decimal, expected))


def test_a_window_by_day_does_not_wrap() -> None:
    price = priced(**BASE, overrides=[{"utc_start": 900, "utc_end": 1700, "prompt": "0.000009"}])
    held = [
        clock for clock in ("08:59", "09:00", "16:59", "17:00") if rates_at(price, 1, at(clock)).prompt != price.prompt
    ]
    assert held == ["09:00", "16:59"]


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [({"utc_start": 2200}, "23:59", "21:59"), ({"utc_end": 100}, "00:59", "01:00")],
)
def test_half_a_window_runs_to_the_edge_of_the_day(window: dict[str, int], inside: str, outside: str) -> None:
    price = priced(**BASE, overrides=[{**window, "prompt": "0.000009"}])
    assert rates_at(price, 1, at(inside)).prompt == Decimal("0.000009")
    assert rates_at(price, 1, at(outside)).prompt == price.prompt


def test_an_override_moves_the_rates_that_follow_it() -> None:
    price = priced(**BASE, overrides=[{"min_prompt_tokens": 10, "prompt": "0.000004", "completion": "0.000008"}])
    rates = rates_at(price, 11, NOON)
    assert (rates.cache_read, rates.cache_write, rates.cache_write_1h) == (Decimal("0.000004"),) * 3
    assert rates.reasoning == Decimal("0.000008")


def test_a_stated_cache_rate_stays_when_an_override_is_silent_about_it() -> None:
    rates = rates_at(priced(**OPUS), 300000, NOON)
    assert (rates.cache_read, rates.cache_write) == (Decimal("0.0000005"), Decimal("0.00000625"))


def test_a_condition_that_nobody_knows_counts_for_the_bound_alone() -> None:
    price = priced(**BASE, overrides=[{"full_moon": True, "prompt": "0.001"}])
    assert cost_of(price, Usage(1000, 0), NOON) == 1000 * 1000
    assert upper_bound(price, 1000, 0) == 1000 * 1_000_000


def test_cost_adds_up_all_kinds_of_tokens() -> None:
    price = priced(**{**OPUS, "internal_reasoning": "0.00003", "request": "0.001"})
    usage = Usage(prompt=10_000, completion=300, cached=6_000, cache_write=1_000, reasoning=100)
    fresh, read, write, said, thought = 3_000 * 5_000, 6_000 * 500, 1_000 * 6_250, 200 * 25_000, 100 * 30_000
    assert cost_of(price, usage, NOON) == fresh + read + write + said + thought + 1_000_000
    assert (
        cost_of(price, usage, NOON, hour_writes=400)
        == fresh + read + 600 * 6_250 + 400 * 10_000 + said + thought + 1_000_000
    )


def test_parts_that_exceed_the_prompt_are_all_billed() -> None:
    assert cost_of(priced(**OPUS), Usage(prompt=10, completion=0, cached=1000), NOON) == 1000 * 500


def test_what_was_not_said_is_not_countable_and_adds_nothing() -> None:
    assert not countable(Usage(prompt=5))
    assert not countable(Usage(completion=5))
    assert countable(Usage(prompt=0, completion=0))
    assert cost_of(priced(**OPUS), Usage(), NOON) == 0


def test_a_rate_below_a_nano_dollar_is_rounded_once() -> None:
    price = priced(prompt="0.0000000004", completion="0")
    assert cost_of(price, Usage(1, 0), NOON) == 0
    assert cost_of(price, Usage(1000, 0), NOON) == 400
    assert upper_bound(price, 1, 0) == 1


def test_fixed_price_is_read_per_million() -> None:
    price = fixed_price("0.25", "2")
    assert per_million(price) == (Decimal("0.25"), Decimal(2))
    assert cost_of(price, Usage(4_000_000, 1_000_000), NOON) == 3 * 10**9
    assert price.cache_read == price.prompt


@pytest.mark.parametrize("bad", ["-1", "free", "", "NaN", "Infinity", "1e7"])
def test_fixed_price_refuses_what_is_no_amount(bad: str) -> None:
    with pytest.raises(ValueError, match="USD per million"):
        fixed_price(bad, "1")
    with pytest.raises(ValueError, match="USD per million"):
        fixed_price("1", bad)


def test_the_other_model_warm_and_cold() -> None:
    usage = Usage(prompt=48_000, completion=700, cached=45_000, cache_write=3_000)
    warm = 45_000 * 500 + 3_000 * 6_250 + 700 * 25_000
    cold = 48_000 * 5_000 + 700 * 25_000
    assert counterfactual(priced(**OPUS), usage, warm=True) == warm
    assert counterfactual(priced(**OPUS), usage, warm=False) == cold


def test_the_other_model_of_a_sum_ignores_conditions_of_single_calls() -> None:
    assert counterfactual(priced(**OPUS), Usage(10**9, 0), warm=False) == 10**9 * 5_000


rates = st.decimals(0, Decimal("0.001"), places=12).map(str)
optional_rates = st.none() | rates
windows = st.tuples(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59))


@st.composite
def overrides(draw: st.DrawFn) -> dict[str, object]:
    entry: dict[str, object] = {}
    if draw(st.booleans()):
        entry["min_prompt_tokens"] = draw(st.integers(0, 500_000))
    if draw(st.booleans()):
        h1, m1, h2, m2 = draw(windows.filter(lambda w: w[:2] != w[2:]))
        entry |= {"utc_start": h1 * 100 + m1, "utc_end": h2 * 100 + m2}
    for name in ("prompt", "completion", "input_cache_read", "input_cache_write", "request", "internal_reasoning"):
        if draw(st.booleans()):
            entry[name] = draw(rates)
    return entry


@st.composite
def prices(draw: st.DrawFn) -> Price:
    pricing: dict[str, object] = {"prompt": draw(rates), "completion": draw(rates)}
    for name in ("input_cache_read", "input_cache_write", "input_cache_write_1h", "request", "internal_reasoning"):
        pricing[name] = draw(optional_rates)
    pricing["discount"] = draw(st.sampled_from([0, 0.1, "0.333333333333", 1]))
    pricing["overrides"] = draw(st.lists(overrides(), max_size=4))
    return priced(**pricing)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(st.integers(0, 1_000_000))
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    completion = draw(st.integers(0, 100_000))
    return Usage(prompt, completion, cached, written, draw(st.integers(0, completion)))


@given(prices(), usages(), st.integers(0, 10**18), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_reservation_is_never_too_small(
    price: Price, usage: Usage, at_ns: int, more_in: int, more_out: int, hours: int
) -> None:
    bound = upper_bound(price, (usage.prompt or 0) + more_in, (usage.completion or 0) + more_out)
    assert bound >= cost_of(price, usage, at_ns, hours)


@given(prices(), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**5))
def test_a_larger_call_is_never_bounded_lower(price: Price, prompt: int, more: int, output: int, further: int) -> None:
    assert upper_bound(price, prompt, output) <= upper_bound(price, prompt + more, output + further)


@given(prices(), usages(), st.integers(0, 10**18))
def test_cost_is_the_exact_sum_rounded_once(price: Price, usage: Usage, at_ns: int) -> None:
    held = rates_at(price, usage.prompt or 0, at_ns)
    counts = [usage.cached or 0, usage.cache_write or 0, usage.reasoning or 0]
    exact = (
        Fraction(held.prompt) * ((usage.prompt or 0) - counts[0] - counts[1])
        + Fraction(held.cache_read) * counts[0]
        + Fraction(held.cache_write) * counts[1]
        + Fraction(held.completion) * ((usage.completion or 0) - counts[2])
        + Fraction(held.reasoning) * counts[2]
        + Fraction(held.request)
    )
    assert abs(cost_of(price, usage, at_ns) - exact * 10**9) <= Fraction(1, 2)


def test_a_hundred_thousand_rows_add_up_exactly() -> None:
    price = priced(prompt="0.0000000983", completion="0.0000001966", input_cache_read="0.0000000197")
    rows = [Usage(prompt=10 * n, completion=10 * (n % 7), cached=10 * (n // 2)) for n in range(100_000)]
    total = sum(cost_of(price, row, NOON) for row in rows)
    exact = sum(983 * (10 * n - 10 * (n // 2)) + 197 * 10 * (n // 2) + 1966 * 10 * (n % 7) for n in range(100_000))
    assert total * 10 == exact  # each row is a whole number of nano-dollars, so not one may be lost


def test_prices_and_overrides_are_values() -> None:
    assert priced(**OPUS) == priced(**OPUS)
    assert hash(priced(**OPUS)) == hash(priced(**OPUS))
    assert isinstance(priced(**OPUS).overrides[0], Override)
