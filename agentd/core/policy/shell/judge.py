"""Rules and a script -> a verdict: every command is judged by itself, and the heaviest effect is that of the whole.

Pure and total. What could not be read is never allowed, whatever the rules say. A command without words (assignments and
redirections alone) is judged by what it assigns and by the paths it opens; a call of a function that the script itself has
defined is covered by its body, whose commands stand in the list, but a deny of its name counts.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from agentd.core.policy.shell.facts import Facts, facts_of
from agentd.core.policy.shell.marks import MARKS, spoken
from agentd.core.policy.shell.options import canonical
from agentd.core.policy.shell.paths import DEVICES, Pattern, Place, Roots, patterns, touches, within
from agentd.core.policy.shell.places import Places, directories
from agentd.core.policy.shell.programs import program_of
from agentd.core.policy.shell.rules import Considered, Effect, Rule, Ruleset, ShellVerdict
from agentd.core.policy.shell.script import Opaque, Script, Simple
from agentd.core.policy.shell.showing import shown

SYSTEM_PROGRAMS = ("/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/local/bin/", "/usr/local/sbin/")
"""Where a program's path says no more than its name."""

_WEIGHT = {Effect.ALLOW: 0, Effect.ASK: 1, Effect.DENY: 2}
_HARMLESS = frozenset(DEVICES)


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
    judge_one = _Judge(ruleset, setting.roots)
    places = directories(script, setting.cwd, home)
    considered = tuple([judge_one.of(item, place, home) for item, place in zip(script.items, places, strict=True)])
    tripped = max(considered, key=lambda each: _WEIGHT[each.effect], default=None)
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
    near = [
        each
        for each in ruleset.rules
        if each.effect is Effect.ALLOW and each.programs and _named(each, tripped.item, None)
    ]
    return "; ".join(dict.fromkeys(_described(each) for each in near[:3]))


def _described(rule: Rule) -> str:
    parts = [f"reading {' '.join(rule.reads)}"] if rule.reads else []
    parts += [f"writing {' '.join(rule.writes)}"] if rule.writes else []
    parts += [f"as {' or '.join(rule.arguments)}"] if rule.arguments else []
    parts += [f"without {' '.join(rule.without)}"] if rule.without else []
    return rule.instead or f"{rule.name} allows it " + (
        ", ".join(parts) or "without network and without changed environment"
    )


class _Judge:
    """The rules of one ruleset, by effect."""

    def __init__(self, ruleset: Ruleset, roots: Roots) -> None:
        self.default = ruleset.default if ruleset.default is not Effect.ALLOW else Effect.DENY
        self.roots = roots
        self.refusing = tuple(
            sorted(
                (rule for rule in ruleset.rules if rule.effect is not Effect.ALLOW),
                key=lambda rule: -_WEIGHT[rule.effect],
            )
        )
        self.allowing, self.anything = _by_program(ruleset.rules)

    def of(self, item: Simple | Opaque, places: Places, home: str | None) -> Considered:
        """Judge one item."""
        if isinstance(item, Opaque):
            rule = next((rule for rule in self.refusing if item.kind in rule.opaque), None)
            effect = rule.effect if rule is not None else self.default
            text = shown(spoken(item.text))
            return Considered(item, effect, rule.name if rule is not None else "", text, " > ".join(item.via))
        facts = facts_of(item, places, home)
        effect, name = self._effect(facts)
        chain = " > ".join((*item.via, facts.name)) if item.via else facts.name
        return Considered(facts, effect, name, shown(item.text), shown(spoken(chain)))

    def _effect(self, facts: Facts) -> tuple[Effect, str]:
        for rule in self.refusing:
            if not rule.opaque and self._refuses(rule, facts):
                return rule.effect, rule.name
        if _nothing(facts) or (
            facts.simple.function and not facts.environment and not facts.writes and not facts.reads
        ):
            return Effect.ALLOW, ""
        for rule in (*self.allowing.get(facts.base, ()), *self.anything):
            if self._allows(rule, facts):
                return Effect.ALLOW, rule.name
        return self.default, ""

    def _patterns(self, texts: Iterable[str]) -> list[Pattern]:
        return [pattern for text in texts for pattern in patterns(text, self.roots)]

    def _refuses(self, rule: Rule, facts: Facts) -> bool:
        if rule.programs and not _named(rule, facts, None):
            return False
        if rule.network and not facts.network:
            return False
        if not _fits(rule, facts) or (rule.wrappers and not set(rule.wrappers) & set(facts.simple.via)):
            return False
        if rule.foreign and facts.foreign not in rule.foreign:
            return False
        if rule.background and not facts.simple.where.background:
            return False
        if rule.environment and not any(
            _glob(each).fullmatch(name) for each in rule.environment for name in facts.environment
        ):
            return False
        if rule.reads is None and rule.writes is None:
            return True
        return self._may(rule.reads, facts.reads, facts) or self._may(rule.writes, facts.writes, facts)

    def _may(self, texts: tuple[str, ...] | None, places: tuple[Place, ...], facts: Facts) -> bool:
        if not texts or not places:
            return False
        found = self._patterns(texts)
        return any(touches(place, found, tree=facts.tree) for place in places)

    def _allows(self, rule: Rule, facts: Facts) -> bool:
        if facts.network and not rule.network:
            return False
        if rule.programs and not _named(rule, facts, self.roots):
            return False
        if rule.wrappers and not set(rule.wrappers) & set(facts.simple.via):
            return False
        if not all(any(_glob(each).fullmatch(name) for each in rule.environment) for name in facts.environment):
            return False
        if not _fits(rule, facts):
            return False
        if rule.without and facts.unsure and not rule.unknown:
            return False
        return self._bounded(rule, rule.reads, facts.reads, facts) and self._bounded(
            rule, rule.writes, facts.writes, facts
        )

    def _bounded(self, rule: Rule, texts: tuple[str, ...] | None, places: tuple[Place, ...], facts: Facts) -> bool:
        """Whether all paths lie within what an allow grants. Devices that hold nothing are always granted."""
        if texts is None:
            return True
        if not facts.sure and not rule.unknown:
            return False
        found = self._patterns(texts)
        for place in places:
            if place.text in _HARMLESS or (place.open and rule.unknown) or within(place, found):
                continue
            return False
        return True


