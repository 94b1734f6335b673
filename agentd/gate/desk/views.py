"""What an operator sees, made of what the rooms hold: plain JSON data, no I/O. Rows of `logs`, agents, policy, spend."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from agentd.core.accounting.price import Price, counterfactual
from agentd.core.accounting.times import NS_PER_S, from_rfc3339
from agentd.core.policy.explain import Explanation
from agentd.core.policy.facts import Halt
from agentd.core.policy.schema import Agent, Match, Policy
from agentd.core.types.receipts import Usage
from agentd.core.types.records import Kind
from agentd.gate.ports import LineQuery
from agentd.gate.ports_operator import Json

FROM_OUTCOME = ("provider", "cost_nusd", "tokens", "status", "overhead_us", "upstream_ms")
"""Fields of a row that only the outcome knows."""

NARROW_KINDS = (Kind.DECISION.value, Kind.ESCALATION.value)
"""Lines that have an agent, class or verdict: what a filter by one of them leaves."""

ALL_KINDS = tuple(kind.value for kind in Kind if kind not in (Kind.OUTCOME, Kind.CHECKPOINT))
"""Lines that are a row of their own: an outcome is part of its decision's row, a checkpoint tells people nothing."""

NS_PER_DAY = 86_400 * NS_PER_S


def merged(line: Mapping[str, Any], outcome: Mapping[str, Any] | None) -> Json:
    """A row: the line, and for a decision its outcome's facts, `outcome` (its seq) and `model_served`."""
    row = dict(line)
    if line.get("kind") != Kind.DECISION:
        return row
    row["outcome"] = outcome["seq"] if outcome else None
    row["model_served"] = outcome.get("model") if outcome else None
    row["outcome_detail"] = outcome.get("detail") if outcome else None
    for name in FROM_OUTCOME if outcome else ():
        row[name] = (outcome or {}).get(name)
    return row


def settled(row: Json, settlement: Mapping[str, Any] | None) -> Json:
    """The row with what was learned later: its cost and counts, and `settlement`, the line that says so."""
    if settlement is None:
        return row
    known = {name: settlement[name] for name in ("cost_nusd", "tokens") if settlement[name] is not None}
    return {**row, **known, "settlement": settlement["seq"]}


def awaits_outcome(line: Mapping[str, Any]) -> bool:
    """Whether a later line will close this one."""
    return line.get("kind") == Kind.DECISION and line.get("verdict") == "allow"


def is_narrow(query: LineQuery) -> bool:
    """Whether the query asks for something that only calls have."""
    return any((query.agent, query.class_, query.tier, query.verdict, query.session))


def kinds_of(query: LineQuery) -> tuple[str, ...]:
    """The kinds of lines that make rows for a query."""
    return query.kinds or (NARROW_KINDS if is_narrow(query) else ALL_KINDS)


def wanted(query: LineQuery, line: Mapping[str, Any]) -> bool:
    """Whether a new line is one that the query would have found."""
    asked = {
        "agent": query.agent,
        "class": query.class_,
        "tier": query.tier,
        "verdict": query.verdict,
        "session": query.session,
    }
    return line.get("kind") in kinds_of(query) and all(line.get(key) == value for key, value in asked.items() if value)


def explanation_view(page: Explanation) -> Json:
    """The page as data."""
    sections = [{"title": section.title, "rows": [list(row) for row in section.rows]} for section in page.sections]
    return {"decision": page.decision, "headline": page.headline, "sections": sections}


def halt_view(halt: Halt) -> Json:
    """A stop as data."""
    return asdict(halt)


def agents_view(policy: Policy, halts: Sequence[Halt], now_ns: int) -> list[Json]:
    """The agents of a policy, with the days they have left and whether they are stopped."""
    return [_agent(policy, agent, halts, now_ns) for agent in policy.agents.values()]


def _agent(policy: Policy, agent: Agent, halts: Sequence[Halt], now_ns: int) -> Json:
    expires_ns = from_rfc3339(f"{agent.expires.isoformat()}T00:00:00+00:00")
    return {
        "name": agent.name,
        "owner": agent.owner,
        "expires": agent.expires.isoformat(),
        "days_left": expires_ns // NS_PER_DAY - now_ns // NS_PER_DAY,
        "match": [_match(match) for match in agent.match],
        "default_class": agent.default_class,
        "classes": list(agent.classes),
        "ceiling": agent.ceiling,
        "label": agent.label,
        "halted": any(halt.scope == "box" or (halt.scope == "agent" and halt.name == agent.name) for halt in halts),
        "place": f"{policy.source}:{agent.place.line}",
    }


def _match(match: Match) -> Json:
    return {key: value for key, value in asdict(match).items() if value is not None}


def total(rows: Iterable[Mapping[str, Any]]) -> Json:
    """Sums over the rows of a table of spend: every whole number in them."""
    sums: Json = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, int):
                sums[key] = sums.get(key, 0) + value
    return sums


def compared(policy: Policy, prices: Mapping[str, Price], models: Sequence[Mapping[str, Any]]) -> Json | None:
    """What the same tokens would have cost had every call gone to the dearest tier's first priced model, with its cache
    as warm as it was here, and cold. None without such a model. The model might have needed fewer tokens: no promise."""
    dearest = max(policy.tiers.values(), key=lambda tier: tier.rank)
    baseline = next((model.id for model in dearest.models if model.id in prices), None)
    if baseline is None:
        return None
    sums = total(models)
    usage = Usage(
        prompt=sums.get("prompt_tokens", 0),
        completion=sums.get("completion_tokens", 0),
        cached=sums.get("cached_tokens", 0),
        cache_write=sums.get("cache_write_tokens", 0),
    )
    return {
        "tier": dearest.name,
        "model": baseline,
        "actual_nusd": sums.get("cost_nusd", 0),
        "warm_nusd": counterfactual(prices[baseline], usage, warm=True),
        "cold_nusd": counterfactual(prices[baseline], usage, warm=False),
    }
