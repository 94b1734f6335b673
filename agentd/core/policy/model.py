"""Which tier and model a call gets: the class's own tier, moved by what is asked within floor and ceiling, then the first
model of it that may serve.

Nothing here can exceed min(class ceiling, agent ceiling): text, headers and grants only choose below it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from agentd.core.policy.classify import default_task
from agentd.core.policy.facts import Facts
from agentd.core.policy.schema import Agent, Budget, Model, Policy, Scope, TaskClass, Tier, UpstreamKind
from agentd.core.types.calls import Dialect, Request
from agentd.core.types.classes import Classified, Stage
from agentd.core.types.verdicts import Escalation, EscalationKind

TURN_HEX = 16

MATERIAL = frozenset({"file", "audio", "video"})
"""What a model's input must have for parts that are neither text nor pictures: the kinds are not told apart."""


@dataclass(frozen=True, slots=True)
class TierChoice:
    """The tier to serve at, what had been asked, and how the one came from the other."""

    tier: Tier
    asked: str | None
    code: str  # tier.default, tier.asked_lower, tier.capped, tier.raised, tier.kept
    why: str
    escalation: Escalation | None = None


def tier_asked(policy: Policy, request: Request) -> str | None:
    """The tier that the client names: by header, else by the id of a model that belongs to one."""
    if request.hints.tier in policy.tiers:
        return request.hints.tier
    for tier in policy.tiers.values():
        if any(model.id == request.call.model_asked for model in tier.models):
            return tier.name
    return None


def ceiling_of(policy: Policy, agent: Agent, task: TaskClass) -> Tier:
    """The highest tier for this agent and class, whatever anybody says."""
    return min(policy.tiers[task.ceiling], policy.tiers[agent.ceiling], key=lambda tier: tier.rank)


def choose_tier(policy: Policy, agent: Agent, request: Request, classified: Classified, facts: Facts) -> TierChoice:
    """The tier for a call, never above `ceiling_of`."""
    task = policy.classes[classified.name]
    ceiling = ceiling_of(policy, agent, task)
    own = min(policy.tiers[task.tier], ceiling, key=lambda tier: tier.rank)
    asked = tier_asked(policy, request)
    if facts.memory is not None and _locked(request) and facts.memory.class_name == classified.name:
        kept = policy.tiers.get(facts.memory.tier)
        if kept is not None and kept.rank <= ceiling.rank and (kept.rank <= own.rank or _still_raised(request, facts)):
            return TierChoice(kept, asked, "tier.kept", "an open tool loop keeps its tier")
    if facts.grant is not None:
        granted = policy.tiers.get(facts.grant.to_tier)
        if granted is not None and own.rank < granted.rank <= ceiling.rank:
            return TierChoice(
                granted, asked, "tier.raised", f"escalation {facts.grant.id} was granted", _granted(facts, own, granted)
            )
    if asked is None:
        return TierChoice(
            own, None, "tier.default", f"the tier of class {task.name}", _classified(policy, agent, classified, own)
        )
    return _asked(policy, agent, classified, own, policy.tiers[asked])


def _asked(policy: Policy, agent: Agent, classified: Classified, own: Tier, wanted: Tier) -> TierChoice:
    task = policy.classes[classified.name]
    escalation = _classified(policy, agent, classified, own)
    if wanted.rank > own.rank:
        why = f"{wanted.name} was asked for; class {task.name} is served at {own.name}"
        return TierChoice(own, wanted.name, "tier.capped", why, escalation)
    floor = policy.tiers[task.floor]
    served = max(min(floor, own, key=lambda tier: tier.rank), wanted, key=lambda tier: tier.rank)
    if served.rank < own.rank:
        return TierChoice(served, wanted.name, "tier.asked_lower", f"{wanted.name} was asked for")
    return TierChoice(own, wanted.name, "tier.default", f"the tier of class {task.name}", escalation)


def turn_of(request: Request) -> str:
    """The human turn that a call belongs to: the same for all calls of one tool loop."""
    return hashlib.sha256(request.call.shape.human_text.encode("utf-8", "surrogatepass")).hexdigest()[:TURN_HEX]


