"""Models that the policy names and the upstream does not have, as calls find out: told once, until one of them is served again.

The call itself goes to another model of its tier, or is refused, like any other that failed. But nobody sees from an answer that
the first choice of a tier is gone for good, and that every call since pays for a round trip to nowhere.
"""

import asyncio

from agentd.core.dialects.failures import NO_MODEL
from agentd.core.types.errors import UpstreamFailed
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.flight import Run

GONE = "model.gone"

MAX_GONE = 100
"""Models that are remembered; a policy names fewer."""


class ModelWatch:
    """Hears how calls ended. `run` is its task."""

    def __init__(self, alarms: Alarms) -> None:
        """Nothing is gone until a call finds so."""
        self._alarms = alarms
        self._gone: dict[str, str] = {}  # model: the upstream that does not have it
        self._news = asyncio.Event()

    def ended(self, run: Run, error: UpstreamFailed | None) -> None:
        """A call ended: well, or with an error of the upstream."""
        limits = run.permit.allow.limits
        if error is None:
            if self._gone.pop(limits.model, None) is not None:
                self._alarms.clear(GONE, limits.model)
        elif error.code == NO_MODEL and limits.model not in self._gone and len(self._gone) < MAX_GONE:
            self._gone[limits.model] = limits.upstream
            self._news.set()

    async def run(self) -> None:
        """Raise alarms until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.round()

    async def round(self) -> None:
        """Raise what stands; what was raised before is not written again."""
        for model, upstream in tuple(self._gone.items()):
            message = f"upstream {upstream} says that it has no such model, or no endpoint for it"
            await self._alarms.sound(Alarm(GONE, model, message, "Take another model into its tier."))
