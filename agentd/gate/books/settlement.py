"""What a call cost whose answer did not say: asked of the upstream's accounting afterwards, beside the way.

A call that was cut or left keeps its whole reservation, because unknown is not free. The upstream's accounting knows what it
cost, though not at once; so each is asked for at fixed ages, and the first answer with a cost settles it: a line, and with it
the sums behind the budgets. Nothing is kept on the side: the record says which calls are owed, and a start asks for those of
the last day. When the last try was answered without a cost, a line says that the reservation stays for good; an upstream that
could not be reached at all is asked again until the call is a day old. Ages are measured by the clock that never steps, so that
setting the box's clock neither delays a question nor gives a call up; only of what an earlier start left open the record's times
tell.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.accounting.generation import Generation, parse_generation
from agentd.core.accounting.times import NS_PER_S, from_rfc3339, rfc3339
from agentd.core.types.errors import KeyUnavailable, RecordUnavailable, UpstreamFailed
from agentd.core.types.receipts import CostSource, Outcome, Usage
from agentd.core.types.records import Kind, Line
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.books.rounds import rounds
from agentd.gate.flight import Run
from agentd.gate.ports import Clock, Endpoint, Ledger
from agentd.gate.ports_accounts import Accounts, OwedReader
from agentd.gate.spend import Account, Reservation, Spend

TRY_AT_S = (2, 5, 15, 60, 300, 1800)
"""Ages of a closed call at which it is asked for: the accounting is often a second late, after a cut stream more."""

AGAIN_S = 1800
"""After those, for an upstream that could not be reached."""

DAY_S = 24 * 3600
"""A call that is older is not asked for any more, and not counted in the status."""

NOT_WRITTEN_S = 15
"""When a settlement that the record did not take is tried again."""

PARALLEL = 4
"""Questions at a time: a crowd of agents that left at once must not become a crowd of questions."""

LOST = "settlement.lost"

log = logging.getLogger("agentd.settlement")


@dataclass(frozen=True, slots=True)
class Owed:
    """A call that is closed without a cost. `tokens`: those that its outcome counted already. `at_ns`: when it was decided, ns
    since 1970; `closed_ns`: when it ended, by the clock that never steps."""

    seq: int
    account: Account
    request: str | None
    model: str | None
    upstream: str
    generation: str | None
    reserved: int
    tokens: int
    at_ns: int
    closed_ns: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What settling works with. `endpoint` gives the upstream of a name as the policy in force has it, None if it has no
    accounting to ask."""

    ledger: Ledger
    reader: OwedReader
    accounts: Accounts
    spend: Spend
    clock: Clock
    alarms: Alarms
    endpoint: Callable[[str], Endpoint | None]


@dataclass(slots=True)
class _Waiting:
    owed: Owed
    due_ns: int


