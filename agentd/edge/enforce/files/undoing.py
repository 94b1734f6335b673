"""Give back what was there before a decision, and show what it changed.

An undo is a change like any other: it keeps what it replaces, has a decision of its own, and can be undone. It is refused where
the file is no longer what the decision made of it, since then it would take away somebody else's work.
"""

import difflib
import hashlib
from dataclasses import dataclass, replace

from agentd.core.types.files import FileOp, FileResult, Place
from agentd.core.types.shown import shown
from agentd.core.types.verdicts import Answer
from agentd.edge.enforce.files.changing import Act, Changer, changed
from agentd.edge.enforce.files.index import NOT_A_FILE, Change, Row
from agentd.edge.enforce.files.job import Job
from agentd.edge.enforce.files.keeping import Keeper
from agentd.edge.enforce.files.reading import content
from agentd.edge.enforce.files.refusing import refused
from agentd.edge.enforce.files.roots import Roots

MAX_HISTORY = 1_000
"""Lines of one place that are shown."""
MAX_DIFF_BYTES = 2**20
"""The diff of larger contents takes seconds, and nobody reads it."""
MAX_DIFF_LINES = 2_000
MAX_LINE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Undoer:
    """What undo and diff work with; `room`: bytes of the largest content that is kept."""

    roots: Roots
    keeper: Keeper
    changer: Changer
    room: int

    def history(self, at: Place) -> list[Row]:
        """What happened to a place, newest first."""
        return self.keeper.index.about(at, MAX_HISTORY)

    def undo(self, seq: int, by: int, job: Job) -> FileResult:
        """Take back decision `seq`, as decision `by`. Raises OSError, `FileRefused`."""
        change = self._row(seq).change
        act = Act(by, change.at, self.room, job, None if change.mode == NOT_A_FILE else change.mode)
        if change.op is FileOp.MOVE and change.to is not None:
            return self._moved_back(change, change.to, act)
        if change.mode == NOT_A_FILE:
            return self._directory_again(change, act)
        if self._digest(change.at, job) != change.after:
            raise changed()
        return self.changer.write(act, self._content(change)) if change.before else self.changer.delete(act)

    def diff(self, seq: int, job: Job) -> str:
        """What decision `seq` changed, from the kept contents and the file as it is. Raises OSError, `FileRefused`."""
        change = self._row(seq).change
        at = change.to or change.at
        old = self._content(change) if change.before else b""
        new = b"" if change.op is FileOp.DELETE else self._after(change, at, job)
        if max(len(old), len(new)) > MAX_DIFF_BYTES or b"\0" in old + new:
            return f"{shown('/'.join(at.parts))}: {len(old)} bytes before, {len(new)} after, not shown as text\n"
        names = (f"a/{shown('/'.join(at.parts))}", f"b/{shown('/'.join(at.parts))}")
        lines = list(difflib.unified_diff(_lines(old), _lines(new), *names, lineterm=""))
        cut = [*lines[:MAX_DIFF_LINES], f"… {len(lines) - MAX_DIFF_LINES} lines more"]
        return "".join(f"{line}\n" for line in (cut if len(lines) > MAX_DIFF_LINES else lines))

    def _after(self, change: Change, at: Place, job: Job) -> bytes:
        """The content that a decision made: kept by the next one, or still in the file."""
        kept = self.keeper.store.get(change.after) if change.after else None
        if kept is not None:
            return kept
        with self.roots.found(at) as found:
            data = content(found, self.room, job)
        if change.after and hashlib.sha256(data).hexdigest() != change.after:
            raise refused("files.history", "what it made of the file is no longer there", "Look at `history`.")
        return data

    def _moved_back(self, change: Change, to: Place, act: Act) -> FileResult:
        with self.roots.found(to) as found:
            same = found.stat.st_ino == change.inode
        if self._digest(to, act.job) != change.after if change.after else not same:
            raise changed()
        if self._digest(change.at, act.job):
            raise refused("files.exists", "there is a file again where it was moved from", "Move that one first.")
        old = self._content(change) if change.before else None
        result = self.changer.move(replace(act, at=to), change.at)
        return result if old is None else self.changer.write(replace(act, at=to, job=Job(act.job.left_s)), old)

    def _directory_again(self, change: Change, act: Act) -> FileResult:
        act.job.commit()
        with self.roots.parent(Place(change.at.root, (*change.at.parts, ".")), make=True):
            return FileResult()

    def _row(self, seq: int) -> Row:
        rows = [row for row in self.keeper.index.of(seq) if row.state == "done"]
        if not rows:
            message = f"nothing is kept of d-{seq}: it changed no file, was not carried out, or is too old"
            raise refused("files.history", message, "`history` shows what is kept of a file.", Answer.NOT_FOUND)
        if len(rows) > 1:
            raise refused("files.history", f"d-{seq} was itself an undo in two steps", "Undo by hand, from `history`.")
        return rows[0]

    def _content(self, change: Change) -> bytes:
        data = self.keeper.store.get(change.before)
        if data is None:
            message = "the content from before is no longer there, or is not what it was"
            raise refused("files.history", message, "An operator has to look at the state directory.", Answer.NOT_FOUND)
        return data

    def _digest(self, at: Place, job: Job) -> str:
        try:
            with self.roots.found(at) as found:
                return hashlib.sha256(content(found, self.room, job)).hexdigest()
        except FileNotFoundError:
            return ""


def _lines(data: bytes) -> list[str]:
    return [shown(line, MAX_LINE_CHARS) for line in data.decode("utf-8", "surrogateescape").split("\n")]
