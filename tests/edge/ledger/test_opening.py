"""Opening: whose files, one daemon at a time, nothing lost since the last time, and what was left open is closed."""

import asyncio
import os
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from agentd.core.accounting.chain import Link
from agentd.core.types.errors import RecordUnavailable
from agentd.edge.ledger.anchor import read_anchor
from agentd.edge.ledger.anew import begin_anew
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.opening import TAIL_LINES
from agentd.edge.ledger.schema import SCHEMA_VERSION
from edge.ledger.lines import HOUR, NOON, Clock, Key, decision, lines_of, outcome, run, verified


async def write(directory: Path, count: int = 3, **more: Any) -> Any:
    async with Ledger.open(directory, Clock(), **more) as ledger:
        for _ in range(count):
            receipt = await ledger.append(decision())
            await ledger.append(outcome(receipt.seq))
        return await ledger.reader.anchor()


async def look(directory: Path) -> Any:
    async with Ledger.open(directory, Clock()) as ledger:
        return ledger.counters, await lines_of(ledger), await verified(ledger)


def refusal(directory: Path) -> Any:
    with pytest.raises(RecordUnavailable) as refused:
        run(look(directory))
    assert refused.value.hint, "every refusal says what to do"
    return refused.value


def tamper(directory: Path, *statements: Any) -> None:
    """As somebody would who can write the file."""
    with sqlite3.connect(directory / "ledger.db") as connection:
        connection.execute("DROP TRIGGER IF EXISTS lines_no_update")
        connection.execute("DROP TRIGGER IF EXISTS lines_no_delete")
        for statement in statements:
            connection.execute(statement)
    connection.close()


def mode(path: Any) -> Any:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_files_are_for_agentd_alone(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    before = os.umask(0)
    try:

        async def conversation() -> Any:
            async with Ledger.open(state, Clock()) as ledger:
                await ledger.append(decision())
                return {path.name: mode(path) for path in state.iterdir()}

        modes = run(conversation())
    finally:
        os.umask(before)
    assert mode(state) == 0o700
    assert set(modes) == {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.head", "lock"}
    assert set(modes.values()) == {0o600}


def test_modes_that_are_too_wide_are_narrowed(tmp_path: Path) -> None:
    run(write(tmp_path))
    tmp_path.chmod(0o777)
    for path in tmp_path.iterdir():
        path.chmod(0o666)
    run(write(tmp_path))
    assert mode(tmp_path) == 0o700
    assert {mode(path) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "ledger.head", "lock"])
@pytest.mark.parametrize("kind", ["link", "dangling", "directory", "fifo"])
def test_anything_but_a_plain_file_in_its_place_is_refused(tmp_path: Path, name: Any, kind: Any) -> None:
    state = tmp_path / "state"
    state.mkdir()
    target = tmp_path / "target"
    if kind == "link":
        target.write_bytes(b"precious")
    if kind in {"link", "dangling"}:
        (state / name).symlink_to(target)
    elif kind == "directory":
        (state / name).mkdir()
    else:
        os.mkfifo(state / name)
    assert refusal(state).code == "record.unsafe"
    assert not target.exists() or target.read_bytes() == b"precious"


def test_a_state_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert refusal(tmp_path / "state").code == "record.unsafe"
    assert refusal(tmp_path / "state" / "below").code == "record.unsafe"


@pytest.mark.root
def test_files_of_somebody_else_are_refused(tmp_path: Path) -> None:
    run(write(tmp_path))
    os.chown(tmp_path / "ledger.db", 65534, 65534)
    refused = refusal(tmp_path)
    assert (refused.code, "65534" in refused.message) == ("record.unsafe", True)


def test_a_state_directory_may_be_a_link_as_systemd_makes_it(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "private")
    run(write(tmp_path / "state"))
    assert (tmp_path / "private" / "ledger.db").exists()


def test_two_daemons_never_share_a_record(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            with pytest.raises(RecordUnavailable) as refused:
                async with Ledger.open(tmp_path, Clock()):
                    raise RuntimeError("not reached")
            await ledger.append(decision())
            return refused.value

    refused = run(conversation())
    assert refused.code == "record.in_use"
    assert str(os.getpid()) in refused.message
    run(look(tmp_path))


def test_calls_that_were_cut_off_are_closed_as_unknown_and_keep_their_reservation(tmp_path: Path) -> None:
    async def first() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            done = await ledger.append(decision())
            await ledger.append(outcome(done.seq))
            await ledger.append(decision(verdict="deny"))
            return [(await ledger.append(decision(class_=name))).seq for name in ("routine", "analysis")]

    async def second() -> Any:
        async with Ledger.open(tmp_path, Clock(NOON + 7_200 * 10**9)) as ledger:
            closing = [await ledger.reader.outcome_of(seq) for seq in left]
            return (
                ledger.counters,
                closing,
                await ledger.reader.spend("class", HOUR),
                await ledger.reader.recompute_spend(),
                await verified(ledger),
            )

    left = run(first())
    counters, closing, spent, differences, report = run(second())
    assert (counters.recovered, counters.open) == (2, 0)
    assert [(line["status"], line["cost_nusd"], line["class"]) for line in closing] == [
        ("unknown", None, "routine"),
        ("unknown", None, "analysis"),
    ]
    assert closing[0]["detail"]["cost_source"] == "unsettled"
    assert {row["name"]: (row["reserved_nusd"], row["cost_nusd"]) for row in spent} == {
        "routine": (1_000, 0),
        "analysis": (1_000, 0),
        "implementation": (0, 300),
    }
    assert differences == []
    assert (report.intact, report.open_count) == (True, 0)
    assert run(look(tmp_path))[0].recovered == 0


def test_an_anchor_that_lags_is_what_a_crash_leaves(tmp_path: Path) -> None:
    run(write(tmp_path))
    old = (tmp_path / "ledger.head").read_bytes()
    run(write(tmp_path))
    (tmp_path / "ledger.head").write_bytes(old)
    counters, _, report = run(look(tmp_path))
    assert report.intact
    assert head_of(tmp_path).seq >= counters.lines


def test_an_old_copy_put_back_is_refused(tmp_path: Path) -> None:
    run(write(tmp_path))
    shutil.copy(tmp_path / "ledger.db", tmp_path / "old.db")
    run(write(tmp_path))
    shutil.copy(tmp_path / "ledger.db", tmp_path / "new.db")
    os.replace(tmp_path / "old.db", tmp_path / "ledger.db")
    refused = refusal(tmp_path)
    assert refused.code == "record.rolled_back"
    assert "ends at line 8; line 15" in refused.message
    os.replace(tmp_path / "new.db", tmp_path / "ledger.db")
    assert run(look(tmp_path))[2].intact


def test_an_old_copy_is_refused_even_after_it_went_on_elsewhere(tmp_path: Path) -> None:
    state, other = tmp_path / "state", tmp_path / "other"
    run(write(state))
    shutil.copytree(state, other)
    run(write(state, 2))
    run(write(other, 5))
    shutil.copy(other / "ledger.db", state / "ledger.db")
    assert refusal(state).code == "record.disagrees"


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM lines WHERE seq = 8", "record.rolled_back"),
        ("DELETE FROM lines", "record.damaged"),
        ("DELETE FROM lines WHERE seq = 4", "record.broken"),
        ("UPDATE lines SET body = replace(body, 'minimax', 'mallory') WHERE seq = 3", "record.broken"),
        ("UPDATE lines SET digest = replace(digest, '0', '1') WHERE seq = 3", "record.broken"),
        ("UPDATE lines SET digest = replace(digest, '0', '1') WHERE seq = 8", "record.disagrees"),
        ("UPDATE meta SET value = 'x' WHERE name = 'ledger'", "record.disagrees"),
        ("DROP TABLE lines", "record.damaged"),
        (f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "record.newer"),
    ],
)
def test_a_record_that_was_touched_is_refused(tmp_path: Path, statement: str, code: str) -> None:
    run(write(tmp_path))
    tamper(tmp_path, statement)
    assert refusal(tmp_path).code == code


