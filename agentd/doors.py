"""The doors that agentd opens: which sockets, where, for whom. Bound once at start, before anything is served."""

import os

from agentd.edge.api.activation import activated
from agentd.edge.api.listen import Listener, Place, bind_door
from agentd.edge.api.tcp import address_of, bind_tcp
from agentd.settings import AGENTS_GROUP, OPERATORS_GROUP, Settings

CONNECT = """connect an agent:
  Claude Code   ANTHROPIC_UNIX_SOCKET={agent} ANTHROPIC_BASE_URL=http://agentd.invalid ANTHROPIC_AUTH_TOKEN=agentd claude
  anything      curl --unix-socket {agent} http://agentd/v1/models"""
"""What a trial says about itself. The token there is none: who calls is the kernel's word."""

CONNECT_TCP = "  over TCP      http://{tcp}/v1 with a token as the API key: agentctl agent token create AGENT"


def open_doors(settings: Settings) -> list[Listener]:
    """Sockets from systemd where it passes them, our own otherwise; each door once, and the agents' over TCP if that is wanted.
    Raises `ListenFailed`."""
    given = {listener.door: listener for listener in activated(os.environ, os.getpid())}
    tcp = [bind_tcp(settings.tcp)] if settings.tcp else []
    return [*(given.get(place.door) or bind_door(place) for place in _places(settings)), *tcp]


def where(listener: Listener) -> str:
    """A door's path or address, for people."""
    return str(listener.path) if listener.names is None else address_of(listener)


def tcp_address(listeners: list[Listener]) -> str | None:
    """Where the door over TCP is, if there is one."""
    return next((address_of(listener) for listener in listeners if listener.names is not None), None)


def how_to_connect(settings: Settings, listeners: list[Listener]) -> list[str]:
    """Lines that tell a newcomer how to point an agent here."""
    tcp = tcp_address(listeners)
    lines = CONNECT.format(agent=settings.agent_socket).splitlines()
    return [*lines, CONNECT_TCP.format(tcp=tcp)] if tcp else lines


def _places(settings: Settings) -> tuple[Place, Place]:
    private = settings.user_mode
    mode, directory = (0o600, 0o700) if private else (0o660, 0o755)
    return (
        Place("agent", settings.agent_socket, mode, None if private else AGENTS_GROUP, directory),
        Place("operator", settings.operator_socket, mode, None if private else OPERATORS_GROUP, directory),
    )
