"""How hard a model may think, in the two OpenAI dialects: a row each, down to the body that is sent."""

from typing import Any

import pytest

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.policy.efforts import PERCENT, budget, told
from agentd.core.types.bounds import Effort
from agentd.core.types.calls import Dialect
from core.policy.thinker import ALWAYS, BY_ITSELF, CAP, WHEN_ASKED, bounded, room

Json = dict[str, Any]

# what the class allows, what is known of the model, `reasoning` as it is asked, and as it is sent
REASONING: list[tuple[str | None, Reasoning | None, Any, Any]] = [
    (None, None, {"effort": "max"}, {"effort": "max"}),
    (None, None, {"effort": "ultra"}, {"effort": "ultra"}),
    (None, None, {"max_tokens": 9_999}, {"max_tokens": 9_999}),
    (None, None, {"max_tokens": 90_000}, {"max_tokens": 5_000}),
    (None, None, {"max_tokens": "9"}, None),
    (None, None, "x", "x"),
    ("low", None, {"effort": "high"}, {"effort": "low"}),
    ("low", None, {"effort": "low"}, {"effort": "low"}),
    ("low", None, {"effort": "minimal"}, {"effort": "minimal"}),
    ("low", None, {"effort": "HIGH"}, {"effort": "low"}),
    ("low", None, {"effort": ["high"]}, {"effort": "low"}),
    ("low", None, {"effort": 3}, {"effort": "low"}),
    ("low", None, {"effort": "high", "summary": "auto"}, {"effort": "low", "summary": "auto"}),
    ("low", None, "high", {"effort": "low"}),
    ("low", None, ["high"], {"effort": "low"}),
    ("xhigh", None, {"effort": "max"}, {"effort": "xhigh"}),
    # a budget of tokens is a share of the answer
    ("low", None, {"max_tokens": 1_500}, {"max_tokens": 1_500}),
    ("low", None, {"max_tokens": 9_000}, {"max_tokens": 2_000}),
    ("low", None, {"max_tokens": 90_000}, {"max_tokens": 2_000}),
    ("high", None, {"max_tokens": 9_000}, {"max_tokens": 8_000}),
    ("high", None, {"max_tokens": 90_000}, {"max_tokens": 5_000}),
    ("minimal", None, {"max_tokens": 9_000}, {"effort": "minimal"}),
    ("none", None, {"max_tokens": 9_000}, {"effort": "none"}),
    ("low", None, {"max_tokens": 9_000, "effort": "max"}, {"max_tokens": 2_000, "effort": "low"}),
    ("low", None, {"max_tokens": 1e9, "effort": "max"}, {"effort": "low"}),
    ("low", None, {"max_tokens": -1}, {"effort": "low"}),
    ("low", None, {"max_tokens": True}, {"effort": "low"}),
    # not said how hard: the model's usual effort is medium unless its list says otherwise
    ("low", None, {"enabled": True}, {"enabled": True, "effort": "low"}),
    ("low", None, {"exclude": True}, {"exclude": True, "effort": "low"}),
    ("low", None, {"effort": None}, {"effort": "low"}),
    ("low", None, {}, {"effort": "low"}),
    ("low", WHEN_ASKED, {"exclude": True}, {"exclude": True}),
    ("low", WHEN_ASKED, {"enabled": True}, {"enabled": True, "effort": "low"}),
    ("medium", None, {"enabled": True}, {"enabled": True}),
    ("medium", BY_ITSELF, {"enabled": True}, {"enabled": True, "effort": "medium"}),
    ("low", None, {"enabled": False}, {"enabled": False}),
    ("low", None, {"enabled": "yes"}, {"effort": "low"}),
    ("none", None, {"enabled": True}, {"enabled": False, "effort": "none"}),
    ("none", None, {"enabled": True, "effort": "high"}, {"enabled": False, "effort": "none"}),
    ("minimal", None, {"enabled": True, "effort": "none"}, {"enabled": False, "effort": "none"}),
    ("low", ALWAYS, {"enabled": True, "effort": "none"}, {"enabled": True, "effort": "low"}),
    # nothing said at all: only what the model would do by itself
    ("low", None, None, None),
    ("low", WHEN_ASKED, None, None),
    ("low", BY_ITSELF, None, {"effort": "low"}),
    ("none", BY_ITSELF, None, {"effort": "none"}),
    ("high", BY_ITSELF, None, None),
    (None, BY_ITSELF, None, None),
    ("low", ALWAYS, None, {"effort": "low"}),
    # a model that always thinks
    (None, ALWAYS, {"effort": "none"}, {"effort": "low"}),
    (None, ALWAYS, {"effort": "minimal"}, {"effort": "low"}),
    (None, ALWAYS, {"enabled": False}, {"effort": "low"}),
    (None, ALWAYS, {"enabled": False, "effort": "none"}, {"effort": "low"}),
    (None, Reasoning(mandatory=True), {"effort": "none"}, {"effort": "minimal"}),
    (None, ALWAYS, None, None),
    # a model that takes some words only
    ("minimal", Reasoning(efforts=(Effort.LOW, Effort.HIGH)), {"effort": "high"}, {"effort": "none"}),
    ("xhigh", Reasoning(efforts=(Effort.LOW, Effort.HIGH)), {"effort": "max"}, {"effort": "high"}),
]  # fmt: skip


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.RESPONSES])
@pytest.mark.parametrize(("effort", "known", "asked", "given"), REASONING)
def test_reasoning(dialect: Dialect, effort: str | None, known: Reasoning | None, asked: Any, given: Any) -> None:
    fields = {} if asked is None else {"reasoning": asked}
    out, words = bounded(dialect, room(effort, reasoning=known), **fields)
    assert out == ({} if given is None else {"reasoning": given})
    assert (words == []) == (asked == given)


