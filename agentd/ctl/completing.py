"""Names for a shell's completion, asked of the daemon. A shell waits for this at every press of the key: it is quick or says
nothing, and it never fails aloud."""

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from agentd.ctl.exits import CtlError
from agentd.ctl.options import named_socket
from agentd.ctl.paths import default_socket
from agentd.ctl.text import clean

Json = dict[str, Any]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

TIMEOUT_S = 0.7
"""Longest wait: a person who pressed a key takes more for a fault."""

NEWEST = 30
"""Decisions that are offered: about a screen."""


def _from(route: str, names: Callable[[Json], list[tuple[str, str]]]) -> Completer:
    """A completer that asks a route, and takes (name, help) pairs out of its answer."""

    def complete(ctx: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
        from agentd.ctl.client import Client  # noqa: PLC0415 - HTTP is imported when somebody asks something

        try:
            found = names(Client(named_socket(ctx) or default_socket(), timeout_s=TIMEOUT_S).get(route))
        except (CtlError, KeyError, TypeError):  # not there, or another version: no names
            return []
        return [CompletionItem(clean(name), help=clean(words)) for name, words in found if name.startswith(begun)]

    return complete


def _plain(names: list[str]) -> list[tuple[str, str]]:
    return [(name, "") for name in names]


def _halted(scope: str) -> Callable[[Json], list[tuple[str, str]]]:
    return lambda found: [(halt["name"], halt["reason"]) for halt in found["halts"] if halt["scope"] == scope]


def _decision(row: Json) -> tuple[str, str]:
    words = (row.get("agent"), row.get("class"), row.get("verdict"), row.get("code"))
    return str(row["id"]), " ".join(str(word) for word in words if word)


agents = _from("/status", lambda found: _plain(found["policy"]["agents"]))
"""Agents of the policy in force."""

tiers = _from("/status", lambda found: _plain(found["policy"]["tiers"]))
"""Its tiers."""

classes = _from("/status", lambda found: _plain(found["policy"]["classes"]))
"""Its classes of work."""

halted_agents = _from("/halts", _halted("agent"))
"""Agents that are stopped now."""

halted_tiers = _from("/halts", _halted("tier"))
"""Tiers that are stopped now."""

keys = _from("/keys", lambda found: [(row["name"], ", ".join(row["upstreams"])) for row in found["keys"]])
"""Keys that are in use or wanted."""

tokens = _from(
    "/tokens", lambda found: [(row["id"], row["agent"]) for row in found["tokens"] if row["state"] == "valid"]
)
"""Tokens that serve."""

decisions = _from(f"/logs?limit={NEWEST}", lambda found: [_decision(row) for row in reversed(found["rows"])])
"""The newest lines, the newest first."""
