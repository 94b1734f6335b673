"""What the world outside adds to a verdict: upstreams that are shut, and how large the models are."""

from dataclasses import replace

import pytest

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.policy import schema as s
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import MOST_CHARS_PER_TOKEN, decide
from agentd.core.policy.facts import Facts
from agentd.core.types.calls import ModelCall, Shape
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.verdicts import Allow, Answer, Deny, Reason, Verdict
from builders import PRICES, call, facts, policy, request, tier

SHUT = Deny(Reason("key.exhausted", "upstreams.or", "the limit is reached"), Answer.BUDGET)


def judge(using: Facts, made: ModelCall | None = None, by: s.Policy | None = None) -> Verdict:
    return decide(by or policy(), request(made), Classified("routine", Stage.LANE, "test"), using)


def sized(context: int, output: int) -> ModelEntry:
    return ModelEntry(context, output, "", 0, ("text",))


def test_nothing_goes_to_an_upstream_that_is_shut() -> None:
    assert judge(facts(shut={"or": SHUT})) == SHUT
    assert isinstance(judge(facts(shut={"other": SHUT})), Allow)


def test_another_upstream_of_the_tier_serves_meanwhile() -> None:
    home = s.Model("home/one", "home", price=s.FixedPrice("0", "0"))
    first = tier("economy", 0, "small/one")
    by = policy()
    by = replace(
        by,
        tiers={**by.tiers, "economy": replace(first, models=(*first.models, home))},
        upstreams={**by.upstreams, "home": s.Upstream("home", s.UpstreamKind.OPENAI, "http://127.0.0.1:1/v1", None)},
    )
    verdict = judge(facts(shut={"or": SHUT}, prices={**PRICES, "home/one": PRICES["small/one"]}), by=by)
    assert isinstance(verdict, Allow)
    assert verdict.limits.model == "home/one"


def test_the_cap_stays_within_what_the_model_can_write() -> None:
    verdict = judge(facts(models={"small/one": sized(100_000, 700)}))
    assert isinstance(verdict, Allow)
    assert verdict.limits.max_output == 700


@pytest.mark.parametrize(
    ("chars", "fits"), [(1_000 * MOST_CHARS_PER_TOKEN + 7, True), (1_001 * MOST_CHARS_PER_TOKEN, False)]
)
def test_a_prompt_that_cannot_fit_goes_to_a_larger_model_or_is_refused(chars: int, fits: bool) -> None:
    made = call(shape=Shape(human_text="hi", system_chars=chars // 2, history_chars=chars - chars // 2))
    small = {"small/one": sized(1_000, 700), "small/two": sized(1_000, 700)}
    verdict = judge(facts(models=small), made)
    assert isinstance(verdict, Allow) is fits
    if isinstance(verdict, Deny):
        assert (verdict.reason.code, verdict.answer) == ("model.context", Answer.INVALID)
        larger = judge(facts(models={**small, "small/two": sized(2_000, 700)}), made)
        assert isinstance(larger, Allow)
        assert larger.limits.model == "small/two"


def test_classifying_needs_none_of_it() -> None:
    by = policy()
    assert classify(by, by.agents["main"], call("thanks"), request().hints, None).name == "routine"