class Settlement:
    """The calls that are owed. `add` takes one from the relay; `run` is its task."""

    def __init__(self, desk: Desk) -> None:
        """Nothing is owed until `run` has read the record or a call adds itself."""
        self._desk = desk
        self._waiting: dict[int, _Waiting] = {}
        self._lost: dict[int, Owed] = {}
        self._news = asyncio.Event()

    def add(self, run: Run, outcome: Outcome) -> None:
        """A call was closed without a cost, and its line stands."""
        limits = run.permit.allow.limits
        usage = outcome.usage
        self._take(
            Owed(
                seq=run.permit.receipt.seq,
                account=run.money.account,
                request=run.request.id,
                model=limits.model,
                upstream=limits.upstream,
                generation=outcome.generation,
                reserved=run.money.amount,
                tokens=(usage.prompt or 0) + (usage.completion or 0),
                at_ns=run.money.at_ns,
                closed_ns=self._desk.clock.mono_ns(),
            )
        )
        self._news.set()

    def summary(self) -> dict[str, int]:
        """What is owed of the last day: `waiting` is still asked for, `lost` nobody will tell; the money that is kept for it."""
        waiting = [item.owed.reserved for item in self._waiting.values()]
        lost = [owed.reserved for owed in self._lost.values()]
        return {"waiting": len(waiting), "waiting_nusd": sum(waiting), "lost": len(lost), "lost_nusd": sum(lost)}

    async def run(self) -> None:
        """Settle until cancelled."""
        await self._restore()
        await rounds(self._news, self.round)

    async def _restore(self) -> None:
        """Take what the record still owes. What came in meanwhile is there already."""
        try:
            rows = await self._desk.reader.owed(self._desk.clock.wall_ns() - DAY_S * NS_PER_S)
        except RecordUnavailable as gone:
            log.error("what is not settled yet cannot be read: %s", gone)
            return
        for row in rows:
            owed = _from_row(row, self._desk.clock)
            if row["given_up"] is not None:
                self._lost[owed.seq] = owed
            elif owed.seq not in self._waiting and owed.seq not in self._lost:
                self._take(owed)

    def _take(self, owed: Owed) -> None:
        if owed.generation is None or self._desk.endpoint(owed.upstream) is None:
            self._lost[owed.seq] = owed
        else:
            self._waiting[owed.seq] = _Waiting(owed, _next_try(owed, self._desk.clock.mono_ns()))

    async def round(self) -> float | None:
        """Ask for all that is due. Answers how many seconds there is nothing to do; None: until something comes."""
        now = self._desk.clock.mono_ns()
        self._lost = {seq: owed for seq, owed in self._lost.items() if now - owed.closed_ns < DAY_S * NS_PER_S}
        if not self._lost:
            for standing in self._desk.alarms.standing():
                if standing.alarm.code == LOST:
                    self._desk.alarms.clear(LOST, standing.alarm.about)
        due = [item.owed for item in self._waiting.values() if item.due_ns <= now]
        slots = asyncio.Semaphore(PARALLEL)
        async with asyncio.TaskGroup() as group:
            for owed in due:
                group.create_task(self._try(owed, slots), name=f"settle-{owed.seq}")
        if not self._waiting:
            return None
        first = min(item.due_ns for item in self._waiting.values())
        return max(0.0, (first - self._desk.clock.mono_ns()) / NS_PER_S)

    async def _try(self, owed: Owed, slots: asyncio.Semaphore) -> None:
        async with slots:
            asked_ns = self._desk.clock.mono_ns()
            found, reached = await self._ask(owed)
        if found is not None and found.usage.cost is not None:
            await self._write(owed, found)
        elif asked_ns - owed.closed_ns >= (TRY_AT_S[-1] if reached else DAY_S) * NS_PER_S:
            await self._write(owed, None)
        else:
            self._waiting[owed.seq].due_ns = _after(owed, asked_ns)

    async def _ask(self, owed: Owed) -> tuple[Generation | None, bool]:
        """The accounting of a call, if there is one; and whether the upstream answered at all."""
        endpoint = self._desk.endpoint(owed.upstream)
        if endpoint is None or owed.generation is None:
            return None, True  # the policy has no such upstream any more: nobody can be asked
        try:
            body = await self._desk.accounts.generation(endpoint, owed.generation)
        except (UpstreamFailed, KeyUnavailable) as failed:
            log.info("d-%d is not settled yet: %s", owed.seq, failed)
            return None, False
        return None if body is None else parse_generation(body), True

    async def _write(self, owed: Owed, found: Generation | None) -> None:
        """The line first, then the sums; a line that is refused because there is one already changes nothing."""
        clock = self._desk.clock
        line = settlement_line(owed, found, clock.wall_ns(), clock.mono_ns() - owed.closed_ns)
        try:
            await self._desk.ledger.append(line)
        except RecordUnavailable as gone:
            if gone.code == "record.not_owed":
                self._waiting.pop(owed.seq, None)
            else:
                self._waiting[owed.seq].due_ns = clock.mono_ns() + NOT_WRITTEN_S * NS_PER_S
            return
        self._waiting.pop(owed.seq, None)
        if found is None or found.usage.cost is None:
            self._lost[owed.seq] = owed
            message = f"its accounting does not tell what d-{owed.seq} cost: the reservation stays"
            await self._desk.alarms.sound(Alarm(LOST, owed.upstream, message, "Compare with its own activity page."))
            return
        held = Reservation(owed.account, owed.reserved, owed.at_ns)
        said = (found.usage.prompt or 0) + (found.usage.completion or 0)
        self._desk.spend.settle(held, found.usage.cost, said - owed.tokens if said else 0)
        await self._look(owed, found)

    async def _look(self, owed: Owed, found: Generation) -> None:
        """Raise an alarm for what should not be possible."""
        about = f"d-{owed.seq}"
        if found.alarms:
            message = f"the upstream served it with something that nobody asked for: {', '.join(found.alarms)}"
            hint = "Look at the presets, plugins and routing of the account at the upstream."
            await self._desk.alarms.sound(Alarm("settlement.unasked", about, message, hint))
        if (found.usage.cost or 0) > owed.reserved:
            message = f"it cost {found.usage.cost} nano-dollars, more than the {owed.reserved} that were reserved"
            hint = "Compare the model's price at the upstream with the catalogue; budgets counted too little."
            await self._desk.alarms.sound(Alarm("settlement.above_reservation", about, message, hint))


