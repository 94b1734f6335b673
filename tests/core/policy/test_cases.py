"""What a test inside the file may say."""

import pytest

from agentd.core.policy.cases import EXPECT, GIVEN
from agentd.core.types.classes import Stage
from policies import GOOD, good, parse, said

GIVEN_TEXT = "given: { uid: 65533 }"
EXPECT_TEXT = "expect: { verdict: deny, code: caller.unknown }"


def test_what_is_absent_is_an_ordinary_call() -> None:
    given = parse(GOOD).tests[0].given
    assert given == {"uid": 65533, "model": "agentd", "text": "", "tools": (), "images": 0, "spent": {}}


def test_everything_can_be_said() -> None:
    said_all = (
        "given: { agent: main, lane: hard, tier: high, model: m, text: t, tools: [a, b], images: 1, session_class: hard, "
        "grant: high, effort: max, spent: { box: 1.5 }, keys: [openrouter], at: 2027-01-01 }"
    )
    given = parse(good(GIVEN_TEXT, said_all)).tests[0].given
    assert set(given) == {key.name for key in GIVEN.keys} - {"uid", "gid", "unit", "exe"}
    assert (given["tools"], given["spent"], given["keys"]) == (("a", "b"), {"box": 1_500_000_000}, ("openrouter",))
    facts = parse(good(GIVEN_TEXT, "given: { uid: self, gid: agents, unit: x.service, exe: /x }")).tests[0].given
    assert (facts["uid"], facts["gid"], facts["unit"], facts["exe"]) == (990, 2001, "x.service", "/x")


@pytest.mark.parametrize("stage", [stage.value for stage in Stage])
def test_every_stage_can_be_expected(stage: str) -> None:
    assert parse(good(EXPECT_TEXT, f"expect: {{ stage: {stage} }}")).tests[0].expect == {"stage": stage}


@pytest.mark.parametrize("key", [key.name for key in EXPECT.keys])
def test_every_expectation_stands_alone(key: str) -> None:
    values = {"verdict": "allow", "class": "hard", "tier": "low", "model": "x", "code": "x", "stage": "lane"}
    values["effort"] = "low"
    assert said(good(EXPECT_TEXT, f"expect: {{ {key}: {values[key]} }}")) == []


def test_a_lane_or_tier_that_does_not_exist_may_be_tried() -> None:
    assert said(good(GIVEN_TEXT, "given: { agent: main, lane: nonsense, tier: nonsense }")) == []