WITHOUT_WRITES = "ALTER TABLE spend DROP COLUMN cache_write_tokens"


def test_a_record_of_the_second_format_gets_the_sums_that_it_lacks(tmp_path: Path) -> None:
    async def sums() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            return await ledger.reader.spend("model", 0), await ledger.reader.recompute_spend()

    run(write(tmp_path))
    before, _ = run(sums())
    assert before[0]["cache_write_tokens"] > 0
    tamper(tmp_path, WITHOUT_WRITES, "PRAGMA user_version = 2")
    after, differs = run(sums())
    assert [row["cache_write_tokens"] for row in after] == [row["cache_write_tokens"] for row in before]
    assert differs == []
    assert [row["cached_tokens"] for row in after] == [row["cached_tokens"] for row in before]


def test_a_record_of_the_first_format_is_brought_up_to_this_one(tmp_path: Path) -> None:
    run(write(tmp_path))
    first = ("kind", "at", "class", "tier", "verdict", "session")
    tamper(
        tmp_path,
        WITHOUT_WRITES,
        "DROP VIEW sought",
        "DROP TABLE filed",
        *(f"CREATE INDEX lines_{name} ON lines ({name})" for name in first),
        "PRAGMA user_version = 1",
    )
    _, lines, report = run(look(tmp_path))
    assert report.intact
    connection = sqlite3.connect(tmp_path / "ledger.db")
    indexes = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE tbl_name = 'lines'")}
    filed = connection.execute("SELECT MAX(seq) FROM filed").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    found = connection.execute("SELECT COUNT(*) FROM sought WHERE kind = 'decision'").fetchone()[0]
    connection.close()
    assert not indexes & {f"lines_{name}" for name in first}
    assert "lines_opens" in indexes
    assert (filed, version) == (8, SCHEMA_VERSION), "the eight lines that were there"
    assert found == sum(line["kind"] == "decision" for line in lines)


def test_a_lost_database_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    run(write(tmp_path))
    (tmp_path / "ledger.db").unlink()
    assert refusal(tmp_path).code == "record.missing"
    assert not (tmp_path / "ledger.db").exists()
    (tmp_path / "ledger.db").touch(0o600)
    assert refusal(tmp_path).code == "record.missing"


