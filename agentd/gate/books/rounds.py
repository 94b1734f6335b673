"""The pace of what runs beside the calls: a round, a pause, and the next round early when there is news."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn


async def rounds(news: asyncio.Event, one: Callable[[], Awaitable[float | None]]) -> NoReturn:
    """Do `one` round after the other until cancelled. Each answers in how many seconds the next is due, or None where only news
    can bring one; `news` cuts the pause short, also when it came while the round was under way."""
    while True:
        news.clear()
        pause = await one()
        try:
            async with asyncio.timeout(pause):
                await news.wait()
        except TimeoutError:
            continue
