"""The page on a decision: six whole pages as people see them, and that no line, however odd, breaks it.

The pages lie in `pages/`; `AGENTD_UPDATE_PAGES=1` writes them anew, for a look at the difference before it is kept."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.canonical import canonical, record_of
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide
from agentd.core.policy.explain import Explanation, Proof, explain
from agentd.core.policy.facts import Used
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Budget, Match, Scope, Window
from agentd.core.types.bounds import Effort, Knob
from agentd.core.types.calls import Smuggled
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.receipts import CostSource, Ending, Outcome, Permit, Receipt, Usage
from agentd.core.types.verdicts import Allow
from agentd.gate.lines import decision_line, outcome_line
from builders import NOON, PEER, call, facts, policy, request

PAGES = Path(__file__).parent / "pages"
DIGEST = "ab" * 32
BUDGET = Budget("box-day", "ops", Scope.BOX, Window.DAY, limit=10**9)
POLICY = replace(policy(), budgets=(BUDGET,))

RAISED = "class implementation needs an escalation: to frontier, 2 per day"
CHARGE = {"budget": "b", "account": "box"}

Rows = dict[str, list[str]]


def record(line: Any, seq: int) -> dict[str, Any]:
    """A line as the reader gives it; its digest is made up, so that a page changes only when its words do."""
    body = canonical(record_of(line, seq, "0" * 64))
    return {**json.loads(body), "digest": f"{seq:064x}"}


def decided(seq: int = 41, outcome: Outcome | None = None, **more: Any) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A call judged and recorded as the way does it, and its outcome two lines later."""
    made = request(more.pop("made", None), more.pop("agent", "main"), **more.pop("hints", {}))
    asked = replace(made, session="5e55", caller=replace(made.caller, peer=PEER))
    agent = POLICY.agents.get(asked.caller.agent or "")
    classified = classify(POLICY, agent, asked.call, asked.hints, None) if agent else None
    verdict = decide(POLICY, asked, classified, facts(**more))
    line = record(decision_line(POLICY, DIGEST, asked, classified, verdict), seq)
    if outcome is None or not isinstance(verdict, Allow):
        return line, None
    closing = outcome_line(asked, Permit(verdict, Receipt(seq, line["digest"])), outcome, NOON + 10**9)
    return line, record(closing, seq + 2)


DONE = Outcome(
    Ending.DONE, 200, 4_300_000, CostSource.REPORTED, Usage(12_034, 512, 9_000, None, 128), "middle/one", "Fireworks",
    "gen-77", 2_300, 8_400, tool_calls=("exec", "read"),
)  # fmt: skip

CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "chat": decided(made=call("thanks, that was all!"), outcome=DONE),
    "capped": decided(
        made=call("fix the failing build"), hints={"lane": "implementation", "tier": "frontier"}, outcome=DONE
    ),
    "budget": decided(made=call("hello"), used={("box-day", "box"): Used(10**9, 7, 0, "2026-09-22T00:00:00.000000Z")}),
    "stranger": decided(made=call("hello"), agent=None),
    "open": decided(made=call("hello")),
    "unknown": decided(
        made=call("hello", smuggled=(Smuggled("plugins", "[web]", refused=False),), dropped=("future_switch",)),
        outcome=replace(
            DONE, ending=Ending.UNKNOWN, status=0, cost=None, cost_source=CostSource.UNSETTLED, usage=Usage()
        ),
    ),
}


def text_of(page: Explanation) -> str:
    """The page as plain text."""
    lines = [f"{page.decision}  {page.headline}"]
    for section in page.sections:
        lines += ["", section.title, *(f"  {label:<14}  {text}".rstrip() for label, text in section.rows)]
    return "\n".join(lines) + "\n"


def rows_of(page: Explanation, title: str) -> Rows:
    """A section's rows by label, continued ones with their label."""
    found: Rows = {}
    label = ""
    for section in page.sections:
        for name, text in section.rows if section.title == title else ():
            label = name or label
            found.setdefault(label, []).append(text)
    return found


