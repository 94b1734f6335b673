"""The record as the gate uses it: a receipt means durable and chained, in order, for everyone at once, or a clear no."""

import asyncio
import hashlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger import ledger as module
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.store import Store
from agentd.gate import ports
from edge.ledger.lines import HOUR, NOON, Clock, Key, decision, lines_of, outcome, run, verified


def test_the_ledger_fits_its_ports() -> None:
    def fits(ledger: Ledger) -> tuple[ports.Ledger, ports.RecordReader]:
        return ledger, ledger.reader

    assert callable(fits)


def test_a_receipt_names_a_line_that_is_there(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path / "state", Clock()) as ledger:
            receipt = await ledger.append(decision())
            assert receipt.decision == "d-2"
            written = (
                sqlite3.connect(tmp_path / "state" / "ledger.db")
                .execute("SELECT digest FROM lines WHERE seq = 2")
                .fetchone()
            )
            line = await ledger.reader.line(receipt.seq)
            return receipt, written[0], line

    receipt, written, line = run(conversation())
    assert receipt.digest == written == line["digest"]
    assert (line["id"], line["class"], line["verdict"], line["opens"]) == ("d-2", "implementation", "allow", None)


def test_the_first_line_is_the_genesis(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock(), signer := Key()) as ledger:
            return ledger.id, signer.public_hex, await lines_of(ledger)

    ledger_id, public, (genesis,) = run(conversation())
    assert (genesis["seq"], genesis["kind"], genesis["prev"]) == (1, "genesis", "0" * 64)
    assert genesis["detail"] == {"ledger": ledger_id, "format": 1, "public": public}


def test_two_hundred_at_once_share_commits_and_keep_one_chain(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            receipts = await asyncio.gather(*(ledger.append(decision(request=f"r-{i}")) for i in range(200)))
            commits = ledger.counters.commits
            again = await asyncio.gather(*(ledger.append(outcome(receipt.seq)) for receipt in receipts))
            return receipts, commits, again, await verified(ledger), await lines_of(ledger, "decision")

    receipts, commits, again, report, lines = run(conversation())
    assert [receipt.seq for receipt in receipts] == list(range(2, 202))
    assert [line["request"] for line in lines] == [f"r-{i}" for i in range(200)]
    assert commits < 100, "lines that wait together are committed together"
    assert len({receipt.digest for receipt in [*receipts, *again]}) == 400
    assert (report.intact, report.lines, report.open_count) == (True, 401, 0)


def test_a_chain_goes_on_where_it_ended(tmp_path: Path) -> None:
    async def one(n: Any) -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            receipt = await ledger.append(decision(verdict="deny", request=f"r-{n}"))
            return ledger.id, receipt.seq, await verified(ledger)

    runs = [run(one(n)) for n in range(4)]
    assert len({ledger for ledger, _, _ in runs}) == 1
    assert [seq for _, seq, _ in runs] == [2, 4, 6, 8], "each run ends with a checkpoint"
    assert all(report.intact for _, _, report in runs)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (Line(kind=Kind.START, at="yesterday"), "record.malformed"),
        (Line(kind=Kind.START, at="2026-11-25T10:00:00Z"), "record.malformed"),
        (Line(kind=Kind.START, at="2026-11-25T10:00:00.000+00:00"), "record.malformed"),
        (Line(kind=Kind.START, at="2026-13-25T10:00:00.000000Z"), "record.malformed"),
        (decision(detail={"price": 0.1}), "record.unwritable"),
        (decision(reserved_nusd=-1), "record.unwritable"),
        (decision(reserved_nusd=10**16), "record.unwritable"),
        (outcome(2, tokens={"prompt": 1 << 62}), "record.unwritable"),
        (outcome(99), "record.not_open"),
        (outcome(1), "record.not_open"),
        (outcome(None), "record.not_open"),
    ],
)
def test_a_line_that_cannot_be_one_is_refused_alone(tmp_path: Path, line: Any, code: str) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(decision())
            before, bad, after = await asyncio.gather(
                ledger.append(decision()), ledger.append(line), ledger.append(decision()), return_exceptions=True
            )
            return before, bad, after, ledger.health(), await verified(ledger)

    before, bad, after, health, report = run(conversation())
    assert (before.seq, after.seq) == (3, 4)
    assert isinstance(bad, RecordUnavailable)
    assert bad.code == code
    assert health[0] == "ok"
    assert (report.intact, report.lines) == (True, 4)


