"""The sums of money and tokens are those of the lines: in the hour of the decision, kept when the cost is unknown."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.chain import ORIGIN, Verifier
from agentd.core.types.errors import AgentdError
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.staging import Staged, Tip, genesis
from edge.ledger.lines import HOUR, HOUR_NS, NOON, Clock, decision, lines_of, outcome, run, verified

AT = genesis("", "2026-09-21T14:13:20.000000Z", None, None).at


async def played(directory: Path, *steps: Any) -> Any:
    """Write decisions and outcomes; an int in `steps` is a decision's place, with what becomes of it."""
    async with Ledger.open(directory, Clock()) as ledger:
        receipts = []
        for step in steps:
            if isinstance(step, Line):
                receipts.append(await ledger.append(step))
            else:
                place, more = step
                await ledger.append(outcome(receipts[place].seq, **more))
        assert await ledger.reader.recompute_spend() == []
        return {
            by: await ledger.reader.spend(by, HOUR)
            for by in ("class", "tier", "model", "agent", "session", "day", "hour")
        }, (await ledger.reader.accounts())


def of(rows: list[Any], name: Any) -> Any:
    return next(row for row in rows if row["name"] == name)


def test_a_reservation_becomes_a_cost(tmp_path: Path) -> None:
    sums, _ = run(played(tmp_path, decision(), decision(class_="routine"), (0, {})))
    assert of(sums["class"], "implementation") == {
        "name": "implementation",
        "calls": 1,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "cached_tokens": 60,
        "cache_write_tokens": 7,
        "tokens": 120,
        "reserved_nusd": 0,
        "cost_nusd": 300,
    }
    assert of(sums["class"], "routine")["reserved_nusd"] == 1_000
    assert of(sums["class"], "routine")["cost_nusd"] == 0


def test_an_unknown_cost_keeps_the_reservation(tmp_path: Path) -> None:
    sums, accounts = run(played(tmp_path, decision(), (0, {"cost_nusd": None, "tokens": None})))
    assert (sums["tier"][0]["reserved_nusd"], sums["tier"][0]["cost_nusd"], sums["tier"][0]["tokens"]) == (1_000, 0, 0)
    assert accounts[0]["nusd"] == 1_000


def test_a_call_that_cost_nothing_is_not_an_unknown_cost(tmp_path: Path) -> None:
    sums, _ = run(played(tmp_path, decision(), (0, {"cost_nusd": 0})))
    assert (sums["tier"][0]["reserved_nusd"], sums["tier"][0]["cost_nusd"]) == (0, 0)


def test_only_allows_are_counted(tmp_path: Path) -> None:
    sums, accounts = run(played(tmp_path, decision(verdict="deny"), decision(verdict="ask")))
    assert (sums["class"], accounts) == ([], [])


def test_an_outcome_is_booked_in_the_hour_of_its_decision(tmp_path: Path) -> None:
    late = NOON + 5 * HOUR_NS
    sums, accounts = run(played(tmp_path, decision(), decision(late), (0, {"at": decision(late).at})))
    assert [(row["name"], row["cost_nusd"], row["reserved_nusd"]) for row in sums["hour"]] == [
        (HOUR, 300, 0),
        (HOUR + 5, 0, 1_000),
    ]
    assert [(row["hour"], row["nusd"], row["tokens"], row["calls"]) for row in accounts] == [
        (HOUR, 300, 120, 1),
        (HOUR + 5, 1_000, 0, 1),
    ]
    assert [row["name"] for row in sums["day"]] == ["2026-09-21"]


def test_the_dearest_come_first_and_days_in_order(tmp_path: Path) -> None:
    days = [decision(NOON + n * 24 * HOUR_NS, model=f"m{n}", reserved_nusd=n) for n in (2, 0, 1)]
    sums, _ = run(played(tmp_path, *days))
    assert [row["name"] for row in sums["model"]] == ["m2", "m1", "m0"]
    assert [row["name"] for row in sums["day"]] == ["2026-09-21", "2026-09-22", "2026-09-23"]


