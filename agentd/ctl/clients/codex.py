"""Codex: a provider of its own in config.toml, by HTTP and events; the token comes by an environment variable."""

from agentd.ctl.clients.edits import Lines
from agentd.ctl.clients.plan import Aim, Client, Plan, environment

TOKEN = "AGENTD_TOKEN"  # noqa: S105 - the name of the variable

KEYS = ("model", "model_provider", "web_search")


def plan(aim: Aim) -> Plan:
    """Root keys before all tables, the provider's table behind them, and `codex-agentd`."""
    top = f'model = "{aim.model}"\nmodel_provider = "agentd"\nweb_search = "disabled"\n'
    end = f"""[model_providers.agentd]
name = "agentd"
base_url = "{aim.door.url}/v1"
wire_api = "responses"
env_key = "{TOKEN}"
request_max_retries = 0
stream_max_retries = 2
"""
    file = Lines(aim.home / ".codex/config.toml", 0o600, top, end, KEYS)
    return Plan(
        (file, *environment(aim, "codex", "codex", {TOKEN: aim.door.token})),
        "codex-agentd",
        ("Its approval_policy and sandbox_mode stay yours.",),
    )


CLIENT = Client("codex", "responses", True, plan)
