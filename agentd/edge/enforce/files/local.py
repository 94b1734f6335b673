"""The file gate's hands, seen from the way: a few threads, a clock on each act, one change at a time.

Reads run beside each other. Changes take turns, because each is a look, a copy, a line and a rename that belong together. When
all threads hang on a dead disk the next ones are told to come later instead of queueing without end.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agentd.core.types.files import FileOp, FilePermit, FileRefused, FileResult, FileRoot, Kept, Place
from agentd.core.types.receipts import Receipt
from agentd.core.types.verdicts import Answer, Reason
from agentd.edge.enforce.files import reading, recovering
from agentd.edge.enforce.files.changing import Act, Changer
from agentd.edge.enforce.files.job import Job, late
from agentd.edge.enforce.files.keeping import Bounds, Keeper
from agentd.edge.enforce.files.refusing import in_words, refused
from agentd.edge.enforce.files.roots import Roots
from agentd.edge.enforce.files.undoing import Undoer

THREADS = 4
"""Disks of such boxes gain nothing by more."""
MAX_WAITING = 64
"""Acts under way or waiting; beyond it the disk is not keeping up."""
OPERATOR_S = 60.0
"""For history, diff and undo: a person waits."""

_Made = TypeVar("_Made")


class LocalFiles:
    """Fulfils the ports `Files` and `FileHistory`. `wall_ns`: UTC nanoseconds since 1970.

    Making it opens the roots and settles what a crash left open: it blocks. Raises `RootsUnavailable`, OSError, sqlite3.Error.
    """

    def __init__(
        self, roots: Iterable[FileRoot], state: Path, wall_ns: Callable[[], int], bounds: Bounds | None = None
    ) -> None:
        held = bounds or Bounds()
        self._roots = Roots(roots)
        self._keeper = Keeper(state, held, wall_ns)
        self._changer = Changer(self._roots, self._keeper, held.max_bytes)
        self._undoer = Undoer(self._roots, self._keeper, self._changer, held.max_bytes)
        self._turn = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "files")
        self._under_way = 0
        self.unsure = recovering.recover(self._roots, self._keeper, held.max_bytes)  # lines that a crash left unclear
        self._keeper.expire()

    def close(self) -> None:
        """Wait for what is under way, then let go of everything. Blocks."""
        self._threads.shutdown(cancel_futures=True)
        self._keeper.close()
        self._roots.close()

    async def act(self, permit: FilePermit, data: bytes = b"") -> FileResult:
        """See the port."""
        job = Job(permit.allow.limits.deadline_s)
        return await self._run(job, lambda: self._acted(permit, data, job))

    async def history(self, at: Place) -> tuple[Kept, ...]:
        """See the port."""
        job = Job(OPERATOR_S)
        return await self._run(
            job, lambda: self._alone(job, lambda: tuple(row.kept for row in self._undoer.history(at)))
        )

    async def diff(self, seq: int) -> str:
        """See the port."""
        job = Job(OPERATOR_S)
        return await self._run(job, lambda: self._alone(job, lambda: self._undoer.diff(seq, job)))

    async def undo(self, seq: int, by: Receipt) -> FileResult:
        """See the port."""
        job = Job(OPERATOR_S)
        return await self._run(job, lambda: self._alone(job, lambda: self._undoer.undo(seq, by.seq, job)))

    async def _run(self, job: Job, work: Callable[[], _Made]) -> _Made:
        if self._under_way >= MAX_WAITING:
            raise refused("files.busy", "the disk does not keep up; nothing was changed", "Call again.", Answer.WAIT)
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, _in_words, work)
        future.add_done_callback(self._left)
        try:
            return await asyncio.wait_for(asyncio.shield(future), job.left_s)
        except TimeoutError:
            if job.abandon():
                message = "the disk did not answer in time, and it may have happened"
                raise FileRefused(Reason("files.deadline", "files", message, "Look again."), unsure=True) from None
            raise late() from None
        except asyncio.CancelledError:
            job.abandon()
            raise

    def _left(self, future: "asyncio.Future[_Made]") -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()  # somebody has seen it, also where nobody waits any more

    def _acted(self, permit: FilePermit, data: bytes, job: Job) -> FileResult:
        allow = permit.allow
        reads = {FileOp.READ: reading.read, FileOp.LIST: reading.names, FileOp.STAT: reading.facts}
        if allow.op in reads:
            return reads[allow.op](self._roots, allow, job)
        return self._alone(job, lambda: self._changed(permit, data, job))

    def _changed(self, permit: FilePermit, data: bytes, job: Job) -> FileResult:
        allow = permit.allow
        act = Act(permit.receipt.seq, allow.at, allow.limits.max_bytes, job)
        if not allow.at.parts:
            raise refused("files.directory", "it is a root", "Name a file below it.")
        if allow.op is FileOp.DELETE:
            return self._changer.delete(act)
        if allow.op is FileOp.MOVE:
            if allow.to is None or not allow.to.parts:
                raise refused("files.to", "a move needs a place to go to", "Name it.", Answer.INVALID)
            return self._changer.move(act, allow.to)
        return self._changer.write(act, data, allow.op)

    def _alone(self, job: Job, work: Callable[[], _Made]) -> _Made:
        if not self._turn.acquire(timeout=job.left_s):
            raise late()
        try:
            return work()
        finally:
            self._turn.release()


def _in_words(work: Callable[[], _Made]) -> _Made:
    try:
        with in_words():
            return work()
    except sqlite3.Error as error:
        message = f"the index of kept contents cannot be read ({type(error).__name__})"
        raise refused("files.history", message, "An operator has to look at the state directory.") from error
