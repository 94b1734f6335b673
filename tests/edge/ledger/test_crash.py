"""kill -9 at random points of a busy writer: what was acknowledged is there, the chain holds, nothing is half there."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agentd.edge.ledger.anchor import read_anchor
from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import Clock, lines_of, run, verified

TESTS = Path(__file__).parents[2]
VICTIM = Path(__file__).with_name("victim.py")
SEED = 20_261_125


def killed_after(state: Path, reports: int) -> Any:
    """Start a writer, kill it after so many reports at a moment of its own, and give back all that it reported."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    process = subprocess.Popen(
        [sys.executable, str(VICTIM), str(state)], stdout=subprocess.PIPE, env=environment, bufsize=0
    )
    assert process.stdout is not None
    said = b""
    while said.count(b"\n") < reports:
        chunk = process.stdout.read(4096)
        assert chunk, "the writer ended by itself"
        said += chunk
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    whole = said[: said.rfind(b"\n")].decode()
    return [(kind, int(seq), digest) for kind, seq, digest in (line.split() for line in whole.splitlines())]


async def after_the_crash(state: Path) -> Any:
    noted = read_anchor(state / "ledger.head")
    async with Ledger.open(state, Clock()) as ledger:
        there = {seq: digest async for seq, _, digest in ledger.reader.raw()}
        outcomes = {line["opens"] for line in await lines_of(ledger, "outcome")}
        return noted, there, outcomes, await verified(ledger), await ledger.reader.recompute_spend()


def crashes(state: Path, count: int, seed: int = SEED) -> Any:
    chance = random.Random(seed)
    acknowledged = {}
    for _ in range(count):
        for kind, seq, digest in killed_after(state, chance.randint(1, 60)):
            acknowledged[seq] = (kind, digest)
        noted, there, outcomes, report, differences = run(after_the_crash(state))
        assert {seq: digest for seq, (_, digest) in acknowledged.items()}.items() <= there.items()
        assert there[noted.link.seq] == noted.link.digest, "the anchor never runs ahead"
        assert {seq for seq, (kind, _) in acknowledged.items() if kind == "d"} <= outcomes, (
            "recovery closes what was cut off"
        )
        assert (report.intact, report.open_count) == (True, 0)
        assert differences == []
    return len(acknowledged)


def test_killed_again_and_again_a_record_loses_nothing(tmp_path: Path) -> None:
    assert crashes(tmp_path / "state", 20) > 20


@pytest.mark.slow
def test_killed_two_hundred_times_a_record_loses_nothing(tmp_path: Path) -> None:
    assert all(crashes(tmp_path / str(n), 20, SEED + n) > 20 for n in range(10))


def test_killed_while_it_begins_a_record_begins(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    environment = os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    for n in range(6):
        state = tmp_path / str(n)
        process = subprocess.Popen(
            [sys.executable, str(VICTIM), str(state)], stdout=subprocess.DEVNULL, env=environment
        )
        while not (state / "ledger.db").exists():
            assert process.poll() is None
        for _ in range(chance.randint(0, 20_000)):
            pass
        process.kill()
        process.wait()
        report = run(after_opening(state))
        assert (report.intact, report.open_count) == (True, 0)


async def after_opening(state: Path) -> Any:
    async with Ledger.open(state, Clock()) as ledger:
        return await verified(ledger)
