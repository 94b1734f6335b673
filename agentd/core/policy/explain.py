"""A decision as a page for people: who, what, which class and why, which rule, which tier, what it cost, what was said.

It reads the record alone (the decision's line, its outcome, the policy version that decided), never the state of now: the
page on an old decision does not change when the box does. What an older or shorter line does not hold is left out, never
guessed. Values from the record are data: whoever shows the page escapes them.

What is read of `detail`, all of it optional: message, hint, dialect, stream, bytes, turns, tools, client, after, considered
[{tier, why}], upstream, max_output, deadline_ms, catalogue, charges ["budget:account" or {budget, account, before_nusd,
limit_nusd}], bounded [text], smuggled [text ending in "(refused)" or "(removed)"], dropped [name], answer, retry_after_s; of
the outcome's: http, cost_source, generation, error, tool_calls, recipients; of the settlement's: cost_source, after_s, attempts,
recipients, alarms.
An outcome may hold `settlement`: the line that said later what the call cost.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.policy.advice import next_steps
from agentd.core.policy.page import (
    ENDINGS,
    STAGES,
    Row,
    as_list,
    as_map,
    begun,
    charge_words,
    fault_words,
    latency,
    pairs,
    row,
    rows,
    tokens,
)
from agentd.core.policy.schema import Agent, Policy, TaskClass, Tier
from agentd.core.types.money import format_usd

SHORT_HASH = 12
"""Hex digits of a digest that people compare: 48 bits tell versions and lines of one box apart."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What was checked about the line in the record while the page was made."""

    intact: bool  # its bytes give its digest, and it names the digest of the line before
    checkpoint: int | None = None  # seq of the first checkpoint after it
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its rows."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The page."""

    decision: str  # "d-41", "escalation-10"
    headline: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    line: Mapping[str, Any]
    outcome: Mapping[str, Any]  # empty while open, and for denials
    policy: Policy | None
    proof: Proof | None

    @property
    def detail(self) -> Mapping[str, Any]:
        return as_map(self.line.get("detail"))

    @property
    def after(self) -> Mapping[str, Any]:
        return as_map(self.outcome.get("detail"))

    @property
    def settlement(self) -> Mapping[str, Any]:
        return as_map(self.outcome.get("settlement"))

    @property
    def cost(self) -> int | None:
        """What the call cost, as far as anybody said."""
        cost = self.outcome.get("cost_nusd")
        return self.settlement.get("cost_nusd") if cost is None else cost

    @property
    def agent(self) -> Agent | None:
        return self.policy.agents.get(str(self.line.get("agent"))) if self.policy else None

    @property
    def task(self) -> TaskClass | None:
        return self.policy.classes.get(str(self.line.get("class"))) if self.policy else None

    @property
    def tier(self) -> Tier | None:
        return self.policy.tiers.get(str(self.line.get("tier"))) if self.policy else None

    @property
    def is_call(self) -> bool:
        return str(self.line.get("kind", "decision")) == "decision"

    @property
    def allowed(self) -> bool:
        return self.line.get("verdict") == "allow"


def explain(
    decision: Mapping[str, Any],
    outcome: Mapping[str, Any] | None,
    policy: Policy | None,
    proof: Proof | None = None,
) -> Explanation:
    """The page on a decision, or on any other line of the record.

    `outcome` None: open, or denied. `policy` None: the version is not kept any more.
    """
    case = _Case(decision, outcome or {}, policy, proof)
    parts = _SECTIONS if case.is_call else _OTHER_SECTIONS
    made = (Section(title, tuple(part(case))) for title, part in parts)
    sections = tuple(section for section in made if section.rows)
    name = str(decision.get("id") or f"d-{decision['seq']}")
    return Explanation(name, _headline(case) if case.is_call else _event(case), sections)


