"""A good text becomes a policy, word for word; a bad one becomes all its faults, each with place and cure."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.parse import MAX_FAULTS, parse_policy
from agentd.core.policy.schema import EscalationRule, FixedPrice, Match, Scope, UpstreamKind, Window
from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.documents import Mark, Scalar
from agentd.core.types.errors import Fault, PolicyRefused
from policies import GOOD, faults_of, good, names, parse, said


def test_a_good_text_is_read_whole() -> None:
    policy = parse(GOOD)
    assert (policy.version, policy.owner, policy.reviewed) == (1, "ops@example.org", date(2026, 11, 20))
    assert (policy.change, policy.labels, policy.retention_days) == ("first", ("public", "private"), 200)
    agent = policy.agents["main"]
    assert agent.expires == date(2027, 6, 30)
    assert agent.match == (Match(unit="main.service"),)
    assert (agent.default_class, agent.classes) == ("routine", ("routine", "hard"))
    assert (agent.ceiling, agent.label, agent.place) == ("high", "private", Mark(7, 3))
    far, near = policy.upstreams.values()
    assert (far.kind, far.url, far.key) == (UpstreamKind.OPENROUTER, "https://openrouter.ai/api/v1", "openrouter")
    assert (near.kind, near.key) == (UpstreamKind.OPENAI, None)
    low, high = policy.tiers.values()
    assert (low.rank, high.rank, low.max_output, low.zdr, low.max_price) == (0, 1, 1000, False, None)
    assert low.models[1].price == FixedPrice("0", "0")
    assert low.models[0].price is None
    assert high.max_price == ("5.00", "25")
    assert high.models[0].providers == ("first", "second")
    routine, hard = policy.classes.values()
    assert (routine.floor, routine.ceiling, routine.deadline_s) == ("low", "low", 60.0)
    assert (routine.lanes, routine.escalation) == (("chat", "small-*"), None)
    assert (routine.effort, routine.cache_ttl) == (None, CacheTtl.SHORT)
    assert (hard.ceiling, hard.max_output) == ("high", 1500)
    assert hard.escalation == EscalationRule("high", 3, Window.DAY, 900, "boss@example.org", Mark(43, 17))
    box, rare = policy.budgets
    assert (box.scope, box.window, box.limit, box.of) == (Scope.BOX, Window.DAY, 2_500_000_000, None)
    assert (rare.scope, rare.of, rare.calls, rare.tokens, rare.limit) == (Scope.TIER, "high", 10, 1000, None)
    assert policy.tests[0].given["uid"] == 65533
    assert policy.tests[0].expect == {"verdict": "deny", "code": "caller.unknown"}
    assert policy.at("classes", "hard", hard.place) == "classes.hard (p.yaml:35)"


def test_what_is_absent_takes_its_default() -> None:
    text = good("labels: [public, private]\n", "", "retention: { days: 200 }\n", "")
    policy = parse(text.replace("private", "secret"))
    assert policy.labels == ("public", "internal", "private", "secret")
    assert policy.retention_days == 400
    assert policy.tests[0].given["model"] == "agentd"


def test_a_class_may_bound_effort_and_cache() -> None:
    text = good("max_output: 500,", "max_output: 500, effort: low, cache_ttl: 1h,")
    routine = parse(text).classes["routine"]
    assert (routine.effort, routine.cache_ttl) == (Effort.LOW, CacheTtl.HOUR)
    for old, new in (("effort: low", "effort: ultra"), ("effort: low", "effort: [low]"), ("cache_ttl: 1h", "cache_ttl: 2h")):
        assert len(said(text.replace(old, new))) == 1


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = good(
        "reviewed: 2026-11-20",
        "reviewed: someday",
        "    ceiling: high\n    label",
        "    ceiling: hihg\n    label",
        "deadline: 60s",
        "deadline: 60",
        "scope: box",
        "scope: bix",
    )
    faults = faults_of(text)
    assert [(fault.line, fault.column, fault.where) for fault in faults] == [
        (3, 11, "reviewed"),
        (13, 14, "agents.main.ceiling"),
        (34, 76, "classes.routine.deadline"),
        (45, 41, "budgets.box.scope"),
    ]
    assert all(fault.message and fault.hint for fault in faults)
    assert "did you mean `high`?" in faults[1].hint


def test_the_error_names_the_file_and_the_first_fault() -> None:
    with pytest.raises(PolicyRefused) as refused:
        parse(good("version: 1", "version: 2"))
    assert str(refused.value).startswith("p.yaml:1:10: 2 is outside 1 to 1 (1 fault(s)) [policy.refused]")


@pytest.mark.parametrize("text", ["[]\n...\n", "just words\n...\n", "12\n...\n"])
def test_what_is_no_map_is_no_policy(text: str) -> None:
    assert said(text) == [("", "this is no policy: a map of sections is wanted")]


def test_nothing_is_no_policy() -> None:
    with pytest.raises(PolicyRefused, match="this is no policy"):
        parse_policy(None, names(), "p.yaml")


def test_faults_of_the_document_refuse_a_text_that_parses() -> None:
    assert [message for _, message in said(GOOD.removesuffix("...\n"))] == ["the file does not end with a line `...`"]


def test_a_document_fault_is_not_told_twice() -> None:
    fault = Fault(4, 2, "", "an alias")
    with pytest.raises(PolicyRefused) as refused:
        parse_policy(Scalar(None, "", Mark(4, 2)), names(), "p.yaml", (fault,))
    assert refused.value.faults == (fault,)


def test_the_number_of_faults_is_bounded() -> None:
    keys = "".join(f"key{number}: 1\n" for number in range(MAX_FAULTS * 2))
    assert len(faults_of(keys + "...\n")) == MAX_FAULTS


@given(st.data())
def test_any_line_missing_is_a_fault_or_a_policy_never_an_accident(data: st.DataObject) -> None:
    lines = GOOD.splitlines(keepends=True)
    gone = data.draw(st.sets(st.integers(0, len(lines) - 1), min_size=1, max_size=5))
    text = "".join(line for index, line in enumerate(lines) if index not in gone)
    faults = faults_of(text)
    assert all(fault.line >= 1 and fault.column >= 1 and fault.message for fault in faults)


@given(st.text(max_size=200))
def test_any_text_is_answered(text: str) -> None:
    assert faults_of(text)
    assert faults_of(text + "\n...\n")


@given(st.integers(0, len(GOOD) - 2))
def test_no_part_of_a_policy_is_a_policy(cut: int) -> None:
    prefix = GOOD[:cut]
    assert faults_of(prefix) or prefix.endswith("\n...")
