"""Escalations on request: an agent asks for a dearer tier with a reason; policy's quota pays, the record says so first.

A grant is bound to agent, session and class, is used up by one call, and runs out. What a request claims is recorded as the
agent's own words and decides nothing: class, target and quota are the policy's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.accounting.times import NS_PER_S, from_rfc3339, window_start
from agentd.core.policy.facts import Grant, Memory
from agentd.core.policy.model import ceiling_of
from agentd.core.policy.schema import Agent, EscalationRule, Policy, Window
from agentd.core.types.verdicts import Answer, Deny, Reason

MAX_REASON_CHARS = 500

NAME_IT = (
    "Send the header X-Agentd-Session with the ask and with the calls that it is for, or the client's own such header."
)

BACK_NS = 60 * NS_PER_S
"""So far a clock may be put right, backwards, without a grant's noticing."""

ASK_KEYS = frozenset({"class", "tier", "reason"})


@dataclass(frozen=True, slots=True)
class Ask:
    """What an agent asks for: a class of its own, optionally a tier, and why in its words."""

    agent: Agent
    session: str
    class_name: str
    tier: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What the quota gives: the target tier, and the count that pays for it."""

    ask: Ask
    rule: EscalationRule
    used: int

    @property
    def quota(self) -> str:
        """How much of the quota is used with this one, in words."""
        return f"{self.ask.class_name}: {self.used + 1} of {self.rule.quota} per {self.rule.window.value}"


@dataclass(frozen=True, slots=True)
class Live:
    """A grant that waits to be used, by whom, since when and until when."""

    agent: str
    session: str
    grant: Grant
    since_ns: int
    until_ns: int

    def holds(self, at_ns: int) -> bool:
        """Whether it can be used now. A clock that is set back to before the grant does not lengthen it: it rests until then."""
        return self.since_ns - BACK_NS <= at_ns < self.until_ns


class Escalations:
    """Quotas used and grants not yet consumed."""

    def __init__(self) -> None:
        """Begin with none; `restore` brings the quotas' past."""
        self._paid: list[tuple[int, str, str]] = []  # when, class, session
        self._live: dict[str, Live] = {}

    def restore(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Count the grants of the record against their quotas. The grants themselves ended with the last run."""
        for line in lines:
            if line.get("verdict") == "allow":
                self._paid.append((from_rfc3339(line["at"]), line["class"], line["session"]))

    def judge(self, policy: Policy, ask: Ask, at_ns: int) -> Granted | Deny:
        """Whether the policy grants it now. Nothing is changed."""
        task = policy.classes.get(ask.class_name)
        rule = None if task is None or ask.class_name not in ask.agent.classes else task.escalation
        if task is None or rule is None:
            place = policy.at("agents", ask.agent.name, ask.agent.place)
            return _no(
                "escalation.no_rule", place, f"class {ask.class_name} has no escalation for agent {ask.agent.name}"
            )
        place = policy.at("classes", task.name, rule.place)
        if policy.tiers[rule.to].rank > ceiling_of(policy, ask.agent, task).rank:
            return _no(
                "escalation.above_ceiling", place, f"tier {rule.to} is above the ceiling of agent {ask.agent.name}"
            )
        if ask.tier is not None and ask.tier != rule.to:
            return _no(
                "escalation.other_tier",
                place,
                f"class {task.name} can be raised to {rule.to} only",
                f"Ask for tier {rule.to}.",
            )
        if not ask.session:
            return _no("escalation.no_session", place, "an escalation is for one session, and none is named", NAME_IT)
        if not ask.reason.strip():
            return _no(
                "escalation.no_reason",
                place,
                "an escalation needs a reason",
                "Say in one sentence why the usual tier will not do.",
            )
        used = self.used(rule, ask.class_name, ask.session, at_ns)
        if used >= rule.quota:
            words = (
                f"the escalation quota of class {task.name} is used up ({used} of {rule.quota} per {rule.window.value})"
            )
            return _no("escalation.quota", place, words, f"Go on at tier {task.tier}.")
        return Granted(ask, rule, used)

    def used(self, rule: EscalationRule, class_name: str, session: str, at_ns: int) -> int:
        """How many grants the rule's window has seen for this class (for this session, if it counts per session)."""
        if rule.window is Window.SESSION:
            return sum(name == class_name and at_session == session for _, name, at_session in self._paid)
        start = window_start(rule.window.value, at_ns)
        return sum(at >= start and name == class_name for at, name, _ in self._paid)

    def pay(self, granted: Granted, at_ns: int) -> None:
        """Count it against the quota: before the record is written, so that no second ask can slip in between."""
        self._paid.append((at_ns, granted.ask.class_name, granted.ask.session))

    def refund(self, granted: Granted, at_ns: int) -> None:
        """Take the count back, when the record could not be written."""
        self._paid.remove((at_ns, granted.ask.class_name, granted.ask.session))

    def give(self, granted: Granted, seq: int, at_ns: int) -> Grant:
        """Make the grant, named after its line in the record."""
        ask = granted.ask
        grant = Grant(f"g-{seq}", ask.class_name, granted.rule.to, ask.reason, granted.quota)
        until = at_ns + granted.rule.grant_s * NS_PER_S
        self._live[grant.id] = Live(ask.agent.name, ask.session, grant, at_ns, until)
        return grant

    def find(self, agent: str, session: str, at_ns: int) -> tuple[Grant, ...]:
        """Grants that this agent's session holds now."""
        self._live = {name: live for name, live in self._live.items() if live.until_ns > at_ns}
        mine = (live for live in self._live.values() if live.agent == agent and live.session == session)
        return tuple(live.grant for live in mine if live.holds(at_ns))

    def take(self, grant: str) -> Live | None:
        """Use a grant up, in the same step that decided by it; what comes back is for `put_back`."""
        return self._live.pop(grant, None)

    def put_back(self, taken: Live) -> None:
        """Undo `take`: the call that wanted it was not recorded, so it did not happen."""
        self._live[taken.grant.id] = taken


def read_ask(agent: Agent, session: str, memory: Memory | None, body: Mapping[str, Any]) -> Ask | Deny:
    """The ask in a request body: class (default: the session's, else the agent's), tier, reason. What else stands in it, or
    is no text, is refused by name: a wish that is not understood must not look granted."""
    unknown = sorted(set(body) - ASK_KEYS)
    if unknown:
        message = f"an escalation has no {unknown[0][:40]!r}"
        return Deny(
            Reason("escalation.unknown_key", "agentd", message, "It takes class, tier and reason."), Answer.INVALID
        )
    untold = sorted(key for key, value in body.items() if not isinstance(value, str))
    if untold:
        message = f"{untold[0]} of an escalation is a text"
        return Deny(Reason("escalation.not_text", "agentd", message), Answer.INVALID)
    usual = memory.class_name if memory is not None else agent.default_class
    reason = str(body.get("reason", ""))[:MAX_REASON_CHARS]
    return Ask(agent, session, str(body.get("class") or usual), str(body["tier"]) if body.get("tier") else None, reason)


def _no(code: str, rule: str, message: str, hint: str = "") -> Deny:
    return Deny(Reason(code, rule, message, hint), Answer.DENY)
