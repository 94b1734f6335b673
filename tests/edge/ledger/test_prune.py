"""Old lines go: by a line of the record that a signature covers, with all that hangs on them, and without what is still
needed."""

import asyncio
import hashlib
import shutil
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentd.core.accounting.chain import exported
from agentd.core.types.errors import AgentdError
from agentd.core.types.records import Kind
from agentd.core.types.tokens import id_of
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.pruning import STEP_PAGES, _give_back
from edge.ledger.lines import HOUR, POLICY, Clock, Key, decision, lines_of, outcome, run
from edge.ledger.pruning import (
    DAY_NS,
    START,
    act,
    ask,
    checked,
    cut_in,
    days,
    done,
    kinds,
    next_day,
    old_days,
    prune_line,
    raws,
    state_size,
)

KEY = Key()


FILLED: dict[str, Path] = {}


@pytest.fixture(scope="module", autouse=True)
def _filled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A hundred days with a call each, written once for all tests."""
    FILLED["state"] = tmp_path_factory.mktemp("aged") / "state"

    async def fill() -> None:
        clock = Clock(START)
        async with Ledger.open(FILLED["state"], clock, KEY) as ledger:
            await days(ledger, clock, 100, calls=1)

    run(fill())


def aged(directory: Path) -> Any:
    """That record, copied here, and the clock a hundred days later."""
    shutil.copytree(FILLED["state"], directory, dirs_exist_ok=True)
    return Clock(START + 100 * DAY_NS)


def prune(tmp_path: Path, before: Any = 40, **more: Any) -> Any:
    """A hundred days, pruned: the rows before and after, the answer, and the state of the record."""

    async def conversation() -> Any:
        clock = aged(tmp_path)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            whole = await raws(ledger)
            answer = await ledger.prune(ask(clock, before, **more), prune_line(clock))
            await done(ledger)
            left = await raws(ledger)
            assert await ledger.reader.recompute_spend() == []
            return whole, left, answer, await ledger.reader.extent()

    return run(conversation())


def test_what_is_left_verifies_and_says_what_is_gone(tmp_path: Path) -> None:
    whole, left, answer, extent = prune(tmp_path)
    report = checked(left, KEY.public_hex)
    assert report.intact, report.findings
    assert (cut_in(report).to, cut_in(report).uid, cut_in(report).vouched) == (answer["to"], 7, True)
    assert [row for row in whole if row[0] > answer["to"]] == left[1:-2], "and the prune line and its checkpoint"
    assert kinds(left)[1] == "genesis"
    assert list(kinds(left).values())[-2:] == ["prune", "checkpoint"]
    assert answer["lines"] == len(whole) + 2 - len(left)
    assert extent["pruned"]["to"] == answer["to"]
    assert extent["first"] == answer["to"] + 1
    assert kinds(left)[extent["first"]] == "checkpoint", "a signed line follows the cut"


def test_the_digest_is_that_of_an_archive_of_what_goes(tmp_path: Path) -> None:
    whole, left, answer, _ = prune(tmp_path)
    text = b"".join(exported(body, digest) + b"\n" for seq, body, digest in whole if seq <= answer["to"])
    assert hashlib.sha256(text).hexdigest() == answer["digest"]
    archive = [row for row in whole if row[0] <= answer["to"]]
    assert checked([*archive, *left[1:]], KEY.public_hex).intact, "archive and record together are the whole chain"


def test_nothing_younger_goes_and_so_many_lines_stay(tmp_path: Path) -> None:
    _, left, answer, _ = prune(tmp_path, keep_lines=250)
    assert answer["line"] - 10 <= answer["to"] + 251 <= answer["line"], "as far as a checkpoint allows"
    assert checked(left, KEY.public_hex).intact


def test_spend_of_the_lines_that_are_left_is_what_is_left_of_spend(tmp_path: Path) -> None:
    prune(tmp_path)

    async def look() -> Any:
        async with Ledger.open(tmp_path, Clock(START + 100 * DAY_NS), KEY) as ledger:
            assert ledger.counters.mended == 0
            return await ledger.reader.spend("day", 0), len(await lines_of(ledger, "decision"))

    rows, decisions = run(look())
    assert sum(row["calls"] for row in rows) == decisions
    assert rows[0]["name"] > "2026-08-05", rows[0]


def test_a_second_prune_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await days(ledger, clock, 3, calls=5)
            clock.at += 57 * DAY_NS
            await days(ledger, clock, 1)
            first = await ledger.prune(ask(clock, 40), prune_line(clock))
            await done(ledger)
            clock.at += 37 * DAY_NS
            await days(ledger, clock, 2, calls=1)
            second = await ledger.prune(ask(clock, 33), prune_line(clock))
            await done(ledger)
            return first, second, await raws(ledger)

    first, second, left = run(conversation())
    assert second["first"] == first["to"] + 1
    assert checked(left, KEY.public_hex).intact
    assert [kind for kind in kinds(left).values() if kind == "prune"] == ["prune"], "the newer one speaks for the older"


def test_a_start_after_a_prune_is_a_start(tmp_path: Path) -> None:
    prune(tmp_path)

    async def again() -> Any:
        async with Ledger.open(tmp_path, Clock(START + 100 * DAY_NS), KEY) as ledger:
            await ledger.append(decision())
            return await raws(ledger), ledger.counters.recovered

    rows, recovered = run(again())
    assert recovered == 0
    assert checked(rows, KEY.public_hex).intact


def test_a_record_that_is_nearly_all_pruned_opens(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await days(ledger, clock, 3)
            clock.at += 90 * DAY_NS
            await next_day(ledger, clock)
            await ledger.prune(ask(clock, 40), prune_line(clock))
            await done(ledger)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            return await raws(ledger)

    assert checked(run(conversation()), KEY.public_hex).intact


def test_what_is_still_needed_stays(tmp_path: Path) -> None:
    """An open call, one that was closed behind the cut, a halt that holds, a token that serves and a version that is named."""
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("old", "live", "p1", "p2", "p3")}

    async def conversation() -> Any:
        clock = Clock(START)
        far = "2027-06-01T00:00:00.000000Z"
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            for version in ("p1", "p2", "p3"):
                await ledger.keep_policy(digests[version], version)
                await ledger.append(policy_line(clock, digests[version]))
                await ledger.append(decision(clock.at, verdict="deny", policy=digests[version]))
            told = {}
            told["open"] = (await ledger.append(decision(clock.at, policy=digests["p1"]))).seq
            told["slow"] = (await ledger.append(decision(clock.at, policy=digests["p3"]))).seq
            told["halt"] = (await ledger.append(act(clock, Kind.HALT, scope="agent", name="a", reason="r"))).seq
            over = await ledger.append(act(clock, Kind.HALT, scope="agent", name="b", reason="r"))
            await ledger.append(act(clock, Kind.RESUME, scope="agent", name="b", reason="r"))
            live = {"sha256": digests["live"], "id": id_of(digests["live"]), "expires": far}
            told["live"] = (await ledger.append(act(clock, Kind.TOKEN, "token.create", **live))).seq
            old = {"sha256": digests["old"], "id": id_of(digests["old"]), "expires": far}
            gone = await ledger.append(act(clock, Kind.TOKEN, "token.create", **old))
            await ledger.append(act(clock, Kind.TOKEN, "token.revoke", id=old["id"]))
            await next_day(ledger, clock)
            await ledger.append(outcome(told["slow"], clock.at))
            clock.at += 58 * DAY_NS
            await days(ledger, clock, 2, calls=1)
            answer = await ledger.prune(ask(clock, 60.5), prune_line(clock))
            await done(ledger)
            await ledger.append(outcome(told["open"], clock.at))
            texts = {name: await ledger.reader.policy_text(digests[name]) for name in ("p1", "p2", "p3")}
            flaws = await ledger.reader.policy_flaws()
            assert await ledger.reader.recompute_spend() == []
            return told, {over.seq, gone.seq}, answer, await raws(ledger), texts, flaws

    told, over, answer, left, texts, flaws = run(conversation())
    assert max(told.values()) <= answer["to"], "all of it lies before the cut"
    there = kinds(left)
    assert set(told.values()) <= there.keys()
    assert not over & there.keys()
    assert (texts, flaws) == ({"p1": "p1", "p2": None, "p3": "p3"}, [])
    assert answer["kept_for"] == {"acts": 2, "calls": 2, "genesis": 1, "policy": 2}
    report = checked(left, KEY.public_hex)
    assert report.intact, report.findings


def policy_line(clock: Clock, digest: Any) -> Any:
    from dataclasses import replace

    return replace(act(clock, Kind.POLICY, "policy.loaded", owner="x"), policy=digest)


def test_a_version_that_comes_back_while_lines_go_stays(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"p1").hexdigest()

    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await ledger.keep_policy(digest, "p1")
            await ledger.append(policy_line(clock, digest))
            await ledger.append(policy_line(clock, POLICY))
            await old_days(ledger, clock, 1)
            answer = await ledger.prune(ask(clock, 40), prune_line(clock))
            await ledger.keep_policy(digest, "p1")
            await ledger.append(policy_line(clock, digest))
            await done(ledger)
            return answer, await ledger.reader.policy_text(digest)

    answer, text = run(conversation())
    assert (answer["versions"], text) == (1, "p1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lines SET body = replace(body, 'minimax', 'mallory') WHERE seq = 2",
        "DELETE FROM lines WHERE seq = 6",
        "UPDATE lines SET digest = replace(digest, 'a', 'b') WHERE seq = 9",
    ],
)
def test_a_flaw_in_what_would_go_is_not_thrown_away(tmp_path: Path, statement: str) -> None:
    async def conversation() -> Any:
        clock = aged(tmp_path)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            with sqlite3.connect(tmp_path / "ledger.db") as connection:
                connection.execute("DROP TRIGGER lines_no_update")
                connection.execute("DROP TRIGGER lines_no_delete")
                connection.execute(statement)
            before = await raws(ledger)
            with pytest.raises(AgentdError) as refused:
                await ledger.prune(ask(clock, 40), prune_line(clock))
            assert (await raws(ledger))[: len(before)] == before
            return refused.value.code

    assert run(conversation()) == "prune.broken"


def test_an_archive_that_lacks_something_stops_it(tmp_path: Path) -> None:
    with pytest.raises(AgentdError) as refused:
        prune(tmp_path, archive="00" * 32)
    assert refused.value.code == "prune.archive"


def test_a_cut_is_made_only_where_it_was_planned(tmp_path: Path) -> None:
    with pytest.raises(AgentdError) as refused:
        prune(tmp_path, to=2)
    assert refused.value.code == "prune.changed", "line 3 is no checkpoint"


def test_a_plan_changes_nothing_and_can_be_carried_out_as_it_was_shown(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = aged(tmp_path)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            before = await raws(ledger)
            plan = await ledger.plan_prune(ask(clock, 40))
            assert await raws(ledger) == before
            clock.at += 5 * DAY_NS
            done_so = await ledger.prune(ask(clock, 40, to=plan["to"], archive=plan["digest"]), prune_line(clock))
            return plan, done_so

    plan, done_so = run(conversation())
    assert {**plan, "line": done_so["line"], "because": done_so["because"]} == done_so


def test_where_nothing_is_old_enough_nothing_is_written(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await days(ledger, clock, 5)
            before = await raws(ledger)
            answer = await ledger.prune(ask(clock, 33), prune_line(clock))
            assert await raws(ledger) == before
            return answer

    answer = run(conversation())
    assert (answer["lines"], "line" in answer) == (0, False)
    assert "is one to keep" in answer["because"]


def test_only_what_the_key_has_signed_is_cut_by_its_holder(tmp_path: Path) -> None:
    """Checkpoints of another key, or none, say nothing to the one that signs now; without a key a signed record stays whole."""

    async def conversation(key: Any) -> Any:
        clock = Clock(START + 100 * DAY_NS)
        async with Ledger.open(tmp_path, clock, key) as ledger:
            return await ledger.plan_prune(ask(clock, 40))

    aged(tmp_path)
    assert run(conversation(KEY))["lines"] > 0
    assert [run(conversation(key))["lines"] for key in (Key(), None)] == [0, 0]


def test_a_record_without_a_key_is_cut_and_nobody_vouches(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, None) as ledger:
            await old_days(ledger, clock, 2)
            answer = await ledger.prune(ask(clock, 40), prune_line(clock))
            await done(ledger)
            return await raws(ledger), answer

    left, answer = run(conversation())
    report = checked(left, None)
    assert (answer["signed"], report.intact, cut_in(report).vouched) == (False, True, False)


def test_the_space_is_given_back(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await old_days(ledger, clock, 2, calls=300)
        before = state_size(tmp_path)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await ledger.prune(ask(clock, 40), prune_line(clock))
            await done(ledger)
        return before, state_size(tmp_path)

    before, after = run(conversation())
    assert after < before / 10


def test_each_step_gives_a_bounded_number_of_pages_back(tmp_path: Path) -> None:
    """Not one page a step, which would take hours, nor all at once, for which everybody would wait."""
    connection = sqlite3.connect(tmp_path / "some.db", isolation_level=None)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", (("x" * 3_000,) for _ in range(4 * STEP_PAGES)))
    connection.execute("DELETE FROM t")
    free = []
    while _give_back(connection):
        free.append(connection.execute("PRAGMA freelist_count").fetchone()[0])
    connection.close()
    assert [before - after for before, after in pairwise(free)][:2] == [STEP_PAGES, STEP_PAGES]
    assert free[-1] == 0


def test_calls_are_taken_while_lines_go(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await old_days(ledger, clock, 2, calls=300)
            await ledger.prune(ask(clock, 40), prune_line(clock))
            with pytest.raises(AgentdError, match="being pruned"):
                await ledger.plan_prune(ask(clock, 40))
            during = 0
            while (await ledger.reader.extent())["pruning"]:
                receipt = await ledger.append(decision(clock.at))
                await ledger.append(outcome(receipt.seq, clock.at))
                during += 1
            return during, checked(await raws(ledger), KEY.public_hex), await ledger.reader.recompute_spend()

    during, report, differs = run(conversation())
    assert during > 5
    assert (report.intact, differs) == (True, [])


def test_a_stop_in_the_middle_of_it_is_no_end_of_it(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await old_days(ledger, clock, 2, calls=300)
            await ledger.prune(ask(clock, 40), prune_line(clock))
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            pending = await ledger.reader.extent()
            report = checked(await raws(ledger), KEY.public_hex)
            await done(ledger)
            return (
                pending["pruning"],
                report,
                checked(await raws(ledger), KEY.public_hex),
                await ledger.reader.recompute_spend(),
            )

    pending, during, after, differs = run(conversation())
    assert (pending, during.intact, after.intact, differs) == (True, True, True, [])
    assert (cut_in(during).left > 0, cut_in(after).left) == (True, 0)


def test_a_plan_that_is_being_made_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await old_days(ledger, clock, 2, calls=500)
            ledger._planner.stop()
            with pytest.raises(AgentdError) as refused:
                await ledger.plan_prune(ask(clock, 40))
            return refused.value.code

    assert run(conversation()) == "record.closed"


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("DELETE FROM lines WHERE seq = 5", True),
        ("UPDATE kept SET seq = seq + 1000", False),
        ("DELETE FROM lines WHERE seq = (SELECT MIN(seq) FROM lines WHERE seq > 1)", True),
    ],
)
def test_without_a_prune_line_the_database_itself_refuses(tmp_path: Path, statement: str, refused: Any) -> None:
    async def fill() -> None:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await days(ledger, clock, 2)

    run(fill())
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        if refused:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
        else:
            connection.execute(statement)


def test_a_kept_line_that_somebody_took_out_is_missed_at_the_next_start(tmp_path: Path) -> None:
    prune(tmp_path)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM kept")
        connection.execute("DELETE FROM lines WHERE seq = 1")
    with pytest.raises(AgentdError) as refused:
        run(asyncio.wait_for(opened(tmp_path), 10))
    assert refused.value.code == "record.broken"


async def opened(directory: Path) -> None:
    async with Ledger.open(directory, Clock(START + 100 * DAY_NS), KEY):
        pass


def test_hours_of_what_is_left_are_whole(tmp_path: Path) -> None:
    """A cut in the middle of an hour takes out of its sums what the lines that went had put in, and no more."""

    async def conversation() -> Any:
        clock = Clock(START)
        async with Ledger.open(tmp_path, clock, KEY) as ledger:
            await days(ledger, clock, 1, calls=3)
            clock.at -= DAY_NS  # the same hour again, behind the checkpoint
            for _ in range(2):
                receipt = await ledger.append(decision(clock.at))
                await ledger.append(outcome(receipt.seq, clock.at))
            clock.at += 91 * DAY_NS
            await days(ledger, clock, 1)
            answer = await ledger.prune(ask(clock, 91.5), prune_line(clock))
            await done(ledger)
            rows = await ledger.reader.spend("hour", 0)
            return answer, rows, await ledger.reader.recompute_spend()

    answer, rows, differs = run(conversation())
    assert answer["lines"] > 0
    assert differs == []
    assert sum(row["calls"] for row in rows) in (2, 4)
    assert rows[0]["name"] < HOUR
