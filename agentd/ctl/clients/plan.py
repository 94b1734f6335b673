"""The words of connecting a client: the door that it is to use, what is to be written, and how it is started then.

Whoever connects is identified by the kernel. Over the Unix socket the token is therefore only a word that clients insist on
sending; over TCP it is this agent's own, and worth nothing from another uid or another box.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agentd.ctl.clients.edits import Edit, WholeFile

Dialect = Literal["chat", "messages", "responses"]

NO_TOKEN = "agentd"  # noqa: S105 - no secret: a word for clients that refuse to start without one
ANY_MODEL = "auto"
"""A name that nobody has: the choice is the policy's."""

CONTEXT = 200_000
"""Tokens of context that a client is to plan with where it must be told: it compacts what it has before it gets there."""

PLACE_TCP = "HOST:PORT"
PLACE_TOKEN = "TOKEN"  # noqa: S105 - what is printed where a token belongs

ENVIRONMENTS = ".config/agentd"
PROGRAMS = ".local/bin"
"""Below a home. Debian's shells look for programs there when the directory is there at login."""


@dataclass(frozen=True, slots=True)
class Door:
    """The way in: agentd's Unix socket, or with `tcp` (host:port) its TCP door, which takes a token."""

    socket: str
    tcp: str | None = None
    token: str = field(default=NO_TOKEN, repr=False)

    @property
    def url(self) -> str:
        """Base of the TCP door; no `/v1`."""
        return f"http://{self.tcp or PLACE_TCP}"


@dataclass(frozen=True, slots=True)
class Aim:
    """What a plan is made for: whose home, through which door, asking for which model or lane; None: nobody named one."""

    home: Path
    door: Door
    named: str | None

    @property
    def model(self) -> str:
        """What a client asks for that cannot go without a name."""
        return self.named or ANY_MODEL


@dataclass(frozen=True, slots=True)
class Plan:
    """What is written, how the client is started then, and what else somebody should know."""

    edits: tuple[Edit, ...]
    start: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Client:
    """A client of this name. `tcp_only`: it cannot reach a Unix socket."""

    name: str
    dialect: Dialect
    tcp_only: bool
    plan: Callable[[Aim], Plan]


def environment(aim: Aim, name: str, program: str, values: Mapping[str, str]) -> tuple[Edit, ...]:
    """For clients that are told by their environment: a file of it, and a program that starts the client with it.

    The file is one that systemd reads too (EnvironmentFile=).
    """
    file = aim.home / ENVIRONMENTS / f"{name}.env"
    wrapper = aim.home / PROGRAMS / f"{program}-agentd"
    lines = "".join(f"{key}={shlex.quote(value) if value else ''}\n" for key, value in values.items())
    script = f"""#!/bin/sh
# {program}, through agentd. Made by `agentctl connect {name}`, taken away by `agentctl connect {name} --undo`.
set -a
. {shlex.quote(str(file))}
set +a
exec {program} "$@"
"""
    return (WholeFile(file, 0o600, lines), WholeFile(wrapper, 0o755, script))
