"""Whatever a body asks for, the upstream sees no more than the verdict: from the policy to the bytes."""

import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.catalogue import ModelEntry, Reasoning
from agentd.core.dialects import grammar
from agentd.core.dialects.firewall import RULES
from agentd.core.dialects.grammar import Rewrite
from agentd.core.dialects.knobs import PLACES
from agentd.core.policy import schema as s
from agentd.core.policy.decide import decide
from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.verdicts import Allow, ModelLimits
from builders import facts, policy, request, tier
from core.dialects.talk import body_of
from core.policy import seen
from core.policy.thinker import ALWAYS, BY_ITSELF, WHEN_ASKED

WORDS = [*(effort.value for effort in Effort), "ultra", "1h", "24h", "5m", "enabled", "adaptive", "disabled", "auto"]
NAMES = [*sorted({key for places in PLACES.values() for keys in places.values() for key in keys}), "ttl", "cache_control",
         "exclude", "ignore", "zdr", "only", "order", "max_price", "data_collection", "allow_fallbacks", "id", "k"]  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20_000) | st.floats(0, 1e9) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
FORMS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "effort": st.sampled_from(WORDS),
        "max_tokens": st.integers(0, 12_000),
        "enabled": st.booleans(),
        "type": st.sampled_from(["enabled", "adaptive", "disabled", "ultra"]),
        "budget_tokens": st.integers(0, 12_000),
        "verbosity": st.sampled_from(WORDS),
        "ttl": st.sampled_from(WORDS),
    },
)
"""Objects as clients send them, since values at random seldom are."""

ASKED = sorted({name for places in PLACES.values() for name in places} | {"cache_control"})
OTHERS = sorted({name for rules in RULES.values() for name in rules} | {"include_reasoning", "prompt_cache_retention"})
NOT_HERE = {"messages", "input", "system", "instructions", "tools", "tool_choice", "stream", "model"}
NOT_HERE |= {name for name in OTHERS if "tokens" in name}
"""What has a form of its own, which a value at random only breaks."""

FIELDS = st.tuples(
    st.dictionaries(st.sampled_from(ASKED), FORMS | st.sampled_from(WORDS) | VALUES, max_size=4),
    st.dictionaries(st.sampled_from([name for name in OTHERS if name not in NOT_HERE]), VALUES, max_size=2),
).map(lambda both: {**both[1], **both[0]})
MODELS = [None, ALWAYS, BY_ITSELF, WHEN_ASKED, Reasoning(efforts=(Effort.LOW, Effort.HIGH)), Reasoning(mandatory=True)]

DOORS = {"models", "fallbacks", "route", "service_tier", "speed", "preset", "prompt", "trace", "debug", "modalities"}
DOORS |= {
    "image_config",
    "audio",
    "n",
    "best_of",
    "include_reasoning",
    "prompt_cache_retention",
    "metadata",
    "transforms",
}


@dataclass(frozen=True)
class Given:
    """What a class bounds, and what is known of its model."""

    effort: Effort | None
    ttl: CacheTtl
    known: Reasoning | None
    cap: int


GIVEN = st.builds(
    Given,
    st.sampled_from([None, *Effort]),
    st.sampled_from(list(CacheTtl)),
    st.sampled_from(MODELS),
    st.sampled_from([500, 4_000, 10_000]),
)


def judged(made: ModelCall, by: Given) -> ModelLimits | str:
    """The limits, or the code of the refusal."""
    small = tier("economy", 0, "small/one", max_output=by.cap, max_price=("1", "2"), zdr=True)
    base = policy(tiers={"economy": small})
    task = s.TaskClass(
        "routine", "ops", "economy", "economy", "economy", by.cap, 60.0, effort=by.effort, cache_ttl=by.ttl
    )
    agent = replace(base.agents["main"], ceiling="economy", classes=("routine",))
    entry = ModelEntry(100_000, 64_000, "", 0, ("text", "file"), reasoning=by.known)
    rules = replace(base, classes={"routine": task}, agents={"main": agent})
    verdict = decide(
        rules, request(made), Classified("routine", Stage.LANE, "test"), facts(models={"small/one": entry})
    )
    return verdict.limits if isinstance(verdict, Allow) else verdict.reason.code


def sent(made: ModelCall, limits: ModelLimits) -> dict[str, Any]:
    """The body that goes out under a verdict."""
    rewrite = Rewrite(
        limits.model,
        limits.max_output,
        openrouter=True,
        max_price=limits.max_price,
        zdr=limits.zdr,
        clamps=limits.clamps,
    )
    out: dict[str, Any] = json.loads(grammar(made.dialect).rewrite(made, rewrite))
    return out


@given(st.sampled_from(list(Dialect)), FIELDS, FORMS | VALUES, GIVEN)
def test_no_body_makes_the_upstream_see_more_than_the_verdict(
    dialect: Dialect, fields: dict[str, Any], mark: Any, by: Given
) -> None:
    kind = "input_text" if dialect is Dialect.RESPONSES else "text"
    part = {"type": kind, "text": "q", "cache_control": mark}
    made = grammar(dialect).read(body_of(dialect, [{"role": "user", "content": [part]}], **fields))
    limits = judged(made, by)
    if isinstance(limits, str):
        assert limits in ("request.forbidden_field", "model.always_thinks")
        return
    out = sent(made, limits)
    held(out, by)
    if by.effort is not None:
        effort = seen.messages if dialect is Dialect.MESSAGES else seen.openai
        assert effort(out, by.known, by.cap) <= by.effort.rank
        assert seen.verbosity(out) <= max(by.effort.rank, Effort.LOW.rank)


def held(out: dict[str, Any], by: Given) -> None:
    """Model, provider, plugins, price, data rules, size and lifetimes are the verdict's."""
    assert out["model"] == "small/one"
    assert {name: value for name, value in out["provider"].items() if name != "ignore"} == {
        "allow_fallbacks": True,
        "require_parameters": True,
        "data_collection": "deny",
        "zdr": True,
        "max_price": {"prompt": 1, "completion": 2},
    }
    off = [{"id": "web", "enabled": False}, {"id": "context-compression", "enabled": False}]
    assert out["plugins"] == off
    assert {value for name, value in out.items() if name.startswith("max_")} == {by.cap}
    assert out.get("store", False) is False
    assert not DOORS & set(out)
    assert seen.minutes(out) <= seen.MINUTES[by.ttl.value]


@given(st.sampled_from(list(Dialect)), FIELDS, GIVEN)
def test_what_keeps_within_is_sent_as_it_is(dialect: Dialect, fields: dict[str, Any], by: Given) -> None:
    made = grammar(dialect).read(body_of(dialect, **fields))
    limits = judged(made, by)
    if isinstance(limits, str):
        return
    changed = {clamp.field for clamp in limits.clamps}
    marked = "cache_control" in changed
    out = sent(made, limits)
    for name in set(PLACES[dialect]) & set(fields) - changed:
        assert out[name] == fields[name] or marked


@given(st.sampled_from(list(Dialect)), FIELDS, GIVEN)
def test_what_was_brought_within_stays_as_it_is(dialect: Dialect, fields: dict[str, Any], by: Given) -> None:
    made = grammar(dialect).read(body_of(dialect, **fields))
    limits = judged(made, by)
    if isinstance(limits, str):
        return
    out = sent(made, limits)
    again = {name: out[name] for name in {*PLACES[dialect], "cache_control"} & set(out)}
    made_again = grammar(dialect).read(body_of(dialect, **again))
    second = judged(made_again, by)
    assert not isinstance(second, str)
    assert second.clamps == ()
