"""The upstream's accounting of one call, read: exact money, counts, who saw the data, and what nobody asked for."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.generation import parse_generation

RECORD: dict[str, Any] = {
    "id": "gen-1",
    "total_cost": 0.0041,
    "is_byok": False,
    "model": "acme/frontier-1",
    "provider_name": "Anthropic",
    "cancelled": True,
    "finish_reason": None,
    "native_tokens_prompt": 9120,
    "native_tokens_completion": 17,
    "native_tokens_cached": 8000,
    "router": None,
    "preset_id": None,
    "web_search_engine": None,
    "provider_responses": [{"provider_name": "Beta", "status": 429}, {"provider_name": "Anthropic", "status": 200}],
}


def read(**more: Any) -> Any:
    return parse_generation(json.dumps({"data": {**RECORD, **more}}).encode())


def test_a_whole_record() -> None:
    found = read()
    assert (found.usage.cost, found.usage.prompt, found.usage.completion, found.usage.cached) == (
        4_100_000,
        9120,
        17,
        8000,
    )
    assert (found.model, found.provider, found.cancelled, found.finish) == ("acme/frontier-1", "Anthropic", True, None)
    assert found.recipients == ("Beta", "Anthropic")
    assert found.attempts == ("Beta 429", "Anthropic 200")
    assert found.alarms == ()


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("0.1000000014", 100_000_001),
        ("0", 0),
        ("1e-9", 1),
        ("null", None),
        ("-1", None),
        ("1e400", None),
        ('"0.1"', None),
        ("true", None),
        ("NaN", None),
    ],
)
def test_money_is_exact_or_unknown(text: str, cost: int | None) -> None:
    body = json.dumps({"data": RECORD}).replace("0.0041", text).encode()
    found = parse_generation(body)
    assert found is not None
    assert found.usage.cost == cost


def test_a_key_of_ones_own_pays_the_provider_besides_the_fee() -> None:
    assert read(is_byok=True, total_cost=0.05, upstream_inference_cost=0.95).usage.cost == 10**9
    assert read(is_byok=True, total_cost=0.05, upstream_inference_cost=None).usage.cost is None


def test_counts_that_only_the_other_tokenizer_gives_are_taken() -> None:
    found = read(native_tokens_prompt=None, tokens_prompt=9000, native_tokens_completion=1.5, tokens_completion=3)
    assert (found.usage.prompt, found.usage.completion) == (9000, 3)
    assert read(native_tokens_cached=-1).usage.cached is None


def test_what_nobody_asked_for_is_named() -> None:
    assert read(router="openrouter/auto", web_search_engine="exa").alarms == (
        "router = openrouter/auto",
        "web_search_engine = exa",
    )
    assert read(response_cache_source_id="gen-0", num_fetches=2).alarms == (
        "response_cache_source_id = gen-0",
        "num_fetches = 2",
    )
    assert read(response_cache_source_id=None, num_fetches=0).alarms == ()


def test_attempts_without_a_name_or_status() -> None:
    found = read(provider_responses=[{"status": 200}, "x", {"provider_name": "Gamma"}], provider_name=None)
    assert (found.recipients, found.attempts, found.provider) == (("Gamma",), ("Gamma -",), None)
    assert read(provider_responses=None).recipients == ("Anthropic",)


@given(
    st.one_of(
        st.binary(max_size=60), st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
    )
)
def test_bytes_that_are_no_record_are_none(body: bytes) -> None:
    assert parse_generation(body) is None


def test_a_record_must_be_an_object() -> None:
    assert parse_generation(b'{"data":[]}') is None
    assert parse_generation(b"[" * 100_000) is None


@pytest.mark.parametrize("field", ["total_cost", "native_tokens_prompt"])
@pytest.mark.parametrize("number", ["1e99999999999999999999", "1e-99999999999999999999"])
def test_a_record_with_an_impossible_number_is_none(field: str, number: str) -> None:
    body = json.dumps({"data": {**RECORD, field: 7_654_321}}).replace("7654321", number)
    assert parse_generation(body.encode()) is None
