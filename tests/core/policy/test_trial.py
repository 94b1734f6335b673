"""Tests inside a policy: judged as real calls are, and honest about what came out."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.accounting.price import fixed_price
from agentd.core.policy.facts import Used
from agentd.core.policy.schema import Policy, PolicyTest
from agentd.core.policy.trial import IMAGE, Judged, _Spent, judge, prices_of, run_tests
from agentd.core.types.errors import Fault
from agentd.core.types.verdicts import Allow
from policies import GOOD, good, parse

PRICES = {"small/one": fixed_price("0.1", "0.4"), "top/one": fixed_price("5", "25")}
LAST = "    expect: { verdict: deny, code: caller.unknown }\n"
HEARTBEAT = "Read HEARTBEAT.md if it exists (workspace context). Follow it strictly."


def with_test(given: str, expect: str, text: str = GOOD) -> Policy:
    return parse(text.replace(LAST, f"{LAST}  - {{ name: mine, given: {given}, expect: {expect} }}\n"))


def faults(given: str, expect: str, text: str = GOOD) -> tuple[Fault, ...]:
    return run_tests(with_test(given, expect, text), PRICES)


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        ("{ agent: main }", "{ verdict: allow, class: routine, tier: low, model: small/one, stage: abstained }"),
        ("{ unit: main.service }", "{ verdict: allow, class: routine }"),
        ("{ unit: other.service }", "{ verdict: deny, code: caller.unknown }"),
        ("{ uid: 0 }", "{ verdict: deny, code: caller.unknown }"),
        ("{ gid: 0, exe: /x }", "{ verdict: deny }"),
        ("{ agent: main, lane: hard }", "{ class: hard, stage: lane }"),
        ("{ agent: main, lane: nonsense }", "{ class: routine }"),
        ("{ agent: main, model: code }", "{ class: hard, stage: lane }"),
        ("{ agent: main, model: small-9 }", "{ class: routine, stage: lane }"),
        ("{ agent: main, lane: hard, tier: high }", "{ tier: low, code: tier.capped }"),
        ("{ agent: main, lane: hard, grant: high }", "{ tier: high, model: top/one, code: tier.raised }"),
        ("{ agent: main, session_class: hard, text: go on }", "{ class: hard, stage: session }"),
        ("{ agent: main, spent: { box: 2.50 } }", "{ verdict: allow, model: 'home:8b' }"),
        ("{ agent: main, spent: { box: 2.51 } }", "{ verdict: deny, code: budget.exhausted }"),
        ("{ agent: main, keys: [] }", "{ model: 'home:8b' }"),
        ("{ agent: main, keys: [openrouter] }", "{ model: small/one }"),
        ("{ agent: main, at: 2027-06-30 }", "{ verdict: allow }"),
        ("{ agent: main, at: 2027-07-01 }", "{ verdict: deny, code: agent.expired }"),
        ("{ agent: main, tools: [Bash], images: 2 }", "{ verdict: allow }"),
        ("{ agent: main, effort: high }", "{ effort: high }"),
        ("{ agent: main, lane: hard, effort: minimal }", "{ class: hard, effort: minimal }"),
    ],
)
def test_given_and_expected(given: str, expect: str) -> None:
    assert faults(given, expect) == ()


def test_effort_is_what_the_class_makes_of_it() -> None:
    bounded = good("max_output: 500,", "max_output: 500, effort: low,")
    assert faults("{ agent: main, effort: high }", "{ effort: low }", bounded) == ()
    assert faults("{ agent: main, effort: none }", "{ effort: none }", bounded) == ()
    (fault,) = faults("{ agent: main, effort: max }", "{ effort: max }", bounded)
    assert "effort low" in fault.message
    assert len(faults("{ agent: main }", "{ effort: low }")) == 1


@pytest.mark.parametrize(
    ("expect", "came"),
    [
        ("{ verdict: deny }", "verdict allow"),
        ("{ tier: high }", "tier low"),
        ("{ class: hard }", "class routine"),
        ("{ model: top/one }", "model small/one"),
        ("{ stage: lane }", "stage abstained"),
        ("{ code: nonsense }", "code tier.default"),
        ("{ verdict: allow, tier: high }", "tier low"),
    ],
)
def test_a_test_that_fails_says_what_came_out(expect: str, came: str) -> None:
    (fault,) = faults("{ agent: main }", expect)
    assert fault.message.startswith('test "mine" failed: ')
    assert came in fault.message
    assert "expected" in fault.hint
    assert (fault.where, fault.line, fault.column) == ("tests[1]", 52, 5)


def test_a_denied_call_has_no_tier_and_says_why() -> None:
    (fault,) = faults("{ uid: 7 }", "{ tier: low }")
    assert "verdict deny, code caller.unknown (no agent of the policy matches" in fault.message


def test_every_failing_test_is_told() -> None:
    policy = parse(
        GOOD.replace(
            LAST,
            LAST
            + "".join(f"  - {{ name: t{n}, given: {{ uid: 7 }}, expect: {{ verdict: allow }} }}\n" for n in range(3)),
        )
    )
    assert [fault.where for fault in run_tests(policy, PRICES)] == ["tests[1]", "tests[2]", "tests[3]"]


def test_no_tests_no_faults() -> None:
    text = GOOD[: GOOD.index("tests:")] + "...\n"
    assert run_tests(parse(text), PRICES) == ()


def test_it_is_noon_of_the_day_of_the_review() -> None:
    policy = with_test("{ agent: main }", "{ verdict: allow }", good("expires: 2027-06-30", "expires: 2026-11-20"))
    assert run_tests(policy, PRICES) == ()
    assert judged(policy, {"agent": "main"}).request.at_ns == 1_795_176_000 * 10**9


def judged(policy: Policy, given: Mapping[str, Any]) -> Judged:
    return judge(policy, given, PRICES)


def test_the_text_is_read_as_on_the_wire() -> None:
    call = judged(parse(GOOD), {"agent": "main", "text": HEARTBEAT, "tools": ("Bash",), "images": 2}).request.call
    assert (call.shape.wrapper, call.shape.tools, call.shape.images) == ("heartbeat", ("Bash",), 2)
    assert IMAGE.encode() in call.body
    plain = judged(parse(GOOD), {"agent": "main", "text": "what is the time?"}).request.call
    assert (plain.shape.wrapper, plain.shape.human_text, plain.smuggled) == (None, "what is the time?", ())


def test_a_call_that_cannot_be_read_is_a_failed_test() -> None:
    odd = PolicyTest("mine", {"agent": "main", "text": "\ud800"}, {"verdict": "allow"})
    (fault,) = run_tests(replace(parse(GOOD), tests=(odd,)), PRICES)
    assert fault.message.startswith('test "mine" failed: its call cannot be read: ')


def test_prices_of_the_policy_go_before_the_catalogue() -> None:
    prices = prices_of(parse(GOOD), {"home:8b": fixed_price("9", "9"), **PRICES})
    assert prices["home:8b"] == fixed_price("0", "0")
    assert prices["small/one"] == PRICES["small/one"]


def test_a_model_above_its_tiers_own_price_is_a_fault() -> None:
    (fault,) = run_tests(parse(good("completion: 25 }", "completion: 24.99 }")), PRICES)
    assert fault.where == "tiers.high.models[0]"
    assert "costs 5 and 25 USD per million tokens, above the tier's max_price" in fault.message


def test_what_is_spent_counts_for_every_account_of_a_budget() -> None:
    spent = _Spent({"box": 5})
    assert spent["box", "box"] == spent["box", "agent:main"] == Used(spent=5)
    assert spent.get(("rare", "tier:high")) is None
    assert (list(spent), len(spent)) == ([("box", "")], 1)


def test_judging_leaves_the_verdict_whole() -> None:
    result = judged(parse(GOOD), {"agent": "main"})
    assert isinstance(result.verdict, Allow)
    assert result.classified is not None
    assert judged(parse(GOOD), {"uid": 7}).classified is None
