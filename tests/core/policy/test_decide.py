"""The verdict: one line a case, and the invariants that no text, header or grant can move."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy import schema as s
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide, estimate_prompt
from agentd.core.policy.facts import Facts, Grant, Halt, Memory, Used
from agentd.core.policy.model import turn_of
from agentd.core.types.calls import Dialect, ModelCall, Shape, Smuggled
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.verdicts import Allow, Answer, Deny, EscalationKind, Verdict
from builders import NOON, PRICES, call, facts, policy, request, task, tier

POLICY = policy()


def of(name: str, stage: Stage = Stage.LANE) -> Classified:
    return Classified(name, stage, "test")


def judge(
    class_name: str = "routine",
    *,
    made: ModelCall | None = None,
    using: Facts | None = None,
    by: s.Policy = POLICY,
    stage: Stage = Stage.LANE,
    **hints: str | None,
) -> Verdict:
    return decide(by, request(made, **hints), of(class_name, stage), using or facts())


def allowed(verdict: Verdict) -> Allow:
    assert isinstance(verdict, Allow), verdict
    return verdict


def denied(verdict: Verdict) -> Deny:
    assert isinstance(verdict, Deny), verdict
    return verdict


# -- who, until when, stopped


def test_an_unknown_caller_gets_only_a_refusal() -> None:
    deny = denied(decide(POLICY, request(agent=None), None, facts()))
    assert (deny.reason.code, deny.answer) == ("caller.unknown", Answer.UNKNOWN)
    assert "uid 1001" in deny.reason.message


def test_an_agent_name_that_policy_lost_is_unknown() -> None:
    assert denied(decide(POLICY, request(agent="gone"), of("routine"), facts())).reason.code == "caller.unknown"


def test_an_expired_agent_is_refused_from_the_day_after() -> None:
    agent = replace(POLICY.agents["main"], expires=date(2026, 9, 21))
    today = replace(POLICY, agents={"main": agent})
    assert isinstance(judge(by=today), Allow)
    yesterday = replace(POLICY, agents={"main": replace(agent, expires=date(2026, 9, 20))})
    assert denied(judge(by=yesterday)).reason.code == "agent.expired"


@pytest.mark.parametrize(
    ("halt", "refused"),
    [
        (("box", ""), True),
        (("agent", "main"), True),
        (("agent", "other"), False),
        (("tier", "economy"), True),
        (("tier", "frontier"), False),
    ],
)
def test_a_halt_stops_what_it_names(halt: tuple[str, str], refused: bool) -> None:
    verdict = judge(using=facts(halts=(Halt(*halt, "test", "2026", 7),)))
    assert isinstance(verdict, Deny) is refused
    if refused:
        assert denied(verdict).reason.code == "operator.halt"


def test_a_forbidden_field_is_named() -> None:
    deny = denied(
        judge(
            made=call(
                smuggled=(Smuggled("tools[0].type", "openrouter:web_search", True), Smuggled("models", "x", False))
            )
        )
    )
    assert deny.reason.code == "request.forbidden_field"
    assert "tools[0].type" in deny.reason.message


def test_a_removed_field_does_not_refuse() -> None:
    assert isinstance(judge(made=call(smuggled=(Smuggled("models", "x", False),))), Allow)


def test_a_class_outside_the_agents_set_is_refused() -> None:
    assert denied(judge("other")).reason.code == "class.not_allowed"


# -- tier


@pytest.mark.parametrize(
    ("class_name", "asked", "served", "code"),
    [
        ("routine", None, "economy", "tier.default"),
        ("routine", "frontier", "economy", "tier.capped"),
        ("routine", "economy", "economy", "tier.default"),
        ("implementation", None, "standard", "tier.default"),
        ("implementation", "frontier", "standard", "tier.capped"),
        ("implementation", "economy", "standard", "tier.default"),  # the floor is its own tier
        ("routine", "nonsense", "economy", "tier.default"),
    ],
)
def test_what_is_asked_moves_only_within_floor_and_ceiling(
    class_name: str, asked: str | None, served: str, code: str
) -> None:
    verdict = allowed(judge(class_name, tier=asked))
    assert (verdict.limits.tier, verdict.reason.code) == (served, code)


def test_a_model_by_name_asks_for_its_tier() -> None:
    assert allowed(judge(made=call(model="top/one"))).reason.code == "tier.capped"


def test_a_floor_lets_a_client_ask_for_less() -> None:
    floor = replace(
        POLICY, classes={**POLICY.classes, "analysis": task("analysis", "standard", "frontier", floor="economy")}
    )
    verdict = allowed(judge("analysis", by=floor, tier="economy"))
    assert (verdict.limits.tier, verdict.reason.code) == ("economy", "tier.asked_lower")


def test_the_agents_ceiling_bounds_the_class() -> None:
    low = replace(POLICY, agents={"main": replace(POLICY.agents["main"], ceiling="economy")})
    assert allowed(judge("implementation", by=low)).limits.tier == "economy"


def test_a_grant_raises_once_to_its_tier_and_is_recorded_as_an_escalation() -> None:
    grant = Grant("g-9", "implementation", "frontier", "the usual model failed twice")
    verdict = allowed(judge("implementation", using=facts(grant=grant)))
    escalation = verdict.limits.escalation
    assert verdict.limits.tier == "frontier"
    assert escalation is not None
    assert (escalation.kind, escalation.from_tier, escalation.to_tier, escalation.grant) == (
        EscalationKind.REQUESTED,
        "standard",
        "frontier",
        "g-9",
    )


@pytest.mark.parametrize("to", ["frontier", "gone", "economy"])
def test_a_grant_beyond_the_ceiling_or_to_nowhere_changes_nothing(to: str) -> None:
    assert allowed(judge("routine", using=facts(grant=Grant("g-1", "routine", to, "please")))).limits.tier == "economy"


@pytest.mark.parametrize(
    ("stage", "kind"),
    [(Stage.TEXT, EscalationKind.CLASSIFIED), (Stage.LANE, EscalationKind.REQUESTED), (Stage.CONTINUATION, None)],
)
def test_a_class_above_the_default_is_an_escalation_once(stage: Stage, kind: EscalationKind | None) -> None:
    escalation = allowed(judge("implementation", stage=stage)).limits.escalation
    assert (escalation.kind if escalation else None) is kind


def test_an_open_loop_keeps_tier_and_model() -> None:
    loop = call(shape=Shape(continuation=True))
    memory = Memory("implementation", "frontier", "top/one", "or", turn_of(request(loop)), NOON)
    verdict = allowed(judge("implementation", made=loop, using=facts(memory=memory), stage=Stage.CONTINUATION))
    assert (verdict.limits.model, verdict.reason.code) == ("top/one", "tier.kept")
    two = facts(memory=Memory("routine", "economy", "small/two", "or"))
    assert allowed(judge("routine", made=loop, using=two)).limits.model == "small/two"


@pytest.mark.parametrize(("turn", "until"), [("another turn", NOON), (None, NOON - 1)])
def test_a_raised_tier_ends_with_its_turn_and_its_time(turn: str | None, until: int) -> None:
    loop = call(shape=Shape(continuation=True))
    memory = Memory("implementation", "frontier", "top/one", "or", turn or turn_of(request(loop)), until)
    verdict = allowed(judge("implementation", made=loop, using=facts(memory=memory), stage=Stage.CONTINUATION))
    assert verdict.limits.tier == "standard"


@pytest.mark.parametrize("kept", ["frontier", "gone"])
def test_a_loop_that_policy_no_longer_covers_is_decided_anew(kept: str) -> None:
    memory = Memory("routine", kept, "top/one", "or")
    assert (
        allowed(judge("routine", made=call(shape=Shape(continuation=True)), using=facts(memory=memory))).limits.tier
        == "economy"
    )


# -- data, model, money


def test_a_label_above_the_tiers_is_refused() -> None:
    low = replace(POLICY, tiers={**POLICY.tiers, "economy": tier("economy", 0, "small/one", max_label="public")})
    assert denied(judge(by=low)).reason.code == "label.too_high"


def test_the_first_model_that_can_serve_is_used() -> None:
    assert allowed(judge()).limits.model == "small/one"
    assert allowed(judge(using=facts(without=frozenset({"small/one"})))).limits.model == "small/two"


def test_no_model_left_after_a_failure_means_wait() -> None:
    deny = denied(judge("implementation", using=facts(without=frozenset({"middle/one"}))))
    assert (deny.reason.code, deny.answer) == ("model.none_available", Answer.WAIT)
    assert deny.retry_after_s


@pytest.mark.parametrize(
    ("using", "word"),
    [(facts(keys=frozenset()), "keyring"), (facts(prices={}), "no price")],
)
def test_without_key_or_price_nothing_is_served(using: Facts, word: str) -> None:
    deny = denied(judge(using=using))
    assert (deny.reason.code, deny.answer) == ("model.none_available", Answer.DENY)
    assert word in deny.reason.message


def test_the_simulator_needs_no_key() -> None:
    assert isinstance(judge(using=facts(keys=frozenset(), simulated=True)), Allow)


def test_a_plain_server_speaks_chat_only() -> None:
    local = replace(POLICY, upstreams={"or": s.Upstream("or", s.UpstreamKind.OPENAI, "http://127.0.0.1:1", None)})
    assert isinstance(judge(by=local, using=facts(keys=frozenset())), Allow)
    assert "does not speak messages" in denied(judge(by=local, made=call(dialect=Dialect.MESSAGES))).reason.message


@pytest.mark.parametrize(("asked", "cap"), [(None, 2000), (50, 50), (10**9, 2000)])
def test_the_output_cap_is_the_least(asked: int | None, cap: int) -> None:
    assert allowed(judge(made=call(max_output=asked))).limits.max_output == cap


def test_the_reservation_is_the_worst_case() -> None:
    limits = allowed(judge(made=call(max_output=100))).limits
    tokens = estimate_prompt(request(call()))
    assert (
        limits.reserved == tokens * 100 + 100 * 400
    )  # 0.10 and 0.40 USD per million are 100 and 400 nano-dollars a token


def test_material_is_reserved_for_what_it_can_hold() -> None:
    """A picture or a document of a few compressed bytes is many tokens."""
    plain = estimate_prompt(request(call()))
    assert estimate_prompt(request(call(shape=Shape(images=2)))) >= plain + 2 * 3000
    assert estimate_prompt(request(call(shape=Shape(documents=1)))) >= plain + 100 * 4600


def budget(name: str, scope: s.Scope, **more: Any) -> s.Budget:
    return replace(s.Budget(name, "ops", scope, s.Window.DAY), **more)


@pytest.mark.parametrize(
    ("made", "account", "used", "refused"),
    [
        (budget("b", s.Scope.BOX, limit=10**9), "box", Used(10**9), True),
        (budget("b", s.Scope.BOX, limit=10**9), "box", Used(5), False),
        (budget("b", s.Scope.BOX, calls=3), "box", Used(calls=3), True),
        (budget("b", s.Scope.BOX, calls=3), "box", Used(calls=2), False),
        (budget("b", s.Scope.BOX, tokens=10), "box", Used(tokens=10), True),
        (budget("b", s.Scope.AGENT, limit=1), "agent:main", Used(), True),
        (budget("b", s.Scope.AGENT, of="other", limit=1), "agent:other", Used(9), False),
        (budget("b", s.Scope.CLASS, of="routine", calls=1), "class:routine", Used(calls=1), True),
        (budget("b", s.Scope.TIER, of="frontier", calls=0), "tier:frontier", Used(), False),
        (budget("b", s.Scope.SESSION, calls=1), "session:s1", Used(calls=1), True),
    ],
)
def test_budgets(made: s.Budget, account: str, used: Used, refused: bool) -> None:
    verdict = judge(by=replace(POLICY, budgets=(made,)), using=facts(used={("b", account): used}))
    assert isinstance(verdict, Deny) is refused
    if refused:
        assert (denied(verdict).reason.code, denied(verdict).answer) == ("budget.exhausted", Answer.BUDGET)
    else:
        assert [charge.account for charge in allowed(verdict).limits.charges] == (
            [] if "other" in account or "frontier" in account else [account]
        )


def test_a_budget_refusal_says_when_it_resets() -> None:
    by = replace(POLICY, budgets=(budget("b", s.Scope.BOX, limit=1),))
    deny = denied(judge(by=by, using=facts(used={("b", "box"): Used(1, resets="2026-09-22T00:00:00Z")})))
    assert "2026-09-22" in deny.reason.message


def test_a_budget_of_a_session_does_not_tell_to_wait() -> None:
    made = replace(budget("b", s.Scope.SESSION, limit=1), window=s.Window.SESSION)
    deny = denied(judge(by=replace(POLICY, budgets=(made,)), using=facts(used={("b", "session:s1"): Used(1)})))
    assert "per session" in deny.reason.message
    assert deny.reason.hint == "Begin a new conversation."


def test_a_lower_tier_within_the_floor_beats_a_refusal() -> None:
    by = replace(
        POLICY,
        classes={**POLICY.classes, "analysis": task("analysis", "standard", "frontier", floor="economy")},
        budgets=(budget("b", s.Scope.TIER, of="standard", calls=0),),
    )
    verdict = allowed(judge("analysis", by=by))
    assert (verdict.limits.tier, verdict.reason.code, verdict.limits.escalation) == ("economy", "tier.lowered", None)
    assert denied(judge("implementation", by=by)).reason.code == "budget.exhausted"


# -- invariants

RANKS = {name: each.rank for name, each in POLICY.tiers.items()}
names = st.sampled_from(["economy", "standard", "frontier", "nonsense"])
memories = st.builds(Memory, st.sampled_from(list(POLICY.classes)), names, st.sampled_from(list(PRICES)), st.just("or"))
grants = st.builds(Grant, st.just("g-1"), st.sampled_from(list(POLICY.classes)), names, st.text(max_size=20))


@given(
    st.text(max_size=200),
    names,
    st.sampled_from([*PRICES, "code", "chat", "openrouter/auto"]),
    st.none() | memories,
    st.none() | grants,
    st.booleans(),
)
def test_nothing_that_is_said_exceeds_the_ceiling(
    text: str, asked: str, model: str, memory: Memory | None, grant: Grant | None, loop: bool
) -> None:
    low = replace(POLICY, agents={"main": replace(POLICY.agents["main"], ceiling="standard")})
    made = call(model=model, shape=Shape(human_text=text, continuation=loop))
    asked_for = request(made, tier=asked)
    classified = classify(low, low.agents["main"], made, asked_for.hints, memory)
    verdict = decide(low, asked_for, classified, facts(memory=memory, grant=grant))
    assert isinstance(verdict, Allow)
    assert RANKS[verdict.limits.tier] <= min(RANKS["standard"], RANKS[low.classes[classified.name].ceiling])


@given(st.text(max_size=200), st.text(max_size=200))
def test_words_never_turn_a_refusal_into_an_allow(before: str, after: str) -> None:
    closed = replace(POLICY, budgets=(budget("b", s.Scope.BOX, calls=0),))
    for text in (before, before + after):
        made = call(text)
        classified = classify(closed, closed.agents["main"], made, request().hints, None)
        assert isinstance(decide(closed, request(made), classified, facts()), Deny)


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_money_is_never_allowed_beyond_the_limit(spent: int, limit: int) -> None:
    by = replace(POLICY, budgets=(budget("b", s.Scope.BOX, limit=limit),))
    verdict = judge(by=by, using=facts(used={("b", "box"): Used(spent)}))
    if isinstance(verdict, Allow):
        assert spent + verdict.limits.reserved <= limit


def test_the_same_facts_give_the_same_verdict() -> None:
    assert judge() == judge()
