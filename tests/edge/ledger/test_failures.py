"""No record, no service: every way in which the disk can fail is a clear no for everyone, and heals by itself."""

import asyncio
import contextlib
import errno
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.errors import RecordUnavailable
from agentd.edge.ledger import failures, store, writer
from agentd.edge.ledger.anchor import AnchorFile, read_anchor
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.store import Store
from edge.ledger.lines import HOUR, Clock, decision, outcome, run, verified


async def refused(ledger: Ledger, count: int = 5) -> Any:
    """Several at once: all are refused, with one code, and the health says the same."""
    got = await asyncio.gather(*(ledger.append(decision()) for _ in range(count)), return_exceptions=True)
    assert {type(error) for error in got} == {RecordUnavailable}
    errors = [error for error in got if isinstance(error, RecordUnavailable)]
    (code,) = {error.code for error in errors}
    assert ledger.health()[0] == code
    assert all(error.hint for error in errors)
    assert len({id(error) for error in errors}) == count
    return code


async def sound(ledger: Ledger) -> Any:
    """Serving again, and nothing that was acknowledged is lost or half there."""
    receipt = await ledger.append(decision())
    await ledger.append(outcome(receipt.seq))
    assert ledger.health()[0] == "ok"
    report = await verified(ledger)
    assert report.intact, report.findings
    assert await ledger.reader.recompute_spend() == []
    return receipt


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A real file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", disk], check=False)


def fill(disk: Any) -> None:
    """Leave no byte free."""
    with open(disk / "filler", "ab", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 512)


@pytest.mark.root
def test_a_full_disk_stops_everything_and_serving_resumes_when_it_is_freed(small_disk: Any) -> None:
    async def conversation() -> Any:
        async with Ledger.open(small_disk / "state", Clock()) as ledger:
            first = await sound(ledger)
            await asyncio.to_thread(fill, small_disk)
            codes: set[str] = set()
            while not codes:  # the write-ahead log may have a page left to reuse
                with contextlib.suppress(AssertionError):
                    codes.add(await refused(ledger))
            codes |= {await refused(ledger) for _ in range(3)}
            (small_disk / "filler").unlink()
            again = await sound(ledger)
            return codes, first, again

    codes, first, again = run(conversation())
    assert codes == {"record.disk_full"}
    assert again.seq > first.seq


@pytest.mark.root
def test_a_disk_that_fills_up_with_the_record_itself_loses_nothing(small_disk: Any) -> None:
    async def conversation() -> Any:
        kept = {}
        async with Ledger.open(small_disk / "state", Clock()) as ledger:

            async def until_full() -> None:
                while True:
                    receipt = await ledger.append(decision(verdict="deny"))
                    kept[receipt.seq] = receipt.digest

            with pytest.raises(RecordUnavailable) as full:
                await until_full()
            report = await verified(ledger)
            there = {seq: digest async for seq, _, digest in ledger.reader.raw()}
            return full.value, kept, report, there

    full, kept, report, there = run(conversation())
    assert full.code == "record.disk_full"
    assert str(small_disk) in full.message
    assert len(kept) > 20
    assert kept.items() <= there.items()
    assert report.intact


