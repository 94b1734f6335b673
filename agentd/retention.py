"""Retention by the settings: `record: {keep: 90d}` in `agentd.yaml` prunes the record once a day, as `agentctl audit prune`
does by hand. Without it the record is kept for ever. It is the owner's word, given beforehand; each prune is a line."""

import asyncio
import logging
from typing import TYPE_CHECKING

from agentd.core.accounting.retention import DAY_S
from agentd.core.accounting.times import NS_PER_S, from_rfc3339, rfc3339
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.ledger import Ledger
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.ports import Clock
from agentd.gate.ports_operator import OperatorRefused, PruneAsk
from agentd.steady import steady

if TYPE_CHECKING:
    from agentd.daemon import House

LOOK_S = 3600
"""Between two looks. A prune comes when a whole day is too old, so at most once a day."""

NOT_PRUNED = "record.not_pruned"

log = logging.getLogger("agentd.retention")


def start_retention(house: "House", alarms: Alarms, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
    """The task that prunes the record, if the settings say for how long it is kept; whoever stops the daemon cancels it."""
    keep_s = house.settings.record.keep_s
    if keep_s is None:
        return []
    retention = Retention(house.ledger, house.clock, alarms, keep_s)
    return [tasks.create_task(steady("the record's retention", retention.run), name="retention")]


class Retention:
    """Looks at the age of the record, and prunes it."""

    def __init__(self, ledger: Ledger, clock: Clock, alarms: Alarms, keep_s: int) -> None:
        """`keep_s`: how long a line is kept."""
        self._ledger = ledger
        self._clock = clock
        self._alarms = alarms
        self._keep_s = keep_s

    async def run(self) -> None:
        """Look now and every hour, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Prune if a day or more is too old. What cannot be pruned is an alarm; a record that takes no line says so itself."""
        try:
            if await self._due():
                told = await self._ledger.prune(self._ask(), self._line())
                log.info("record.keep: %d lines up to %s go", told["lines"], told.get("to", "none"))
            self._alarms.clear(NOT_PRUNED, "record")
        except OperatorRefused as refused:
            await self._alarms.sound(Alarm(NOT_PRUNED, "record", refused.message, refused.hint))
        except RecordUnavailable as gone:
            log.warning("the record is not pruned now: %s", gone)

    async def _due(self) -> bool:
        extent = await self._ledger.reader.extent()
        if extent["pruning"] or extent["since"] is None:
            return False
        age_ns = self._clock.wall_ns() - from_rfc3339(extent["since"])
        return age_ns >= (self._keep_s + DAY_S) * NS_PER_S

    def _ask(self) -> PruneAsk:
        return PruneAsk(before_ns=self._clock.wall_ns() - self._keep_s * NS_PER_S)

    def _line(self) -> Line:
        at = self._clock.wall_ns()
        detail = {
            "reason": f"agentd.yaml: record.keep is {self._keep_s // DAY_S} days",
            "before": rfc3339(at - self._keep_s * NS_PER_S),
            "keep_lines": 0,
        }
        return Line(Kind.PRUNE, rfc3339(at), verdict="allow", code="record.keep", detail=detail)