def test_an_outcome_closes_its_decision_once(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            receipt = await ledger.append(decision())
            assert ledger.counters.open == 1
            both = await asyncio.gather(
                *(ledger.append(outcome(receipt.seq)) for _ in range(2)), return_exceptions=True
            )
            assert ledger.counters.open == 0
            with pytest.raises(RecordUnavailable, match="not open"):
                await ledger.append(outcome(receipt.seq))
            return both, await ledger.reader.outcome_of(receipt.seq), await verified(ledger)

    (first, second), found, report = run(conversation())
    assert (first.seq, second.code) == (3, "record.not_open")
    assert (found["seq"], found["opens"], found["cost_nusd"]) == (3, 2, 300)
    assert report.intact


def test_hostile_text_is_kept_visibly(tmp_path: Path) -> None:
    nasty = "a\ud800\x00\u202e\n'; DROP TABLE lines; --"
    kept = nasty.replace("\ud800", "\\ud800").replace("\0", "\\u0000")

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            receipt = await ledger.append(decision(session=nasty, model_asked=nasty))
            await ledger.append(outcome(receipt.seq))
            found = await ledger.reader.lines(ports.LineQuery(session=kept))
            return (
                found,
                await ledger.reader.spend("session", HOUR),
                await ledger.reader.recompute_spend(),
                await verified(ledger),
            )

    (line,), (spent,), differences, report = run(conversation())
    assert line["model_asked"] == spent["name"] == kept
    assert differences == []
    assert report.intact


def test_policies_are_kept_whole_by_their_hash(tmp_path: Path) -> None:
    text = "version: 1\n# é\n"
    digest = hashlib.sha256(text.encode()).hexdigest()

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await asyncio.gather(*(ledger.keep_policy(digest, text) for _ in range(3)))
            with pytest.raises(RecordUnavailable, match="digest"):
                await ledger.keep_policy("00" * 32, text)
        async with Ledger.open(tmp_path, Clock()) as ledger:
            return await ledger.reader.policy_text(digest), await ledger.reader.policy_text("00" * 32)

    assert run(conversation()) == (text, None)


def test_listeners_hear_each_durable_line_in_order_until_they_leave(tmp_path: Path) -> None:
    heard: list[Any] = []
    twice: list[Any] = []

    def broken(record: Any) -> None:
        raise ZeroDivisionError

    async def conversation() -> Any:
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context["exception"]))
        async with Ledger.open(tmp_path, Clock()) as ledger:
            ledger.reader.on_append(broken)
            ledger.on_append(heard.append)
            leave = ledger.on_append(twice.append)
            await ledger.append(decision(class_="routine"))
            await asyncio.sleep(0)
            leave()
            leave()
            await asyncio.gather(*(ledger.append(decision()) for _ in range(5)))
            await asyncio.sleep(0)
            return errors, await lines_of(ledger, "decision")

    errors, lines = run(conversation())
    assert heard[:6] == lines
    assert [record["kind"] for record in heard[6:]] == ["checkpoint"]
    assert (len(twice), twice[0]["class"]) == (1, "routine")
    assert {type(error) for error in errors} == {ZeroDivisionError}, "a broken listener harms nobody else"


