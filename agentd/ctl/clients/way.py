"""Which door a client is to use, and its token there: made for it through the operator's socket, typed, or piped in.

A token is never an argument, where every process could read it. Whoever only looks (`--print`) gets a word in its place.
"""

import sys
from dataclasses import dataclass

import click

from agentd.core.types.tokens import is_token
from agentd.ctl.client import Client as Daemon
from agentd.ctl.clients.plan import PLACE_TOKEN, Client, Door
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.text import clean

MAX_TOKEN = 4096
"""Characters that are read; a token has 50."""

LIFE_S = 90 * 86_400
"""As `agentctl agent token create` has it."""

TCP_NEED = "{name} cannot open a Unix socket: it needs agentd's door over TCP, and a token."
TCP_HINT = (
    "agentctl connect {name} --agent AGENT makes a token for AGENT of the policy and uses it; "
    "one that you have is piped in: agentctl connect {name} --tcp HOST:PORT"
)


@dataclass(frozen=True, slots=True)
class Wish:
    """What the options say. `show` is --print."""

    operator_socket: str
    agent_socket: str
    tcp: str | None
    agent: str | None
    show: bool


def door(wish: Wish) -> Door:
    """The door that was asked for; without a word about TCP the Unix socket. Raises `CtlError`."""
    if wish.tcp is not None:
        host, _, port = wish.tcp.rpartition(":")
        if not host or not port.isdigit():
            raise CtlError(Exit.USAGE, f"{wish.tcp} is no HOST:PORT.", "Like: --tcp 127.0.0.1:8710")
    if wish.show:
        return Door(wish.agent_socket, wish.tcp, PLACE_TOKEN) if wish.tcp else Door(wish.agent_socket)
    if wish.agent is not None:
        return _made(wish, wish.agent)
    return Door(wish.agent_socket, wish.tcp, _typed()) if wish.tcp else Door(wish.agent_socket)


def needs_tcp(client: Client) -> CtlError:
    """The refusal for a client that cannot come by the Unix socket."""
    return CtlError(Exit.REFUSED, TCP_NEED.format(name=client.name), TCP_HINT.format(name=client.name))


def _made(wish: Wish, agent: str) -> Door:
    daemon = Daemon(wish.operator_socket)
    address = wish.tcp or daemon.get("/tokens")["tcp"]
    if address is None:  # before a token is made that nobody could use
        cure = (
            "Open it: `tcp: 127.0.0.1:8710` in agentd.yaml beside the policy, then restart agentd; or as systemd's: "
            "systemctl stop agentd; systemctl enable --now agentd-tcp.socket; systemctl start agentd"
        )
        raise CtlError(Exit.REFUSED, "agentd's door over TCP is not open.", cure)
    made = daemon.send("POST", "/tokens", {"agent": agent, "expires_s": LIFE_S})
    if not made["usable"]:
        note = f"It will be refused until agents.{agent}.match has an entry with a uid alone: {{ uid: USER }}."
        click.echo(clean(note), err=True)
    return Door(wish.agent_socket, str(address), str(made["token"]))


def _typed() -> str:
    if sys.stdin.isatty():
        token = str(click.prompt("Token", hide_input=True, err=True)).strip()
    else:
        token = sys.stdin.read(MAX_TOKEN).strip()
    if not is_token(token):
        raise CtlError(Exit.USAGE, "That is no token of agentd.", "Make one: agentctl agent token create AGENT")
    return token
