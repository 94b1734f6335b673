"""The rules of a profile made ready for a box: patterns compiled, allows by program; and whether a rule holds for a command."""

import re
from dataclasses import dataclass
from functools import lru_cache

from agentd.core.policy.shell.facts import Facts
from agentd.core.policy.shell.marks import MARKS
from agentd.core.policy.shell.options import canonical
from agentd.core.policy.shell.paths import DEVICES, Paths, Place, Roots, paths, touches, within
from agentd.core.policy.shell.programs import program_of
from agentd.core.policy.shell.rules import Effect, Rule, Ruleset

SYSTEM_PROGRAMS = ("/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/", "/usr/local/bin/", "/usr/local/sbin/")
"""Where a program's path says no more than its name."""

WEIGHT = {Effect.ALLOW: 0, Effect.ASK: 1, Effect.DENY: 2}
_HARMLESS = frozenset(DEVICES)
_GLOB = frozenset("*?")


@dataclass(frozen=True, slots=True)
class Programs:
    """Which programs a rule names: plain names, an expression over names, paths. All empty: every one."""

    plain: frozenset[str]
    globs: re.Pattern[str] | None
    by_path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """A rule, and its conditions made ready."""

    rule: Rule
    programs: Programs | None
    program_paths: Paths
    reads: Paths | None
    writes: Paths | None
    argued: bool  # it says something about flags or arguments
    bounded: bool  # it says something about paths


@dataclass(frozen=True, slots=True)
class Rules:
    """A ruleset made ready. Refusing rules stand in the order of their weight."""

    default: Effect
    refusing: tuple[Ready, ...]
    unnamed: tuple[Ready, ...]  # those of them that may refuse a program which no rule names
    refused: frozenset[str]  # programs that a refusing rule names
    named: dict[str, tuple[Ready, ...]]  # allows by plain name
    anything: tuple[Ready, ...]  # allows that have to be tried for every command

    def refusal(self, facts: Facts) -> Ready | None:
        """The heaviest rule that refuses a command, or asks for it."""
        for ready in self.refusing if facts.base in self.refused else self.unnamed:
            if refuses(ready, facts):
                return ready
        return None

    def grant(self, facts: Facts) -> Ready | None:
        """The first rule that allows a command."""
        for ready in self.named.get(facts.base, ()):
            if allows(ready, facts):
                return ready
        return next((ready for ready in self.anything if allows(ready, facts)), None)


@lru_cache(maxsize=64)
def ready(ruleset: Ruleset, roots: Roots) -> Rules:
    """Make a ruleset ready. A default of `allow` is none: it counts as `deny`."""
    each = [_ready(rule, roots) for rule in ruleset.rules]
    refusing = sorted(
        (one for one in each if one.rule.effect is not Effect.ALLOW), key=lambda one: -WEIGHT[one.rule.effect]
    )
    named: dict[str, list[Ready]] = {}
    anything: list[Ready] = []
    for one in each:
        if one.rule.effect is not Effect.ALLOW or one.rule.opaque:
            continue
        if one.programs is not None and _plain_only(one):
            for name in one.programs.plain:
                named.setdefault(name, []).append(one)
        else:
            anything.append(one)
    default = ruleset.default if ruleset.default is not Effect.ALLOW else Effect.DENY
    refused = frozenset(name for one in refusing if one.programs is not None for name in one.programs.plain)
    unnamed = tuple(one for one in refusing if not one.rule.opaque and not _plain_only(one))
    return Rules(
        default,
        tuple(refusing),
        unnamed,
        refused,
        {name: tuple(found) for name, found in named.items()},
        tuple(anything),
    )


def _plain_only(one: Ready) -> bool:
    return one.programs is not None and one.programs.globs is None and not one.programs.by_path


