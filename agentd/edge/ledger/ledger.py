"""The record, as the rest of agentd sees it: append a line, get a receipt when it is durable.

All that blocks happens on the writer's thread; here are the futures, the bound on the queue, the clock on each wait, and
the listeners. Nothing here knows SQL.

A commit costs a wait for the disk, whatever it holds. So a line that nobody waits for (the outcome of an answered call) may
linger until the next one comes that somebody does wait for, and becomes durable with it. It keeps its place before that one, and
lingers `LINGER_S` at most; a reading, a stop and a full queue do not wait so long.
"""

import asyncio
import hashlib
import logging
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from agentd.core.accounting.canonical import record_of
from agentd.core.accounting.times import rfc3339
from agentd.core.types.errors import AgentdError, RecordUnavailable
from agentd.core.types.receipts import Ending, Receipt
from agentd.core.types.records import Kind, Line
from agentd.edge.ledger.closing import outcome_for
from agentd.edge.ledger.failures import from_error, unavailable
from agentd.edge.ledger.files import Place
from agentd.edge.ledger.opening import Opened, open_record
from agentd.edge.ledger.planning import Plan, Planner
from agentd.edge.ledger.reader import Reader
from agentd.edge.ledger.staging import Row, Signer
from agentd.edge.ledger.writer import Job, KeepPolicy, Settled, Setup, Shorten, Waiting, Writer
from agentd.gate.ports import Clock
from agentd.gate.ports_operator import OperatorRefused, PruneAsk

MAX_WAITING = 4_096
"""Lines in the queue: seconds of work for a slow disk. Beyond that, waiting only makes everybody late."""

APPEND_TIMEOUT_S = 10.0
"""A disk that takes longer is as good as none. The line may still be written; its call is then closed, unmade."""

CLOSE_TIMEOUT_S = 20.0
"""How long the end of the writer is waited for: a hanging disk must not keep agentd from stopping."""

FLUSH_S = 0.1
"""A reading waits so long for what was queued before it: a hundred usual commits. An operator looks on a hanging disk, too."""

LINGER_S = 0.01
"""How long a line that nobody waits for may be held for company: the time in which a crash would leave its call open, to be
closed as unknown by the next start."""

MAX_LINGERING = 64
"""More lines than this are a batch of their own."""

STUCK_S = 15
"""No progress for so long with lines waiting: the writer hangs in the disk."""

_NS_PER_S = 10**9

log = logging.getLogger("agentd.ledger")

T = TypeVar("T")

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Counters:
    """How the record does: its last line, waiting jobs, commits and the duration of the last, calls closed at start."""

    lines: int
    pending: int
    commits: int
    last_commit_us: int
    recovered: int
    open: int
    mended: int  # sums of spend that were not those of the lines at the start


