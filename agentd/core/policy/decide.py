"""The verdict on a model call: a pure, total function of policy, request, class and facts.

Default deny: each step either goes on or ends in a `Deny` that names the rule and what is possible instead; only the last
line allows. Deny beats allow, and the order of the steps is the order in which an operator would ask:
who, until when, stopped by hand, hidden wishes, which tier, which data, which model, what it may cost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from agentd.core.accounting.price import upper_bound
from agentd.core.policy.bounds import clamps, too_eager
from agentd.core.policy.efforts import Room
from agentd.core.policy.facts import Facts, Halt, Used
from agentd.core.policy.model import TierChoice, accounts, candidates, choose_tier
from agentd.core.policy.schema import Agent, Budget, Model, Policy, TaskClass, Tier, UpstreamKind, Window
from agentd.core.types.calls import Request
from agentd.core.types.classes import Classified
from agentd.core.types.verdicts import Allow, Answer, Charge, Deny, ModelLimits, Reason, Verdict

HIDDEN_PROMPT_TOKENS = 2048
"""Tokens that a provider adds to a prompt (tool-use preamble, chat template). Measured preambles are below 700."""

MOST_CHARS_PER_TOKEN = 8
"""Prose has four or five characters per token, code fewer. Only runs of one character have many more, and such a prompt may be
sent: the upstream refuses it at no cost."""

IMAGE_TOKENS = 4096
"""Of one picture: providers scale them down; the dearest measured counts are below 3,000."""

DOCUMENT_TOKENS = 460_000
"""Of one document: providers take 100 pages, each as text (up to 3,000 tokens) and as a picture (1,600)."""

NS_PER_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class _Case:
    """What the steps share: the decided-so-far."""

    policy: Policy
    request: Request
    facts: Facts
    agent: Agent
    task: TaskClass


def decide(policy: Policy, request: Request, classified: Classified | None, facts: Facts) -> Verdict:
    """Judge a model call. `classified` is None only for a caller that no agent entry matches."""
    agent = policy.agents.get(request.caller.agent or "")
    if agent is None or classified is None:
        return _unknown(policy, request)
    refused = _standing(policy, agent, facts) or _smuggled(policy, request, agent)
    if refused is not None:
        return refused
    if classified.name not in agent.classes or classified.name not in policy.classes:
        return _no_class(policy, agent, classified)
    case = _Case(policy, request, facts, agent, policy.classes[classified.name])
    return _serve(case, choose_tier(policy, agent, request, classified, facts))


def estimate_prompt(request: Request) -> int:
    """An upper bound of the prompt's tokens: byte-level tokenizers make no token of less than one byte. Pictures and
    documents are made into tokens by what they show, which a few compressed bytes can hold."""
    shape = request.call.shape
    material = shape.images * IMAGE_TOKENS + shape.documents * DOCUMENT_TOKENS
    return len(request.call.body) + material + HIDDEN_PROMPT_TOKENS


def least_prompt(request: Request) -> int:
    """A lower bound of the prompt's tokens, for texts as people and programs write them."""
    shape = request.call.shape
    return (shape.system_chars + shape.history_chars) // MOST_CHARS_PER_TOKEN


def _unknown(policy: Policy, request: Request) -> Deny:
    peer = request.caller.peer
    facts = f"uid {peer.uid}, gid {'-' if peer.gid is None else peer.gid}, unit {peer.unit or '-'}, executable {peer.exe or '-'}"
    hint = "The operator adds an entry under agents: in the policy that matches one of these facts."
    return Deny(
        Reason(
            "caller.unknown",
            f"agents ({policy.source})",
            f"no agent of the policy matches this process ({facts})",
            hint,
        ),
        Answer.UNKNOWN,
    )


