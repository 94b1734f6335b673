"""nanobot: its OpenRouter provider, pointed at agentd instead."""

from agentd.ctl.clients.edits import JsonKeys
from agentd.ctl.clients.plan import Aim, Client, Plan


def plan(aim: Aim) -> Plan:
    """Address and token of the provider, and the model of its agents."""
    values = (
        (("providers", "openrouter", "apiKey"), aim.door.token),
        (("providers", "openrouter", "apiBase"), f"{aim.door.url}/api/v1"),
        (("agents", "defaults", "model"), aim.model),
        (("agents", "defaults", "provider"), "openrouter"),
    )
    return Plan((JsonKeys(aim.home / ".nanobot/config.json", 0o600, values),), "nanobot agent")


CLIENT = Client("nanobot", "chat", True, plan)
