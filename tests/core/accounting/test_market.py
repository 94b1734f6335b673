"""A newer list of models, taken in: what changes by itself, what waits for a person, and that it survives being kept."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.catalogue import CatalogueRefused, ModelEntry, Reasoning, parse_list
from agentd.core.accounting.market import digest_of, parse_snapshot, prices_of, snapshot, take_in
from agentd.core.accounting.private import parse_private
from agentd.core.types.bounds import Effort

PRICING = {"prompt": "0.000001", "completion": "0.000004"}
OLD = ModelEntry(100_000, 8_000, "One", 5, ("text", "image"), PRICING)


def entry(**pricing: Any) -> ModelEntry:
    return replace(OLD, context_length=200_000, pricing={**PRICING, **pricing})


def taken(new: dict[str, ModelEntry], used: tuple[str, ...] = ("a/one",)) -> Any:
    return take_in({"a/one": OLD, "b/two": OLD}, new, frozenset(used))


@pytest.mark.parametrize(
    "pricing",
    [
        {},
        {"prompt": "0.0000012"},
        {"prompt": "0", "completion": "0"},
        {"completion": "0.0000001"},
        {"web_search": "9"},
    ],
)
def test_what_falls_or_hardly_rises_is_taken(pricing: dict[str, str]) -> None:
    found = taken({"a/one": entry(**pricing), "b/two": OLD})
    assert found.entries["a/one"] == entry(**pricing)
    assert (found.jumped, found.vanished) == ({}, ())


@pytest.mark.parametrize(
    ("pricing", "words"),
    [
        ({"prompt": "0.00000121"}, "from $1 and $4 per million tokens in and out to $1.21 and $4"),
        ({"input_cache_write": "0.000002"}, "price went"),
        ({"request": "0.01"}, "price went"),
        ({"overrides": [{"min_prompt_tokens": 9, "prompt": "0.1"}]}, "at times more"),
        ({"prompt": "-1"}, "cannot be read any more"),
    ],
)
def test_a_jump_keeps_the_old_price_and_takes_the_new_sizes(pricing: dict[str, Any], words: str) -> None:
    found = taken({"a/one": entry(**pricing), "b/two": entry(**pricing)})
    assert found.entries["a/one"] == replace(OLD, context_length=200_000)
    assert words in found.jumped["a/one"]
    assert found.entries["b/two"] == entry(**pricing)  # nobody uses it


def test_a_model_in_use_that_vanished_stays() -> None:
    found = taken({"c/three": OLD}, ("a/one", "nobody/knows"))
    assert found.vanished == ("a/one",)
    assert found.entries == {"a/one": OLD, "b/two": OLD, "c/three": OLD}


def test_a_price_where_there_was_none_is_no_jump() -> None:
    unpriced = replace(OLD, pricing={"prompt": "-1"})
    found = take_in({"a/one": unpriced}, {"a/one": OLD}, frozenset({"a/one"}))
    assert (found.jumped, prices_of(found.entries).keys()) == ({}, {"a/one"})
    assert prices_of({"a/one": unpriced}) == {}


EFFORTS = st.sampled_from(list(Effort))
THINKING = st.builds(Reasoning, st.booleans(), st.lists(EFFORTS).map(tuple), st.none() | EFFORTS, st.booleans())


@given(st.dictionaries(st.text(max_size=8), st.builds(ModelEntry, st.integers(1), st.integers(1), st.text(), st.integers(0),
       st.lists(st.text()).map(tuple), st.dictionaries(st.text(), st.text()), st.none() | THINKING), max_size=4))  # fmt: skip
def test_what_is_kept_comes_back(entries: dict[str, ModelEntry]) -> None:
    assert parse_snapshot(snapshot(entries), "file") == entries
    assert digest_of(dict(reversed(entries.items()))) == digest_of(entries)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"format":2,"models":{}}', b'{"format":1}', b'{"format":1,"models":{"a":1}}']
)
def test_a_file_that_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogueRefused):
        parse_snapshot(data, "file")


ROW: dict[str, Any] = {
    "id": "acme/one",
    "name": "One",
    "created": 7,
    "context_length": 400_000,
    "pricing": PRICING,
    "top_provider": {"context_length": 300_000, "max_completion_tokens": 64_000},
    "architecture": {"input_modalities": ["text", "image"]},
}


def listed(**more: Any) -> ModelEntry | None:
    data = json.dumps({"data": [{**ROW, **more}, {**ROW, "id": "other"}]}).encode()
    return parse_list(data, "list").get("acme/one")


def test_a_row_of_the_list() -> None:
    assert listed() == ModelEntry(400_000, 64_000, "One", 7, ("text", "image"), PRICING)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"context_length": None}, {"context_length": 300_000}),
        ({"top_provider": None}, {"max_output": 400_000}),
        ({"top_provider": {"max_completion_tokens": None}}, {"max_output": 400_000}),
        ({"name": None, "created": "then"}, {"name": "acme/one", "created": 0}),
        ({"architecture": []}, {"modalities": ("text",)}),
    ],
)
def test_what_a_row_does_not_say_has_a_stand_in(more: dict[str, Any], expected: dict[str, Any]) -> None:
    found = listed(**more)
    assert found is not None
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (None, None),
        ("yes", None),
        ({}, Reasoning()),
        ({"mandatory": False}, Reasoning()),
        ({"mandatory": True, "supported_efforts": None}, Reasoning(mandatory=True)),
        ({"mandatory": "true", "default_effort": "ultra"}, Reasoning()),
        (
            {"mandatory": True, "supported_efforts": ["high", "low", None, "ultra", ["low"]], "default_effort": "high"},
            Reasoning(mandatory=True, efforts=(Effort.LOW, Effort.HIGH), usual=Effort.HIGH),
        ),
        ({"default_enabled": False, "supports_max_tokens": True}, Reasoning(by_itself=False)),
    ],
)
def test_what_a_row_says_of_thinking(said: Any, expected: Reasoning | None) -> None:
    found = listed(reasoning=said)
    assert found is not None
    assert found.reasoning == expected


def test_the_least_that_a_model_can_think() -> None:
    some = (Effort.NONE, Effort.LOW, Effort.HIGH)
    known = [Reasoning(), Reasoning(efforts=some), Reasoning(mandatory=True), Reasoning(mandatory=True, efforts=some)]
    assert [one.least for one in known] == ["none", "none", "minimal", "low"]


def test_a_snapshot_of_before_knows_nothing_of_thinking() -> None:
    document = json.loads(snapshot({"a/one": OLD}))
    del document["models"]["a/one"]["reasoning"]
    assert parse_snapshot(json.dumps(document).encode(), "file") == {"a/one": OLD}


@pytest.mark.parametrize("more", [{"pricing": None}, {"context_length": True, "top_provider": {}}, {"id": 7}])
def test_a_row_that_is_none_is_left_out(more: dict[str, Any]) -> None:
    assert listed(**more) is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"data":[]}', b'{"data":[1]}', b'{"data":7}', b"[" * 100_000])
def test_a_list_without_models_is_refused(data: bytes) -> None:
    with pytest.raises(CatalogueRefused):
        parse_list(data, "list")


def test_who_keeps_nothing() -> None:
    rows = [{"model_id": "a/one"}, {"name": "Acme | b/two"}, {"name": 7}, "x", {}]
    assert parse_private(json.dumps({"data": rows}).encode()) == {"a/one", "b/two"}
    assert [parse_private(body) for body in (b"", b"{}", b'{"data":7}', b"[]")] == [None] * 4