@pytest.mark.parametrize("name", CASES)
def test_page(name: str) -> None:
    line, outcome = CASES[name]
    shown = text_of(explain(line, outcome, POLICY, Proof(intact=True, checkpoint=60, signed=True)))
    kept = PAGES / f"{name}.txt"
    if os.environ.get("AGENTD_UPDATE_PAGES"):
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(shown)
    assert shown == kept.read_text()


def test_a_version_that_is_not_kept_leaves_out_what_only_it_knows() -> None:
    line, outcome = CASES["capped"]
    page = explain(line, outcome, None)
    assert rows_of(page, "Rule")["policy"] == ["abababababab (this version is not kept here)"]
    assert "class bounds" not in rows_of(page, "Tier")
    assert rows_of(page, "Who")["agent"] == ["main"]


def test_a_line_that_no_longer_gives_its_digest_is_called_broken() -> None:
    line, outcome = CASES["chat"]
    page = explain(line, outcome, POLICY, Proof(intact=False))
    assert rows_of(page, "Record")["checked"] == ["BROKEN: the bytes do not give this digest"]
    assert rows_of(page, "Record")["checkpoint"] == ["none after it yet"]


def test_without_proof_nothing_is_said_about_it() -> None:
    line, outcome = CASES["chat"]
    assert {"line", "digest", "before it"} == set(rows_of(explain(line, outcome, POLICY), "Record"))


@pytest.mark.parametrize(
    ("asked", "class_", "ceiling", "says"),
    [
        ("frontier", "heartbeat", "frontier", "class heartbeat stops at economy, whatever is asked"),
        ("frontier", "routine", "frontier", "class routine stops at standard, whatever is asked"),
        ("standard", "routine", "frontier", "class routine is served at economy and has no escalation"),
        ("frontier", "implementation", "frontier", f"above standard {RAISED}"),
        ("economy", "implementation", "frontier", "class implementation starts at standard"),
    ],
)  # fmt: skip
def test_the_bound_that_moved_the_ask_is_named(asked: str, class_: str, ceiling: str, says: str) -> None:
    line, _ = CASES["open"]
    served = "standard" if class_ == "implementation" else "economy"
    page = explain({**line, "tier_asked": asked, "class": class_, "tier": served}, None, POLICY)
    assert rows_of(page, "Tier")["not as asked"] == [says]


def test_the_agents_own_ceiling_is_named_too() -> None:
    low = replace(POLICY, agents={"main": replace(POLICY.agents["main"], ceiling="economy")})
    line, _ = CASES["open"]
    page = explain({**line, "tier_asked": "standard", "class": "analysis", "tier": "economy"}, None, low)
    assert rows_of(page, "Tier")["not as asked"] == ["agent main stops at economy"]


def test_served_as_asked_says_nothing_more() -> None:
    line, _ = CASES["open"]
    page = explain({**line, "tier_asked": "economy", "tier": "economy"}, None, POLICY)
    assert "not as asked" not in rows_of(page, "Tier")


def test_a_tier_that_could_not_serve_is_left_to_the_rule() -> None:
    line, _ = CASES["open"]
    page = explain({**line, "tier_asked": "standard", "class": "analysis", "tier": "economy"}, None, POLICY)
    assert rows_of(page, "Tier")["not as asked"] == ["standard could not serve; the rule says why"]


@pytest.mark.parametrize(
    ("charge", "says"),
    [
        ("box-day:session:ab:cd", "box-day (session:ab:cd)"),
        ({"budget": "b", "account": "box"}, "b (box)"),
        ({**CHARGE, "before_nusd": 10**9, "limit_nusd": 2 * 10**9}, "b (box): $1.00 before, $1.25 after of $2.00"),
        ({"budget": "b", "account": "box", "before_nusd": 10**9}, "b (box): $1.00 before, $1.25 after"),
    ],
)  # fmt: skip
def test_charges_tell_what_was_there_and_what_is(charge: Any, says: str) -> None:
    line, _ = CASES["open"]
    page = explain({**line, "reserved_nusd": 250_000_000, "detail": {"charges": [charge]}}, None, POLICY)
    assert rows_of(page, "Money")["charged to"] == [says]