def _still_raised(request: Request, facts: Facts) -> bool:
    """A grant serves one call and the tool loop that it opens, within its time: not a new question with a made-up result
    behind it, and not for ever."""
    memory = facts.memory
    return memory is not None and memory.turn == turn_of(request) and facts.at_ns <= memory.raised_until_ns


def _locked(request: Request) -> bool:
    """An open tool loop or signed reasoning in the history: another model would refuse it or lose the thread."""
    return request.call.shape.continuation or request.call.shape.provider_state


def _granted(facts: Facts, own: Tier, to: Tier) -> Escalation | None:
    grant = facts.grant
    if grant is None:
        return None
    return Escalation(
        EscalationKind.REQUESTED, "agent.requested", grant.reason, own.name, to.name, grant.quota, grant.id
    )


def _classified(policy: Policy, agent: Agent, classified: Classified, own: Tier) -> Escalation | None:
    """A class whose tier lies above the agent's default is a step up, and recorded as one, when this call makes it."""
    base = policy.tiers[default_task(policy, agent).tier]
    if own.rank <= base.rank or classified.stage in (Stage.CONTINUATION, Stage.SESSION):
        return None
    kind = EscalationKind.REQUESTED if classified.stage is Stage.LANE else EscalationKind.CLASSIFIED
    return Escalation(kind, f"class.{classified.name}", classified.why, base.name, own.name)


def candidates(policy: Policy, tier: Tier, request: Request, facts: Facts) -> tuple[list[Model], list[str]]:
    """Models of a tier that may serve this call, in order, and for each other one why not."""
    fit: list[Model] = []
    unfit: list[str] = []
    for model in tier.models:
        obstacle = _obstacle(policy, model, request, facts)
        if obstacle is None:
            fit.append(model)
        else:
            unfit.append(f"{model.id}: {obstacle}")
    memory = facts.memory
    if memory is not None and _locked(request):
        fit.sort(key=lambda model: (model.id, model.upstream) != (memory.model, memory.upstream))
    return fit, unfit


def _obstacle(policy: Policy, model: Model, request: Request, facts: Facts) -> str | None:
    upstream = policy.upstreams[model.upstream]
    if model.id in facts.without:
        return "it just failed"
    if model.upstream in facts.shut:
        return facts.shut[model.upstream].reason.message
    if model.id not in facts.prices:
        return "it has no price"
    if upstream.kind is UpstreamKind.OPENAI and request.call.dialect is not Dialect.CHAT:
        return f"upstream {upstream.name} does not speak {request.call.dialect.value}"
    keyless = upstream.kind is UpstreamKind.OPENROUTER and facts.simulated
    if upstream.key is not None and upstream.key not in facts.keys and not keyless:
        return f"key {upstream.key} is not in the keyring (agentctl key set {upstream.key})"
    if upstream.kind is UpstreamKind.OPENROUTER and request.call.shape.documents and not _reads_documents(model, facts):
        return "it reads no documents"
    return None


def _reads_documents(model: Model, facts: Facts) -> bool:
    """Where nobody says so it is not sent any: the upstream would have them read by a third party, or refuse."""
    entry = facts.models.get(model.id)
    return entry is not None and not MATERIAL.isdisjoint(entry.modalities)


def accounts(policy: Policy, agent: str, task: str, tiers: Iterable[str], session: str) -> list[tuple[Budget, str]]:
    """The budgets that a call at these tiers counts towards, each with the account that is charged, in the policy's order."""
    names = [(Scope.BOX, ""), (Scope.AGENT, agent), (Scope.CLASS, task), (Scope.SESSION, session)]
    names += [(Scope.TIER, tier) for tier in tiers]
    by_scope: dict[Scope, list[str]] = {}
    for scope, name in names:
        by_scope.setdefault(scope, []).append(name)
    keys = [*names, *((scope, None) for scope in by_scope)]
    return [
        (budget, account_name(budget.scope, name))
        for budget in policy.index.budgets.at(keys)
        for name in (by_scope[budget.scope] if budget.of is None else (budget.of,))
    ]


def account_name(scope: Scope, name: str) -> str:
    """How an account is written: `box`, `agent:main`, `session:ab12`."""
    return "box" if scope is Scope.BOX else f"{scope.value}:{name}"
