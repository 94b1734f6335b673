"""kill -9 while lines are removed, at random moments, again and again: what was acknowledged is there, the chain holds at every
moment, and the next start goes on until all is gone."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import Clock, run
from edge.ledger.pruning import START, TODAY, checked, cut_in, days, done, raws

TESTS = Path(__file__).parents[2]
PRUNER = Path(__file__).with_name("pruner.py")
SEED = 20_261_125


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A record that is old but for its last line."""
    state = tmp_path_factory.mktemp("aged") / "state"

    async def fill() -> None:
        clock = Clock(START)
        async with Ledger.open(state, clock) as ledger:
            await days(ledger, clock, 4, calls=300)
            clock.at = TODAY
            await days(ledger, clock, 1, calls=1)

    run(fill())
    return state


def killed_after(state: Path, reports: int) -> Any:
    """Prune, and be killed after so many reports; gives them back, and whether all was gone by then."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    process = subprocess.Popen(
        [sys.executable, str(PRUNER), str(state)], stdout=subprocess.PIPE, env=environment, bufsize=0
    )
    assert process.stdout is not None
    said = b""
    while said.count(b"\n") < reports and b"e 0 0" not in said:
        chunk = process.stdout.read(4096)
        assert chunk, "the pruner ended by itself"
        said += chunk
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    whole = said[: said.rfind(b"\n")].decode().splitlines()
    told = [line.split() for line in whole]
    return {int(seq): digest for kind, seq, digest in told if kind == "d"}, "e 0 0" in whole


async def looked_at(state: Path, *, finish: Any) -> Any:
    async with Ledger.open(state, Clock(TODAY)) as ledger:
        rows = await raws(ledger)
        if finish:
            await done(ledger)
            rows = await raws(ledger)
        return rows, await ledger.reader.recompute_spend(), ledger.counters.mended


def crashes(aged: Path, state: Path, chance: Any) -> Any:
    """Killed until all is gone; how often that was."""
    shutil.copytree(aged, state)
    acknowledged: dict[int, str] = {}
    over, kills = False, 0
    while not over:
        told, over = killed_after(state, chance.randint(5, 120))
        acknowledged |= told
        kills += 1
        rows, differs, mended = run(looked_at(state, finish=False))
        report = checked(rows, None)
        assert report.intact, report.findings
        assert (differs, mended) == ([], 0)
        assert acknowledged.items() <= {seq: digest for seq, _, digest in rows}.items()
    rows, differs, _ = run(looked_at(state, finish=True))
    report = checked(rows, None)
    assert (report.intact, cut_in(report).left, differs) == (True, 0, [])
    return kills


def test_killed_while_it_prunes_it_finishes_what_it_began(aged: Path, tmp_path: Path) -> None:
    assert crashes(aged, tmp_path / "state", random.Random(SEED)) > 1


@pytest.mark.slow
def test_killed_a_hundred_times_while_it_prunes(aged: Path, tmp_path: Path) -> None:
    kills = 0
    for turn in range(100):
        kills += crashes(aged, tmp_path / str(turn), random.Random(SEED + turn))
        if kills >= 100:
            return