def test_a_database_that_is_moved_away_and_back(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
            codes = [await refused(ledger), await refused(ledger)]
            with pytest.raises(RecordUnavailable) as unread:
                await ledger.reader.line(1)
            (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
            await sound(ledger)
            return codes, unread.value.code

    codes, unread = run(conversation())
    assert codes == ["record.gone"] * 2
    assert unread == "record.gone"


def test_a_lost_write_ahead_log_is_noticed_before_anyone_is_told_yes(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            first = await sound(ledger)
            await ledger.reader.line(first.seq)
            (tmp_path / "ledger.db-wal").unlink()
            return await refused(ledger), first, await sound(ledger)

    code, first, again = run(conversation())
    assert code == "record.gone"
    assert again.seq > first.seq


def test_a_deleted_database_is_not_begun_anew(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
                (tmp_path / name).unlink()
            codes = {await refused(ledger) for _ in range(3)}
            return codes, (tmp_path / "ledger.db").exists()

    assert run(conversation()) == ({"record.gone"}, False)


def test_an_old_copy_put_in_place_of_the_running_database_is_refused_until_the_right_one_is_back(
    tmp_path: Path,
) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
        shutil.copy(tmp_path / "ledger.db", tmp_path / "old.db")
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            (tmp_path / "ledger.db").rename(tmp_path / "right.db")
            (tmp_path / "ledger.db-wal").rename(tmp_path / "right.db-wal")
            (tmp_path / "old.db").rename(tmp_path / "ledger.db")
            codes = [await refused(ledger) for _ in range(3)]
            for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
                (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / "right.db").rename(tmp_path / "ledger.db")
            if (tmp_path / "right.db-wal").exists():
                (tmp_path / "right.db-wal").rename(tmp_path / "ledger.db-wal")
            await sound(ledger)
            return codes

    codes = run(conversation())
    assert codes[0] == "record.gone"
    assert set(codes[1:]) == {"record.rolled_back"}


def test_a_foreign_lock_is_named_and_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BUSY_MS", 20)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            foreign = await asyncio.to_thread(
                sqlite3.connect, tmp_path / "ledger.db", check_same_thread=False, isolation_level=None
            )
            await asyncio.to_thread(foreign.execute, "BEGIN IMMEDIATE")
            code = await refused(ledger)
            await asyncio.to_thread(foreign.execute, "ROLLBACK")
            await asyncio.to_thread(foreign.close)
            await sound(ledger)
            return code

    assert run(conversation()) == "record.locked"


@pytest.mark.parametrize("how", ["deleted", "replaced", "linked"])
def test_an_anchor_that_is_taken_away_is_put_back(tmp_path: Path, how: Any, caplog: pytest.LogCaptureFixture) -> None:
    head, victim = tmp_path / "ledger.head", tmp_path / "victim"
    victim.write_text("precious")

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            head.unlink()
            if how == "replaced":
                head.write_text("another")
            elif how == "linked":
                head.symlink_to(victim)
            receipt = await ledger.append(decision(verdict="deny"))
            return receipt, read_anchor(head)

    receipt, noted = run(conversation())
    assert (noted.link.seq, noted.link.digest) == (receipt.seq, receipt.digest)
    assert victim.read_text() == "precious"
    assert "put back" in caplog.text


def test_an_anchor_that_cannot_be_written_stops_everything_before_a_line_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            before = ledger.counters.lines
            with monkeypatch.context() as broken:

                def fails(anchor: Any) -> None:
                    raise OSError(errno.EIO, "Input/output error")

                broken.setattr(AnchorFile, "prove", fails)
                code = await refused(ledger)
            receipt = await sound(ledger)
            return code, receipt.seq - before

    assert run(conversation()) == ("record.io", 1)


class Failing:
    """Makes the next commits of the store end in an error, before or after they are really made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: Any) -> None:
        self.left = 1
        real = Store.commit

        def commit(given: Any, staged: Any) -> None:
            if self.left and staged.rows:
                self.left -= 1
                if after:
                    real(given, staged)
                raise failures.unavailable("record.io", given._place.directory)
            real(given, staged)

        monkeypatch.setattr(Store, "commit", commit)


def test_a_commit_that_failed_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            first = await sound(ledger)
            Failing(monkeypatch, after=False)
            await refused(ledger)
            return first, await sound(ledger)

    first, again = run(conversation())
    assert again.seq == first.seq + 2


def test_lines_of_a_commit_that_went_through_after_all_are_closed_unmade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            running = await ledger.append(decision())
            Failing(monkeypatch, after=True)
            await refused(ledger, 3)
            await sound(ledger)
            await ledger.append(outcome(running.seq))
            closing = [await ledger.reader.outcome_of(running.seq + 1 + i) for i in range(3)]
            return closing, ledger.counters, await ledger.reader.spend("class", HOUR), await verified(ledger)

    closing, counters, (spent,), report = run(conversation())
    assert [(line["status"], line["cost_nusd"]) for line in closing] == [("stopped", 0)] * 3
    assert (counters.open, report.open_count, report.intact) == (0, 0, True)
    assert (spent["calls"], spent["reserved_nusd"], spent["cost_nusd"]) == (6, 0, 900)


def test_a_fault_in_the_writer_refuses_its_batch_and_not_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            with monkeypatch.context() as broken:
                broken.setattr(Store, "commit", lambda given, staged: 1 / 0)
                code = await refused(ledger)
            await sound(ledger)
            return code

    assert run(conversation()) == "record.internal"


def test_health_returns_without_anyone_asking_for_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PROBE_S", 0.01)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
            code = await refused(ledger)
            (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
            while ledger.health()[0] != "ok":
                await asyncio.sleep(0.005)
            return code, ledger.counters.lines

    code, lines = run(conversation())
    assert (code, lines) == ("record.gone", 3), "the probe is no line"


def test_the_alarm_is_raised_once_and_so_is_its_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
            for _ in range(4):
                await refused(ledger)
            (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
            await sound(ledger)

    run(conversation())
    assert [record.levelname for record in caplog.records if record.name == "agentd.ledger"][:2] == [
        "CRITICAL",
        "WARNING",
    ]


def test_closing_a_broken_record_ends(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(decision())
            (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
        (tmp_path / "elsewhere.db").rename(tmp_path / "ledger.db")
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await sound(ledger)
            return ledger.counters.recovered

    assert run(conversation()) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "x"), "record.disk_full"),
        (OSError(errno.EDQUOT, "x"), "record.disk_full"),
        (OSError(errno.EROFS, "x"), "record.read_only"),
        (PermissionError(errno.EACCES, "x"), "record.read_only"),
        (FileNotFoundError(errno.ENOENT, "x"), "record.gone"),
        (OSError("no number"), "record.gone"),
        (sqlite3.OperationalError("no code"), "record.gone"),
    ],
)
def test_errors_are_sorted(tmp_path: Path, error: Any, code: str) -> None:
    assert failures.from_error(error, tmp_path).code == code
    assert failures.from_error(OSError(errno.EIO, "x"), tmp_path / "nowhere").code == "record.gone"


@pytest.mark.parametrize("code", list(failures.FAILURES))
def test_every_failure_says_what_happened_and_what_to_do(tmp_path: Path, code: str) -> None:
    failure = failures.unavailable(code, tmp_path, "More.")
    assert failure.message.endswith("More.")
    assert failure.hint.endswith((".", "--new-ledger REASON")), "a sentence, or the command to copy"
    assert "{" not in failure.message + failure.hint
    assert failures.again(failure).hint == failure.hint
