"""Which tier is asked for, which bounds hold, which models may serve, which accounts pay."""

from dataclasses import replace

import pytest

from agentd.core.policy import schema as s
from agentd.core.policy.facts import Memory
from agentd.core.policy.model import account_name, accounts, candidates, ceiling_of, choose_tier, tier_asked
from agentd.core.types.calls import Shape
from agentd.core.types.classes import Classified, Stage
from builders import call, facts, policy, request

POLICY = policy()
MAIN = POLICY.agents["main"]
ROUTINE = Classified("routine", Stage.ABSTAINED, "test")


@pytest.mark.parametrize(
    ("model", "header", "asked"),
    [
        ("agentd", None, None),
        ("top/one", None, "frontier"),
        ("top/one", "economy", "economy"),  # the header is more explicit than a name
        ("top/one", "nonsense", "frontier"),
        ("unknown/model", None, None),
    ],
)
def test_what_is_asked_for(model: str, header: str | None, asked: str | None) -> None:
    assert tier_asked(POLICY, request(call(model=model), tier=header)) == asked


@pytest.mark.parametrize(
    ("class_ceiling", "agent_ceiling", "both"),
    [("frontier", "economy", "economy"), ("economy", "frontier", "economy"), ("standard", "standard", "standard")],
)
def test_the_lower_ceiling_holds(class_ceiling: str, agent_ceiling: str, both: str) -> None:
    task = replace(POLICY.classes["routine"], ceiling=class_ceiling)
    assert ceiling_of(POLICY, replace(MAIN, ceiling=agent_ceiling), task).name == both


def test_a_choice_says_what_was_asked_and_why_it_is_not_that() -> None:
    choice = choose_tier(POLICY, MAIN, request(tier="frontier"), ROUTINE, facts())
    assert (choice.tier.name, choice.asked, choice.code) == ("economy", "frontier", "tier.capped")
    assert "frontier was asked for" in choice.why


def test_each_model_that_cannot_serve_has_its_reason() -> None:
    tier = POLICY.tiers["economy"]
    fit, unfit = candidates(POLICY, tier, request(), facts(without=frozenset({"small/one"}), prices={}))
    assert fit == []
    assert unfit == ["small/one: it just failed", "small/two: it has no price"]


def test_a_loops_model_comes_first() -> None:
    loop = request(call(shape=Shape(provider_state=True)))
    memory = Memory("routine", "economy", "small/two", "or")
    fit, _ = candidates(POLICY, POLICY.tiers["economy"], loop, facts(memory=memory))
    assert [model.id for model in fit] == ["small/two", "small/one"]
    fit, _ = candidates(POLICY, POLICY.tiers["economy"], request(), facts(memory=memory))
    assert [model.id for model in fit] == ["small/one", "small/two"]


def test_every_scope_has_its_account() -> None:
    made = tuple(s.Budget(scope.value, "ops", scope, s.Window.DAY) for scope in s.Scope)
    names = [name for _, name in accounts(made, "main", "routine", "economy", "s1")]
    assert names == ["box", "agent:main", "class:routine", "tier:economy", "session:s1"]
    other = replace(made[1], of="other")
    assert accounts((other,), "main", "routine", "economy", "s1") == []
    assert account_name(s.Scope.BOX, "whatever") == "box"