def settlement_line(owed: Owed, found: Generation | None, at_ns: int, age_ns: int) -> Line:
    """The line that settles a call `age_ns` after it ended, or says that nobody will (`found` None)."""
    settled = found is not None and found.usage.cost is not None
    usage = found.usage if found is not None else None
    detail: dict[str, Any] = {
        "generation": owed.generation,
        "cost_source": (CostSource.REPORTED if settled else CostSource.UNSETTLED).value,
        "after_s": age_ns // NS_PER_S,
    }
    if found is not None:
        detail |= {
            "attempts": list(found.attempts),
            "recipients": list(found.recipients),
            "cancelled": found.cancelled,
            "finish": found.finish,
            "alarms": list(found.alarms),
        }
    return Line(
        kind=Kind.SETTLEMENT,
        at=rfc3339(at_ns),
        agent=owed.account.agent or None,
        session=owed.account.session or None,
        request=owed.request,
        class_=owed.account.task or None,
        code="settlement.unasked" if found is not None and found.alarms else f"settlement.{_status(settled)}",
        tier=owed.account.tier or None,
        model=(found.model if found is not None else None) or owed.model,
        provider=found.provider if found is not None else None,
        reserved_nusd=owed.reserved,
        cost_nusd=usage.cost if usage is not None else None,
        tokens=_tokens(usage) if settled and usage is not None else None,
        status=_status(settled),
        opens=owed.seq,
        detail=detail,
    )


def _status(settled: bool) -> str:
    return "settled" if settled else "unsettled"


def _tokens(usage: Usage) -> dict[str, int | None]:
    names = ("prompt", "completion", "cached", "cache_write", "reasoning")
    return {name: getattr(usage, name) for name in names}


def _next_try(owed: Owed, now_ns: int) -> int:
    """When a call is asked for that was taken in now: at the first age that is not over, or at once if all are."""
    ages = (owed.closed_ns + age * NS_PER_S for age in TRY_AT_S)
    return next((due for due in ages if due >= now_ns), now_ns)


def _after(owed: Owed, now_ns: int) -> int:
    """When a call is asked for again."""
    ages = (owed.closed_ns + age * NS_PER_S for age in TRY_AT_S)
    return next((due for due in ages if due > now_ns), now_ns + AGAIN_S * NS_PER_S)


def _from_row(row: Mapping[str, Any], clock: Clock) -> Owed:
    """A call of the record. One that ended in what is now the future has just ended."""
    age = max(0, clock.wall_ns() - from_rfc3339(row["closed_at"]))
    account = Account(row["agent"] or "", row["class"] or "", row["tier"] or "", row["session"] or "")
    return Owed(
        seq=int(row["seq"]),
        account=account,
        request=row["request"],
        model=row["model"],
        upstream=str(row["upstream"] or ""),
        generation=row["generation"],
        reserved=int(row["reserved_nusd"]),
        tokens=int(row["tokens"]),
        at_ns=from_rfc3339(row["at"]),
        closed_ns=clock.mono_ns() - age,
    )