def _standing(policy: Policy, agent: Agent, facts: Facts) -> Deny | None:
    """Whether the agent may do anything at all now."""
    rule = policy.at("agents", agent.name, agent.place)
    if _day(facts.at_ns // NS_PER_DAY) > agent.expires:
        message = f"agent {agent.name} expired on {agent.expires.isoformat()}"
        return Deny(
            Reason(
                "agent.expired",
                rule,
                message,
                f"Its owner {agent.owner} reviews it and sets a new date under expires:.",
            )
        )
    halt = next((h for h in facts.halts if h.scope == "box" or (h.scope == "agent" and h.name == agent.name)), None)
    return None if halt is None else _halted(halt)


@lru_cache(maxsize=16)
def _day(since: int) -> date:
    """The date of a day since 1970, UTC."""
    return date(1970, 1, 1) + timedelta(days=since)


def _halted(halt: Halt) -> Deny:
    return Deny(halted(halt))


def halted(halt: Halt) -> Reason:
    """Why nothing goes through a halt, for calls that come and for those that it cuts."""
    what = "everything on this box" if halt.scope == "box" else f"{halt.scope} {halt.name}"
    which = "" if halt.scope == "box" else f" --{halt.scope} {halt.name}"
    hint = f"The operator lifts it with: agentctl resume{which} --reason WHY"
    return Reason("operator.halt", f"halt-{halt.seq}", f"the operator has stopped {what}: {halt.reason}", hint)


def _smuggled(policy: Policy, request: Request, agent: Agent) -> Deny | None:
    refused = [item for item in request.call.smuggled if item.refused]
    if not refused:
        return None
    named = ", ".join(f"{item.where} = {item.what}" for item in refused[:3])
    message = f"the request asks the upstream for something that no rule grants: {named}"
    rule = policy.at("agents", agent.name, agent.place)
    return Deny(Reason("request.forbidden_field", rule, message, "Send it without that field."))


def _no_class(policy: Policy, agent: Agent, classified: Classified) -> Deny:
    message = f"agent {agent.name} may not do work of class {classified.name}"
    rule = policy.at("agents", agent.name, agent.place)
    return Deny(Reason("class.not_allowed", rule, message, f"Its classes are {', '.join(agent.classes)}."))


def _serve(case: _Case, choice: TierChoice) -> Verdict:
    """The chosen tier, or a lower one down to the class's floor when a limit stands in the way of the first."""
    first: Deny | None = None
    for tier in _downwards(case, choice.tier):
        verdict = _at_tier(case, choice, tier)
        if isinstance(verdict, Allow):
            return verdict
        first = first or verdict
    return first or _no_model(case, choice.tier, [])


def _downwards(case: _Case, top: Tier) -> Iterator[Tier]:
    """The tier itself, nearly always the last that is asked for, then those below it."""
    yield top
    floor = min(case.policy.tiers[case.task.floor].rank, top.rank)
    below = [tier for tier in case.policy.tiers.values() if floor <= tier.rank < top.rank]
    yield from sorted(below, key=lambda tier: -tier.rank)


def _at_tier(case: _Case, choice: TierChoice, tier: Tier) -> Allow | Deny:
    halt = next((h for h in case.facts.halts if h.scope == "tier" and h.name == tier.name), None)
    if halt is not None:
        return _halted(halt)
    labels = case.policy.labels
    if labels.index(case.agent.label) > labels.index(tier.max_label):
        return _label(case, tier)
    fit, unfit = candidates(case.policy, tier, case.request, case.facts)
    denied: Deny | None = None
    for model in fit:
        verdict = _with_model(case, choice, tier, model)
        if isinstance(verdict, Allow):
            return verdict
        denied = denied or verdict
    return denied or _no_model(case, tier, unfit)


def _label(case: _Case, tier: Tier) -> Deny:
    message = f"data of agent {case.agent.name} is labelled {case.agent.label}; tier {tier.name} may see {tier.max_label} at most"
    hint = "The operator raises max_label of the tier, or lowers the label of the agent."
    return Deny(Reason("label.too_high", case.policy.at("tiers", tier.name, tier.place), message, hint))


def _no_model(case: _Case, tier: Tier, unfit: list[str]) -> Deny:
    shut = next((case.facts.shut[model.upstream] for model in tier.models if model.upstream in case.facts.shut), None)
    if shut is not None:
        return shut
    failed = bool(case.facts.without)
    message = f"no model of tier {tier.name} can serve this call: {'; '.join(unfit) or 'none is listed'}"
    hint = "Ask again later." if failed else "The operator sees each reason with: agentctl doctor"
    reason = Reason("model.none_available", case.policy.at("tiers", tier.name, tier.place), message, hint)
    return Deny(reason, Answer.WAIT if failed else Answer.DENY, retry_after_s=30 if failed else None)


def _with_model(case: _Case, choice: TierChoice, tier: Tier, model: Model) -> Allow | Deny:
    entry = case.facts.models.get(model.id)
    if entry is not None and least_prompt(case.request) > entry.context_length:
        return _too_long(case, tier, model, entry.context_length)
    if entry is not None and too_eager(entry.reasoning, case.request.call.dialect, case.task.effort):
        return _too_eager(case, model)
    bounds = [case.task.max_output, tier.max_output, *([entry.max_output] if entry is not None else [])]
    asked = case.request.call.max_output
    max_output = min(bounds if asked is None else [*bounds, asked])
    reserved = upper_bound(case.facts.prices[model.id], estimate_prompt(case.request), max_output)
    charged = accounts(case.policy, case.agent.name, case.task.name, (tier.name,), case.request.session)
    charges: list[Charge] = []
    for budget, account in charged:
        used = case.facts.used.get((budget.name, account), Used())
        denied = _over(case.policy, budget, account, used, reserved)
        if denied is not None:
            return denied
        charges.append(Charge(budget.name, account, used.spent, budget.limit))
    lowered = tier.rank < choice.tier.rank
    limits = ModelLimits(
        tier=tier.name,
        model=model.id,
        upstream=model.upstream,
        max_output=max_output,
        reserved=reserved,
        deadline_s=case.task.deadline_s,
        providers=model.providers,
        max_price=tier.max_price,
        zdr=tier.zdr,
        charges=tuple(charges),
        label=case.agent.label,
        escalation=None if lowered else choice.escalation,
        effort=case.task.effort,
        cache_ttl=case.task.cache_ttl,
        clamps=clamps(case.request.call, _room(case, model, max_output)),
    )
    rule = case.policy.at("classes", case.task.name, case.task.place)
    if lowered:
        return Allow(
            Reason("tier.lowered", rule, f"{choice.tier.name} could not serve; {tier.name} is not below the floor"),
            limits,
        )
    return Allow(Reason(choice.code, rule, choice.why), limits)


def _room(case: _Case, model: Model, max_output: int) -> Room:
    """What this call may have of this model beside tokens."""
    entry, task = case.facts.models.get(model.id), case.task
    openrouter = case.policy.upstreams[model.upstream].kind is UpstreamKind.OPENROUTER
    reasoning = entry.reasoning if entry is not None and openrouter else None
    return Room(task.name, task.effort, task.cache_ttl, max_output, model.id, reasoning, openrouter)


def _too_long(case: _Case, tier: Tier, model: Model, context: int) -> Deny:
    """A prompt that no tokenizer brings into the model's context is refused before anybody is paid for finding that out."""
    message = f"the request is longer than the context of {model.id}: {context} tokens"
    hint = "Shorten or compact the conversation."
    return Deny(Reason("model.context", case.policy.at("tiers", tier.name, tier.place), message, hint), Answer.INVALID)


def _too_eager(case: _Case, model: Model) -> Deny:
    """A bound that a model cannot keep is not quietly loosened: the next model serves, or none."""
    task = case.task
    message = (
        f"class {task.name} allows {task.effort or 'any'} effort at most, and {model.id} always thinks more than that"
    )
    hint = f"The operator raises effort of the class, or adds a model that can think less to tier {task.tier}."
    return Deny(Reason("model.always_thinks", case.policy.at("classes", task.name, task.place), message, hint))


def _over(policy: Policy, budget: Budget, account: str, used: Used, reserved: int) -> Deny | None:
    """A limit counts what is spent, what is reserved and the worst case of this call together."""
    over_money = budget.limit is not None and used.spent + reserved > budget.limit
    over_calls = budget.calls is not None and used.calls + 1 > budget.calls
    over_tokens = budget.tokens is not None and used.tokens >= budget.tokens
    if not (over_money or over_calls or over_tokens):
        return None
    what = "money" if over_money else "calls" if over_calls else "tokens"
    until = f"resets {used.resets}" if used.resets else f"counts per {budget.window.value}"
    message = f"the {what} limit of {budget.name} ({account}, per {budget.window.value}) is reached, {until}"
    hint = "Smaller requests may still fit."
    if not over_money or used.spent >= (budget.limit or 0):
        hint = "Begin a new conversation." if budget.window is Window.SESSION else "Wait for the reset."
    return Deny(
        Reason("budget.exhausted", policy.at("budgets", budget.name, budget.place), message, hint), Answer.BUDGET
    )
