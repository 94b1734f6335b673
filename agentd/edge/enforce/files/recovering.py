"""What a crash left open: look at the file, finish or clear up, and settle the line so that it is true.

The rename is the moment that counts. Before it the old content is in place: the line is void. After it the new one is: the line
is done, and a spare name that still holds the old content, which is kept, goes away. If neither is there, somebody else has been
at work since: `unsure`, and nothing is touched.
"""

import hashlib
import os

from agentd.core.types.files import FileOp, FileRefused, Place
from agentd.edge.enforce.files.index import NOT_A_FILE, Row
from agentd.edge.enforce.files.job import Job
from agentd.edge.enforce.files.keeping import Keeper
from agentd.edge.enforce.files.reading import content
from agentd.edge.enforce.files.roots import Roots

_PATIENCE_S = 60.0
"""For one file, at a start."""
_MISSING = ""
_OTHER = "?"


def recover(roots: Roots, keeper: Keeper, room: int) -> int:
    """Settle every open line; returns how many are `unsure`. Raises sqlite3.Error."""
    unsure = 0
    for row in keeper.index.begun():
        state = _state(roots, row, room)
        keeper.index.settle(row.id, state)
        unsure += state == "unsure"
    return unsure


def _state(roots: Roots, row: Row, room: int) -> str:
    change = row.change
    if change.op is FileOp.MOVE and change.to is not None:
        return _moved(roots, row, change.to, room)
    now = _digest(roots, change.at, room)
    if change.mode == NOT_A_FILE:
        return "done" if now == _MISSING else "void"
    if change.op is FileOp.DELETE:
        return _removed(roots, row, now, room)
    if now not in (change.after, change.before):
        return "unsure"
    _clear(roots, row, {change.before, change.after} - {""}, room)
    return "done" if now == change.after else "void"


def _removed(roots: Roots, row: Row, now: str, room: int) -> str:
    if now == row.change.before:
        return "void"
    _clear(roots, row, {row.change.before}, room)
    return "done" if now == _MISSING else "unsure"


def _moved(roots: Roots, row: Row, to: Place, room: int) -> str:
    change = row.change
    source, target = _inode(roots, change.at), _inode(roots, to)
    if source == change.inode:
        return "void"
    if target != change.inode:
        return "unsure"
    if source is not None and change.before and _digest(roots, change.at, room) == change.before:
        _unlink(roots, change.at)
    return "done"


def _clear(roots: Roots, row: Row, known: set[str], room: int) -> None:
    """Remove the spare name, if what it holds is kept or in place."""
    spare = row.change.spare
    at = row.change.at
    if spare and _digest(roots, Place(at.root, (*at.parts[:-1], spare)), room) in known:
        _unlink(roots, Place(at.root, (*at.parts[:-1], spare)))


def _unlink(roots: Roots, at: Place) -> None:
    with roots.parent(at) as parent:
        os.unlink(at.parts[-1], dir_fd=parent)
        os.fsync(parent)


def _inode(roots: Roots, at: Place) -> int | None:
    try:
        with roots.found(at) as found:
            return found.stat.st_ino
    except (OSError, FileRefused):
        return None


def _digest(roots: Roots, at: Place, room: int) -> str:
    try:
        with roots.found(at) as found:
            return hashlib.sha256(content(found, room, Job(_PATIENCE_S))).hexdigest()
    except FileNotFoundError:
        return _MISSING
    except (OSError, FileRefused):
        return _OTHER
