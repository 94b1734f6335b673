"""A ruleset made ready: once for each box, with refusals where every command looks and allows by program."""

from agentd.core.policy.shell.ready import ready
from agentd.core.policy.shell.rules import Effect
from core.policy.shell.coding import CODING, SETTING


def test_it_is_made_once() -> None:
    assert ready(CODING, SETTING.roots) is ready(CODING, SETTING.roots)


def test_every_rule_has_its_place() -> None:
    made = ready(CODING, SETTING.roots)
    allows = {id(one.rule) for named in made.named.values() for one in named} | {id(one.rule) for one in made.anything}
    refusals = {id(one.rule) for one in made.refusing}
    for rule in CODING.rules:
        assert id(rule) in (allows if rule.effect is Effect.ALLOW else refusals)