class Held:
    """Holds the writer before its next commit until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate, self.reached = threading.Event(), threading.Event()
        real = Store.commit

        def commit(store: Any, staged: Any) -> None:
            self.reached.set()
            self.gate.wait(30)
            real(store, staged)

        monkeypatch.setattr(Store, "commit", commit)


def test_a_caller_who_leaves_the_queue_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            first = ledger.append(decision(verdict="deny"))
            await asyncio.to_thread(held.reached.wait, 30)
            second = ledger.append(decision())
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.sleep(0)
            held.gate.set()
            await first
            third = await ledger.append(decision(verdict="deny"))
            return third.seq, ledger.counters

    seq, counters = run(conversation())
    assert (seq, counters.pending, counters.open) == (3, 0, 0)


def test_an_allow_whose_caller_left_while_it_was_written_is_closed_unmade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            closed = asyncio.Event()
            ledger.on_append(lambda record: closed.set() if record["kind"] == "outcome" else None)
            gone = ledger.append(decision())
            await asyncio.to_thread(held.reached.wait, 30)
            gone.cancel()
            await asyncio.sleep(0)
            held.gate.set()
            await closed.wait()
            return (
                await ledger.reader.outcome_of(2),
                await ledger.reader.spend("class", HOUR),
                await verified(ledger),
                ledger.counters,
            )

    closing, (spent,), report, counters = run(conversation())
    assert (closing["status"], closing["cost_nusd"], closing["session"]) == ("stopped", 0, decision().session)
    assert (spent["calls"], spent["reserved_nusd"], spent["cost_nusd"]) == (1, 0, 0)
    assert (report.intact, report.open_count, counters.pending) == (True, 0, 0)


def test_a_disk_that_hangs_is_a_no(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(module, "APPEND_TIMEOUT_S", 0.01)
    clock = Clock()

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, clock) as ledger:
            with pytest.raises(RecordUnavailable) as refused:
                await ledger.append(decision())
            await asyncio.to_thread(held.reached.wait, 30)
            clock.move(module.STUCK_S)
            health = ledger.health()
            held.gate.set()
        return refused.value, health

    refused, health = run(conversation())
    assert (refused.code, health[0]) == ("record.slow", "record.slow")
    assert refused.hint


def test_a_full_queue_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(module, "MAX_WAITING", 3)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            waiting = [ledger.append(decision()) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(RecordUnavailable) as refused:
                await ledger.append(decision())
            held.gate.set()
            receipts = [await task for task in waiting]
            return refused.value.code, len(receipts), (await ledger.append(decision())).seq

    assert run(conversation()) == ("record.overloaded", 3, 5)


def test_after_closing_there_is_no_record(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(decision(verdict="deny"))
        await ledger.close()
        codes = []
        for attempt in (ledger.append(decision()), ledger.reader.line(1)):
            with pytest.raises(RecordUnavailable) as refused:
                await attempt
            codes.append(refused.value.code)
        return codes, sorted(path.name for path in tmp_path.iterdir())

    codes, names = run(conversation())
    assert codes == ["record.closed", "record.closed"]
    assert names == ["ledger.db", "ledger.head", "lock"], "nothing is left in the write-ahead log"


def test_a_writer_that_died_is_a_no_at_once(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            ledger._writer.stop()
            await asyncio.to_thread(ledger._writer.join, 30)
            with pytest.raises(RecordUnavailable) as refused:
                await ledger.append(decision())
            return refused.value.code, ledger.health()[0]

    assert run(conversation()) == ("record.internal", "record.internal")


def test_a_disk_that_hangs_does_not_keep_agentd_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(monkeypatch)
    monkeypatch.setattr(module, "CLOSE_TIMEOUT_S", 0.01)

    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            waiting = ledger.append(decision())
            await asyncio.to_thread(held.reached.wait, 30)
            await ledger.close()
            held.gate.set()
            await asyncio.to_thread(ledger._writer.join, 30)
            return (await waiting).seq

    assert run(conversation()) == 2
    assert "not sealed" in caplog.text


def test_opening_can_be_given_up(tmp_path: Path) -> None:
    codes = set()

    async def conversation() -> Any:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), Ledger.open(tmp_path, Clock()):
                raise RuntimeError("not reached")
        while True:  # the thread lets go of the lock when it notices
            try:
                async with Ledger.open(tmp_path, Clock()) as ledger:
                    return (await ledger.append(decision())).seq
            except RecordUnavailable as error:
                codes.add(error.code)

    assert run(conversation()) >= 2
    assert codes <= {"record.in_use"}


def test_what_is_queued_at_closing_is_still_written(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger, asyncio.TaskGroup():
            tasks = [ledger.append(decision(verdict="deny")) for _ in range(20)]
            await asyncio.sleep(0)
            await ledger.close()
        return [task.result().seq for task in tasks]

    assert run(conversation()) == list(range(2, 22))


def test_the_health_of_a_sound_record_names_its_last_line_and_a_missing_key(tmp_path: Path) -> None:
    async def conversation(signer: Any) -> Any:
        async with Ledger.open(tmp_path / str(signer is None), Clock(), signer) as ledger:
            await ledger.append(decision(NOON))
            return ledger.health()

    assert run(conversation(Key())) == ("ok", "The record is kept; its last line is 2.")
    code, sentence = run(conversation(None))
    assert code == "ok"
    assert "unsigned" in sentence
