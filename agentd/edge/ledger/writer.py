"""The one thread that writes the record.

A commit costs a sync of the disk, whatever it holds. So lines queue, and whatever is waiting goes into one transaction: alone
a line waits for one sync, under load many share it, and nobody sets a delay. The thread owns its connection; the loop
never touches the database and hears of a batch in a single call.

The tip in memory moves only after COMMIT, and everyone waiting is told only then. When a commit fails, all its lines are
refused, the connection is given up, and each later attempt (a line, or a probe every second) opens the file anew and
looks: does it still hold the head that was acknowledged? Then service resumes by itself. If a failed commit went through after
all, its calls were refused and never made: they are closed at no cost.

Old lines that a prune line names are removed by the same thread, between batches: a step is some milliseconds, and under load
there is one for several batches, so a call waits for one step at most.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from agentd.core.accounting.times import rfc3339
from agentd.core.types.errors import AgentdError, RecordUnavailable
from agentd.core.types.receipts import Ending, Receipt
from agentd.core.types.records import Line
from agentd.edge.ledger.closing import closing
from agentd.edge.ledger.failures import again, from_error, unavailable
from agentd.edge.ledger.opening import Opened, reopen
from agentd.edge.ledger.pruning import Removal, removal_of
from agentd.edge.ledger.staging import Row, Signer, Staged, Tip, checkpoint
from agentd.edge.ledger.sums import first_hour
from agentd.gate.ports import Clock

MAX_BATCH = 512
"""Lines in one transaction: some milliseconds of work, so that nobody waits long behind others."""

CHECKPOINT_LINES = 1_000
"""A checkpoint after so many lines: what one signature vouches for stays small."""

CHECKPOINT_S = 60
"""... or after so long, if anything was written."""

PROBE_S = 1.0
"""How often a broken record is looked at again when nobody asks."""

STEP_PAUSE_S = 0.01
"""Between two steps of a removal while nothing else is to be written."""

STEP_BATCHES = 8
"""Under load a step comes after so many batches: it is felt by one call in ten or so, for a while."""

_NS_PER_S = 10**9

log = logging.getLogger("agentd.ledger")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A line and who waits for its receipt."""

    line: Line
    future: "asyncio.Future[Receipt]"


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """A policy version to keep, and who waits for that."""

    digest: str
    text: str
    future: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Shorten:
    """A prune line, planned for a record that is whole from line `first` on, and who waits for its receipt."""

    line: Line
    first: int
    future: "asyncio.Future[Receipt]"


