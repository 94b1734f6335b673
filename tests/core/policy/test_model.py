"""Tier, model and accounts on their own; what a verdict makes of them is in `test_decide`."""

from dataclasses import replace

import pytest

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.policy import schema as s
from agentd.core.policy.facts import Memory
from agentd.core.policy.model import account_name, accounts, candidates, ceiling_of, choose_tier, tier_asked, turn_of
from agentd.core.types.calls import Shape
from agentd.core.types.classes import Classified, Stage
from builders import NOON, PRICES, call, facts, policy, request, task

POLICY = policy()
ECONOMY = POLICY.tiers["economy"]


def budget(name: str, scope: s.Scope, of: str | None = None) -> s.Budget:
    return s.Budget(name, "ops", scope, s.Window.DAY, of, limit=1)


@pytest.mark.parametrize(
    ("scope", "of", "account"),
    [
        (s.Scope.BOX, None, "box"),
        (s.Scope.AGENT, None, "agent:main"),
        (s.Scope.AGENT, "main", "agent:main"),
        (s.Scope.AGENT, "other", None),
        (s.Scope.CLASS, "routine", "class:routine"),
        (s.Scope.CLASS, "analysis", None),
        (s.Scope.TIER, "economy", "tier:economy"),
        (s.Scope.TIER, "frontier", None),
        (s.Scope.SESSION, None, "session:s1"),
    ],
)
def test_a_call_counts_towards_the_budgets_of_what_it_is(scope: s.Scope, of: str | None, account: str | None) -> None:
    made = budget("b", scope, of)
    charged = accounts(replace(POLICY, budgets=(made,)), "main", "routine", ("economy",), "s1")
    assert charged == ([] if account is None else [(made, account)])


def test_accounts_keep_the_order_of_the_policy() -> None:
    made = (budget("one", s.Scope.SESSION), budget("two", s.Scope.BOX), budget("three", s.Scope.TIER, "economy"))
    charged = accounts(replace(POLICY, budgets=made), "main", "routine", ("economy",), "s1")
    assert [each.name for each, _ in charged] == ["one", "two", "three"]


def test_before_a_tier_is_chosen_the_accounts_of_all_of_them_are_asked_for() -> None:
    made = (budget("each", s.Scope.TIER), budget("one", s.Scope.TIER, "economy"))
    charged = accounts(replace(POLICY, budgets=made), "main", "routine", ("economy", "frontier"), "s1")
    assert [(each.name, account) for each, account in charged] == [
        ("each", "tier:economy"),
        ("each", "tier:frontier"),
        ("one", "tier:economy"),
    ]


def test_one_account_of_the_box_whatever_the_name() -> None:
    assert account_name(s.Scope.BOX, "") == account_name(s.Scope.BOX, "anything") == "box"


@pytest.mark.parametrize(
    ("tier", "model", "asked"),
    [("frontier", "", "frontier"), ("nowhere", "", None), (None, "middle/one", "standard"), (None, "unknown", None)],
)
def test_a_tier_is_asked_for_by_header_or_by_a_model_of_it(tier: str | None, model: str, asked: str | None) -> None:
    assert tier_asked(POLICY, request(call(model=model), tier=tier)) == asked


def test_the_header_counts_before_the_model() -> None:
    assert tier_asked(POLICY, request(call(model="middle/one"), tier="frontier")) == "frontier"


@pytest.mark.parametrize(
    ("agents", "classs", "least"), [("economy", "frontier", "economy"), ("frontier", "standard", "standard")]
)
def test_the_ceiling_is_the_lower_of_agent_and_class(agents: str, classs: str, least: str) -> None:
    agent = replace(POLICY.agents["main"], ceiling=agents)
    assert ceiling_of(POLICY, agent, task("t", "economy", classs)).name == least


def test_models_stand_in_the_order_of_the_policy() -> None:
    fit, unfit = candidates(POLICY, ECONOMY, request(), facts())
    assert [model.id for model in fit] == ["small/one", "small/two"]
    assert unfit == []


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ({"without": frozenset({"small/one"})}, "small/one: it just failed"),
        (
            {"prices": {name: price for name, price in PRICES.items() if name != "small/one"}},
            "small/one: it has no price",
        ),
    ],
)
def test_a_model_that_cannot_serve_is_passed_over_and_says_why(missing: dict[str, object], why: str) -> None:
    fit, unfit = candidates(POLICY, ECONOMY, request(), facts(**missing))
    assert ([model.id for model in fit], unfit) == (["small/two"], [why])


def test_documents_go_only_to_a_model_that_is_known_to_read_them() -> None:
    paper = request(call(shape=Shape(documents=1)))
    fit, unfit = candidates(POLICY, ECONOMY, paper, facts())
    assert (fit, unfit) == ([], ["small/one: it reads no documents", "small/two: it reads no documents"])
    known = {
        "small/one": ModelEntry(9_000, 900, "", 0, ("text", "image")),
        "small/two": ModelEntry(9_000, 900, "", 0, ("text", "file")),
    }
    fit, unfit = candidates(POLICY, ECONOMY, paper, facts(models=known))
    assert ([model.id for model in fit], unfit) == (["small/two"], ["small/one: it reads no documents"])
    home = replace(POLICY, upstreams={"or": replace(POLICY.upstreams["or"], kind=s.UpstreamKind.OPENAI)})
    assert len(candidates(home, ECONOMY, paper, facts())[0]) == 2


def test_an_open_loop_takes_its_own_model_first_if_that_can_serve() -> None:
    loop = request(call(shape=Shape(continuation=True)))
    memory = Memory("routine", "economy", "small/two", "or")
    fit, _ = candidates(POLICY, ECONOMY, loop, facts(memory=memory))
    assert [model.id for model in fit] == ["small/two", "small/one"]
    fit, _ = candidates(POLICY, ECONOMY, loop, facts(memory=memory, without=frozenset({"small/two"})))
    assert [model.id for model in fit] == ["small/one"]


def test_a_fresh_turn_does_not_inherit_the_model() -> None:
    memory = Memory("routine", "economy", "small/two", "or")
    fit, _ = candidates(POLICY, ECONOMY, request(call("hello")), facts(memory=memory))
    assert [model.id for model in fit] == ["small/one", "small/two"]


@pytest.mark.parametrize(("stage", "kept"), [(Stage.CONTINUATION, "tier.kept"), (Stage.LANE, "tier.kept")])
def test_a_loop_keeps_its_tier_however_its_class_was_found(stage: Stage, kept: str) -> None:
    loop = request(call(shape=Shape(continuation=True)), tier="economy")
    memory = Memory("implementation", "frontier", "top/one", "or", turn_of(loop), NOON)
    choice = choose_tier(
        POLICY, POLICY.agents["main"], loop, Classified("implementation", stage, ""), facts(memory=memory)
    )
    assert (choice.tier.name, choice.code, choice.escalation) == ("frontier", kept, None)
