"""Pieces of a page: rows, and reading of values that may be anything."""

from typing import Any

import pytest

from agentd.core.policy.page import ENDINGS, STAGES, as_list, as_map, latency, pairs, row, rows, tokens
from agentd.core.types.classes import Stage
from agentd.core.types.receipts import Ending


def test_each_stage_and_ending_has_words() -> None:
    assert set(STAGES) == {stage.value for stage in Stage}
    assert set(ENDINGS) == {ending.value for ending in Ending}


@pytest.mark.parametrize(
    ("value", "made"), [(None, []), ("", []), (0, [("a", "0")]), (False, [("a", "False")]), ("x", [("a", "x")])]
)
def test_row(value: Any, made: list[tuple[str, str]]) -> None:
    assert list(row("a", value)) == made


def test_rows_carry_their_label_once() -> None:
    assert list(rows("a", ["x", "y"])) == [("a", "x"), ("", "y")]
    assert list(rows("a", [])) == []


@pytest.mark.parametrize("value", [None, 1, "text", [1]])
def test_what_is_no_map_is_empty(value: Any) -> None:
    assert as_map(value) == {}


@pytest.mark.parametrize("value", [None, 1, "text", {"a": 1}])
def test_what_is_no_list_is_empty(value: Any) -> None:
    assert as_list(value) == []


@pytest.mark.parametrize(
    ("value", "made"),
    [
        ({"a": 1}, [("a", 1)]),
        ([["a", 1], ("b", 2)], [("a", 1), ("b", 2)]),
        ([["a"], 3, ["a", 1, 2], "ab"], []),
        (None, []),
    ],
)
def test_evidence_as_map_or_as_pairs(value: Any, made: list[tuple[str, Any]]) -> None:
    assert pairs(value) == made


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ""),
        ({"prompt": None}, ""),
        ({"completion": 5, "prompt": 0, "cached": 0, "reasoning": 0}, "0 in, 5 out"),
        ({"prompt": 9, "cached": 4, "cache_write": 2, "completion": 3, "reasoning": 1},
         "9 in, 4 of them cached, 2 of them written to the cache, 3 out, 1 of them reasoning"),
    ],
)  # fmt: skip
def test_tokens(counts: dict[str, Any], words: str) -> None:
    assert tokens(counts) == words


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ({}, ""),
        ({"upstream_ms": 0}, "0 ms upstream"),
        ({"overhead_us": 2340, "upstream_ms": 8}, "8 ms upstream, 2.3 ms agentd"),
    ],
)
def test_latency(outcome: dict[str, Any], words: str) -> None:
    assert latency(outcome) == words
