"""A settlement says later what an outcome could not: the sums follow in the same step, once, and the chain knows the kind."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.ledger import Ledger
from edge.ledger.lines import HOUR, HOUR_NS, NOON, Clock, decision, outcome, run, verified

PARTIAL = {"prompt": 90, "completion": 1, "cached": None, "cache_write": None, "reasoning": None}
WHOLE = {"prompt": 100, "completion": 20, "cached": 60, "cache_write": None, "reasoning": None}


def settlement(opens: Any, cost: Any = 250, **more: Any) -> Any:
    fields = {"tokens": WHOLE, "status": "settled", **more}
    return Line(Kind.SETTLEMENT, decision(NOON + 3 * HOUR_NS).at, opens=opens, cost_nusd=cost, **fields)


async def owed_call(ledger: Ledger, **more: Any) -> Any:
    """A call that is closed without a cost."""
    receipt = await ledger.append(decision(**more))
    await ledger.append(outcome(receipt.seq, cost_nusd=None, tokens=PARTIAL, status="client_gone"))
    return receipt.seq


async def sums(ledger: Ledger) -> Any:
    assert await ledger.reader.recompute_spend() == []
    row = (await ledger.reader.spend("tier", HOUR))[0]
    return {
        name: row[name]
        for name in (
            "calls",
            "prompt_tokens",
            "completion_tokens",
            "cached_tokens",
            "cache_write_tokens",
            "reserved_nusd",
            "cost_nusd",
        )
    }


def played(tmp_path: Path, scene: Any) -> Any:
    async def conversation() -> Any:
        async with Ledger.open(tmp_path, Clock()) as ledger:
            return await scene(ledger)

    return run(conversation())


def test_the_reservation_becomes_the_cost_and_the_counts_are_replaced(tmp_path: Path) -> None:
    async def scene(ledger: Ledger) -> Any:
        seq = await owed_call(ledger)
        before = await sums(ledger)
        receipt = await ledger.append(settlement(seq))
        return (
            before,
            await sums(ledger),
            await verified(ledger),
            await ledger.reader.line(receipt.seq),
            (
                await ledger.reader.outcome_of(seq),
                await ledger.reader.settlement_of(seq),
            ),
        )

    before, after, report, line, (closed, settled) = played(tmp_path, scene)
    assert (before["reserved_nusd"], before["cost_nusd"], before["prompt_tokens"]) == (1_000, 0, 90)
    assert after == {
        "calls": 1,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "cached_tokens": 60,
        "cache_write_tokens": 0,
        "reserved_nusd": 0,
        "cost_nusd": 250,
    }
    assert report.intact
    assert line["id"] == f"settlement-{line['seq']}"
    assert (closed["kind"], settled["seq"]) == ("outcome", line["seq"])


def test_it_is_booked_in_the_hour_of_the_decision_in_a_later_run_too(tmp_path: Path) -> None:
    seq = played(tmp_path, owed_call)

    async def scene(ledger: Ledger) -> Any:
        await ledger.append(settlement(seq))
        assert await ledger.reader.recompute_spend() == []
        return await ledger.reader.accounts(), await verified(ledger)

    accounts, report = played(tmp_path, scene)
    assert [(row["hour"], row["nusd"], row["tokens"], row["calls"]) for row in accounts] == [(HOUR, 250, 120, 1)]
    assert report.intact


def test_giving_up_keeps_the_reservation(tmp_path: Path) -> None:
    async def scene(ledger: Ledger) -> Any:
        seq = await owed_call(ledger)
        before = await sums(ledger)
        await ledger.append(settlement(seq, None, tokens=None, status="unsettled"))
        assert await sums(ledger) == before
        return await ledger.reader.owed(NOON), await verified(ledger)

    owed, report = played(tmp_path, scene)
    assert [row["given_up"] for row in owed] == [4]
    assert report.intact


def test_counts_that_the_settlement_does_not_say_stay_as_they_were(tmp_path: Path) -> None:
    async def scene(ledger: Ledger) -> Any:
        await ledger.append(settlement(await owed_call(ledger), tokens={"prompt": None, "completion": 5}))
        return await sums(ledger)

    assert played(tmp_path, scene)["prompt_tokens"] == 90


@pytest.mark.parametrize("case", ["open", "known", "denied", "nothing", "twice", "twice at once", "after giving up"])
def test_anything_else_is_refused(tmp_path: Path, case: Any) -> None:
    async def scene(ledger: Ledger) -> Any:
        seq = await owed_call(ledger)
        if case == "open":
            seq = (await ledger.append(decision())).seq
        elif case == "known":
            seq = (await ledger.append(decision())).seq
            await ledger.append(outcome(seq))
        elif case == "denied":
            seq = (await ledger.append(decision(verdict="deny"))).seq
        elif case == "nothing":
            seq = None
        elif case in ("twice", "after giving up"):
            await ledger.append(settlement(seq, 1 if case == "twice" else None))
        before = await ledger.reader.accounts()
        if case == "twice at once":
            both = await asyncio.gather(*(ledger.append(settlement(seq)) for _ in "ab"), return_exceptions=True)
            assert [type(one) for one in both].count(RecordUnavailable) == 1
        else:
            with pytest.raises(RecordUnavailable) as refused:
                await ledger.append(settlement(seq))
            assert refused.value.code == "record.not_owed"
            assert await ledger.reader.accounts() == before
        assert await ledger.reader.recompute_spend() == []
        return await verified(ledger), ledger.health()[0]

    report, health = played(tmp_path, scene)
    assert (report.intact, health) == (True, "ok")


def test_what_is_owed_is_told_with_all_that_it_takes_to_ask(tmp_path: Path) -> None:
    async def scene(ledger: Ledger) -> Any:
        await ledger.append(decision())
        early = await owed_call(ledger, at_ns=NOON - 30 * HOUR_NS)
        seq = await owed_call(ledger)
        await ledger.append(settlement(await owed_call(ledger)))
        everything = await ledger.reader.owed(NOON - 40 * HOUR_NS)
        assert [row["seq"] for row in everything] == [early, seq]
        return seq, (await ledger.reader.owed(NOON))[1]

    seq, row = played(tmp_path, scene)
    assert row == {
        "seq": seq, "at": decision().at, "closed_at": decision().at, "agent": "main", "class": "implementation",
        "tier": "standard", "session": decision().session, "request": "r-0123456789abcdef", "model": "minimax/minimax-m2.5",
        "policy": decision().policy, "upstream": None, "reserved_nusd": 1_000, "generation": "gen-1", "tokens": 91,
        "given_up": None,
    }  # fmt: skip


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 0, 400])), max_size=12))
def test_sums_are_those_of_the_lines_in_any_order(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    async def scene(ledger: Ledger) -> None:
        owed = [await owed_call(ledger, class_=f"c{place % 2}") for place in range(4)]
        for place, cost in steps:
            with contextlib.suppress(RecordUnavailable):  # settled before
                await ledger.append(settlement(owed[place], cost))
        assert await ledger.reader.recompute_spend() == []
        assert (await verified(ledger)).intact

    played(tmp_path_factory.mktemp("ledger"), scene)


def test_a_settlement_that_somebody_wrote_by_hand_shows(tmp_path: Path) -> None:
    """The chain fits itself, and the line means nothing."""
    from agentd.core.accounting.canonical import canonical, record_of
    from agentd.core.accounting.chain import Flaw, digest_of, verify

    async def scene(ledger: Ledger) -> Any:
        seq = (await ledger.append(decision())).seq
        await ledger.append(outcome(seq))
        return [row async for row in ledger.reader.raw()]

    rows = played(tmp_path, scene)
    for opens in (2, None, 99):
        body = canonical(record_of(settlement(opens), len(rows) + 1, rows[-1][2]))
        report = verify([*rows, (len(rows) + 1, body, digest_of(body))])
        assert [finding.flaw for finding in report.findings] == [Flaw.UNOWED]
    assert json.loads(rows[0][1])["kind"] == "genesis"