def test_the_settled_cost_counts_and_not_the_reservation() -> None:
    line, outcome = CASES["chat"]
    charge = {"budget": "b", "account": "box", "before_nusd": 10**9}
    page = explain({**line, "detail": {"charges": [charge]}}, {**(outcome or {}), "cost_nusd": 10**9}, POLICY)
    assert rows_of(page, "Money")["charged to"] == ["b (box): $1.00 before, $2.00 after"]


def test_an_escalation_tells_kind_reason_quota_and_grant() -> None:
    line, _ = CASES["open"]
    step = {
        "kind": "requested",
        "code": "agent.requested",
        "reason": "the plan is risky",
        "from_tier": "economy",
        "to_tier": "frontier",
    }
    page = explain({**line, "escalation": {**step, "quota": "analysis: 3 of 10 per day", "grant": "g-9"}}, None, POLICY)
    assert rows_of(page, "Escalation") == {
        "step": ["economy to frontier"],
        "kind": ["requested (agent.requested)"],
        "reason": ["the plan is risky"],
        "quota": ["analysis: 3 of 10 per day"],
        "grant": ["g-9"],
    }


def test_what_an_agent_is_told_stands_only_on_refusals() -> None:
    assert rows_of(explain(*CASES["budget"], POLICY), "Told")["hint"]
    assert not rows_of(explain(*CASES["chat"], POLICY), "Told")


def test_a_retry_time_is_told() -> None:
    line, _ = CASES["budget"]
    page = explain({**line, "detail": {"retry_after_s": 0, "answer": "wait"}}, None, POLICY)
    assert rows_of(page, "Told") == {"as": ["wait"], "again after": ["0 s"]}


def test_served_without_label_and_bounds_names_the_model_alone() -> None:
    line, _ = CASES["open"]
    page = explain({**line, "label": None, "detail": None}, None, None)
    assert rows_of(page, "Tier")["served"] == ["economy: small/one"]


def test_a_second_try_names_the_first() -> None:
    line, _ = CASES["open"]
    page = explain({**line, "detail": {"after": "d-39"}}, None, POLICY)
    assert rows_of(page, "Asked")["second try"] == ["after d-39, which failed"]


def test_considered_tiers_and_recipients_are_listed() -> None:
    line, outcome = CASES["chat"]
    seen = {**(outcome or {}), "detail": {"recipients": ["A", "B"], "error": "overloaded"}}
    page = explain({**line, "detail": {"considered": [{"tier": "frontier", "why": "no key"}, "economy"]}}, seen, POLICY)
    assert rows_of(page, "Tier")["considered"] == ["frontier: no key", "economy"]
    assert rows_of(page, "Upstream")["seen by"] == ["A, B"]
    assert rows_of(page, "Upstream")["error"] == ["overloaded"]


def test_a_decision_without_any_policy_says_so() -> None:
    line, _ = CASES["stranger"]
    assert rows_of(explain({**line, "policy": None}, None, None), "Rule")["policy"] == ["none was in force"]


def test_the_agent_is_the_one_that_the_facts_name() -> None:
    """The page is about the recorded agent even if the policy of now would match another."""
    other = replace(POLICY, agents={"main": replace(POLICY.agents["main"], match=(Match(uid=7),))})
    assert match_agent(other, PEER) is None
    assert rows_of(explain(*CASES["chat"], other), "Who")["agent"][0].startswith("main (owner ops")


def test_the_first_line_of_a_record_that_replaces_another_tells_why_and_where_the_old_one_is() -> None:
    before = {
        "reason": "the disk died",
        "moved_to": "ledger-until-X",
        "ledger": "ab",
        "seq": 7,
        "digest": "cd" * 32,
        "by": "anchor",
    }
    line = {
        "seq": 1,
        "id": "genesis-1",
        "kind": "genesis",
        "at": "2026-09-21T14:13:20Z",
        "detail": {"previous": before},
    }
    page = explain(line, None, None)
    assert (
        page.headline == f"genesis: the record begins anew (the disk died); the one before ended at line 7 ({'cd' * 6})"
    )
    assert "moved_to: ledger-until-X" in rows_of(page, "What")["previous"]
    assert "Budgets" in rows_of(page, "What next")[""][0]
    assert explain({**line, "detail": {}}, None, None).headline == "genesis: the record begins"


