"""The shipped policies: they parse, every model is priced, their tests pass, and they do what their comments say."""

import re
from pathlib import Path

import pytest

from agentd.core.policy.parse import parse_policy
from agentd.core.policy.schema import Policy, Scope
from agentd.core.policy.trial import prices_of, run_tests
from agentd.core.policy.values import Names
from agentd.core.types.money import NUSD_PER_USD
from agentd.document import read_document
from agentd.edge.host.catalogue import load_catalogue

ROOT = Path(__file__).parents[1]
POLICIES = [ROOT / "etc" / "policy.yaml", *sorted((ROOT / "etc" / "examples").glob("*.yaml"))]
EXAMPLES = ("single-box-cheap", "openclaw-home", "coding-box")


def load(path: Path) -> Policy:
    catalogue = load_catalogue()
    root, faults = read_document(path.read_text(), path.name)
    names = Names(990, lambda name: None, lambda name: None, frozenset(catalogue.prices))
    return parse_policy(root, names, path.name, faults)


@pytest.fixture(params=POLICIES, ids=lambda path: path.stem)
def policy(request: pytest.FixtureRequest) -> Policy:
    return load(request.param)


def test_the_examples_are_there() -> None:
    assert {path.stem for path in POLICIES} == {"policy", *EXAMPLES}


def test_its_tests_pass(policy: Policy) -> None:
    assert len(policy.tests) >= 4
    assert [fault.message for fault in run_tests(policy, load_catalogue().prices)] == []


def test_each_test_can_fail(policy: Policy) -> None:
    """With another expectation each would."""
    from dataclasses import replace

    wrong = tuple(replace(test, expect={"model": "none/such", "code": "no.such"}) for test in policy.tests)
    assert len(run_tests(replace(policy, tests=wrong), load_catalogue().prices)) == len(policy.tests)


def test_every_model_has_a_price(policy: Policy) -> None:
    prices = prices_of(policy, load_catalogue().prices)
    assert all(model.id in prices for tier in policy.tiers.values() for model in tier.models)


def test_strangers_are_tried(policy: Policy) -> None:
    assert any(test.expect.get("code") == "caller.unknown" for test in policy.tests)


def test_a_month_is_bounded(policy: Policy) -> None:
    months = [b for b in policy.budgets if b.scope is Scope.BOX and b.window.value == "month"]
    assert len(months) == 1
    assert months[0].limit is not None
    assert 0 < months[0].limit <= 300 * NUSD_PER_USD


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_the_reader_is_helped(path: Path) -> None:
    """Comments on top say what it is for, and name the commands that come next; examples are for example.org."""
    text = path.read_text()
    head = text[: text.index("\nversion:")]
    assert "agentctl policy check" in head
    assert "docs/policy.md" in head
    assert set(re.findall(r"[\w.]+@[\w.]+", text)) == {"ops@example.org"}
    assert text.endswith("\n...\n")


def test_only_the_first_policy_is_for_a_trial() -> None:
    for path in POLICIES:
        selfish = "uid: self" in path.read_text()
        assert selfish == (path.name == "policy.yaml")
