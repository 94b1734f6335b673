"""Counts and cost: later and not null wins, absurd was not said."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects.usage import MAX_KEYS, MAX_TOKENS, chat_usage, merge, messages_usage
from agentd.core.types.receipts import Usage

CHAT = {
    "prompt_tokens": 9120,
    "completion_tokens": 41,
    "prompt_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 512, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 12},
    "cost": 0.00137,
    "is_byok": False,
    "cost_details": {"upstream_inference_cost": None, "upstream_inference_prompt_cost": 0.0011},
}
MESSAGES = {
    "input_tokens": 608,
    "cache_read_input_tokens": 8000,
    "cache_creation_input_tokens": 512,
    "cache_creation": {"ephemeral_5m_input_tokens": 512},
    "output_tokens": 41,
    "cost": 0.0041,
}


def test_chat_counts() -> None:
    assert chat_usage(CHAT) == Usage(9120, 41, 8000, 512, 12, 1_370_000)


def test_messages_counts_include_the_cache_in_the_prompt() -> None:
    assert messages_usage(MESSAGES) == Usage(9120, 41, 8000, 512, None, 4_100_000)
    assert messages_usage({"input_tokens": 7, "output_tokens": 1}) == Usage(7, 1)
    assert messages_usage({"cache_read_input_tokens": 7}).prompt is None


@pytest.mark.parametrize("said", [{}, {"prompt_tokens": None, "prompt_tokens_details": None, "cost": None}])
def test_what_was_not_said_is_none(said: dict[str, Any]) -> None:
    assert chat_usage(said) == messages_usage(said) == Usage()


@pytest.mark.parametrize("value", [True, -1, 1.5, "12", [], float("nan"), float("inf"), MAX_TOKENS + 1, 10**30])
def test_an_absurd_count_was_not_said(value: object) -> None:
    assert chat_usage({"prompt_tokens": value}).prompt is None


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert chat_usage({"prompt_tokens": 12.0}).prompt == 12


COSTS = [
    ({"cost": 0}, 0),
    ({"cost": 0.0000000014}, 1),
    ({"cost": 1.234567891}, 1_234_567_891),
    ({"cost": 1e-12}, 0),
    ({"cost": None}, None),
    ({"cost": -0.1}, None),
    ({"cost": "0.1"}, None),
    ({"cost": True}, None),
    ({"cost": float("nan")}, None),
    ({"cost": 1e300}, None),
    ({"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}}, 19_950_000_000),
    ({"cost": 0.95, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
    ({"cost": 0.95, "is_byok": True}, None),
    ({"cost": None, "is_byok": True, "cost_details": {"upstream_inference_cost": 19}}, None),
    ({"cost": 0.95, "is_byok": False, "cost_details": {"upstream_inference_cost": 19}}, 950_000_000),
]


@pytest.mark.parametrize(("said", "nusd"), COSTS)
def test_cost(said: dict[str, Any], nusd: int | None) -> None:
    assert chat_usage(said).cost == nusd
    assert messages_usage(said).cost == nusd


def test_later_values_win_unless_null_and_groups_are_merged() -> None:
    known: dict[str, Any] = {}
    merge(known, {"input_tokens": 5, "output_tokens": 1, "cost_details": {"a": 1, "b": 2}, "x": 1})
    merge(known, {"input_tokens": None, "output_tokens": 41, "cost_details": {"a": None, "b": 3}, "x": {"y": 1}})
    merge(known, "nonsense")
    assert known == {"input_tokens": 5, "output_tokens": 41, "cost_details": {"a": 1, "b": 3}, "x": 1}


def test_depth_is_bounded() -> None:
    news: dict[str, Any] = {}
    for _ in range(50):
        news = {"a": news}
    known: dict[str, Any] = {}
    merge(known, news)
    assert list(known) == ["a"]


def test_an_upstream_that_invents_names_fills_no_memory() -> None:
    known: dict[str, Any] = {}
    for number in range(10_000):
        merge(known, {f"x{number}": 1})
    merge(known, {"x0": 2})
    assert len(known) == MAX_KEYS
    assert known["x0"] == 2


@given(st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), st.none() | st.integers(0, 100)))
def test_saying_it_twice_changes_nothing(news: dict[str, int | None]) -> None:
    once: dict[str, Any] = {}
    merge(once, news)
    twice = dict(once)
    merge(twice, news)
    assert once == twice
    assert None not in once.values()
