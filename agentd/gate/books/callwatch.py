"""What calls find out by how they end, and a person should know: told once, until it is over.

A model that the upstream does not have: the call goes to another model of its tier, or is refused, like any other that failed.
But nobody sees from an answer that the first choice of a tier is gone for good, and that every call since pays for a round trip
to nowhere. And a tool that ran at the provider: no request that agentd sends offers one, so the account's own settings added
it.
"""

import asyncio

from agentd.core.dialects.failures import NO_MODEL
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.receipts import Outcome
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.flight import Run

GONE, UNASKED = "model.gone", "reply.unasked"

MAX_FOUND = 100
"""Findings that are remembered; there are no more models in a policy."""


class CallWatch:
    """Hears how calls ended. `run` is its task."""

    def __init__(self, alarms: Alarms) -> None:
        """Nothing is wrong until a call finds so."""
        self._alarms = alarms
        self._found: dict[tuple[str, str], Alarm] = {}
        self._news = asyncio.Event()

    def ended(self, run: Run, outcome: Outcome, error: UpstreamFailed | None) -> None:
        """A call ended: well, or with an error of the upstream."""
        limits = run.permit.allow.limits
        if error is None:
            if self._found.pop((GONE, limits.model), None) is not None:
                self._alarms.clear(GONE, limits.model)
        elif error.code == NO_MODEL:
            message = f"upstream {limits.upstream} says that it has no such model, or no endpoint for it"
            self._note(Alarm(GONE, limits.model, message, "Take another model into its tier."))
        if outcome.unasked:
            message = (
                f"tools ran there that no request offered ({', '.join(outcome.unasked)}; {run.permit.receipt.decision})"
            )
            self._note(Alarm(UNASKED, limits.upstream, message, "Look at the default plugins of the account there."))

    def _note(self, alarm: Alarm) -> None:
        key = (alarm.code, alarm.about)
        if key not in self._found and len(self._found) < MAX_FOUND:
            self._found[key] = alarm
            self._news.set()

    async def run(self) -> None:
        """Raise alarms until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.round()

    async def round(self) -> None:
        """Raise what stands; what was raised before is not written again."""
        for alarm in tuple(self._found.values()):
            await self._alarms.sound(alarm)
