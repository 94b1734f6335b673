"""What the upstream says of a key, read; and when two counts of a day are too far apart."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.keyfacts import TOLERANCE, KeyFacts, drift, parse_key

USD = 10**9


def read(**data: Any) -> KeyFacts | None:
    return parse_key(json.dumps({"data": data}).encode())


def test_a_key_with_a_limit() -> None:
    said = {"limit": 50, "limit_remaining": 12.5, "limit_reset": "daily", "usage_daily": 1.25, "byok_usage_daily": 0.25}
    found = read(label="sk-or-v1-abc", **said, is_management_key=False)
    assert found == KeyFacts(50 * USD, 12_500_000_000, "daily", 1_500_000_000, management=False)
    assert found is not None
    assert not found.empty


@pytest.mark.parametrize(("remaining", "empty"), [(None, False), (0, True), (-0.5, True), (0.01, False)])
def test_nothing_left_is_empty_and_no_limit_is_not(remaining: float | None, empty: bool) -> None:
    found = read(limit_remaining=remaining)
    assert found is not None
    assert found.empty is empty


@pytest.mark.parametrize("field", ["is_management_key", "is_provisioning_key"])
def test_a_key_that_makes_keys(field: str) -> None:
    found = read(**{field: True})
    assert found is not None
    assert found.management


@pytest.mark.parametrize("value", [True, "5", 1e300, float("nan"), None, []])
def test_a_figure_that_is_none_is_not_said(value: object) -> None:
    assert read(limit=value, limit_remaining=value, limit_reset=value, usage_daily=value) == KeyFacts(
        None, None, None, None, management=False
    )


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":[]}', b"[" * 100_000, b"<html>"])
def test_bytes_that_say_nothing(body: bytes) -> None:
    assert parse_key(body) is None


@pytest.mark.parametrize(
    ("upstream", "cost", "reserved", "words"),
    [
        (USD, USD, 0, ""),
        (USD + TOLERANCE, USD, 0, ""),
        (USD + TOLERANCE + 1, USD, 0, "did not pass here"),
        (2 * USD, USD, USD, ""),
        (USD, USD + TOLERANCE, 0, ""),
        (USD, USD + TOLERANCE + 1, 5 * USD, "did not bill"),
        (105 * USD, 100 * USD, 0, ""),
        (106 * USD, 100 * USD, 0, "did not pass here"),
    ],
)
def test_drift(upstream: int, cost: int, reserved: int, words: str) -> None:
    found = drift(upstream, cost, reserved)
    assert words in found
    assert bool(found) is bool(words)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_what_is_reserved_excuses_what_may_come_of_it(cost: int, reserved: int) -> None:
    assert drift(cost + reserved, cost, reserved) == drift(cost, cost, reserved) == ""
