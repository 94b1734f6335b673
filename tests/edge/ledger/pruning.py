"""A record of many days, and its pruning, for the tests."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

from agentd.core.accounting.chain import Pruned, Report, cut_of, verify
from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.ports_operator import PruneAsk
from edge.ledger.lines import NOON, Clock, decision, outcome, signature_is_good

DAY_NS = 86_400 * NS_PER_S
MINUTE_NS = 61 * NS_PER_S
START = NOON - 100 * DAY_NS
TODAY = NOON

Raw = tuple[int, bytes, str]


def act(clock: Clock, kind: Kind, code: str = "", **detail: Any) -> Line:
    """A line of an operator's act."""
    return Line(kind, rfc3339(clock.at), agent="main", caller={"uid": 0}, code=code, verdict="allow", detail=detail)


async def days(ledger: Ledger, clock: Clock, count: int, calls: int = 2) -> None:
    """So many days of calls; each day ends with a checkpoint."""
    for _ in range(count):
        receipts = await asyncio.gather(*(ledger.append(decision(clock.at)) for _ in range(calls)))
        await asyncio.gather(*(ledger.append(outcome(receipt.seq, clock.at)) for receipt in receipts))
        await next_day(ledger, clock)


async def old_days(ledger: Ledger, clock: Clock, count: int, calls: int = 2) -> None:
    """So many days of calls, and ninety days later one more."""
    await days(ledger, clock, count, calls)
    clock.at += 90 * DAY_NS
    await days(ledger, clock, 1)


async def next_day(ledger: Ledger, clock: Clock) -> None:
    """A day later, behind a checkpoint; no line but that one is of the new day."""
    sealed = asyncio.Event()
    forget = ledger.on_append(lambda line: sealed.set() if line["kind"] == Kind.CHECKPOINT else None)
    today = clock.at
    while (
        not sealed.is_set()
    ):  # the writer may note the time of its last checkpoint only now, after the clock was moved
        clock.at += MINUTE_NS
        await ledger.append(act(Clock(today), Kind.ALARM, "test.day"))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sealed.wait(), 0.1)
    clock.at = today + DAY_NS
    forget()


async def raws(ledger: Ledger) -> list[Raw]:
    """Every line there is."""
    return [row async for row in ledger.reader.raw()]


def ask(clock: Clock, days_back: float, **more: Any) -> PruneAsk:
    """Prune what is older than so many days."""
    return PruneAsk(before_ns=clock.at - int(days_back * DAY_NS), **more)


def prune_line(clock: Clock, reason: str = "old") -> Line:
    """The line as the desk writes it, but for the plan."""
    detail = {"reason": reason}
    return Line(Kind.PRUNE, rfc3339(clock.at), caller={"uid": 7}, verdict="allow", code="operator.prune", detail=detail)


async def done(ledger: Ledger) -> None:
    """All of it is removed."""
    while (await ledger.reader.extent())["pruning"]:
        await asyncio.sleep(0.005)


def checked(rows: list[Raw], trusted: str | None) -> Report:
    """As `audit verify` does it."""
    prunes = [cut for row in rows if (cut := cut_of(*row)) is not None]
    keys = None if trusted is None else frozenset({trusted})
    return verify(rows, check=signature_is_good, trusted=keys, cut=prunes[-1] if prunes else None)


def cut_in(report: Report) -> Pruned:
    """What the report says is gone."""
    assert report.pruned is not None
    return report.pruned


def kinds(rows: list[Raw]) -> dict[int, str]:
    """Number -> kind."""
    return {seq: json.loads(body)["kind"] for seq, body, _ in rows}


def state_size(directory: Path) -> int:
    """Bytes of the database."""
    return (directory / "ledger.db").stat().st_size