def _headline(case: _Case) -> str:
    line = case.line
    agent = line.get("agent") or "an unknown caller"
    work = f" for {line['class']}" if line.get("class") else ""
    if not case.allowed:
        return f"Refused {agent}{work}: {line.get('code') or 'no reason recorded'}"
    served = f"{line.get('model')} ({line.get('tier')})"
    if not case.outcome:
        return f"Allowed {agent}{work} on {served}; not finished"
    cost = case.cost
    price = format_usd(cost) if cost is not None else "cost unknown"
    return f"Allowed {agent}{work} on {served}, {price}"


def _event(case: _Case) -> str:
    """What a line that is no call tells, in one sentence."""
    detail = case.detail
    told = next((detail[key] for key in ("message", "reason", "change", "name") if detail.get(key)), "")
    kind, refused = str(case.line.get("kind")), " refused" if case.line.get("verdict") == "deny" else ""
    if kind == "genesis":
        return begun(detail)
    return f"{kind}{refused}: {told}" if told else f"{kind}{refused}"


def _who(case: _Case) -> Iterator[Row]:
    caller = as_map(case.line.get("caller"))
    agent = case.agent
    if agent or case.is_call:
        owner = f" (owner {agent.owner}, until {agent.expires.isoformat()})" if agent else ""
        yield "agent", (str(case.line.get("agent") or "nobody that the policy knows")) + owner
    ids = [f"{key} {caller[key]}" for key in ("uid", "gid", "pid") if caller.get(key) is not None]
    yield from row("process", ", ".join(ids))
    yield from row(
        "came by", f"TCP, token {caller.get('token') or 'none'}" if caller.get("transport") == "tcp" else None
    )
    yield from row("unit", caller.get("unit"))
    yield from row("program", caller.get("exe"))
    yield from row("session", case.line.get("session"))


def _asked(case: _Case) -> Iterator[Row]:
    detail = case.detail
    yield from row("at", case.line.get("at"))
    stream = ", streamed" if detail.get("stream") else ""
    yield from row("call", f"{detail['dialect']}{stream}" if detail.get("dialect") else None)
    yield from row("model asked", case.line.get("model_asked"))
    yield from row("tier asked", case.line.get("tier_asked"))
    yield from row("size", ", ".join(f"{key} {detail[key]}" for key in ("bytes", "turns", "tools") if key in detail))
    yield from row("client", detail.get("client"))
    yield from row("second try", f"after {detail['after']}, which failed" if detail.get("after") else None)


def _class(case: _Case) -> Iterator[Row]:
    if not case.line.get("class"):
        return
    why = as_map(case.line.get("class_why"))
    task = case.task
    place = f" ({case.policy.source}:{task.place.line})" if case.policy and task else ""
    yield "class", f"{case.line['class']}{place}"
    stage = str(why.get("stage", ""))
    yield from row("decided by", STAGES.get(stage, stage))
    yield from row("because", why.get("why"))
    yield from rows("evidence", (f"{key} = {value}" for key, value in pairs(why.get("evidence"))))


def _rule(case: _Case) -> Iterator[Row]:
    yield "verdict", str(case.line.get("verdict") or "none")
    yield from row("code", case.line.get("code"))
    yield from row("rule", case.line.get("rule"))
    yield from row("meaning", case.detail.get("message"))
    digest = str(case.line.get("policy") or "")
    if case.policy:
        policy = case.policy
        yield "policy", f"{digest[:SHORT_HASH]}, version {policy.version} by {policy.owner}: {policy.change}"
    elif digest:
        yield "policy", f"{digest[:SHORT_HASH]} (this version is not kept here)"
    else:
        yield "policy", "none was in force"


def _tiers(case: _Case) -> Iterator[Row]:
    line, policy, task, agent = case.line, case.policy, case.task, case.agent
    yield from row("asked", line.get("tier_asked"))
    if policy and task:
        at = f"({policy.source}:{task.place.line})"
        yield "class default", f"{task.tier} {at}"
        yield "class bounds", f"from {task.floor} up to {task.ceiling} {at}"
        yield from row("thinking", f"{task.effort} at most {at}" if task.effort else None)
    if policy and agent:
        yield "agent ceiling", f"{agent.ceiling} ({policy.source}:{agent.place.line})"
    yield from rows("considered", (_considered(item) for item in as_list(case.detail.get("considered"))))
    yield from _bounds(case)
    if case.allowed:
        yield "served", _served(case)


