"""How each client is pointed at agentd: one module for each, all of the form of `agentd.ctl.clients.plan`."""

import importlib

from agentd.ctl.clients.plan import Client

NAMES = ("claude-code", "codex", "openclaw", "nanobot", "aider", "llm", "openai-sdk", "anthropic-sdk")
"""Those that are known."""


def client_named(name: str) -> Client:
    """One of `NAMES`."""
    module = importlib.import_module(f"agentd.ctl.clients.{name.replace('-', '_')}")
    client: Client = module.CLIENT
    return client
