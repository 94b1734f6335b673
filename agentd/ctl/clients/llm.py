"""llm: one more entry in its list of OpenAI-compatible models, and a key by the name that the entry gives."""

from agentd.ctl.clients.edits import JsonKeys, Lines
from agentd.ctl.clients.plan import Aim, Client, Plan

FOLDER = ".config/io.datasette.llm"
"""Where it keeps its files on Linux; LLM_USER_PATH would change that."""


def plan(aim: Aim) -> Plan:
    """The model `agentd`."""
    entry = f"""- model_id: agentd
  model_name: "{aim.model}"
  api_base: "{aim.door.url}/v1"
  api_key_name: agentd
"""
    models = Lines(aim.home / FOLDER / "extra-openai-models.yaml", 0o600, end=entry)
    keys = JsonKeys(aim.home / FOLDER / "keys.json", 0o600, ((("agentd",), aim.door.token),))
    return Plan((models, keys), "llm -m agentd 'good morning'")


CLIENT = Client("llm", "chat", True, plan)