class Ledger:
    """Fulfils `gate.ports.Ledger`; `reader` fulfils `gate.ports.RecordReader`. Made by `Ledger.open`."""

    def __init__(self, directory: Path, clock: Clock, signer: Signer | None) -> None:
        """Use `open`."""
        self._directory = directory
        self._clock = clock
        self._signer = signer
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[Opened] = self._loop.create_future()
        self._queued_jobs = 0
        self._done_jobs = 0
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._lingering: list[Job] = []
        self._release: asyncio.TimerHandle | None = None
        self._waits: deque[tuple[float, asyncio.Future[Any]]] = deque()  # oldest first, with the loop's time to give up
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._listeners: dict[int, Listener] = {}
        self._next_listener = 0
        self._recovered = self._mended = 0
        self._pruning = asyncio.Lock()
        self._planner = Planner(Place(directory).database, signer)
        self.reader = Reader(directory, self.on_append, self.flushed, signer.public_hex if signer else None)
        setup = Setup(clock, signer, self._open_record, self._tell, self._tell_started, self.reader.forget)
        self._writer = Writer(setup)

    @classmethod
    @asynccontextmanager
    async def open(cls, state_dir: Path, clock: Clock, signer: Signer | None = None) -> AsyncIterator["Ledger"]:
        """Open or begin the record in a directory; leaving the context closes it.

        Raises `RecordUnavailable` when it cannot be used: in use, lost lines, damaged, not ours.
        """
        ledger = cls(state_dir, clock, signer)
        ledger._writer.start()
        try:
            opened = await ledger._started
            ledger._recovered, ledger._mended = opened.recovered, opened.mended
        except BaseException:  # also when cancelled: the thread must not keep the lock
            ledger._writer.stop()
            raise
        try:
            yield ledger
        finally:
            await ledger.close()

    @property
    def id(self) -> str:
        """The ledger's own id, as its first line says."""
        return self._writer.tip.ledger

    @property
    def counters(self) -> Counters:
        """Numbers for the status."""
        tip, writer = self._writer.tip, self._writer
        return Counters(
            tip.link.seq,
            self._pending,
            writer.commits,
            writer.last_commit_us,
            self._recovered,
            len(tip.open),
            self._mended,
        )

    @property
    def _pending(self) -> int:
        return self._queued_jobs - self._done_jobs

    async def flushed(self) -> None:
        """Return when all that is queued now is written or refused, or after `FLUSH_S`: what a reading is to see was in the queue
        before it was asked for."""
        if not self._pending or not self._writer.alive:
            return
        self._send(())
        done: asyncio.Future[None] = self._loop.create_future()
        self._flushes.append((self._queued_jobs, done))
        await asyncio.wait((done,), timeout=FLUSH_S)
        done.cancel()

    def append(self, line: Line, *, linger: bool = False) -> "asyncio.Future[Receipt]":
        """Queue a line; its receipt comes when it is durable and chained. Awaiting it raises `RecordUnavailable`; then nothing
        may happen. `linger`: nobody waits for it, so it may be written together with the next."""
        future: asyncio.Future[Receipt] = self._loop.create_future()
        self._queued(Waiting(line, future), linger=linger)
        return future

    async def keep_policy(self, digest: str, text: str) -> None:
        """Keep a policy version whole by its SHA-256 (hex); durable when this returns. Raises `RecordUnavailable`."""
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise RecordUnavailable(
                "record.unwritable", "The policy's text does not have its digest.", "This is a fault in agentd."
            )
        future: asyncio.Future[None] = self._loop.create_future()
        self._queued(KeepPolicy(digest, text, future))
        await future

    async def plan_prune(self, ask: PruneAsk) -> dict[str, Any]:
        """See `gate.ports_operator.Pruner`."""
        async with self._pruning:
            return (await self._plan(ask)).view()

    async def prune(self, ask: PruneAsk, line: Line) -> dict[str, Any]:
        """See `gate.ports_operator.Pruner`. The plan is made anew: what was shown before may be old."""
        async with self._pruning:
            plan = await self._plan(ask)
            if plan.place is None:
                return plan.view()
            if ask.archive is not None and ask.archive != plan.place.digest:
                hint = f"Export lines {plan.first} to {plan.place.to} again; nothing was removed."
                raise OperatorRefused("prune.archive", "The archive does not hold the lines that would go.", hint)
            detail = {**(line.detail or {}), **plan.detail(), "archive": ask.archive}
            future: asyncio.Future[Receipt] = self._loop.create_future()
            self._queued(Shorten(replace(line, detail=detail), plan.first, future))
            receipt = await future
            return {**plan.view(), "line": receipt.seq}

    async def _plan(self, ask: PruneAsk) -> Plan:
        """Made in a thread: it reads for as long as the record is old."""
        if self._writer.removal is not None:
            raise unavailable("record.pruning", self._directory)
        await self.flushed()
        try:
            return await asyncio.to_thread(self._planner.plan, ask, self._clock.wall_ns(), self._clock.mono_ns)
        except (sqlite3.Error, OSError) as error:
            raise from_error(error, self._directory) from error

    def health(self) -> tuple[str, str]:
        """(`ok` or the failure's code, a sentence with the next step)."""
        if not self._writer.alive and not self._closed:
            return "record.internal", "The writer of the record has ended. Restart agentd."
        if failure := self._writer.failure:
            return failure.code, f"{failure.message} {failure.hint}"
        waited = (self._clock.mono_ns() - self._writer.progress_ns) // _NS_PER_S
        if self._pending and waited >= STUCK_S:
            return "record.slow", f"The disk has not taken a line for {waited} s. Look at the disk."
        seal = "" if self._signer else " Checkpoints are unsigned: no signing key in the keyring."
        return "ok", f"The record is kept; its last line is {self._writer.tip.link.seq}.{seal}"

    def on_append(self, listener: Listener) -> Callable[[], None]:
        """Hear each durable line, on the loop; the answer unsubscribes. A listener's error goes to the loop's handler."""
        self._next_listener += 1
        key = self._next_listener
        self._listeners[key] = listener

        def unsubscribe() -> None:
            self._listeners.pop(key, None)

        return unsubscribe

    async def close(self) -> None:
        """Write what is queued, seal the chain, end the thread. Appends are refused from now on."""
        if self._closed:
            return
        self._closed = True
        self._planner.stop()
        self._send(())
        self._writer.stop()
        await self.reader.close()  # first, so that the writer's is the last connection and can tidy up
        await asyncio.to_thread(self._writer.join, CLOSE_TIMEOUT_S)
        if self._watch is not None:
            self._watch.cancel()
        if self._writer.alive:
            log.error("the disk hangs: the record was not sealed; what was acknowledged is durable")

    def _queued(self, job: Job, *, linger: bool = False) -> None:
        """Queue a job, within bounds. Its future fails when it cannot be taken, or the disk takes too long."""
        if (refused := self._refused()) is not None:
            job.future.set_exception(refused)
            return
        self._put(job, linger=linger)
        self._waits.append((self._loop.time() + APPEND_TIMEOUT_S, job.future))
        if self._watch is None:
            self._watch = self._loop.call_later(APPEND_TIMEOUT_S, self._give_up)

    def _refused(self) -> RecordUnavailable | None:
        """Why no job can be taken now, if that is so."""
        if self._closed:
            return unavailable("record.closed", self._directory)
        if not self._writer.alive:
            return unavailable("record.internal", self._directory, "Its thread has ended; restart agentd.")
        return unavailable("record.overloaded", self._directory) if self._pending >= MAX_WAITING else None

    def _put(self, job: Job, *, linger: bool = False) -> None:
        self._queued_jobs += 1
        if not linger or len(self._lingering) >= MAX_LINGERING:
            self._send((job,))
            return
        self._lingering.append(job)
        if self._release is None:
            self._release = self._loop.call_later(LINGER_S, self._send, ())

    def _send(self, jobs: tuple[Job, ...]) -> None:
        """Hand over what lingers, and these jobs behind it."""
        if self._release is not None:
            self._release.cancel()
            self._release = None
        jobs = (*self._lingering, *jobs)
        self._lingering.clear()
        if jobs:
            self._writer.put(jobs)

    def _give_up(self) -> None:
        """Fail those who have waited too long, and look again when the next will have. One timer for all: there are thousands."""
        self._watch = None
        now = self._loop.time()
        while self._waits and (self._waits[0][1].done() or self._waits[0][0] <= now):
            future = self._waits.popleft()[1]
            if not future.done():
                future.set_exception(unavailable("record.slow", self._directory))
        if self._waits:
            self._watch = self._loop.call_at(self._waits[0][0], self._give_up)

    def _open_record(self) -> Opened:
        """On the writer's thread."""
        return open_record(self._directory, self._clock.wall_ns(), self._signer)

    def _tell_started(self, result: Opened | AgentdError) -> None:
        """On the writer's thread."""
        self._call_loop(self._settle_start, result)

    def _tell(self, settled: Settled) -> None:
        """On the writer's thread: one call of the loop for a whole batch."""
        self._call_loop(self._settle, settled)

    def _call_loop(self, call: Callable[[Any], None], value: object) -> None:
        """Run something on the loop. A loop that is closed already has nobody left who waits."""
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            log.warning("the loop ended before the record was closed")

    def _settle_start(self, result: Opened | AgentdError) -> None:
        if self._started.done():
            return
        if isinstance(result, Opened):
            self._started.set_result(result)
        else:
            self._started.set_exception(result)

    def _settle(self, settled: Settled) -> None:
        """Wake everyone of a batch, then tell the listeners."""
        self._done_jobs += len(settled.receipts) + len(settled.kept) + len(settled.refused)
        self._wake(settled)
        while self._waits and self._waits[0][1].done():
            self._waits.popleft()
        if self._listeners:
            self._publish(settled.rows)
        self._end_flushes()

    def _wake(self, settled: Settled) -> None:
        for waiting, receipt in settled.receipts:
            if not waiting.future.done():
                waiting.future.set_result(receipt)
            elif waiting.line.kind is Kind.DECISION and waiting.line.verdict == "allow":
                self._close_unmade(waiting.line, receipt)
        for keep in settled.kept:
            if not keep.future.done():
                keep.future.set_result(None)
        for job, error in settled.refused:
            if not job.future.done():
                job.future.set_exception(_own(error))

    def _end_flushes(self) -> None:
        """Last, so that whoever waited for a line goes on before whoever reads it. Jobs are done in the order of the queue."""
        for until, done in self._flushes:
            if until <= self._done_jobs and not done.done():
                done.set_result(None)
        self._flushes = [flush for flush in self._flushes if not flush[1].done()]

    def _publish(self, rows: list[Row]) -> None:
        for row in rows:
            record = msgspec.json.decode(row.body) | {"digest": row.digest}
            for listener in tuple(self._listeners.values()):
                self._loop.call_soon(listener, record)

    def _close_unmade(self, line: Line, receipt: Receipt) -> None:
        """An allow that was written after its caller had gone: the call will never be made, so it is closed at no cost."""
        if self._closed:
            return
        at = rfc3339(self._clock.wall_ns())
        outcome = outcome_for(
            record_of(line, receipt.seq, ""), at, Ending.STOPPED, "the caller had gone before it was made"
        )
        future: asyncio.Future[Receipt] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._put(Waiting(outcome, future))


def _own(error: AgentdError) -> RecordUnavailable:
    """The port promises this type; each waiter gets an exception of its own."""
    return RecordUnavailable(error.code, error.message, error.hint)
