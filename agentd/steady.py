"""Work beside the calls that must not end the daemon: what it meets comes from outside, and one fault in it must not stop
everybody's calls, now and again at each start."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

AGAIN_S = 60.0
"""A pause after a fault: long enough not to spin, short enough to be back soon."""

log = logging.getLogger("agentd")


async def steady(name: str, run: Callable[[], Awaitable[None]], again_s: float = AGAIN_S) -> None:
    """Run it until it ends by itself or is cancelled; after a fault say so, wait, and begin again."""
    while True:
        try:
            return await run()
        except Exception:  # whatever it is, the calls go on, and the log has it
            log.exception("%s met a fault of agentd; it begins again in %g s", name, again_s)
            await asyncio.sleep(again_s)
