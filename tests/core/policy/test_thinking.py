"""How hard a model may think, in the Anthropic dialect: a row each, down to the body that is sent."""

from typing import Any

import pytest

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.types.calls import Dialect
from core.policy.thinker import ALWAYS, BY_ITSELF, WHEN_ASKED, bounded, room

Json = dict[str, Any]

OFF: Json = {"thinking": {"type": "disabled"}}
ADAPTIVE: Json = {"thinking": {"type": "adaptive"}}


def enabled(tokens: Any) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


def said(effort: Any) -> Json:
    return {"output_config": {"effort": effort}}


# what the class allows, what is known of the model, what is asked and what is sent
ROWS: list[tuple[str | None, Reasoning | None, Json, Json]] = [
    (None, None, {}, {}),
    (None, None, ADAPTIVE, ADAPTIVE),
    (None, None, said("max"), said("max")),
    (None, None, said("ultra"), said("ultra")),
    (None, None, OFF, OFF),
    (None, None, enabled(9_999), enabled(9_999)),
    (None, None, enabled(10_000), enabled(5_000)),
    (None, None, enabled(-1), {}),
    (None, None, enabled("9"), {}),
    (None, None, {"thinking": {"type": "enabled"}}, {"thinking": {"type": "enabled"}}),
    (None, None, {"thinking": "x"}, {"thinking": "x"}),
    ("low", None, said("high"), said("low")),
    ("low", None, said("low"), said("low")),
    ("low", None, said("ultra"), said("low")),
    ("low", None, {"output_config": "high"}, said("low")),
    ("low", None, {"output_config": {"format": 1, "effort": "max"}}, {"output_config": {"format": 1, "effort": "low"}}),
    ("low", None, {**ADAPTIVE, **said("high")}, {**ADAPTIVE, **said("low")}),
    ("low", None, ADAPTIVE, {**ADAPTIVE, **said("low")}),
    ("high", None, ADAPTIVE, ADAPTIVE),
    ("medium", Reasoning(usual=None), ADAPTIVE, {**ADAPTIVE, **said("medium")}),
    ("low", None, enabled(1_500), enabled(1_500)),
    ("low", None, enabled(9_000), enabled(2_000)),
    ("low", None, {"thinking": {"type": "enabled"}}, OFF),
    ("low", None, {"thinking": {"type": "ultra"}}, OFF),
    ("low", None, {"thinking": "x"}, OFF),
    ("low", None, {"thinking": {}}, OFF),
    ("low", None, OFF, OFF),
    ("low", None, {}, {}),
    ("low", WHEN_ASKED, {}, {}),
    ("low", BY_ITSELF, {}, said("low")),
    # below the least word there is only the switch
    ("minimal", None, ADAPTIVE, OFF),
    ("none", None, {**enabled(9_000), **said("high")}, {**OFF, **said("low")}),
    ("none", None, said("low"), {**said("low"), **OFF}),
    ("none", BY_ITSELF, {}, OFF),
    ("none", WHEN_ASKED, {}, {}),
    ("none", None, {}, {}),
    # a model that always thinks
    (None, ALWAYS, OFF, said("low")),
    (None, ALWAYS, {**OFF, **said("high")}, said("high")),
    ("low", ALWAYS, {**OFF, **said("high")}, said("low")),
    ("low", ALWAYS, {"thinking": "x"}, said("low")),
    (None, ALWAYS, {}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("effort", "known", "asked", "given"), ROWS)
def test_thinking(effort: str | None, known: Reasoning | None, asked: Json, given: Json) -> None:
    out, words = bounded(Dialect.MESSAGES, room(effort, reasoning=known), **asked)
    assert out == given
    assert (words == []) == (asked == given)


def test_a_small_answer_has_no_room_for_thinking() -> None:
    small = room(max_output=2_047)
    assert bounded(Dialect.MESSAGES, small, **enabled(9_000)) == (
        {},
        ["thinking 9000 -> left out (at most 2047 tokens out)"],
    )
    assert bounded(Dialect.MESSAGES, room("low", max_output=4_000), **enabled(3_000))[0] == OFF
    always = room("low", max_output=4_000, reasoning=ALWAYS)
    assert bounded(Dialect.MESSAGES, always, **enabled(3_000))[0] == said("low")


def test_what_is_told() -> None:
    asked = {**enabled(9_000), **said("max")}
    assert bounded(Dialect.MESSAGES, room("low"), **asked)[1] == [
        "output_config.effort max -> low (class beat)",
        "thinking.budget_tokens 9000 -> 2000 (class beat)",
    ]
    assert bounded(Dialect.MESSAGES, room("none"), **enabled(9_000))[1] == [
        "thinking enabled -> left out (class beat)",
        "thinking.type nothing -> disabled (class beat)",
    ]
