"""Options that many commands share, and the client that they lead to."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from agentd.ctl.paths import SOCKET_ENV, default_socket, places

if TYPE_CHECKING:
    from agentd.ctl.client import Client

Command = TypeVar("Command", bound=Callable[..., Any])

STATE_KEY = "agentd.ctl.socket"
"""Where in click's context the chosen socket is kept: `--socket` is taken before and after the command."""


def _keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value:
        ctx.meta[STATE_KEY] = value


def socket_option(command: Command) -> Command:
    """`--socket PATH`, kept for `client`."""
    option = click.option(
        "--socket",
        metavar="PATH",
        expose_value=False,
        callback=_keep,
        help=f"Operator socket of the daemon; also by {SOCKET_ENV}.  [default: where this box has it]",
    )
    return option(command)


def json_option(command: Command) -> Command:
    """`--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write stable JSON.")(command)


def ask_options(command: Command) -> Command:
    """What every command that asks the daemon takes."""
    return socket_option(json_option(command))


def chosen_socket() -> str:
    """The operator socket of the daemon that was chosen: by option, environment, or where it usually is."""
    return named_socket(click.get_current_context()) or default_socket()


def named_socket(context: click.Context) -> str | None:
    """The socket that the operator named, by option or environment."""
    return context.meta.get(STATE_KEY) or os.environ.get(SOCKET_ENV)


def client() -> "Client":
    """The daemon that was chosen."""
    from agentd.ctl.client import Client  # noqa: PLC0415 - HTTP is imported when somebody asks something

    looked = () if named_socket(click.get_current_context()) else tuple(places())
    return Client(chosen_socket(), looked)
