"""The doors that agentd opens: which sockets, where, for whom. Bound once at start, before anything is served."""

import os

from agentd.edge.api.activation import activated
from agentd.edge.api.listen import Listener, ListenFailed, Place, bind_door
from agentd.edge.api.tcp import address_of, bind_tcp, is_at
from agentd.settings import AGENTS_GROUP, OPERATORS_GROUP, Settings

CONNECT = """connect an agent:
  Claude Code   ANTHROPIC_UNIX_SOCKET={agent} ANTHROPIC_BASE_URL=http://agentd.invalid ANTHROPIC_AUTH_TOKEN=agentd claude
  anything      curl --unix-socket {agent} http://agentd/v1/models"""
"""What a trial says about itself. The token there is none: who calls is the kernel's word."""

CONNECT_TCP = "  over TCP      http://{tcp}/v1 with a token as the API key: agentctl agent token create AGENT"


def open_doors(settings: Settings) -> list[Listener]:
    """Sockets from systemd where it passes them, our own otherwise; each door once, and the agents' over TCP if that is wanted.
    Raises `ListenFailed`."""
    passed = activated(os.environ, os.getpid())
    given = {listener.door: listener for listener in passed if listener.names is None}
    tcp = _tcp_door(next((listener for listener in passed if listener.names is not None), None), settings.tcp)
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


def _tcp_door(given: Listener | None, wanted: str | None) -> list[Listener]:
    """The one from systemd, or our own. A setting that names another place than systemd's is a mistake of somebody."""
    if given is None:
        return [bind_tcp(wanted)] if wanted else []
    if wanted and not is_at(given, wanted):
        message = f"systemd listens on {address_of(given)}, and the setting tcp says {wanted}."
        raise ListenFailed("listen.two_places", message, "Take tcp out of agentd.yaml, or disable agentd-tcp.socket.")
    return [given]


def _places(settings: Settings) -> tuple[Place, Place]:
    private = settings.user_mode
    mode, directory = (0o600, 0o700) if private else (0o660, 0o755)
    return (
        Place("agent", settings.agent_socket, mode, None if private else AGENTS_GROUP, directory),
        Place("operator", settings.operator_socket, mode, None if private else OPERATORS_GROUP, directory),
    )
