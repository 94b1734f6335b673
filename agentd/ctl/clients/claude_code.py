"""Claude Code. The socket's path must be in the environment of its process: the `env` of its settings is ignored for that one.

The four switches: requests that every tier understands, no second call after a broken stream, and retries that end.
"""

from agentd.ctl.clients.plan import Aim, Client, Plan, environment

SWITCHES = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
}


def plan(aim: Aim) -> Plan:
    """Its environment, and `claude-agentd` to start it with."""
    over_socket = {"ANTHROPIC_UNIX_SOCKET": aim.door.socket, "ANTHROPIC_BASE_URL": "http://agentd.invalid"}
    way = {"ANTHROPIC_BASE_URL": aim.door.url} if aim.door.tcp else over_socket
    values = {**way, "ANTHROPIC_AUTH_TOKEN": aim.door.token, "ANTHROPIC_API_KEY": "", **SWITCHES}
    return Plan(
        environment(aim, "claude-code", "claude", values),
        "claude-agentd",
        ("It names Claude models by itself; the lanes of the policy's classes say which work each of them declares.",),
    )


CLIENT = Client("claude-code", "messages", False, plan)
