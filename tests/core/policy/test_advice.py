"""Next steps: each refusal that the decision can give has some, and nothing else is guessed."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import agentd.core.policy.decide as decide_module
import agentd.gate.escalations as escalations_module
from agentd.core.policy.advice import ADVICE, advice_for, next_steps
from agentd.core.policy.decide import halted
from agentd.core.policy.facts import Halt
from builders import policy


def codes_of(module_file: str) -> set[str]:
    """Every reason code that a module words: texts like `budget.exhausted` in calls of Reason and _no."""
    tree = ast.parse(Path(module_file).read_text())
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Reason", "_no")
    ]
    firsts = [call.args[0] for call in calls if call.args and isinstance(call.args[0], ast.Constant)]
    return {str(first.value) for first in firsts if isinstance(first, ast.Constant)}


CODES = codes_of(decide_module.__file__) | codes_of(escalations_module.__file__)
REFUSALS = sorted(code for code in CODES if not code.startswith("tier."))


def test_there_are_refusals() -> None:
    assert {"budget.exhausted", "caller.unknown", "operator.halt", "escalation.quota"} <= set(REFUSALS)


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_has_a_next_step(code: str) -> None:
    assert next_steps({"verdict": "deny", "code": code}, {})


FAMILIES = {"budget.exhausted": "budget", "budget": "budget", "budget.a.b": "budget", "agent.expired": "agent.expired"}


@pytest.mark.parametrize(("code", "family"), FAMILIES.items())
def test_the_longest_known_beginning_decides(code: str, family: str) -> None:
    assert advice_for(code) == ADVICE[family]


@pytest.mark.parametrize("code", ["", "nonsense", "agent", "budgets.x"])
def test_what_is_not_known_gets_no_advice(code: str) -> None:
    assert advice_for(code) == ()


HALTS = [("box", ""), ("agent", " --agent main"), ("tier", " --tier standard")]


@pytest.mark.parametrize(("scope", "option"), HALTS)
def test_a_halt_is_ended_by_exactly_its_own_command(scope: str, option: str) -> None:
    name = {"box": "", "agent": "main", "tier": "standard"}[scope]
    reason = halted(Halt(scope, name, "smoke --tier frontier --reason x", "now", 3))
    line = {"verdict": "deny", "code": reason.code, "detail": {"hint": reason.hint, "message": reason.message}}
    assert f'agentctl resume{option} --reason "why"' in next_steps(line, {})[1]


def test_a_halt_of_an_older_record_without_a_hint_gets_no_wrong_command() -> None:
    steps = next_steps({"verdict": "deny", "code": "operator.halt", "detail": {"hint": None}}, {})
    assert steps
    assert "resume" not in str(steps)


def test_each_refused_escalation_has_advice_of_its_own() -> None:
    codes = sorted(code for code in REFUSALS if code.startswith("escalation."))
    own = {code: advice_for(code) for code in codes if code not in ("escalation.unknown_key", "escalation.not_text")}
    assert len(set(own.values())) == len(own) >= 6
    assert "quota" not in str(own["escalation.no_rule"]).replace("(to, quota", "")


def test_a_missing_key_is_named() -> None:
    message = "no model of tier economy can serve this call: a/b: key or is not in the keyring (agentctl key set or)"
    line = {"verdict": "deny", "code": "model.none_available", "detail": {"message": message}}
    assert next_steps(line, {})[0].endswith("agentctl key set or")


ALLOWED = {
    "verdict": "allow",
    "code": "tier.default",
    "agent": "main",
    "class": "routine",
    "tier": "economy",
    "detail": {"upstream": "or"},
}
PAID = {"status": "done", "cost_nusd": 5}


def test_an_allowed_call_is_advised_only_where_something_is_left_to_do() -> None:
    assert next_steps(ALLOWED, {}) == ()
    assert next_steps(ALLOWED, PAID) == ()
    assert "reservation" in next_steps(ALLOWED, {**PAID, "cost_nusd": None})[0]
    assert next_steps(ALLOWED, {"cost_nusd": None, "settlement": {"cost_nusd": 7}}) == ()
    assert "agentctl doctor" in next_steps({**ALLOWED, "code": "tier.lowered"}, PAID)[0]


ENDS = [
    ("error", "upstream.key_refused", "agentctl key set or-key"),
    ("error", "key.missing", "agentctl key set or-key"),
    ("error", "upstream.unreachable", "upstream or is well: agentctl doctor"),
    ("error", "upstream.no_model", "tier economy"),
    ("error", "overloaded_error", "upstream or is well"),
    ("error", None, "upstream or is well"),
    ("cut", "upstream.cut", "upstream or is well"),
    ("timeout", "upstream.timeout", "`deadline:` of class routine"),
    ("halted", "operator.halt", "An operator cut it"),
]


@pytest.mark.parametrize(("status", "code", "says"), ENDS)
def test_a_call_that_did_not_end_well_has_a_next_step(status: str, code: str | None, says: str) -> None:
    made = policy()
    keyed = replace(made, upstreams={"or": replace(made.upstreams["or"], key="or-key")})
    outcome = {"status": status, "cost_nusd": 0, "detail": {"error": code}}
    assert says in " ".join(next_steps(ALLOWED, outcome, keyed))
    assert "{" not in str(next_steps(ALLOWED, outcome))


CAPPED = {**ALLOWED, "code": "tier.capped"}


def test_escalations_are_advised_only_where_the_class_has_one() -> None:
    made = policy()
    assert "has no escalation" in next_steps(CAPPED, PAID, made)[0]
    able = {**CAPPED, "class": "implementation"}
    assert "POST /agentd/v1/escalations (2 per day" in next_steps(able, PAID, made)[0]
    low = replace(made, agents={"main": replace(made.agents["main"], ceiling="standard")})
    assert "stops at standard" in next_steps(able, PAID, low)[0]
    assert next_steps(able, PAID) == ()


def test_a_record_that_begins_anew_says_what_began_anew() -> None:
    before = {"reason": "disk", "moved_to": "ledger-until-2026", "seq": 7, "digest": "ab" * 32}
    steps = next_steps({"kind": "genesis", "detail": {"previous": before}}, {})
    assert "Budgets" in steps[0]
    assert "ledger-until-2026" in steps[1]
    assert next_steps({"kind": "genesis", "detail": {}}, {}) == ()
