"""Claude Code. The socket's path must be in the environment of its process: the `env` of its settings is ignored for that one.

The four switches: requests that every tier understands, no second call after a broken stream, and retries that end.

It has a model for its turns, one for each word that people and models choose by (opus, sonnet ...), and one for sub-agents.
Whoever names a model means all of them. Without a name nothing is said, and it asks for Claude models, small ones for small
errands: a policy whose lanes know those tells its kinds of work apart. Of a name that it does not know it believes that a
million tokens of context are behind it, and would not compact before a model of less has refused.
"""

from agentd.ctl.clients.plan import CONTEXT, Aim, Client, Plan, environment

SWITCHES = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    "CLAUDE_CODE_MAX_RETRIES": "2",
}

MODELS = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
"""Where it reads what it asks for."""

WINDOW = "CLAUDE_CODE_MAX_CONTEXT_TOKENS"

OWN_MODELS = "It names Claude models by itself; the lanes of the policy's classes say which work each of them declares."


def plan(aim: Aim) -> Plan:
    """Its environment, and `claude-agentd` to start it with."""
    over_socket = {"ANTHROPIC_UNIX_SOCKET": aim.door.socket, "ANTHROPIC_BASE_URL": "http://agentd.invalid"}
    way = {"ANTHROPIC_BASE_URL": aim.door.url} if aim.door.tcp else over_socket
    models = {} if aim.named is None else {**dict.fromkeys(MODELS, aim.named), WINDOW: str(CONTEXT)}
    values = {**way, "ANTHROPIC_AUTH_TOKEN": aim.door.token, "ANTHROPIC_API_KEY": "", **SWITCHES, **models}
    notes = (OWN_MODELS,) if aim.named is None else ()
    return Plan(environment(aim, "claude-code", "claude", values), "claude-agentd", notes)


CLIENT = Client("claude-code", "messages", False, plan)
