"""Rules and a script -> a verdict: every command is judged by itself, and the heaviest effect is that of the whole.

Pure and total. What could not be read is never allowed, whatever the rules say. A command without words (assignments and
redirections alone) is judged by what it assigns and by the paths it opens; a call of a function that the script itself has
defined is covered by its body, whose commands stand in the list, but a deny of its name counts.
"""

from dataclasses import dataclass

from agentd.core.policy.shell.facts import Facts, facts_of
from agentd.core.policy.shell.paths import Roots
from agentd.core.policy.shell.places import Places, directories
from agentd.core.policy.shell.ready import WEIGHT, Rules, ready
from agentd.core.policy.shell.rules import Considered, Effect, Rule, Ruleset, ShellVerdict
from agentd.core.policy.shell.script import Opaque, Script, Simple


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a command is to run: absolute, normal paths."""

    cwd: str
    home: str
    workspace: str

    @property
    def roots(self) -> Roots:
        """What patterns begin with."""
        return Roots(self.workspace, self.home)


def judge(ruleset: Ruleset, script: Script, setting: Setting) -> ShellVerdict:
    """Judge all that a script would run. Deny > ask > allow; nothing to run is the default."""
    home = None if _assigns_home(script) else setting.home
    rules = ready(ruleset, setting.roots)
    places = directories(script, setting.cwd, home)
    considered = tuple(
        [_considered(rules, item, place, home) for item, place in zip(script.items, places, strict=True)]
    )
    tripped = max(considered, key=lambda each: WEIGHT[each.effect], default=None)
    if tripped is None:
        return ShellVerdict(ruleset.default, "", "there is no command in it", "", None, (), script)
    rule = next((rule for rule in ruleset.rules if rule.name == tripped.rule), None)
    return ShellVerdict(
        tripped.effect,
        tripped.rule,
        _reason(tripped, rule, ruleset),
        _instead(tripped, rule, ruleset),
        tripped,
        considered,
        script,
    )


def _assigns_home(script: Script) -> bool:
    return any(assign.name in ("HOME", "PWD") for item in script.simples for assign in item.assigns)


def _reason(tripped: Considered, rule: Rule | None, ruleset: Ruleset) -> str:
    if isinstance(tripped.item, Opaque):
        return f"it cannot be read: {tripped.item.reason}" + (f" ({rule.reason})" if rule and rule.reason else "")
    if tripped.effect is Effect.ALLOW:
        return f"every command is allowed, the first by {tripped.rule or 'what it is'}"
    if rule is not None:
        return rule.reason or f"rule {rule.name} says so"
    return f"no rule of {ruleset.profile} allows it"


def _instead(tripped: Considered, rule: Rule | None, ruleset: Ruleset) -> str:
    """What would be allowed: the rule's own word, or how rules that allow the same program are narrower."""
    if rule is not None or tripped.effect is Effect.ALLOW:
        return rule.instead if rule is not None else ""
    if isinstance(tripped.item, Opaque):
        return "write it so that every program and every text stands in the command itself"
    base = tripped.item.base
    near = [each for each in ruleset.rules if each.effect is Effect.ALLOW and base in each.programs]
    return "; ".join(dict.fromkeys(_described(each) for each in near[:3]))


def _described(rule: Rule) -> str:
    parts = [f"reading {' '.join(rule.reads)}"] if rule.reads else []
    parts += [f"writing {' '.join(rule.writes)}"] if rule.writes else []
    parts += [f"as {' or '.join(rule.arguments)}"] if rule.arguments else []
    parts += [f"without {' '.join(rule.without)}"] if rule.without else []
    return rule.instead or f"{rule.name} allows it " + (
        ", ".join(parts) or "without network and without changed environment"
    )


def _considered(rules: Rules, item: Simple | Opaque, places: Places, home: str | None) -> Considered:
    """Judge one item."""
    if isinstance(item, Opaque):
        found = next((each.rule for each in rules.refusing if item.kind in each.rule.opaque), None)
        effect, name = (rules.default, "") if found is None else (found.effect, found.name)
        return Considered(item, effect, name)
    facts = facts_of(item, places, home)
    effect, name = _effect(rules, facts)
    return Considered(facts, effect, name)


def _effect(rules: Rules, facts: Facts) -> tuple[Effect, str]:
    refusal = rules.refusal(facts)
    if refusal is not None:
        return refusal.rule.effect, refusal.rule.name
    opens = facts.reads or facts.writes or facts.environment or facts.network
    if not opens and (not facts.simple.words or facts.simple.function):
        return Effect.ALLOW, ""  # assignments of harmless names, or a function of the script's own
    grant = rules.grant(facts)
    return (rules.default, "") if grant is None else (Effect.ALLOW, grant.rule.name)