def _nothing(facts: Facts) -> bool:
    """Assignments of harmless names, alone."""
    return (
        not facts.simple.words and not facts.reads and not facts.writes and not facts.environment and not facts.network
    )


@lru_cache(maxsize=256)
def _by_program(rules: tuple[Rule, ...]) -> tuple[dict[str, tuple[Rule, ...]], tuple[Rule, ...]]:
    """Allows by plain program name, and those that have to be tried for every command."""
    named: dict[str, list[Rule]] = {}
    anything: list[Rule] = []
    for rule in rules:
        if rule.effect is not Effect.ALLOW or rule.opaque:
            continue
        if rule.programs and all(re.fullmatch(r"[^*?/]*", program) for program in rule.programs):
            for program in rule.programs:
                named.setdefault(program, []).append(rule)
        else:
            anything.append(rule)
    return {name: tuple(found) for name, found in named.items()}, tuple(anything)


def _named(rule: Rule, facts: Facts, roots: Roots | None) -> bool:
    """Whether a rule names the program. With `roots` (an allow) the path counts, without them the last name alone."""
    if not facts.name:
        return "" in rule.programs
    for program in rule.programs:
        if "/" in program:
            if _by_path(program, facts, roots):
                return True
        elif _glob(program).fullmatch(facts.base) and (roots is None or _plain(facts.name)):
            return True
    return False


def _plain(name: str) -> bool:
    directory, slash, _ = name.rpartition("/")
    return not slash or directory + "/" in SYSTEM_PROGRAMS


def _by_path(program: str, facts: Facts, roots: Roots | None) -> bool:
    if "/" not in facts.name or roots is None:
        return "/" in facts.name and _glob(program).fullmatch(facts.name) is not None
    found = patterns(program, roots)
    return bool(facts.programs) and all(within(place, found) for place in facts.programs)


def _fits(rule: Rule, facts: Facts) -> bool:
    """Flags and arguments."""
    if not (rule.flags_all or rule.flags_any or rule.without or rule.arguments):
        return True
    given = facts.flags
    if rule.flags_all and not _flags(facts.base, rule.flags_all) <= given:
        return False
    if rule.flags_any and not _flags(facts.base, rule.flags_any) & given:
        return False
    if rule.without and _flags(facts.base, rule.without) & given:
        return False
    return not rule.arguments or any(_glob(each).fullmatch(facts.arguments) for each in rule.arguments)


@lru_cache(maxsize=4096)
def _flags(base: str, flags: tuple[str, ...]) -> frozenset[str]:
    """A rule's flags in the spelling that the program's are compared by."""
    program = program_of(base)
    return frozenset(flag if program is None else canonical(program.options, flag) for flag in flags)


@lru_cache(maxsize=4096)
def _glob(text: str) -> re.Pattern[str]:
    """`*` any characters, `?` one; nothing else means anything. Marks are covered by `*` alone."""
    pieces = [".*" if char == "*" else f"[^{MARKS}]" if char == "?" else re.escape(char) for char in text]
    return re.compile("".join(pieces), re.DOTALL)
