"""The simulator as a process: `python -m agentd.simulator --unix PATH` or `--tcp 127.0.0.1:0`.

Writes its address to stdout in one line once it listens, and stops at SIGTERM or SIGINT. `--log` gets one JSON line per
request at its arrival, flushed before anything is answered, so that the log survives whatever happens to either side.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from aiohttp import web

from agentd.core.accounting.catalogue import parse_catalogue
from agentd.data import shipped
from agentd.edge.host.clock import SystemClock
from agentd.simulator.app import simulator_app
from agentd.simulator.config import SimulatorConfig
from agentd.simulator.words import Json

GRACE_S: Final = 1.0
"""How long a stop waits for answers that are being written."""


def main() -> int:
    """Run until told to stop. 0 after a clean stop, 2 for wrong arguments or an address that cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m agentd.simulator", description="A labelled stand-in for OpenRouter."
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--unix", metavar="PATH", help="listen on a Unix socket")
    where.add_argument("--tcp", metavar="HOST:PORT", help="listen on TCP; port 0 takes a free one")
    parser.add_argument("--key", help="the only bearer key to accept (default: any)")
    parser.add_argument("--log", metavar="FILE", type=Path, help="append every request as one JSON line")
    parser.add_argument(
        "--late", type=int, default=1, help="how often /generation says 404 before it knows (default 1)"
    )
    parser.add_argument("--management", action="store_true", help="say that the key manages other keys")
    parser.add_argument(
        "--key-limit", type=float, default=50.0, help="USD that GET /key shows as the key's cap (default 50)"
    )
    parser.add_argument("--quiet", action="store_true", help="do not write the address")
    options = parser.parse_args()
    try:
        with ExitStack() as stack:
            log = _log_to(stack, options.log) if options.log else None
            asyncio.run(_serve(options, _config(options, log)))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _config(options: argparse.Namespace, log: Callable[[Json], None] | None) -> SimulatorConfig:
    """The simulator that the arguments describe."""
    catalogue = parse_catalogue(shipped("catalogue.json"), "the shipped catalogue")
    return SimulatorConfig(
        catalogue,
        SystemClock().wall_ns,
        options.key,
        log,
        options.late,
        management=options.management,
        key_limit=options.key_limit,
    )


def _log_to(stack: ExitStack, path: Path) -> Callable[[Json], None]:
    """A log that is flushed line by line. It blocks the loop on purpose: the line stands before the answer goes."""
    file = stack.enter_context(path.open("a", encoding="utf-8"))

    def log(arrival: Json) -> None:
        file.write(json.dumps(arrival, ensure_ascii=False, separators=(",", ":")) + "\n")
        file.flush()

    return log


async def _serve(options: argparse.Namespace, config: SimulatorConfig) -> None:
    """Listen, say where, and wait for the signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(simulator_app(config), access_log=None, handle_signals=False, shutdown_timeout=GRACE_S)
    await runner.setup()
    try:
        site = _site(runner, options)
        await site.start()
        if not options.quiet:
            sys.stdout.write(_address(runner, options) + "\n")
            sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, options: argparse.Namespace) -> web.BaseSite:
    """The place to listen at. Raises ValueError for an address that is none."""
    if options.unix:
        return web.UnixSite(runner, options.unix)
    host, _, port = options.tcp.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--tcp wants HOST:PORT, not {options.tcp!r}")
    return web.TCPSite(runner, host.strip("[]"), int(port))


def _address(runner: web.AppRunner, options: argparse.Namespace) -> str:
    """Where it listens: the path, or HOST:PORT with the port that was given."""
    if options.unix:
        return str(options.unix)
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
