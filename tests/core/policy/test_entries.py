"""Bounds of the entries: the values at the edge, and those just beyond."""

import re

import pytest

from agentd.core.policy.entries import MODEL_PATTERN, NAME_PATTERN, owner
from policies import good, said


@pytest.mark.parametrize(
    ("old", "good_values", "bad_values"),
    [
        ("quota: 3", ["quota: 1", "quota: 10000"], ["quota: 0", "quota: 10001"]),
        ("grant: 15m", ["grant: 60s", "grant: 1d"], ["grant: 59s", "grant: 25h"]),
        ("deadline: 60s", ["deadline: 1s", "deadline: 1h"], ["deadline: 0s", "deadline: 3601s"]),
        ("max_output: 1000", ["max_output: 1", "max_output: 1000000"], ["max_output: 0", "max_output: 1000001"]),
        ("days: 200", ["days: 183", "days: 36500"], ["days: 182", "days: 36501"]),
        ("limit: 2.50", ["limit: 0", "limit: 0.000000001"], ["limit: -0.01", "limit: 1e2"]),
        ("calls: 10,", ["calls: 0,"], ["calls: -1,"]),
        ("unit: main.service", ['unit: "a@b.service"', "unit: x.scope"], ["unit: x.slice", "unit: .service"]),
        ("key: openrouter", ["key: or-2"], ["key: OpenRouter", "key: my key"]),
    ],
)
def test_bounds(old: str, good_values: list[str], bad_values: list[str]) -> None:
    for value in good_values:
        assert said(good(old, value)) == []
    for value in bad_values:
        assert len(said(good(old, value))) == 1


@pytest.mark.parametrize("name", ["a", "0", "a-b_c.d", "x" * 48])
def test_names(name: str) -> None:
    assert re.fullmatch(NAME_PATTERN, name)


@pytest.mark.parametrize("name", ["", "A", "-a", ".a", "a b", "a/b", "x" * 49, "ä", "a\n"])
def test_no_names(name: str) -> None:
    assert not re.fullmatch(NAME_PATTERN, name)


@pytest.mark.parametrize("model", ["google/gemini-2.5-flash", "qwen3:8b", "a/b:free", "local"])
def test_models(model: str) -> None:
    assert re.fullmatch(MODEL_PATTERN, model)


@pytest.mark.parametrize("model", ["", "~a/b-latest", "@preset/x", "a/b@preset/x", "a b", "*", "a/*"])
def test_no_models(model: str) -> None:
    assert not re.fullmatch(MODEL_PATTERN, model)


def test_owners_are_asked_for_by_name() -> None:
    key = owner("tier")
    assert (key.name, key.required) == ("owner", True)
    assert "this tier" in key.doc
