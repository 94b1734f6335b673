"""Escalations on request: rule, ceiling, reason, quota; a grant serves one call and runs out."""

from dataclasses import replace
from typing import Any

import pytest

from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.policy import schema as s
from agentd.core.policy.facts import Memory
from agentd.core.types.verdicts import Deny
from agentd.gate.escalations import BACK_NS, Ask, Escalations, Granted, read_ask
from agentd.gate.spend import NS_PER_HOUR
from builders import NOON, policy

POLICY = policy()
MAIN = POLICY.agents["main"]


def ask(**more: Any) -> Ask:
    return replace(Ask(MAIN, "s1", "implementation", None, "the usual model failed twice"), **more)


def granted(escalations: Escalations, made: Ask | None = None, at: int = NOON) -> Granted:
    judged = escalations.judge(POLICY, made or ask(), at)
    assert isinstance(judged, Granted), judged
    return judged


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (ask(class_name="routine"), "escalation.no_rule"),
        (ask(class_name="gone"), "escalation.no_rule"),
        (ask(agent=replace(MAIN, classes=("routine",))), "escalation.no_rule"),
        (ask(agent=replace(MAIN, ceiling="standard")), "escalation.above_ceiling"),
        (ask(tier="economy"), "escalation.other_tier"),
        (ask(reason="  "), "escalation.no_reason"),
        (ask(session=""), "escalation.no_session"),
    ],
)
def test_what_policy_does_not_grant(made: Ask, code: str) -> None:
    judged = Escalations().judge(POLICY, made, NOON)
    assert isinstance(judged, Deny)
    assert judged.reason.code == code


def test_the_quota_pays_and_runs_out_until_the_window_ends() -> None:
    escalations = Escalations()
    for number in (1, 2):
        one = granted(escalations)
        assert one.quota == f"implementation: {number} of 2 per day"
        escalations.pay(one, NOON)
    judged = escalations.judge(POLICY, ask(), NOON)
    assert isinstance(judged, Deny)
    assert judged.reason.code == "escalation.quota"
    assert isinstance(escalations.judge(POLICY, ask(), NOON + 24 * NS_PER_HOUR), Granted)


def test_a_quota_per_session_counts_each_session_alone() -> None:
    usual = POLICY.classes["implementation"].escalation
    assert usual is not None
    rule = replace(usual, window=s.Window.SESSION, quota=1)
    by = replace(
        POLICY,
        classes={
            **POLICY.classes,
            "implementation": replace(POLICY.classes["implementation"], escalation=rule),
        },
    )
    escalations = Escalations()
    first = escalations.judge(by, ask(), NOON)
    assert isinstance(first, Granted)
    escalations.pay(first, NOON)
    assert isinstance(escalations.judge(by, ask(), NOON), Deny)
    assert isinstance(escalations.judge(by, ask(session="s2"), NOON), Granted)


def test_a_refund_gives_the_quota_back() -> None:
    escalations = Escalations()
    one = granted(escalations)
    escalations.pay(one, NOON)
    escalations.refund(one, NOON)
    assert granted(escalations).used == 0


def test_a_grant_serves_its_session_once_and_runs_out() -> None:
    escalations = Escalations()
    grant = escalations.give(granted(escalations), 12, NOON)
    assert grant.id == "g-12"
    assert escalations.find("main", "s1", NOON) == (grant,)
    assert escalations.find("main", "s2", NOON) == ()
    assert escalations.find("other", "s1", NOON) == ()
    taken = escalations.take("g-12")
    assert taken is not None
    assert escalations.find("main", "s1", NOON) == ()
    assert escalations.take("g-12") is None
    escalations.put_back(taken)
    assert escalations.find("main", "s1", NOON) == (grant,)
    escalations.take("g-12")
    again = escalations.give(granted(escalations), 13, NOON)
    assert escalations.find("main", "s1", NOON + 899 * NS_PER_S) == (again,)
    assert escalations.find("main", "s1", NOON + 900 * NS_PER_S) == ()


def test_a_clock_that_is_set_back_does_not_lengthen_a_grant() -> None:
    escalations = Escalations()
    grant = escalations.give(granted(escalations), 12, NOON)
    assert escalations.find("main", "s1", NOON - BACK_NS) == (grant,)
    assert escalations.find("main", "s1", NOON - BACK_NS - 1) == ()
    assert escalations.find("main", "s1", NOON) == (grant,), "it rests, and is not lost"


def test_the_record_restores_the_quota_not_the_grants() -> None:
    escalations = Escalations()
    line = {"at": rfc3339(NOON), "class": "implementation", "session": "s1", "verdict": "allow"}
    escalations.restore([line, {**line, "verdict": "deny"}])
    assert granted(escalations).used == 1
    assert escalations.find("main", "s1", NOON) == ()


@pytest.mark.parametrize(
    ("body", "memory", "class_name", "tier", "reason"),
    [
        ({}, None, "routine", None, ""),
        ({"reason": "x"}, Memory("analysis", "standard", "m", "or"), "analysis", None, "x"),
        (
            {"class": "implementation", "tier": "frontier", "reason": "y"},
            None,
            "implementation",
            "frontier",
            "y",
        ),
    ],
)
def test_reading_an_ask(
    body: dict[str, object], memory: Memory | None, class_name: str, tier: str | None, reason: str
) -> None:
    made = read_ask(MAIN, "s1", memory, body)
    assert isinstance(made, Ask)
    assert (made.class_name, made.tier, made.reason) == (class_name, tier, reason)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"session": "s1"}, "escalation.unknown_key"),
        ({"class": ["routine"]}, "escalation.not_text"),
        ({"reason": 5}, "escalation.not_text"),
    ],
)
def test_an_ask_that_is_not_understood_is_refused(body: dict[str, object], code: str) -> None:
    refused = read_ask(MAIN, "s1", None, body)
    assert isinstance(refused, Deny)
    assert refused.reason.code == code
