"""`agentd`: the daemon's command line. The operator's is `agentctl`."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import uvloop

from agentd import __version__
from agentd.core.types.errors import AgentdError
from agentd.daemon import serve
from agentd.edge.host.limits import allow_descriptors, harden_process
from agentd.settings import settings_from

EXIT_CANNOT_START = 1
EXIT_CONFIG = 78
"""EX_CONFIG of sysexits: systemd does not restart for it (`RestartPreventExitStatus=78`), since a restart would not help."""

UNUSABLE = ("settings.", "listen.not_an_address", "listen.not_loopback")
"""Codes of errors that lie in the settings."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Exit status: 0 after a stop, 1 when it cannot start, 2 usage, 78 for settings that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        return _serve(options)
    except AgentdError as error:
        sys.stderr.write(f"agentd: {error.message} [{error.code}]\n" + (f"  {error.hint}\n" if error.hint else ""))
        return EXIT_CONFIG if error.code.startswith(UNUSABLE) else EXIT_CANNOT_START


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agentd", description="Decides, records and bounds what the agent on this box may do."
    )
    parser.add_argument("--version", action="version", version=f"agentd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve until a signal says stop")
    serve.add_argument("--policy", metavar="FILE", help="the policy (reloaded when it changes)")
    serve.add_argument("--state", metavar="DIR", help="where the record is kept")
    serve.add_argument("--run", metavar="DIR", help="where the sockets are made")
    serve.add_argument("--config", metavar="FILE", help="daemon settings (agentd.yaml)")
    serve.add_argument("--system", action="store_true", help="system directories and groups, as under systemd")
    serve.add_argument(
        "--simulate", action="store_true", help="the built-in simulator instead of OpenRouter: no key, no bill"
    )
    serve.add_argument(
        "--tcp",
        metavar="127.0.0.1:PORT",
        help="open a door on loopback too, for agents that cannot use a Unix socket; each needs a local token",
    )
    serve.add_argument(
        "--new-ledger", metavar="REASON", help="set a lost or broken record aside and begin a new one, saying why"
    )
    serve.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


def _serve(options: argparse.Namespace) -> int:
    _log_to_stderr(options.log_level)
    harden_process()
    allow_descriptors()
    flags: dict[str, Any] = vars(options)
    settings = settings_from(os.environ, flags)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings))
    return 0


def _log_to_stderr(level: str) -> None:
    """One line each; under systemd the journal adds the time."""
    plain = "JOURNAL_STREAM" in os.environ
    form = "%(levelname)s %(name)s: %(message)s" if plain else "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=form, stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("watchdog").setLevel(logging.INFO)  # it tells of every write beside the policy: of this log's, too


if __name__ == "__main__":
    sys.exit(main())