def test_faults_of_a_refused_policy_are_told_in_words() -> None:
    faults = [{"line": 3, "column": 5, "where": "tiers", "message": "no such tier", "hint": "use economy"}]
    line = {"seq": 2, "kind": "policy", "verdict": "deny", "detail": {"message": "bad", "faults": faults}}
    assert rows_of(explain(line, None, None), "What")["faults"] == ["3:5: tiers: no such tier (use economy)"]


def test_an_escalation_line_is_told_as_one() -> None:
    line = {
        "seq": 10,
        "id": "e-10",
        "kind": "escalation",
        "agent": "main",
        "class": "analysis",
        "verdict": "deny",
        "code": "escalation.quota",
        "at": "2026-09-21T14:13:20Z",
        "digest": "cd",
        "prev": "ab",
        "detail": {"message": "used up", "asked": "it is risky", "tiers": ["a", "b"], "diff": "x\ny", "odd": {"a": 1}},
    }
    page = explain(line, None, POLICY)
    assert (page.decision, page.headline) == ("e-10", "escalation refused: used up")
    what = rows_of(page, "What")
    assert what["asked"] == ["it is risky"]
    assert what["tiers"] == ["a", "b"]
    assert "diff" not in what
    assert what["odd"] == ["a: 1"]
    assert rows_of(page, "What next")
    assert [section.title for section in page.sections] == ["Who", "What", "Record", "What next"]


def test_a_line_of_the_daemon_itself_has_no_caller_and_needs_no_words() -> None:
    page = explain({"seq": 3, "id": "start-3", "kind": "start", "detail": None}, None, None)
    assert (page.decision, page.headline) == ("start-3", "start")
    assert [section.title for section in page.sections] == ["Record"]


def test_what_was_brought_within_bounds_is_told() -> None:
    knobs = (Knob("reasoning", "", True), Knob("reasoning", "effort", "max"), Knob("verbosity", "", "my diary"))
    made = call("thanks!", knobs=knobs, long_marks=("1h",))
    routine = replace(POLICY.classes["routine"], effort=Effort.LOW)
    bounded = replace(POLICY, classes={**POLICY.classes, "routine": routine})
    asked = request(made)
    verdict = decide(bounded, asked, Classified("routine", Stage.LANE, "test"), facts())
    line = record(decision_line(bounded, DIGEST, asked, Classified("routine", Stage.LANE, "test"), verdict), 41)
    page = explain(line, None, bounded)
    assert rows_of(page, "Request fields")["bounded"] == [
        "verbosity another value -> low (class routine)",
        "reasoning.effort max -> low (class routine)",
        "cache_control.ttl 1h -> 5m (class routine)",
    ]
    assert rows_of(page, "Tier")["thinking"] == ["low at most (policy.yaml:0)"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MAPS = ("detail", "caller", "class_why", "tokens", "escalation")
NAMES = (
    "charges",
    "smuggled",
    "bounded",
    "dropped",
    "considered",
    "tool_calls",
    "recipients",
    "evidence",
    "message",
    "stream",
    "deadline_ms",
)


@given(
    st.sampled_from(sorted(CASES)),
    st.sampled_from(MAPS),
    JSON | st.dictionaries(st.sampled_from(NAMES), JSON),
    st.booleans(),
)
def test_no_line_breaks_the_page(name: str, field: str, value: Any, known: bool) -> None:
    line, outcome = CASES[name]
    odd = {**(outcome or {"seq": 1}), field: value}
    page = explain({**line, field: value}, odd, POLICY if known else None)
    assert page.decision == "d-41"
    assert all(isinstance(text, str) for section in page.sections for row in section.rows for text in row)