def _bounds(case: _Case) -> Iterator[Row]:
    """Why another tier served than was asked for: only what the ranks of this policy prove."""
    policy, asked, served = case.policy, str(case.line.get("tier_asked") or ""), str(case.line.get("tier") or "")
    if policy is None or not case.allowed or asked not in policy.tiers or served not in policy.tiers or asked == served:
        return
    rank = {name: tier.rank for name, tier in policy.tiers.items()}
    task, agent, bounds = case.task, case.agent, []
    if task and rank[asked] > rank[task.ceiling]:
        bounds.append(f"class {task.name} stops at {task.ceiling}, whatever is asked")
    elif task and rank[asked] > rank[task.tier]:
        bounds.append(_raise_by(task))
    if task and rank[asked] < rank[task.floor]:
        bounds.append(f"class {task.name} starts at {task.floor}")
    if agent and rank[asked] > rank[agent.ceiling]:
        bounds.append(f"agent {agent.name} stops at {agent.ceiling}")
    yield "not as asked", "; ".join(bounds) or f"{asked} could not serve; the rule says why"


def _raise_by(task: TaskClass) -> str:
    rule = task.escalation
    if rule is None:
        return f"class {task.name} is served at {task.tier} and has no escalation"
    return (
        f"above {task.tier} class {task.name} needs an escalation: to {rule.to}, {rule.quota} per {rule.window.value}"
    )


def _served(case: _Case) -> str:
    line, detail, tier = case.line, case.detail, case.tier
    parts = [f"{line.get('tier')}: {line.get('model')}"]
    if detail.get("max_output") is not None:
        parts.append(f"at most {detail['max_output']} tokens out")
    if isinstance(detail.get("deadline_ms"), int):
        parts.append(f"within {detail['deadline_ms'] / 1000:g} s")
    if line.get("label"):
        ceiling = f" (the tier takes up to {tier.max_label})" if tier else ""
        parts.append(f"data label {line['label']}{ceiling}")
    return ", ".join(parts)


def _escalation(case: _Case) -> Iterator[Row]:
    step = as_map(case.line.get("escalation"))
    if not step:
        return
    yield "step", f"{step.get('from_tier')} to {step.get('to_tier')}"
    yield "kind", f"{step.get('kind')} ({step.get('code')})"
    yield from row("reason", step.get("reason"))
    yield from row("quota", step.get("quota"))
    yield from row("grant", step.get("grant"))


def _money(case: _Case) -> Iterator[Row]:
    reserved, cost = case.line.get("reserved_nusd"), case.cost
    charges = [charge_words(item, reserved, cost) for item in as_list(case.detail.get("charges"))]
    if reserved is not None:
        yield "reserved", f"{format_usd(reserved)} before the call, the most that it could cost"
        catalogue = str(case.detail.get("catalogue") or "")
        yield from row("prices of", f"catalogue {catalogue[:SHORT_HASH]}" if catalogue else None)
    if case.outcome:
        later = as_map(case.settlement.get("detail"))
        source = later.get("cost_source") or case.after.get("cost_source")
        settled = f"{format_usd(cost)}" if cost is not None else "not known: the reservation stays charged"
        yield "settled", settled + (f" ({source})" if source else "")
        yield from row("told later", _later(case))
    yield from rows("charged to", charges)


def _later(case: _Case) -> str | None:
    line, detail = case.settlement, as_map(case.settlement.get("detail"))
    if not line:
        return None
    said = (
        "by the upstream's accounting" if line.get("cost_nusd") is not None else "nobody knows; it is not asked again"
    )
    alarms = "".join(f"; ALARM: {alarm}" for alarm in as_list(detail.get("alarms")))
    return f"{said}, {detail.get('after_s', '?')} s after its end (settlement-{line.get('seq')}){alarms}"


