"""Rows of `logs`: each decision once with its outcome filled in, as it was and as it comes.

A follower first subscribes, then reads the past, so that nothing falls in between; what it hears twice it knows by
number. An allowed call becomes a row when it closes. A follower that reads too slowly loses rows, is told how many, and
never makes the daemon wait or grow."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import replace

from agentd.core.types.records import Kind
from agentd.gate.desk import views
from agentd.gate.ports import LineQuery, RecordReader
from agentd.gate.ports_operator import MAX_ROWS, Json

MAX_BACKLOG = 10_000
"""Lines kept for a follower that does not read: some seconds of a very busy box, about 10 MB."""

MAX_OPEN = 4096
"""Open decisions remembered; an older one is read again from the record when it closes."""

LOOKUPS = 8
"""Outcomes read at the same time."""


class Follow:
    """One reader of rows."""

    def __init__(self, reader: RecordReader, query: LineQuery) -> None:
        """`query.limit` bounds the past, not what comes."""
        self._reader = reader
        self._query = replace(query, kinds=views.kinds_of(query), limit=min(max(query.limit, 0), MAX_ROWS))
        self._open: OrderedDict[int, Json] = OrderedDict()
        self._lines: deque[Json] = deque()
        self._seen: set[int] = set()  # outcomes that the past has already told
        self._missed = 0
        self._news = asyncio.Event()

    async def history(self) -> list[Json]:
        """The rows that are there now, oldest first."""
        if not self._query.limit:
            return []
        lines = await self._reader.lines(self._query)
        slots = asyncio.Semaphore(LOOKUPS)
        return list(await asyncio.gather(*(self._closed(line, slots) for line in lines)))

    async def rows(self) -> AsyncIterator[Json]:
        """The rows that are there, then each new one. Ends only when it is closed."""
        unsubscribe = self._reader.on_append(self._hear)
        try:
            shown = 0
            for row in await self.history():
                shown = int(row["seq"])
                self._seen.add(int(row.get("outcome") or 0))
                self._remember(row)
                yield row
            while True:
                await self._news.wait()
                self._news.clear()
                async for row in self._drain(shown):
                    yield row
        finally:
            unsubscribe()

    def _hear(self, line: Json) -> None:
        if len(self._lines) >= MAX_BACKLOG:
            self._missed += 1
        else:
            self._lines.append(line)
        self._news.set()

    async def _drain(self, shown: int) -> AsyncIterator[Json]:
        """Rows of the lines heard; `shown` is the newest line of the past, whose own row is out already."""
        while self._lines:
            line = self._lines.popleft()
            if line["kind"] == Kind.OUTCOME:
                row = await self._closing(line)
                if row is not None:
                    yield row
            elif int(line["seq"]) > shown and views.wanted(self._query, line):
                if views.awaits_outcome(line):
                    self._remember(line)
                else:
                    yield views.merged(line, None)
        if self._missed:
            missed, self._missed = self._missed, 0
            yield {"kind": "gap", "missed": missed}

    def _remember(self, line: Json) -> None:
        if views.awaits_outcome(line) and line.get("outcome") is None:
            self._open[int(line["seq"])] = line
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)

    async def _closing(self, outcome: Json) -> Json | None:
        if int(outcome["seq"]) in self._seen:
            return None
        opened = int(outcome["opens"] or 0)
        line = self._open.pop(opened, None) or await self._reader.line(opened)
        return views.merged(line, outcome) if line is not None and views.wanted(self._query, line) else None

    async def _closed(self, line: Json, slots: asyncio.Semaphore) -> Json:
        if not views.awaits_outcome(line):
            return views.merged(line, None)
        seq = int(line["seq"])
        async with slots:
            outcome = await self._reader.outcome_of(seq)
            if outcome is None or outcome["cost_nusd"] is not None:
                return views.merged(line, outcome)
            return views.settled(views.merged(line, outcome), await self._reader.settlement_of(seq))
