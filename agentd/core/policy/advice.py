"""What an operator can do about a decision: from its stable code to the next command or line of policy.

The longest prefix of the code decides, so a new code in a known family still gets the family's advice. The policy's own
words come first: this is for whoever may change them."""

from collections.abc import Mapping
from typing import Any

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
    "operator.halt": ("See what is stopped: agentctl status", 'Let it go on: agentctl resume --reason "why"'),
    "tier": ("Raise the ceiling that the rule names only if this class of work is worth that price.",),
    "class": ("Add the class to the agent's `classes:`, or have the client declare one that it has.",),
    "label": ("Put a model that may see this label into a tier, or give the agent a lower label.",),
    "escalation": ("Raise `quota:` of the class's `escalation:`, or wait for its window to end.",),
    "model": (
        "A key that is missing: agentctl key set NAME. A price that is missing: `price:` under the model.",
        "See keys and upstreams: agentctl doctor",
    ),
    "policy": ("Find the fault: agentctl policy check FILE", "See the state: agentctl doctor"),
    "record": ("Nothing is served while the record cannot be written: agentctl doctor",),
    "upstream": ("See whether the upstream is well: agentctl doctor",),
    "request": ("Have the client send what the message asks for; the policy cannot change this.",),
}
"""Advice by code, or by the first words of one."""

ALLOWED: dict[str, tuple[str, ...]] = {
    "tier.capped": ("For more, the agent asks with a reason: POST /agentd/v1/escalations; the class's quota pays.",),
    "tier.lowered": ("See why the usual tier could not serve: agentctl doctor; agentctl spend --by tier",),
}
"""Advice about calls that were served otherwise than asked."""


def next_steps(line: Mapping[str, Any], outcome: Mapping[str, Any]) -> tuple[str, ...]:
    """Next steps for a decision line and its outcome (empty while open, and for denials); empty when there is none."""
    if line.get("verdict") == "allow":
        return _after(line, outcome)
    return advice_for(str(line.get("code") or ""))


def advice_for(code: str) -> tuple[str, ...]:
    """The advice of the longest known prefix of a code, cut at its dots."""
    words = code.split(".")
    for size in range(len(words), 0, -1):
        found = ADVICE.get(".".join(words[:size]))
        if found:
            return found
    return ()


def _after(line: Mapping[str, Any], outcome: Mapping[str, Any]) -> tuple[str, ...]:
    if outcome and outcome.get("cost_nusd") is None:
        return ("The cost stayed unknown, so the reservation counts against the budgets.",)
    return ALLOWED.get(str(line.get("code") or ""), ())
