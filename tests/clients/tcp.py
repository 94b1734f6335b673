"""The door over TCP as a client is pointed at it: an address, and a token in the place of an API key."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from harness.daemon import SHIPPED_POLICY, Daemon


@dataclass(frozen=True, slots=True)
class TcpAgent:
    """What an operator writes into a client's configuration."""

    daemon: Daemon
    url: str  # "http://127.0.0.1:43211", without a path
    token: str


def agent_over_tcp(start: Callable[..., Daemon], agent: str = "main") -> TcpAgent:
    """A daemon with the shipped policy and an open door over TCP, and a token for one of its agents."""
    daemon = start(SHIPPED_POLICY, "--tcp", "127.0.0.1:0")
    status = json.loads(daemon.ctl("status", "--json").stdout)
    made = daemon.ctl("agent", "token", "create", agent)
    if made.returncode != 0:
        raise AssertionError(made.stderr)
    return TcpAgent(daemon, f"http://{status['tcp']}", made.stdout.strip())