Job = Waiting | KeepPolicy | Shorten


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch: told to the loop in one call. `rows` are the durable lines, in order."""

    receipts: list[tuple[Waiting | Shorten, Receipt]] = field(default_factory=list)
    kept: list[KeepPolicy] = field(default_factory=list)
    refused: list[tuple[Job, AgentdError]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setup:
    """What the writer is given: time, the key, how to open the record, and whom to tell (from its thread) of results, of the
    start, and of a failure after which nobody may hold on to the files."""

    clock: Clock
    signer: Signer | None
    open: Callable[[], Opened]
    tell: Callable[[Settled], None]
    started: Callable[[Opened | AgentdError], None]
    failed: Callable[[], None]


class Writer:
    """The thread and its queue. `put` from the loop; `failure` and the counters may be read from anywhere."""

    def __init__(self, setup: Setup) -> None:
        """Not started yet."""
        self.failure: RecordUnavailable | None = None
        self.commits = 0
        self.last_commit_us = 0
        self.progress_ns = setup.clock.mono_ns()
        self._setup = setup
        self._queue: queue.SimpleQueue[tuple[Job, ...] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="agentd-ledger", daemon=True)
        self._opened: Opened
        self._tip: Tip
        self._sealed_ns = setup.clock.mono_ns()
        self._removal: Removal | None = None
        self._batches = 0
        self._held: dict[str, int] = {}  # policy versions kept in this run, and the last line at that time

    @property
    def removal(self) -> Removal | None:
        """The removal of old lines that is under way."""
        return self._removal

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def tip(self) -> Tip:
        """The chain's end as of the last commit."""
        return self._tip

    def start(self) -> None:
        """Start the thread; it opens the record and reports to `started`."""
        self._thread.start()

    def put(self, jobs: tuple[Job, ...]) -> None:
        """Queue jobs, in this order and for one batch; never blocks."""
        self._queue.put(jobs)

    def stop(self) -> None:
        """Ask the thread to finish what is queued, seal the chain and end."""
        self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, at most so long. Blocks: not for the loop."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._opened = self._setup.open()
        except (AgentdError, OSError, sqlite3.Error) as error:
            self._setup.started(error if isinstance(error, AgentdError) else RecordUnavailable("record.io", str(error)))
            return
        self._tip, self._removal = self._opened.tip, self._opened.removal
        self._setup.started(self._opened)
        while self._turn():
            pass
        self._seal(last=True)
        self._opened.close()

    def _turn(self) -> bool:
        """One batch, or one quiet interval. False: asked to stop, and nothing is left."""
        batch, going = self._next()
        self.progress_ns = self._setup.clock.mono_ns()
        if batch:
            self._setup.tell(self._guarded(batch))
        elif self.failure is not None and going:
            self._probe()
        if going and self._due():
            self._seal()
        if going and self._removal is not None and self.failure is None:
            self._remove(self._removal, idle=not batch)
        return going

    def _remove(self, removal: Removal, *, idle: bool) -> None:
        """A step of a removal, if one is due. One that fails leaves nothing, and is begun again when the record is well."""
        self._batches += 1
        if not idle and self._batches < STEP_BATCHES:
            return
        self._batches = 0
        try:
            if not self._opened.store.remove(removal, self._held):
                self._removal = None
                log.info("lines up to %d are removed, as line %d says", removal.cut.to, removal.cut.seq)
        except Exception as error:  # noqa: BLE001 - as in _guarded: it must not end the thread
            self._fail(error)

    def _next(self) -> tuple[list[Job], bool]:
        """What is waiting now, about a batch; an empty list after a quiet interval."""
        batch: list[Job] = []
        try:
            jobs = self._queue.get(timeout=PROBE_S if self._removal is None or self.failure else STEP_PAUSE_S)
            while jobs is not None:
                batch += jobs
                if len(batch) >= MAX_BATCH:
                    return batch, True
                jobs = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _guarded(self, batch: list[Job]) -> Settled:
        """Write a batch; whatever happens, everyone waiting gets an answer."""
        try:
            return self._write(batch)
        except Exception as error:  # noqa: BLE001 - a fault here must refuse these lines, not end the thread that all others wait for
            return Settled(refused=[(job, again(self._fail(error))) for job in batch])

    def _write(self, batch: list[Job]) -> Settled:
        self._mend()
        staged, settled = self._stage(batch)
        if staged.rows or staged.policies:
            self._commit(staged, sync=staged.cut is not None)
            settled.rows.extend(staged.rows)
        if staged.cut is not None:
            self._removal = next(
                filter(None, (removal_of((row.seq, row.body, row.digest)) for row in staged.rows)), None
            )
        self._healed()
        return settled

    def _stage(self, batch: list[Job]) -> tuple[Staged, Settled]:
        """Number and chain the lines. One that cannot be a line is refused alone; a caller that has gone writes nothing."""
        staged, settled = Staged(self._tip, owed=self._opened.store.owed), Settled()
        for job in batch:
            try:
                if isinstance(job, KeepPolicy):
                    self._held[job.digest] = self._tip.link.seq
                    staged.policies.append((job.digest, job.text, rfc3339(self._setup.clock.wall_ns())))
                    settled.kept.append(job)
                elif job.future.cancelled():
                    settled.refused.append((job, unavailable("record.closed", self._opened.place.directory)))
                else:
                    row = staged.add(job.line) if isinstance(job, Waiting) else self._shorten(staged, job)
                    settled.receipts.append((job, Receipt(row.seq, row.digest)))
            except AgentdError as error:
                settled.refused.append((job, error))
        return staged, settled

    def _shorten(self, staged: Staged, job: Shorten) -> Row:
        """A prune line and its checkpoint. Raises `RecordUnavailable` when the record is not the one that was planned for."""
        cut = self._opened.store.cut()
        if self._removal is not None or staged.cut is not None or job.first != (cut.to + 1 if cut else 1):
            raise unavailable("record.pruning", self._opened.place.directory)
        at = rfc3339(self._setup.clock.wall_ns())
        return staged.shorten(job.line, lambda tip: checkpoint(tip, at, self._setup.signer))

    def _commit(self, staged: Staged, *, sync: bool = False) -> None:
        """Anchor proven, transaction durable, tip moved, anchor rewritten: in this order."""
        began = self._setup.clock.mono_ns()
        self._opened.anchor.prove()
        self._opened.store.commit(staged)
        self._tip = staged.settled()
        self._opened.anchor.note(self._tip.link, sync=sync)
        self.commits += 1
        self.last_commit_us = (self._setup.clock.mono_ns() - began) // 1_000

    def _fail(self, error: Exception) -> RecordUnavailable:
        """Sort an error, give up the connection, and say so once."""
        if isinstance(error, RecordUnavailable):
            failure = error
        elif isinstance(error, (OSError, sqlite3.Error)):
            failure = from_error(error, self._opened.place.directory)
        else:
            log.error("the writer of the record failed", exc_info=error)
            failure = unavailable("record.internal", self._opened.place.directory, f"({type(error).__name__})")
        if self.failure is None or self.failure.code != failure.code:
            log.critical("the record cannot be kept, everything is refused: %s", failure)
        self._setup.failed()
        self._opened.store.close()  # last: SQLite saves a write-ahead log that lost its name when the last writer closes
        self.failure = failure
        return failure

    def _healed(self) -> None:
        if self.failure is not None:
            log.warning("the record is kept again after %s", self.failure.code)
            self.failure = None

    def _mend(self) -> None:
        """Open the record again if it was given up. Raises when that does not work, or what is there is not what was there."""
        if self._opened.store.is_open:
            return
        tip = reopen(self._opened, self._tip.link)
        known = set(self._tip.open)
        self._tip = tip
        strays = [call for call in tip.open if call not in known]
        if not strays:
            return
        staged = Staged(tip)
        at = rfc3339(self._setup.clock.wall_ns())
        for line in closing(
            self._opened.store, strays, at, Ending.STOPPED, "refused before it was made: the record failed"
        ):
            staged.add(line)
        self._commit(staged)

    def _probe(self) -> None:
        """See whether a broken record works again."""
        try:
            self._mend()
            self._opened.anchor.prove()
            self._opened.store.probe(rfc3339(self._setup.clock.wall_ns()))
            self._healed()
        except Exception as error:  # noqa: BLE001 - a probe that fails in a new way must not end the thread
            self._fail(error)

    def _due(self) -> bool:
        """Whether a checkpoint is to be written. A fresh checkpoint alone is nothing new."""
        if self.failure is not None or self._tip.unsealed == 0:
            return False
        waited = self._setup.clock.mono_ns() - self._sealed_ns
        return self._tip.unsealed >= CHECKPOINT_LINES or waited >= CHECKPOINT_S * _NS_PER_S

    def _sums(self) -> dict[str, object] | None:
        """The digest of the sums of spend, for the next start to know them by; None when others have written to them."""
        since = first_hour(self._setup.clock.wall_ns())
        digest = self._opened.store.sums(since, alone=True)
        return None if digest is None else {"since": since, "digest": digest}

    def _seal(self, *, last: bool = False) -> None:
        """Write a checkpoint, sync the anchor, and note both in the journal, which is outside the database too."""
        if self._tip.unsealed == 0:
            return
        try:
            self._mend()
            staged = Staged(self._tip)
            at, sums = rfc3339(self._setup.clock.wall_ns()), self._sums() if last else None
            staged.add(checkpoint(self._tip, at, self._setup.signer, sums))
            self._commit(staged, sync=True)
            self._setup.tell(Settled(rows=staged.rows))
        except Exception as error:  # noqa: BLE001 - as in _guarded: the lines are durable without their seal
            self._fail(error)
            return
        self._sealed_ns = self._setup.clock.mono_ns()
        log.info("checkpoint %d %s of ledger %s", self._tip.link.seq, self._tip.link.digest, self._tip.ledger)
