"""What an operator should look at, though nothing is refused for it: a bill that drifts, a price that jumped, a call that was
not served as it was sent.

An alarm is a line of the record, once, and stands in `status` and `doctor` until what raised it is gone. A record that takes no
line silences none: the alarm still stands, and is written down when it is raised again.
"""

import logging
from dataclasses import dataclass

from agentd.core.accounting.times import rfc3339
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind, Line
from agentd.gate.ports import Clock, Ledger

MAX_STANDING = 100
"""Alarms that stand at once; more of them say nothing new. Those beyond are still recorded."""

log = logging.getLogger("agentd.alarms")


@dataclass(frozen=True, slots=True)
class Alarm:
    """A stable code, what it is about (an upstream, a model, a call), what happened, and what to do."""

    code: str
    about: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm and since when it stands (RFC 3339). `line`: it was written down."""

    alarm: Alarm
    at: str
    line: int | None


class Alarms:
    """Raises and clears; one alarm per code and subject."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        """None stand: those of the last run are in the record, and are raised again if they still hold."""
        self._ledger = ledger
        self._clock = clock
        self._standing: dict[tuple[str, str], Standing] = {}

    async def sound(self, alarm: Alarm) -> None:
        """Raise an alarm. One that stands already is not written down twice."""
        key = (alarm.code, alarm.about)
        before = self._standing.get(key)
        at = rfc3339(self._clock.wall_ns())
        if before is None:
            log.error("alarm %s: %s: %s", alarm.code, alarm.about, alarm.message)
        elif before.line is not None:
            self._standing[key] = Standing(alarm, before.at, before.line)
            return
        line = await self._written(alarm, at)
        if before is not None or len(self._standing) < MAX_STANDING:
            self._standing[key] = Standing(alarm, before.at if before else at, line)

    def clear(self, code: str, about: str) -> None:
        """What raised it is gone."""
        if self._standing.pop((code, about), None) is not None:
            log.warning("alarm %s is over: %s", code, about)

    def standing(self) -> tuple[Standing, ...]:
        """Those that hold now, oldest first."""
        return tuple(self._standing.values())

    async def _written(self, alarm: Alarm, at: str) -> int | None:
        detail = {"about": alarm.about, "message": alarm.message, "hint": alarm.hint}
        try:
            receipt = await self._ledger.append(Line(Kind.ALARM, at, code=alarm.code, detail=detail))
        except RecordUnavailable as gone:
            log.error("the alarm could not be written down: %s", gone)
            return None
        return receipt.seq
