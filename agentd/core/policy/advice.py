"""What an operator can do about a decision: from its stable code, and how its call ended, to the next command or line of policy.

The longest prefix of the code decides, so a new code in a known family still gets the family's advice. The policy's own
words come first: this is for whoever may change them. A command is spelled out as it must be typed wherever the record and
the policy of the decision know its names; what they do not know is not guessed."""

import re
from collections.abc import Mapping
from typing import Any

from agentd.core.policy.page import as_map
from agentd.core.policy.schema import Policy

RESUME = re.compile(r"agentctl resume(?: --(?:agent|tier) \S+)?(?= --reason)")
"""The command in the hint of a halt: it names what was stopped, and only ending that very stop helps."""

KEY_SET = re.compile(r"agentctl key set [a-z0-9_-]+")
"""The command in the message about a model whose key is not there."""

ADVICE: dict[str, tuple[str, ...]] = {
    "budget": (
        "Wait for the window to end, or raise the budget that the rule names and save the policy file.",
        "See who used it up: agentctl spend --by class",
    ),
    "caller": ("If this caller is an agent of yours, add it under `agents:` with a `match:` on the facts above.",),
    "token.wrong_uid": (
        "If nobody moved this agent to another user, its token was stolen: agentctl agent token rotate AGENT --now",
        "If somebody did, give the agent a `match:` entry with that uid alone.",
    ),
    "token": ("Give the agent a valid token: agentctl agent token create AGENT; list them: agentctl agent token list",),
    "agent.expired": ("If the agent is still wanted, give it a later `expires:` in the policy file.",),
    "operator.halt": ("See what is stopped, and how to let it go on: agentctl doctor",),
    "operator.agent": (
        "Operators need an account of their own: one that no entry under `agents:` matches, in the operators' group.",
        "If it was the agent itself, find out why it tried: agentctl logs --agent AGENT",
    ),
    "daemon.stopping": ("Nothing is wrong: agentd was being stopped. The agent asks again when it is back.",),
    "tier": ("Raise the ceiling that the rule names only if this class of work is worth that price.",),
    "class": ("Add the class to the agent's `classes:`, or have the client declare one that it has.",),
    "label": ("Put a model that may see this label into a tier, or give the agent a lower label.",),
    "escalation.no_rule": (
        "If this work is worth a dearer tier, give its class an `escalation:` (to, quota, window, grant, owner).",
        "Without one nobody can raise it: the agent goes on at the class's own tier.",
    ),
    "escalation.above_ceiling": (
        "Raise the agent's `ceiling:`, or let the class's `escalation:` lead to a tier below it.",
    ),
    "escalation.other_tier": ("Have the agent ask for the tier that the message names, or change `to:` of the class.",),
    "escalation.no_session": (
        "Have the client send X-Agentd-Session with the ask and with the calls that it is for: a grant is for one session.",
    ),
    "escalation.no_reason": ("Have the agent say why in `reason`: it is what the record keeps of it.",),
    "escalation.quota": ("Raise `quota:` of the class's `escalation:`, or wait for its window to end.",),
    "escalation": ("Have the client ask with {class, tier, reason} and nothing else: POST /agentd/v1/escalations",),
    "model": (
        "A key that is missing: agentctl key set NAME. A price that is missing: `price:` under the model.",
        "See keys and upstreams: agentctl doctor",
    ),
    "model.always_thinks": (
        "Raise `effort:` of class {class}, or put a model that can think less into its tier.",
    ),
    "policy": ("Find the fault: agentctl policy check FILE", "See the state: agentctl doctor"),
    "record": ("Nothing is served while the record cannot be written: agentctl doctor",),
    "key": ("Store the key: agentctl key set {key}", "See the keyring: agentctl doctor"),
    "upstream.key_refused": ("Store a key that upstream {upstream} accepts: agentctl key set {key}",),
    "upstream.limit": ("Raise the limit or add credit at upstream {upstream}: its own account page shows both.",),
    "upstream.rate_limited": (
        "Wait: upstream {upstream} takes no more for now. If it stays so, add a model of another.",
    ),
    "upstream.no_model": ("Put a model that upstream {upstream} has into tier {tier}, and save the policy file.",),
    "upstream.no_private_endpoint": (
        "Loosen `zdr:`, `max_price:` or `providers:` of tier {tier}, or put a model into it that can meet them.",
    ),
    "upstream.too_long": ("Have the client send less, or put a model with a longer context into tier {tier}.",),
    "upstream.timeout": (
        "Raise `deadline:` of class {class} if such work takes so long; otherwise see the upstream: agentctl doctor",
    ),
    "upstream.content_refused": ("The upstream's own rules refuse it. Another model may not: change tier {tier}.",),
    "upstream.invalid": ("Have the client send what the upstream can read; the policy cannot change this.",),
    "upstream.too_large": ("Have the client send less; the policy cannot change this.",),
    "upstream": (
        "See whether upstream {upstream} is well: agentctl doctor",
        "If it stays so, add a model of another upstream to tier {tier}: the next one is tried when the first fails.",
    ),
    "request": ("Have the client send what the message asks for; the policy cannot change this.",),
}
"""Advice by code, or by the first words of one. What stands in braces is filled in from the line and its policy."""