def test_a_lost_or_damaged_anchor_is_refused(tmp_path: Path) -> None:
    run(write(tmp_path))
    good = (tmp_path / "ledger.head").read_bytes()
    (tmp_path / "ledger.head").unlink()
    assert refusal(tmp_path).code == "record.anchor_gone"
    for bad in (b"", good[:-2], good.replace(b"8", b"9", 1), b"\xff" * 200, good + good):
        (tmp_path / "ledger.head").write_bytes(bad)
        assert refusal(tmp_path).code == "record.anchor_damaged"
    (tmp_path / "ledger.head").write_bytes(good)
    assert run(look(tmp_path))[2].intact


@pytest.mark.parametrize("content", [b"not a database, surely", b"\0" * 8192, b"SQLite format 3\0" + b"\1" * 4096])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: Any) -> None:
    run(write(tmp_path))
    (tmp_path / "ledger.db").write_bytes(content)
    assert refusal(tmp_path).code == "record.damaged"


def test_a_crash_before_the_first_line_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch(0o600)
    assert run(look(tmp_path))[2].intact


def test_a_crash_between_first_line_and_anchor_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    run(write(tmp_path, 0))
    tamper(tmp_path, "DELETE FROM lines WHERE seq > 1")
    (tmp_path / "ledger.head").unlink()
    assert run(look(tmp_path))[2].intact


def test_only_the_last_lines_are_checked_at_the_start(tmp_path: Path) -> None:
    run(write(tmp_path, TAIL_LINES // 2 + 10))
    tamper(tmp_path, "UPDATE lines SET body = replace(body, 'minimax', 'mallory') WHERE seq = 3")
    counters, _, report = run(look(tmp_path))
    assert counters.recovered == 0
    assert [finding.seq for finding in report.findings] == [3], "a full verification finds it"


def head_of(directory: Path) -> Link:
    """What the anchor says."""
    noted = read_anchor(directory / "ledger.head")
    assert noted is not None
    return noted.link


def test_beginning_anew_keeps_the_old_files_and_names_their_head(tmp_path: Path) -> None:
    anchor = run(write(tmp_path, signer=Key()))
    tamper(tmp_path, "DELETE FROM lines WHERE seq > 4")
    assert refusal(tmp_path).code == "record.rolled_back"
    aside = begin_anew(tmp_path, "the disk died", NOON)
    counters, lines, report = run(look(tmp_path))
    previous = lines[0]["detail"]["previous"]
    assert aside is not None
    head = head_of(aside)
    assert previous == {
        "reason": "the disk died",
        "moved_to": aside.name,
        "ledger": anchor["ledger"],
        "seq": head.seq,
        "digest": head.digest,
        "by": "anchor",
    }
    assert report.intact
    assert report.ledger != anchor["ledger"]
    assert counters.lines == 1
    assert (aside / "ledger.db").exists()
    assert mode(aside) == 0o700


def test_beginning_anew_without_an_anchor_names_what_the_database_says(tmp_path: Path) -> None:
    run(write(tmp_path))
    (tmp_path / "ledger.head").unlink()
    begin_anew(tmp_path, "anchor lost", NOON)
    previous = run(look(tmp_path))[1][0]["detail"]["previous"]
    assert (previous["by"], previous["seq"]) == ("database", 8)


@pytest.mark.parametrize("files", [{}, {"ledger.db": b"rubbish"}, {"ledger.head": b"rubbish"}])
def test_beginning_anew_works_whatever_is_there(tmp_path: Path, files: Any) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    begin_anew(tmp_path, "why not", NOON)
    assert "unreadable" in run(look(tmp_path))[1][0]["detail"]["previous"]


def test_a_record_that_is_in_order_is_not_begun_anew(tmp_path: Path) -> None:
    anchor = run(write(tmp_path))
    assert begin_anew(tmp_path, "left in the start command", NOON) is None
    assert run(look(tmp_path))[2].ledger == anchor["ledger"]
    tamper(tmp_path, "UPDATE lines SET body = replace(body, 'minimax', 'mallory') WHERE seq = 3")
    assert begin_anew(tmp_path, "line 3 was changed", NOON) is not None
    assert run(look(tmp_path))[2].intact


def test_beginning_anew_is_refused_while_a_daemon_runs(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()):
            with pytest.raises(RecordUnavailable) as refused:
                await asyncio.to_thread(begin_anew, tmp_path, "in haste", NOON)
            return refused.value.code

    assert run(conversation()) == "record.in_use"
    assert run(look(tmp_path))[2].intact


def test_the_anchor_is_one_line_that_people_can_read(tmp_path: Path) -> None:
    anchor = run(write(tmp_path, 0))
    text = (tmp_path / "ledger.head").read_text()
    name, version, ledger, seq, digest, _ = text.split()
    assert (name, version, ledger) == ("agentd-head", "1", anchor["ledger"])
    assert int(seq) == 2
    assert len(digest) == 64
    assert len(text) < 512
