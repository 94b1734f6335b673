"""An old record and a real daemon: the settings prune it, an operator prunes it while calls go on, and a start restores
budgets from the lines, not from sums that somebody emptied."""

import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.edge.ledger.ledger import Ledger
from daemon.crowd import body_of
from edge.ledger.lines import Clock
from edge.ledger.pruning import DAY_NS, days
from harness import daemon as daemons

Start = Callable[..., daemons.Daemon]


async def _old_record(state: Path) -> None:
    clock = Clock(time.time_ns() - 100 * DAY_NS)
    async with Ledger.open(state, clock) as ledger:
        await days(ledger, clock, 50, calls=4)


@pytest.fixture(scope="module")
def old_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty days of calls, that began a hundred days ago."""
    state = tmp_path_factory.mktemp("old") / "state"
    asyncio.run(_old_record(state))
    return state


@pytest.fixture
def home(old_record: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="agentd-"))
    shutil.copytree(old_record, made / "state")
    yield made
    shutil.rmtree(made, ignore_errors=True)


def status(daemon: daemons.Daemon) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(daemon.ctl("status", "--json").stdout)
    return found


def pruned(daemon: daemons.Daemon) -> dict[str, Any]:
    """What the record says of a prune that is over."""
    for _ in range(300):
        record: dict[str, Any] = status(daemon)["record"]
        if record["pruned"] and not record["pruning"]:
            return record
    raise AssertionError(f"not pruned: {status(daemon)['record']}")


def test_the_settings_prune_the_record(start_agentd: Start, home: Path) -> None:
    settings = home / "agentd.yaml"
    settings.write_text("record: {keep: 60d}\n")
    daemon = start_agentd(daemons.SHIPPED_POLICY, "--config", str(settings), home=home)
    record = pruned(daemon)
    assert (record["pruned"]["uid"], record["pruned"]["reason"]) == (None, "agentd.yaml: record.keep is 60 days")
    assert record["keep_s"] == 60 * 86_400
    told = daemon.ctl("audit", "verify").stdout
    assert told.startswith("intact: ")
    assert "by retention (agentd.yaml: record.keep is 60 days)" in told
    assert "VOUCHED FOR BY NOBODY" in told, "there is no keyring here"
    assert "lines are kept for 60 days" in daemon.ctl("doctor").stdout
    assert daemon.ask("POST", "/v1/chat/completions", body_of("thanks!")).status == 200


def test_without_that_setting_nothing_goes(start_agentd: Start, home: Path) -> None:
    daemon = start_agentd(home=home)
    record = status(daemon)["record"]
    assert (record["pruned"], record["keep_s"], record["first"]) == (None, None, 1)
    assert "lines are kept for ever" in daemon.ctl("status").stdout


@pytest.mark.parametrize("keep", ["31d", "4w", "0d"])
def test_less_than_budgets_need_is_no_setting(start_agentd: Start, home: Path, keep: str) -> None:
    settings = home / "agentd.yaml"
    settings.write_text(f"record: {{keep: {keep}}}\n")
    with pytest.raises(daemons.NotReady, match="look back 32 days"):
        start_agentd(daemons.SHIPPED_POLICY, "--config", str(settings), home=home)


def test_an_operator_prunes_while_calls_go_on_and_it_survives_a_kill(start_agentd: Start, home: Path) -> None:
    daemon = start_agentd(home=home)
    archive = home / "archive.jsonl"
    done = daemon.ctl("audit", "prune", "--before", "60d", "--reason", "room", "--export", str(archive), "--no-wait")
    assert done.returncode == 0, done.stderr
    answers = {daemon.ask("POST", "/v1/chat/completions", body_of(f"call {n}")).status for n in range(5)}
    assert answers == {200}
    daemon.process.kill()
    daemon.process.wait()
    again = start_agentd(home=home)
    assert pruned(again)["pruned"]["uid"] == os.getuid()
    assert again.ctl("audit", "verify").returncode == 0
    assert sum(1 for _ in archive.open()) == pruned(again)["pruned"]["to"]


def test_emptied_sums_of_spend_give_no_budget_back(start_agentd: Start) -> None:
    daemon = start_agentd()
    for number in range(3):
        assert daemon.ask("POST", "/v1/chat/completions", body_of(f"call {number}")).status == 200
    spent = spending(daemon)
    assert sum(spent) > 0
    assert daemon.stop() == 0
    with sqlite3.connect(daemon.state / "ledger.db") as connection:
        connection.execute("DELETE FROM spend")
    connection.close()
    again = start_agentd(home=daemon.home)
    assert spending(again) == spent
    assert "record.sums" in again.ctl("logs").stdout
    assert "were added up again" in again.ctl("doctor").stdout
    assert again.ctl("audit", "verify").returncode == 0


def spending(daemon: daemons.Daemon) -> list[int]:
    return [budget["spent"] for budget in status(daemon)["budgets"]]