def _ready(rule: Rule, roots: Roots) -> Ready:
    by_path = tuple(program for program in rule.programs if "/" in program)
    names = [program for program in rule.programs if "/" not in program]
    globs = [name for name in names if _GLOB & set(name)]
    expression = re.compile("|".join(_glob(name).pattern for name in globs), re.DOTALL) if globs else None
    return Ready(
        rule,
        Programs(frozenset(names) - frozenset(globs), expression, by_path) if rule.programs else None,
        paths(by_path, roots),
        None if rule.reads is None else paths(rule.reads, roots),
        None if rule.writes is None else paths(rule.writes, roots),
        bool(rule.flags_all or rule.flags_any or rule.without or rule.arguments),
        rule.reads is not None or rule.writes is not None,
    )


def refuses(ready: Ready, facts: Facts) -> bool:
    """Whether a deny or an ask holds: where it is possible."""
    rule = ready.rule
    if ready.bounded and not facts.reads and not facts.writes:
        return False
    if rule.opaque or (ready.programs is not None and not _may_be(ready, facts)):
        return False
    if (rule.network and not facts.network) or (ready.argued and not _fits(rule, facts)):
        return False
    if rule.foreign and facts.foreign not in rule.foreign:
        return False
    if (rule.background and not facts.simple.where.background) or not _wrapped(rule, facts):
        return False
    if rule.environment and not any(_assigns(rule, name) for name in facts.environment):
        return False
    if ready.reads is None and ready.writes is None:
        return True
    return _may(ready.reads, facts.reads, facts) or _may(ready.writes, facts.writes, facts)


def allows(ready: Ready, facts: Facts) -> bool:
    """Whether an allow holds: where it is certain."""
    rule = ready.rule
    if (facts.network and not rule.network) or (ready.programs is not None and not _is(ready, facts)):
        return False
    if not _wrapped(rule, facts) or not all(_assigns(rule, name) for name in facts.environment):
        return False
    if ready.argued and (not _fits(rule, facts) or (rule.without and facts.unsure and not rule.unknown)):
        return False
    return _bounded(rule, ready.reads, facts.reads, facts) and _bounded(rule, ready.writes, facts.writes, facts)


def _wrapped(rule: Rule, facts: Facts) -> bool:
    return not rule.wrappers or bool(set(rule.wrappers) & set(facts.simple.via))


def _assigns(rule: Rule, name: str) -> bool:
    return any(_glob(each).fullmatch(name) for each in rule.environment)


def _may(found: Paths | None, places: tuple[Place, ...], facts: Facts) -> bool:
    return found is not None and any(touches(place, found, tree=facts.tree) for place in places)


def _bounded(rule: Rule, found: Paths | None, places: tuple[Place, ...], facts: Facts) -> bool:
    """Whether all paths lie within what an allow grants. Devices that hold nothing are always granted."""
    if found is None:
        return True
    if not facts.sure and not rule.unknown:
        return False
    return all(within(place, found) or place.text in _HARMLESS or (place.open and rule.unknown) for place in places)


def _may_be(ready: Ready, facts: Facts) -> bool:
    """Whether a refusing rule names the program, in whatever directory it lies."""
    programs = ready.programs
    if programs is None or facts.base in programs.plain:
        return programs is None or bool(facts.base) or not facts.simple.words
    if programs.globs is not None and facts.base and programs.globs.fullmatch(facts.base):
        return True
    return any(touches(place, ready.program_paths) for place in facts.programs)


def _is(ready: Ready, facts: Facts) -> bool:
    """Whether an allowing rule names the program, by its plain name or where the system keeps it, or by its path."""
    programs = ready.programs
    if programs is None or not facts.simple.words:
        return programs is None or "" in programs.plain
    if facts.programs and programs.by_path and all(within(place, ready.program_paths) for place in facts.programs):
        return True
    if not facts.base or not plain(facts.name):
        return False
    return facts.base in programs.plain or (
        programs.globs is not None and programs.globs.fullmatch(facts.base) is not None
    )


def plain(name: str) -> bool:
    """Whether a program's name says nothing of where it lies, or that it is the system's."""
    directory, slash, _ = name.rpartition("/")
    return not slash or directory + "/" in SYSTEM_PROGRAMS


def _fits(rule: Rule, facts: Facts) -> bool:
    """Flags and arguments."""
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
