"""The rules of a shell profile, and what judging by them gives. All frozen; policy's text becomes these elsewhere.

A rule's conditions all have to hold. What a condition means depends on the effect, so that doubt never helps the agent:

- `allow` holds where it is certain: every path read (written) lies within the patterns, the program is the plain name or stands
  in the system's directories, and nothing happens that the rule does not name: no network, no dangerous variable.
- `deny` and `ask` hold where it is possible: one path may match, one flag is given, the name is the same in any directory.
"""

from dataclasses import dataclass
from enum import StrEnum

from agentd.core.policy.shell.facts import Facts
from agentd.core.policy.shell.marks import spoken
from agentd.core.policy.shell.script import Opaque, Script, Unread
from agentd.core.types.shown import shown


class Effect(StrEnum):
    """What a rule says. The order of weight is deny, ask, allow."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Empty conditions hold for everything, but for `network` and `environment` of an allow (see the head)."""

    name: str
    effect: Effect
    owner: str
    reason: str = ""
    instead: str = ""  # what would be allowed, for a refusal
    programs: tuple[
        str, ...
    ] = ()  # names or globs; with a slash a path pattern as for reads (`workspace/**`); "" is a command without one
    arguments: tuple[str, ...] = ()  # globs over all arguments with one blank between two, one of which has to fit
    flags_all: tuple[str, ...] = ()
    flags_any: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # flags that must not be given
    reads: tuple[str, ...] | None = None  # path patterns; of an allow: all that it may read
    writes: tuple[str, ...] | None = None
    unknown: bool = False  # an allow that leaves paths which are not known to the cage
    network: bool = False  # an allow: may use it; else: holds for commands that use it alone
    environment: tuple[
        str, ...
    ] = ()  # dangerous variables by name or glob; an allow: may assign them; else: assigns one
    foreign: tuple[str, ...] = ()  # "inline", "stdin": program text of other languages; for deny and ask alone
    opaque: tuple[Unread, ...] = ()  # deny and ask alone: what could not be read
    wrappers: tuple[str, ...] = ()  # one of these stands around it
    background: bool = False  # deny and ask alone: is run in the background


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """The rules of a profile, in the order of the policy, and what holds where none does: deny or ask.

    Compared by identity: it is made once for a policy, and what is made ready of it is found again by it.
    """

    profile: str
    rules: tuple[Rule, ...]
    default: Effect = Effect.DENY


@dataclass(frozen=True, slots=True)
class Considered:
    """One command or unreadable thing, and what was decided of it. `rule` is empty for the profile's default."""

    item: Facts | Opaque
    effect: Effect
    rule: str

    @property
    def text(self) -> str:
        """The command as a person is shown it, escaped and shortened."""
        return shown(spoken(self.item.text if isinstance(self.item, Opaque) else self.item.simple.text))

    @property
    def chain(self) -> str:
        """The wrappers that lead to it: "sudo > env > rm"."""
        item = self.item
        return shown(spoken(" > ".join(item.via if isinstance(item, Opaque) else (*item.simple.via, item.name))))


@dataclass(frozen=True, slots=True)
class ShellVerdict:
    """The whole: the heaviest of all effects, and the first command that has it."""

    effect: Effect
    rule: str
    reason: str
    instead: str
    tripped: Considered | None  # None: there is no command at all
    considered: tuple[Considered, ...]
    script: Script
