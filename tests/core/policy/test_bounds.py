"""What a class bounds: how long a prompt is kept, and models that cannot do with as little. The words are in test_efforts."""

from dataclasses import replace
from typing import Any

import pytest

from agentd.core.accounting.catalogue import ModelEntry, Reasoning
from agentd.core.dialects import grammar
from agentd.core.policy.bounds import clamps, too_eager
from agentd.core.policy.decide import decide
from agentd.core.types.bounds import ANOTHER, CacheTtl, Effort
from agentd.core.types.calls import Dialect
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.verdicts import Allow, Deny, Verdict
from builders import call, facts, policy, request
from core.dialects.talk import body, user
from core.policy.thinker import ALWAYS, BY_ITSELF, bounded, room

MARKED = {"type": "text", "text": "q", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


# -- how long a prompt is kept


@pytest.mark.parametrize(("most", "given_"), [(CacheTtl.SHORT, "5m"), (CacheTtl.HOUR, "1h")])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_class_says_how_long_a_prompt_is_kept(dialect: Dialect, most: CacheTtl, given_: str) -> None:
    out, words = bounded(dialect, room(cache_ttl=most), cache_control=MARKED["cache_control"])
    assert out == {"cache_control": {"type": "ephemeral", "ttl": given_}}
    assert words == ([] if given_ == "1h" else ["cache_control.ttl 1h -> 5m (class beat)"])
    out, words = bounded(dialect, room(cache_ttl=most), cache_control={"type": "ephemeral", "ttl": "forever"})
    assert out == {"cache_control": {"type": "ephemeral", "ttl": given_}}
    assert words == [f"cache_control.ttl {ANOTHER} -> {given_} (class beat)"]


def test_marks_in_the_conversation_are_told_once() -> None:
    made = grammar(Dialect.MESSAGES).read(body([user(MARKED, MARKED)], system=[MARKED]))
    assert [one.words for one in clamps(made, room())] == ["cache_control.ttl 1h -> 5m (class beat)"]
    assert clamps(made, room(cache_ttl=CacheTtl.HOUR)) == ()


LIFETIMES = [("30m", "5m", None), ("30m", "1h", "30m"), ("24h", "1h", None), ("5m", "5m", "5m"), (["1h"], "1h", None)]


@pytest.mark.parametrize(("asked", "most", "given_"), LIFETIMES)
@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.RESPONSES])
def test_the_other_name_of_a_lifetime(dialect: Dialect, asked: Any, most: str, given_: str | None) -> None:
    out, _ = bounded(dialect, room(cache_ttl=CacheTtl(most)), prompt_cache_options={"mode": "implicit", "ttl": asked})
    assert out == {"prompt_cache_options": {"mode": "implicit"} | ({} if given_ is None else {"ttl": given_})}


# -- a model that cannot do with as little


def judge(effort: str | None, known: dict[str, Reasoning | None], dialect: Dialect = Dialect.CHAT) -> Verdict:
    entries = {name: ModelEntry(100_000, 4_000, "", 0, ("text",), reasoning=what) for name, what in known.items()}
    base = policy()
    task = replace(base.classes["routine"], effort=None if effort is None else Effort(effort))
    by = replace(base, classes={**base.classes, "routine": task})
    made = request(call("hi", dialect=dialect))
    return decide(by, made, Classified("routine", Stage.LANE, "test"), facts(models=entries))


def model_of(verdict: Verdict) -> str:
    return verdict.limits.model if isinstance(verdict, Allow) else verdict.reason.code


def test_a_model_that_always_thinks_more_than_the_class_allows_does_not_serve() -> None:
    assert model_of(judge("low", {"small/one": ALWAYS})) == "small/one"
    assert model_of(judge("none", {"small/one": ALWAYS})) == "small/two"
    assert model_of(judge(None, {"small/one": ALWAYS})) == "small/one"
    assert model_of(judge("none", {"small/one": BY_ITSELF})) == "small/one"
    refused = judge("none", {"small/one": ALWAYS, "small/two": ALWAYS})
    assert isinstance(refused, Deny)
    assert refused.reason.code == "model.always_thinks"
    assert "none effort at most, and small/one always thinks" in refused.reason.message


def test_the_least_word_of_messages_is_low() -> None:
    least = Reasoning(mandatory=True)
    assert not too_eager(least, Dialect.CHAT, Effort.MINIMAL)
    assert too_eager(least, Dialect.MESSAGES, Effort.MINIMAL)
    assert not too_eager(least, Dialect.MESSAGES, Effort.LOW)
    assert not too_eager(None, Dialect.MESSAGES, Effort.NONE)


def test_a_verdict_carries_bounds_and_changes() -> None:
    verdict = judge("low", {"small/one": ALWAYS})
    assert isinstance(verdict, Allow)
    assert (verdict.limits.effort, verdict.limits.cache_ttl) == (Effort.LOW, CacheTtl.SHORT)
    assert [one.words for one in verdict.limits.clamps] == ["reasoning.effort nothing -> low (class routine)"]
