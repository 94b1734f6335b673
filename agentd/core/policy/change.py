"""What a new version of the policy gives and takes, in words: for the record, the history and whoever reviews it.

"Widened" is what lets somebody do, spend, see or keep more than before; "narrowed" is the contrary. A sentence names the
limit and both values. Whatever has no direction (owners, lanes, tests, prices) shows in the diff of the text alone.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from agentd.core.policy.schema import Agent, Budget, EscalationRule, Match, Policy, TaskClass, Tier, Upstream
from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.money import format_usd

T = TypeVar("T")

NO_BOUND = "not bounded"
"""How a limit is told that is not set."""


@dataclass(frozen=True, slots=True)
class Change:
    """Sentences, each `agents.main: ceiling standard -> frontier`."""

    widened: tuple[str, ...] = ()
    narrowed: tuple[str, ...] = ()


@dataclass(slots=True)
class _Notes:
    """Collects while two versions are compared; `subject` is the entry being compared."""

    subject: str = ""
    widened: list[str] = field(default_factory=list)
    narrowed: list[str] = field(default_factory=list)

    def add(self, *, wider: bool, what: str) -> None:
        (self.widened if wider else self.narrowed).append(f"{self.subject}: {what}")

    def number(self, what: str, old: float | None, new: float | None, show: Callable[[float], str] = str) -> None:
        """A limit where more is wider and None is no limit at all."""
        if old == new:
            return
        words = ["none" if value is None else show(value) for value in (old, new)]
        wider = new is None or (old is not None and new > old)
        self.add(wider=wider, what=f"{what} {words[0]} -> {words[1]}")

    def ranked(self, what: str, order: Collection[str], old: str, new: str) -> None:
        """A limit that is a name of an ordered list, where later is wider. A name that is gone counts as lowest."""
        if old != new:
            ranks = {name: rank for rank, name in enumerate(order)}
            self.add(wider=ranks.get(new, -1) > ranks.get(old, -1), what=f"{what} {old} -> {new}")

    def members(self, what: str, old: Iterable[object], new: Iterable[object]) -> None:
        """A set of things that are allowed."""
        before, after = set(old), set(new)
        for item in sorted(map(str, after - before)):
            self.add(wider=True, what=f"{what} {item} added")
        for item in sorted(map(str, before - after)):
            self.add(wider=False, what=f"{what} {item} removed")


def summarise_change(old: Policy | None, new: Policy) -> Change:
    """Compare two versions. Against None there is nothing to compare with, and so nothing to tell."""
    if old is None:
        return Change()
    notes = _Notes()
    _each(notes, "agents", old.agents, new.agents, lambda a, b: _agent(notes, new, a, b))
    _each(notes, "upstreams", old.upstreams, new.upstreams, lambda a, b: _upstream(notes, a, b))
    _each(notes, "tiers", old.tiers, new.tiers, lambda a, b: _tier(notes, new, a, b))
    _each(notes, "classes", old.classes, new.classes, lambda a, b: _class(notes, new, a, b))
    _budgets(notes, old, new)
    notes.subject = "retention"
    if new.retention_days != old.retention_days:
        shorter = new.retention_days < old.retention_days
        notes.add(wider=shorter, what=f"days {old.retention_days} -> {new.retention_days}")
    return Change(tuple(notes.widened), tuple(notes.narrowed))


def _each(
    notes: _Notes, section: str, old: Mapping[str, T], new: Mapping[str, T], compare: Callable[[T, T], None]
) -> None:
    """Entries that were added are wider, removed ones narrower, and those in both are compared."""
    for name in [*new, *(name for name in old if name not in new)]:
        notes.subject = f"{section}.{name}"
        if name not in old:
            notes.add(wider=True, what="added")
        elif name not in new:
            notes.add(wider=False, what="removed")
        else:
            compare(old[name], new[name])


def _agent(notes: _Notes, policy: Policy, old: Agent, new: Agent) -> None:
    notes.ranked("ceiling", policy.tiers, old.ceiling, new.ceiling)
    notes.ranked("label", tuple(reversed(policy.labels)), old.label, new.label)
    notes.members("class", old.classes, new.classes)
    notes.members("match", map(_facts, old.match), map(_facts, new.match))
    notes.number("expires", old.expires.toordinal(), new.expires.toordinal(), _day)


def _upstream(notes: _Notes, old: Upstream, new: Upstream) -> None:
    if (old.url, old.kind, old.key) != (new.url, new.kind, new.key):
        notes.add(wider=True, what=f"now {new.kind.value} at {new.url}")


def _tier(notes: _Notes, policy: Policy, old: Tier, new: Tier) -> None:
    notes.members("model", (model.id for model in old.models), (model.id for model in new.models))
    notes.number("max_output", old.max_output, new.max_output)
    notes.ranked("max_label", policy.labels, old.max_label, new.max_label)
    if old.zdr != new.zdr:
        notes.add(wider=old.zdr, what=f"zdr {str(old.zdr).lower()} -> {str(new.zdr).lower()}")
    for index, what in enumerate(("prompt", "completion")):
        prices = [None if tier.max_price is None else float(tier.max_price[index]) for tier in (old, new)]
        notes.number(f"max_price {what}", prices[0], prices[1])


def _class(notes: _Notes, policy: Policy, old: TaskClass, new: TaskClass) -> None:
    notes.ranked("tier", policy.tiers, old.tier, new.tier)
    notes.ranked("ceiling", policy.tiers, old.ceiling, new.ceiling)
    notes.number("max_output", old.max_output, new.max_output)
    notes.number("deadline", old.deadline_s, new.deadline_s, lambda value: f"{value:g}s")
    notes.ranked("effort", [*Effort, NO_BOUND], old.effort or NO_BOUND, new.effort or NO_BOUND)
    notes.ranked("cache_ttl", list(CacheTtl), old.cache_ttl, new.cache_ttl)
    _escalation(notes, policy, old.escalation, new.escalation)


def _escalation(notes: _Notes, policy: Policy, old: EscalationRule | None, new: EscalationRule | None) -> None:
    if old is None or new is None:
        if old != new:
            notes.add(wider=new is not None, what=f"escalation {'added' if new is not None else 'removed'}")
        return
    notes.ranked("escalation to", policy.tiers, old.to, new.to)
    notes.number("escalation quota", old.quota, new.quota)
    notes.number("escalation grant", old.grant_s, new.grant_s, lambda value: f"{value:g}s")
    if old.window is not new.window:
        what = f"escalation window {old.window.value} -> {new.window.value}"
        notes.add(wider=True, what=what)


def _budgets(notes: _Notes, old: Policy, new: Policy) -> None:
    """Budgets take away: a new one narrows. One that counts otherwise than before is told as wider, to be looked at."""
    before, after = ({budget.name: budget for budget in policy.budgets} for policy in (old, new))
    for name in [*after, *(name for name in before if name not in after)]:
        notes.subject = f"budgets.{name}"
        if name not in before or name not in after:
            notes.add(wider=name not in after, what="added" if name in after else "removed")
        else:
            _budget(notes, before[name], after[name])


def _budget(notes: _Notes, old: Budget, new: Budget) -> None:
    if (old.scope, old.of, old.window) != (new.scope, new.of, new.window):
        counted = [f"{b.scope.value} {b.of or 'each'} per {b.window.value}" for b in (old, new)]
        notes.add(wider=True, what=f"counts {counted[0]} -> {counted[1]}")
    notes.number("limit", old.limit, new.limit, lambda value: format_usd(int(value)))
    notes.number("calls", old.calls, new.calls)
    notes.number("tokens", old.tokens, new.tokens)


def _facts(match: Match) -> str:
    facts = (("uid", match.uid), ("gid", match.gid), ("unit", match.unit), ("exe", match.exe))
    return " ".join(f"{name} {value}" for name, value in facts if value is not None)


def _day(ordinal: float) -> str:
    return date.fromordinal(int(ordinal)).isoformat()
