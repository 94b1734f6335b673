"""Retention by the settings: what `record:` takes, when it prunes, and what it says when it cannot."""

import sqlite3
from pathlib import Path

import pytest

from agentd.core.accounting.retention import DAY_S
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.books.alarms import Alarms
from agentd.retention import Retention
from agentd.settings import SettingsRefused, settings_from
from edge.ledger.lines import Clock, lines_of, run
from edge.ledger.pruning import DAY_NS, START, days, done, next_day


def keep_of(directory: Path, text: str) -> int | None:
    file = directory / "agentd.yaml"
    file.write_text(text)
    return settings_from({"HOME": str(directory)}, {"config": str(file)}).record.keep_s


@pytest.mark.parametrize(
    ("text", "days_kept"),
    [
        ("", None),
        ("record: {keep: forever}", None),
        ("record: {keep: 32d}", 32),
        ("record: {keep: 90d}", 90),
        ("record:\n  keep: 52w\n", 364),
    ],
)
def test_how_long_is_said_in_days_or_weeks(tmp_path: Path, text: str, days_kept: int | None) -> None:
    assert keep_of(tmp_path, text) == (None if days_kept is None else days_kept * DAY_S)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("record: {keep: 31d}", "settings.range"),
        ("record: {keep: 90}", "settings.type"),
        ("record: {keep: 3h}", "settings.type"),
        ("record: {keep: }", "settings.type"),
        ("record: {keep: 90d, more: 1}", "settings.type"),
        ("record: {}", "settings.type"),
        ("record: 90d", "settings.type"),
        ("record:", "settings.type"),
    ],
)
def test_anything_else_is_refused_by_name(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        keep_of(tmp_path, text)
    assert refused.value.code == code
    assert "record" in refused.value.message


async def looked(directory: Path, *, break_it: bool = False) -> tuple[list[int | None], list[str], list[str]]:
    """Look when the oldest line is 40.5 and 41.5 days old, with 40 to keep, and once more: what was cut each time, the alarms
    that stand, and the reasons in the record."""
    clock, cuts = Clock(START), []
    async with Ledger.open(directory, clock) as ledger:
        alarms = Alarms(ledger, clock)
        retention = Retention(ledger, clock, alarms, 40 * DAY_S)
        await days(ledger, clock, 3)
        if break_it:
            with sqlite3.connect(directory / "ledger.db") as other:
                other.execute("DROP TRIGGER lines_no_update")
                other.execute("UPDATE lines SET body = replace(body, 'minimax', 'mallory') WHERE seq = 2")
            other.close()
        for day in (40.5, 41.5, 41.6):
            clock.at = START + int(day * DAY_NS)
            await retention.look()
            await done(ledger)
            cut = (await ledger.reader.extent())["pruned"]
            cuts.append(cut and cut["to"])
        await next_day(ledger, clock)
        reasons = [line["detail"]["reason"] for line in await lines_of(ledger, "prune")]
        return cuts, [standing.alarm.code for standing in alarms.standing()], reasons


def test_it_prunes_when_a_day_is_too_old_and_only_then(tmp_path: Path) -> None:
    cuts, alarms, reasons = run(looked(tmp_path))
    assert cuts[0] is None
    assert cuts[1] is not None
    assert (cuts[1], alarms) == (cuts[2], [])
    assert reasons == ["agentd.yaml: record.keep is 40 days"]


def test_what_cannot_be_pruned_is_an_alarm(tmp_path: Path) -> None:
    assert run(looked(tmp_path, break_it=True)) == ([None, None, None], ["record.not_pruned"], [])