ENDED = {"error": "upstream.error", "cut": "upstream.cut", "timeout": "upstream.timeout"}
"""Codes for how a call ended, where its outcome names none that is known."""

LOWERED = "See why the usual tier could not serve: agentctl doctor; agentctl spend --by tier"

HALTED = "An operator cut it. See what is stopped, and how to let it go on: agentctl doctor"

UNSETTLED = "The cost stayed unknown, so the reservation counts against the budgets."


def next_steps(line: Mapping[str, Any], outcome: Mapping[str, Any], policy: Policy | None = None) -> tuple[str, ...]:
    """Next steps for a decision line and its outcome (empty while open, and for denials); empty when there is none.

    `policy` is the version that decided; without it, what only it knows is left out."""
    if line.get("verdict") == "allow":
        return (*_ended(line, outcome, policy), *_served(line, policy))
    detail, code = as_map(line.get("detail")), str(line.get("code") or "")
    if line.get("kind") == "genesis":
        return _begun(as_map(detail.get("previous")))
    if code == "operator.halt" and (found := RESUME.search(str(detail.get("hint")))):
        return ("See what is stopped: agentctl status", f'Let it go on: {found[0]} --reason "why"')
    if code == "model.none_available" and (found := KEY_SET.search(str(detail.get("message")))):
        return (f"Store the key that is missing: {found[0]}", "See keys and upstreams: agentctl doctor")
    return _filled(advice_for(code), line, policy)


def advice_for(code: str) -> tuple[str, ...]:
    """The advice of the longest known prefix of a code, cut at its dots."""
    words = code.split(".")
    for size in range(len(words), 0, -1):
        found = ADVICE.get(".".join(words[:size]))
        if found:
            return found
    return ()


def _begun(before: Mapping[str, Any]) -> tuple[str, ...]:
    """What to know of a record that took the place of another."""
    if not before:
        return ()
    old = f"{before.get('moved_to') or 'a directory of its own'} of the state directory"
    return (
        "Budgets, quotas, halts and local tokens began anew with this line: halt again what is to stay stopped.",
        f"The old files are in {old}; verify them: agentctl audit verify --db DIRECTORY/ledger.db",
    )


def _filled(steps: tuple[str, ...], line: Mapping[str, Any], policy: Policy | None) -> tuple[str, ...]:
    """The steps with names of the line in them; a name that is not known stays a word in capitals."""
    name = str(as_map(line.get("detail")).get("upstream") or "")
    upstream = policy.upstreams.get(name) if policy else None
    names = {
        "{upstream}": name or "UPSTREAM",
        "{key}": (upstream.key if upstream else None) or "NAME",
        "{tier}": str(line.get("tier") or "TIER"),
        "{class}": str(line.get("class") or "CLASS"),
        "AGENT": str(line.get("agent") or "AGENT"),
    }
    return tuple(re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], step) for step in steps)


def _ended(line: Mapping[str, Any], outcome: Mapping[str, Any], policy: Policy | None) -> tuple[str, ...]:
    """What to do about a call that did not end well, or whose cost nobody said."""
    if not outcome:
        return ()
    status = str(outcome.get("status") or "")
    settled = as_map(outcome.get("settlement")).get("cost_nusd")
    unknown = (UNSETTLED,) if outcome.get("cost_nusd") is None and settled is None else ()
    if status == "halted":
        return (HALTED, *unknown)
    if status not in ENDED:
        return unknown
    code = str(as_map(outcome.get("detail")).get("error") or "")
    return (*_filled(advice_for(code) or advice_for(ENDED[status]), line, policy), *unknown)


def _served(line: Mapping[str, Any], policy: Policy | None) -> tuple[str, ...]:
    """What to do about a call that was served otherwise than asked."""
    code = line.get("code")
    if code == "tier.lowered":
        return (LOWERED,)
    task = policy.classes.get(str(line.get("class"))) if policy else None
    agent = policy.agents.get(str(line.get("agent"))) if policy else None
    if code != "tier.capped" or policy is None or task is None or agent is None:
        return ()
    if task.escalation is None:
        return (f"Class {task.name} has no escalation. If its work is worth more, give it one, or a higher `tier:`.",)
    rule = task.escalation
    if policy.tiers[rule.to].rank > policy.tiers[agent.ceiling].rank:
        return (
            f"Agent {agent.name} stops at {agent.ceiling}: raise its `ceiling:` only if its work is worth that price.",
        )
    quota = f"{rule.quota} per {rule.window.value}"
    return (
        f"For {rule.to} the agent asks with a reason: POST /agentd/v1/escalations ({quota} for class {task.name}).",
    )