WORDS: list[tuple[str | None, Any, Any]] = [
    (None, "max", "max"),
    ("low", "max", "low"),
    ("low", "low", "low"),
    ("low", "loud", "low"),
    ("low", 7, "low"),
    ("medium", "high", "medium"),
]


@pytest.mark.parametrize(("effort", "asked", "given"), WORDS)
def test_the_other_words(effort: str | None, asked: Any, given: Any) -> None:
    for openrouter in (True, False):
        given_room = room(effort, openrouter=openrouter)
        assert bounded(Dialect.CHAT, given_room, reasoning_effort=asked)[0] == {"reasoning_effort": given}
        assert bounded(Dialect.CHAT, given_room, verbosity=asked)[0] == {"verbosity": given}
    text = {"verbosity": asked, "format": {"type": "text"}}
    assert bounded(Dialect.RESPONSES, room(effort), text=text)[0] == {"text": {**text, "verbosity": given}}


def test_the_least_verbosity_is_low() -> None:
    assert bounded(Dialect.CHAT, room("none"), verbosity="high")[0] == {"verbosity": "low"}


def test_two_words_for_the_same_stay_the_same() -> None:
    out, _ = bounded(Dialect.CHAT, room("low"), reasoning={"effort": "high"}, reasoning_effort="high")
    assert out == {"reasoning": {"effort": "low"}, "reasoning_effort": "low"}
    out, _ = bounded(Dialect.CHAT, room("low", reasoning=BY_ITSELF), reasoning_effort="high")
    assert out == {"reasoning_effort": "low"}


def test_a_plain_server_gets_no_field_that_only_openrouter_knows() -> None:
    out, words = bounded(Dialect.CHAT, room("low", openrouter=False), reasoning={"effort": "high", "max_tokens": 9_000})
    assert (out, words) == ({}, [])


def test_what_is_told() -> None:
    _, words = bounded(Dialect.CHAT, room("low"), reasoning={"effort": "my diary", "max_tokens": 9_000})
    assert words == [
        "reasoning.effort another value -> low (class beat)",
        "reasoning.max_tokens 9000 -> 2000 (class beat)",
    ]
    _, words = bounded(Dialect.CHAT, room(max_output=4_000), reasoning={"max_tokens": 9_000})
    assert words == ["reasoning.max_tokens 9000 -> 2000 (at most 4000 tokens out)"]
    _, words = bounded(Dialect.CHAT, room(reasoning=ALWAYS), reasoning={"effort": "none"})
    assert words == ["reasoning.effort none -> low (acme/one always thinks)"]
    _, words = bounded(Dialect.CHAT, room("low", reasoning=BY_ITSELF))
    assert words == ["reasoning.effort nothing -> low (class beat)"]
    _, words = bounded(Dialect.CHAT, room(max_output=1_000), reasoning={"max_tokens": 9_000})
    assert words == ["reasoning 9000 -> left out (at most 1000 tokens out)"]


def test_values_are_told_only_where_they_are_words_or_numbers() -> None:
    assert [told(value) for value in ("high", "my diary", None, True, 10**300)] == [
        "high",
        "another value",
        "another value",
        "true",
        "1" + "0" * 23,
    ]


@pytest.mark.parametrize("effort", Effort)
def test_no_budget_is_above_its_share(effort: Effort) -> None:
    for asked in (0, 1, 1_023, 1_024, 5_000, 9_999, 10_000, 10**9):
        given, _ = budget(asked, room(effort.value))
        assert given is None or given <= min(asked, CAP * PERCENT[effort] // 100)