def _upstream(case: _Case) -> Iterator[Row]:
    if not case.allowed:
        return
    yield from row("upstream", case.detail.get("upstream"))
    if not case.outcome:
        yield "state", "open: the call is running, or agentd ended in between and has not been started since"
        return
    ending, after = str(case.outcome.get("status") or ""), case.after
    yield "ended", ENDINGS.get(ending, ending or "not said") + (f", HTTP {after['http']}" if after.get("http") else "")
    yield from row("model served", case.outcome.get("model"))
    yield from row("provider", case.outcome.get("provider"))
    later = as_map(case.settlement.get("detail"))
    yield from row("seen by", ", ".join(map(str, as_list(later.get("recipients") or after.get("recipients")))))
    yield from row("tokens", tokens(as_map(case.settlement.get("tokens") or case.outcome.get("tokens"))))
    yield from row("time", latency(case.outcome))
    yield from row("tools called", ", ".join(map(str, as_list(after.get("tool_calls")))))
    yield from row("error", after.get("error"))
    yield from row("generation", after.get("generation"))


def _body(case: _Case) -> Iterator[Row]:
    yield from rows("bounded", (str(item) for item in as_list(case.detail.get("bounded"))))
    yield from rows("not granted", (str(item) for item in as_list(case.detail.get("smuggled"))))
    yield from row("not sent on", ", ".join(map(str, as_list(case.detail.get("dropped")))))
    foreign = case.detail.get("foreign")
    yield from row("left out", f"what other models signed, in the first {foreign} messages" if foreign else None)


def _record(case: _Case) -> Iterator[Row]:
    line, proof = case.line, case.proof
    closed = f", closed by o-{case.outcome['seq']}" if case.outcome else ""
    yield "line", f"{line['seq']}{closed}"
    yield from row("digest", line.get("digest"))
    yield from row("before it", line.get("prev"))
    if proof is None:
        return
    yield "checked", "the bytes give this digest" if proof.intact else "BROKEN: the bytes do not give this digest"
    if proof.checkpoint is None:
        yield "checkpoint", "none after it yet"
    else:
        yield "checkpoint", f"covered by line {proof.checkpoint}" + (", signed" if proof.signed else ", unsigned")


def _told(case: _Case) -> Iterator[Row]:
    if case.allowed:
        return
    yield from row("message", case.detail.get("message"))
    yield from row("hint", case.detail.get("hint"))
    yield from row("as", case.detail.get("answer"))
    wait = case.detail.get("retry_after_s")
    yield from row("again after", f"{wait} s" if wait is not None else None)


def _next(case: _Case) -> Iterator[Row]:
    yield from rows("", next_steps(case.line, case.outcome, case.policy))


def _facts(case: _Case) -> Iterator[Row]:
    """A line that is no call: its own fields, then what its kind adds, as it stands there."""
    for name in ("at", "class", "verdict", "code", "rule", "policy"):
        yield from row(name, case.line.get(name))
    for name, value in case.detail.items():
        if isinstance(value, str | int) and "\n" not in str(value):
            yield from row(name, value)
        elif isinstance(value, list | tuple):
            yield from rows(name, map(fault_words, value))
        elif isinstance(value, Mapping):
            yield from rows(name, (f"{key}: {item}" for key, item in value.items() if item is not None))


_OTHER_SECTIONS = (("Who", _who), ("What", _facts), ("Record", _record), ("What next", _next))

_SECTIONS = (
    ("Who", _who),
    ("Asked", _asked),
    ("Class", _class),
    ("Rule", _rule),
    ("Tier", _tiers),
    ("Escalation", _escalation),
    ("Money", _money),
    ("Upstream", _upstream),
    ("Request fields", _body),
    ("Told", _told),
    ("Record", _record),
    ("What next", _next),
)


def _considered(item: object) -> str:
    entry = as_map(item)
    return f"{entry.get('tier')}: {entry.get('why')}" if entry else str(item)
