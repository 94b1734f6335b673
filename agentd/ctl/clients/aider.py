"""aider: by its environment; models are named `openai/NAME` there."""

from agentd.ctl.clients.plan import Aim, Client, Plan, environment


def plan(aim: Aim) -> Plan:
    """Its environment, and `aider-agentd`."""
    values = {
        "OPENAI_API_BASE": f"{aim.door.url}/v1",
        "OPENAI_API_KEY": aim.door.token,
        "AIDER_MODEL": f"openai/{aim.model}",
    }
    return Plan(environment(aim, "aider", "aider", values), "aider-agentd")


CLIENT = Client("aider", "chat", True, plan)