def test_what_lies_before_is_left_out(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(decision())
            return await ledger.reader.spend("class", HOUR + 1), await ledger.reader.accounts(HOUR + 1)

    assert run(conversation()) == ([], [])


def test_spending_by_something_unknown_is_an_error(tmp_path: Path) -> None:
    async def conversation() -> None:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.reader.spend("1; DROP TABLE spend", 0)

    with pytest.raises(ValueError, match="class"):
        run(conversation())


def test_a_sum_that_was_touched_shows(tmp_path: Path) -> None:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            written(tmp_path, *TOUCHED)
            return await ledger.reader.recompute_spend()

    run(played(tmp_path, decision(), (0, {}), decision(class_="routine")))
    found = run(conversation())
    assert ("cost_nusd", 7, 300) in [(row["column"], row["kept"], row["lines"]) for row in found]
    assert {row["account"]["class"] for row in found} == {"implementation", "routine"}


TOUCHED = (
    "UPDATE spend SET cost_nusd = 7 WHERE class = 'implementation'",
    "DELETE FROM spend WHERE class = 'routine'",
)


def written(directory: Path, *statements: Any) -> None:
    """As another program would."""
    with sqlite3.connect(directory / "ledger.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


async def started(directory: Path, clock: Clock | None = None) -> Any:
    """What a start restores budgets from, and what it says of the sums."""
    async with Ledger.open(directory, clock or Clock()) as ledger:
        alarms = [line["detail"] for line in await lines_of(ledger, "alarm") if line["code"] == "record.sums"]
        report = await verified(ledger)
        assert report.intact, report.findings
        return await ledger.reader.accounts(), await ledger.reader.recompute_spend(), alarms, ledger.counters.mended


@pytest.mark.parametrize(
    "touch", [TOUCHED, ("DELETE FROM spend",), ("UPDATE spend SET cost_nusd = 0, reserved_nusd = 0",)]
)
def test_a_start_restores_no_budget_from_sums_that_somebody_touched(tmp_path: Path, touch: Any) -> None:
    run(played(tmp_path, decision(), (0, {}), decision(class_="routine")))
    sound, *_ = run(started(tmp_path))
    written(tmp_path, *touch)
    accounts, differs, alarms, mended = run(started(tmp_path))
    assert (accounts, differs) == (sound, [])
    assert (len(alarms), mended) == (1, len(alarms[0]["sums"]))
    assert mended > 0
    assert run(started(tmp_path))[2:] == (alarms, 0), "told once"


def test_nor_from_sums_that_were_touched_while_the_daemon_ran(tmp_path: Path) -> None:
    async def conversation() -> None:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            await ledger.append(decision())
            written(tmp_path, "DELETE FROM spend")

    run(conversation())
    accounts, differs, alarms, _ = run(started(tmp_path))
    assert ([row["nusd"] for row in accounts], differs, len(alarms)) == ([1_000], [], 1)


def test_sums_that_nobody_touched_are_known_without_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(played(tmp_path, decision(), (0, {})))

    def looked(*_: Any) -> None:
        raise AssertionError("the lines were added up")

    monkeypatch.setattr("agentd.edge.ledger.sums.differences", looked)
    late = Clock(NOON + 40 * 24 * HOUR_NS)

    async def conversation(clock: Clock) -> Any:
        async with Ledger.open(tmp_path, clock) as ledger:
            return ledger.counters.mended

    assert [run(conversation(clock)) for clock in (Clock(), late)] == [0, 0]


def test_sums_of_long_ago_are_left_to_verification(tmp_path: Path) -> None:
    run(played(tmp_path, decision(), (0, {})))
    written(tmp_path, "UPDATE spend SET cost_nusd = 7")
    late = Clock(NOON + 40 * 24 * HOUR_NS)
    _, differs, alarms, mended = run(started(tmp_path, late))
    assert (len(differs), alarms, mended) == (1, [], 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["allow", "deny", "outcome", "wild", "checkpoint"]),
        st.integers(0, 30),
        st.none() | st.integers(0, 10**15),
        st.integers(0, 2),
    ),
    max_size=30,
)


def line(step: Any, opened: Any) -> Any:
    what, place, amount, hour = step
    at = NOON + hour * HOUR_NS
    if what in {"allow", "deny"}:
        return decision(at, verdict=what, reserved_nusd=amount, class_=f"c{place % 3}")
    if what == "checkpoint":
        return Line(kind=Kind.CHECKPOINT, at=decision(at).at)
    target = place if what == "wild" else (opened[place % len(opened)] if opened else place)
    return outcome(target, at, cost_nusd=amount, tokens={"prompt": place, "completion": None, "cached": 0})


@given(STEPS, st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_whatever_is_staged_in_whatever_batches_makes_a_chain_and_sums_that_fit(steps: Any, sizes: Any) -> None:
    """In any order, with wild outcomes among them, split into any batches: refused lines leave no trace at all."""
    rows: list[Any] = []
    sums: dict[Any, list[int]] = {}
    opened: list[int] = []
    tip = Tip("l", ORIGIN, {})
    staged = Staged(tip)
    staged.add(genesis("l", AT, None, None))
    left, turn = sizes[0], 0
    for step in steps:
        before = (len(staged.rows), staged.tip.link, {key: list(value) for key, value in staged.deltas.items()})
        try:
            row = staged.add(line(step, opened))
        except AgentdError:
            assert (
                len(staged.rows),
                staged.tip.link,
                {key: list(value) for key, value in staged.deltas.items()},
            ) == before
            continue
        if step[0] == "allow":
            opened.append(row.seq)
        left -= 1
        if left == 0:
            tip, turn = commit(staged, rows, sums), turn + 1
            staged, left = Staged(tip), sizes[turn % len(sizes)]
    tip = commit(staged, rows, sums)
    verifier = Verifier()
    for row in rows:
        verifier.feed(row.seq, row.body, row.digest)
    report = verifier.finish()
    assert report.intact, report.findings
    assert report.open_count == len(tip.open)
    assert sum(delta[0] for delta in sums.values()) == len(opened)
    assert all(amount >= 0 for delta in sums.values() for amount in delta)


def commit(staged: Any, rows: list[Any], sums: Any) -> Any:
    rows += staged.rows
    for account, delta in staged.deltas.items():
        sums[account] = [a + b for a, b in zip(sums.get(account, [0] * len(delta)), delta, strict=True)]
    return staged.settled()
