"""OpenClaw: a provider in its JSON configuration, and the default model of its agents.

By itself it names only a trace, another one for each turn. With the switch for session affinity it names the conversation, so
that what is bounded per session is bounded per conversation.
"""

from agentd.ctl.clients.edits import JsonKeys
from agentd.ctl.clients.plan import CONTEXT, Aim, Client, Plan

OUTPUT = 8_000
"""Tokens that it asks for; agentd's policy bounds what it gets."""

COMPAT = {"sendSessionAffinityHeaders": True}


def plan(aim: Aim) -> Plan:
    """The provider `agentd`, speaking chat completions."""
    model = {"id": aim.model, "name": aim.model, "contextWindow": CONTEXT, "maxTokens": OUTPUT, "compat": COMPAT}
    provider = {
        "baseUrl": f"{aim.door.url}/v1",
        "apiKey": aim.door.token,
        "api": "openai-completions",
        "models": [model],
    }
    values = (
        (("models", "providers", "agentd"), provider),
        (("agents", "defaults", "model", "primary"), f"agentd/{aim.model}"),
    )
    file = JsonKeys(aim.home / ".openclaw/openclaw.json", 0o600, values)
    return Plan((file,), "openclaw gateway restart", ("A running gateway reads it when it is restarted.",))


CLIENT = Client("openclaw", "chat", True, plan)
