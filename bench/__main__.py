"""Run the bench: `python -m bench [--quick] [--only NAME]`.

A missed mark is no failure of the bench: the table says what is met, and the exit status is 0. It is 1 when something could
not be measured at all.
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from contextlib import ExitStack

from bench import figures
from bench.figures import QUICK, THOROUGH, Bench
from bench.gateways import AGENTD, FLOOR, FLOOR_UVLOOP, LITELLM, PORTKEY, lineup, spot
from bench.place import cores, described, load, on
from bench.table import Row, show

FAILED = "failed"
EVERYONE = (FLOOR, FLOOR_UVLOOP, AGENTD, LITELLM, PORTKEY)


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, and print it."""
    wanted = _arguments(arguments)
    plan = QUICK if wanted.quick else THOROUGH
    where = cores()
    before = load()
    rows: list[Row] = []
    with ExitStack() as stack:
        stack.enter_context(on(where.client))
        place = stack.enter_context(spot(where))
        chosen = [name for name in figures.GROUPS if wanted.only in (None, name)]
        targets = stack.enter_context(lineup(place, EVERYONE if figures.BY_CALL & set(chosen) else (AGENTD,)))
        for name in chosen:
            print(f"..    {name}: {figures.GROUPS[name][0]}", file=sys.stderr, flush=True)
            rows += _measured(name, Bench(place, targets, plan))
    show(rows, _notes(before, quick=wanted.quick))
    sys.exit(any(row.agentd == FAILED for row in rows))


def _measured(name: str, bench: Bench) -> list[Row]:
    """The figures of a group. One that breaks is told and takes no other with it."""
    try:
        return figures.GROUPS[name][1](bench)
    except Exception as error:  # noqa: BLE001 - whatever it was, an hour's other figures are still worth printing
        traceback.print_exception(error)
        return [Row(f"{figures.GROUPS[name][0]}: {type(error).__name__}", FAILED)]


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, for development: believe no figure of it")
    parser.add_argument("--only", choices=[*figures.GROUPS], help="one group of figures")
    return parser.parse_args(arguments)


def _notes(before: str, *, quick: bool) -> list[str]:
    split = cores()
    apart = (
        "one core for the gateways, another for client and upstream"
        if split.gateway != split.client
        else "ONE core for all"
    )
    notes = [
        f"{described()}; {apart}.",
        f"Load averages before and after: {before} / {load()}. Milliseconds of a busy machine mean little; ratios hold better.",
        "Floor: a bare aiohttp reverse proxy on a Unix socket. Added: the target's median less that of the direct way.",
    ]
    return ["QUICK run: few rounds, a small ledger; for development only.", *notes] if quick else notes


if __name__ == "__main__":
    main(sys.argv[1:])
