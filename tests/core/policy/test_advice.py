"""Next steps: each refusal that the decision can give has some, and nothing else is guessed."""

import ast
from pathlib import Path

import pytest

import agentd.core.policy.decide as decide_module
import agentd.gate.escalations as escalations_module
from agentd.core.policy.advice import ADVICE, ALLOWED, advice_for, next_steps


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


def test_an_allowed_call_is_advised_only_where_something_is_left_to_do() -> None:
    line = {"verdict": "allow", "code": "tier.default"}
    assert next_steps(line, {}) == ()
    assert next_steps(line, {"cost_nusd": 5}) == ()
    assert "reservation" in next_steps(line, {"cost_nusd": None})[0]
    assert next_steps({**line, "code": "tier.capped"}, {"cost_nusd": 5}) == ALLOWED["tier.capped"]
