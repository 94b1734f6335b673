"""Write, move, delete: each change is one rename that happens or does not, after the old content was kept.

The new content is a file without a name until it is whole and synced. It then changes places with the old one, in one step of the
kernel. What came out is compared with what was looked at and kept; if somebody put another file there meanwhile, that one is kept
instead before it goes. If it is none that can be kept, both change back and the act is refused. So nothing is lost that is not
kept, and nobody ever sees half a file.
"""

import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from agentd.core.types.files import FileOp, FileRefused, FileResult, Place
from agentd.core.types.verdicts import Answer, Reason
from agentd.edge.enforce.files import kernel
from agentd.edge.enforce.files.index import NOT_A_FILE, Change
from agentd.edge.enforce.files.job import Job
from agentd.edge.enforce.files.keeping import Keeper
from agentd.edge.enforce.files.reading import content, plain, too_large
from agentd.edge.enforce.files.refusing import refused
from agentd.edge.enforce.files.roots import Found, Roots, closing, described, identity

SPARE = ".agentd-spare-"
"""So a file is called for the moment between a change and the end of what was there before."""
NEW_FILE = 0o666
"""Less the umask, as everywhere."""
_WRITABLE = 0o222
_PATIENCE_S = 60.0
"""For what must be kept before it goes: here nobody can turn back any more."""


@dataclass(frozen=True, slots=True)
class Act:
    """A change: which decision's, where, how many bytes at most the result may have, and its clock."""

    seq: int
    at: Place
    most: int
    job: Job
    mode: int | None = None  # of a new file; None: the umask's


@dataclass(frozen=True, slots=True)
class Old:
    """What stood there: its facts, its content."""

    facts: os.stat_result
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256, hex."""
        return hashlib.sha256(self.data).hexdigest()


class Changer:
    """Does changes below roots. One at a time: its user holds a lock."""

    def __init__(self, roots: Roots, keeper: Keeper, room: int) -> None:
        self._roots, self._keeper = roots, keeper
        self._room = room  # no larger content can be kept

    def write(self, act: Act, data: bytes, op: FileOp = FileOp.WRITE) -> FileResult:
        """Make the content `data`, or for an append the old one and `data`. Raises OSError, `FileRefused`."""
        with self._roots.parent(act.at, make=True) as parent:
            old = self._old(act)
            whole = (old.data if old else b"") + data if op is FileOp.APPEND else data
            if len(whole) > act.most:
                raise too_large(act.most)
            mode = stat.S_IMODE(old.facts.st_mode) & 0o777 if old else act.mode
            spare = SPARE + secrets.token_hex(8)
            with ExitStack() as stack:
                new = _written(stack, parent, whole, mode, act.job)
                if old is not None:
                    _same_owner(new, old.facts)
                change = _change(act, op, old)
                change = replace(change, after=hashlib.sha256(whole).hexdigest(), spare=spare if old else "")
                self._do(act, change, old, lambda row: self._put(_Put(parent, act, row, spare), new, old))
                facts = os.fstat(new)
            return FileResult(described(act.at.parts[-1], facts), digest=change.after, kept=change.before)

    def delete(self, act: Act) -> FileResult:
        """Remove a plain file, or an empty directory. Raises OSError, `FileRefused`."""
        name = act.at.parts[-1]
        with self._roots.parent(act.at) as parent, self._roots.found(act.at) as found:
            if stat.S_ISDIR(found.stat.st_mode):
                change = Change(act.seq, FileOp.DELETE, act.at, mode=NOT_A_FILE)
                self._do(act, change, None, lambda _: _remove_directory(parent, name))
                return FileResult()
            old = self._read(found, act)
            spare = SPARE + secrets.token_hex(8)
            change = replace(_change(act, FileOp.DELETE, old), spare=spare)
            self._do(act, change, old, lambda row: self._take_away(_Put(parent, act, row, spare), old))
            return FileResult(kept=change.before)

    def move(self, act: Act, to: Place) -> FileResult:
        """Give a plain file or a directory another place; a plain file that is there is kept. Raises OSError, `FileRefused`."""
        if act.at == to:
            raise refused("files.exists", "source and target are the same", "Nothing is to be done.")
        with ExitStack() as stack:
            found = stack.enter_context(self._roots.found(act.at))
            source = stack.enter_context(self._roots.parent(act.at))
            digest = self._source(found, act)
            target = stack.enter_context(self._roots.parent(to, make=True))
            old = self._old(replace(act, at=to))
            if old is not None and stat.S_ISDIR(found.stat.st_mode):
                raise refused("files.exists", "there is a file in the directory's new place", "Delete it first.")
            change = replace(_change(act, FileOp.MOVE, old), to=to, after=digest, inode=found.stat.st_ino)
            moved = _Moved((source, act.at.parts[-1]), (target, to.parts[-1]), found.stat, old)
            self._do(act, change, old, lambda _: _moved(moved))
            return FileResult(described(to.parts[-1], found.stat), kept=change.before)

    def _do(self, act: Act, change: Change, old: Old | None, effect: Callable[[int], None]) -> None:
        """Keep, write down, do, say that it is done. An effect that raises has undone itself, unless it is `unsure`."""
        act.job.check()
        row = self._keeper.begin(change, old.data if old else None)
        try:
            act.job.commit()
            effect(row)
        except FileRefused as refusal:
            if not refusal.unsure:
                self._keeper.settle(row, "void")
            raise
        except OSError:
            self._keeper.settle(row, "void")
            raise
        self._keeper.settle(row, "done")

    def _put(self, put: "_Put", new: int, old: Old | None) -> None:
        if old is None:
            _named(put.parent, put.name, new)
            os.fsync(put.parent)
            return
        _named(put.parent, put.spare, new)
        try:
            kernel.rename((put.parent, put.spare), (put.parent, put.name), kernel.RENAME_EXCHANGE)
        except OSError:
            os.unlink(put.spare, dir_fd=put.parent)
            raise
        if not _is(put.parent, put.spare, old.facts):
            self._keep_instead(put, lambda: _exchanged_back(put, new))
        os.fsync(put.parent)
        os.unlink(put.spare, dir_fd=put.parent)

    def _take_away(self, put: "_Put", old: Old) -> None:
        kernel.rename((put.parent, put.name), (put.parent, put.spare), kernel.RENAME_NOREPLACE)
        if not _is(put.parent, put.spare, old.facts):
            self._keep_instead(
                put, lambda: _back((put.parent, put.spare), (put.parent, put.name), kernel.RENAME_NOREPLACE)
            )
        os.unlink(put.spare, dir_fd=put.parent)
        os.fsync(put.parent)

    def _keep_instead(self, put: "_Put", back: Callable[[], None]) -> None:
        """Somebody was quicker: keep what really came out, or put it back. The clock no longer counts."""
        try:
            with closing(kernel.open_beneath(put.parent, (put.spare,), os.O_PATH | os.O_NOFOLLOW)) as fd:
                found = Found(fd, os.fstat(fd))
                self._keeper.instead(put.row, content(found, self._room, Job(_PATIENCE_S)), found.stat.st_mode & 0o777)
        except (OSError, FileRefused) as error:
            back()
            raise changed() from error

    def _source(self, found: Found, act: Act) -> str:
        """The digest of what is moved; of a directory, or of a file too large to read, there is none."""
        if stat.S_ISDIR(found.stat.st_mode):
            return ""
        plain(found)
        return hashlib.sha256(content(found, act.most, act.job)).hexdigest() if found.stat.st_size <= act.most else ""

    def _old(self, act: Act) -> Old | None:
        try:
            with self._roots.found(act.at) as found:
                return self._read(found, act)
        except FileNotFoundError:
            return None

    def _read(self, found: Found, act: Act) -> Old:
        plain(found)
        if not found.stat.st_mode & _WRITABLE:
            raise refused("files.read_only", "the file is marked read-only", "An operator can change its mode.")
        if found.stat.st_size > self._room:
            message = f"it holds more than the {self._room} bytes that can be kept of it; nothing was changed"
            raise refused("files.history", message, "An operator gives the history more room.")
        return Old(found.stat, content(found, self._room, act.job))


@dataclass(frozen=True, slots=True)
class _Put:
    """Where a rename happens: the directory, the act, its line, the spare name."""

    parent: int
    act: Act
    row: int
    spare: str

    @property
    def name(self) -> str:
        return self.act.at.parts[-1]


def _change(act: Act, op: FileOp, old: Old | None) -> Change:
    if old is None:
        return Change(act.seq, op, act.at)
    mode = stat.S_IMODE(old.facts.st_mode) & 0o777
    return Change(act.seq, op, act.at, before=old.digest, size=len(old.data), mode=mode)


def _written(stack: ExitStack, parent: int, data: bytes, mode: int | None, job: Job) -> int:
    """A file without a name, whole and synced."""
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, NEW_FILE, dir_fd=parent)
    stack.callback(os.close, fd)
    view = memoryview(data)
    while view:
        job.check()
        view = view[os.write(fd, view[: 1 << 20]) :]
    if mode is not None:
        os.fchmod(fd, mode)
    os.fsync(fd)
    return fd


def _same_owner(fd: int, old: os.stat_result) -> None:
    mine = os.fstat(fd)
    if (mine.st_uid, mine.st_gid) == (old.st_uid, old.st_gid):
        return
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
        os.fchmod(fd, stat.S_IMODE(old.st_mode) & 0o777)
    except PermissionError as error:
        message = "the file belongs to somebody else, and a new one would not"
        raise refused("files.owner", message, "Its owner can change it, by a command in the cage.") from error


def _named(parent: int, name: str, fd: int) -> None:
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=parent, follow_symlinks=True)


def _exchanged_back(put: _Put, new: int) -> None:
    _back((put.parent, put.spare), (put.parent, put.name), kernel.RENAME_EXCHANGE)
    if os.stat(put.spare, dir_fd=put.parent, follow_symlinks=False).st_ino != os.fstat(new).st_ino:
        raise unclear()
    os.unlink(put.spare, dir_fd=put.parent)


def _remove_directory(parent: int, name: str) -> None:
    os.rmdir(name, dir_fd=parent)
    os.fsync(parent)


@dataclass(frozen=True, slots=True)
class _Moved:
    source: tuple[int, str]
    target: tuple[int, str]
    facts: os.stat_result
    old: Old | None


def _moved(move: _Moved) -> None:
    flag = kernel.RENAME_EXCHANGE if move.old else kernel.RENAME_NOREPLACE
    kernel.rename(move.source, move.target, flag)
    right = _is(*move.target, move.facts) and (move.old is None or _is(*move.source, move.old.facts))
    if not right:
        _back(move.target, move.source, flag)
        raise changed()
    if move.old is not None:
        os.unlink(move.source[1], dir_fd=move.source[0])
    os.fsync(move.target[0])
    os.fsync(move.source[0])


def _is(parent: int, name: str, wanted: os.stat_result) -> bool:
    """Whether a name stands for just that file, with just that content. A directory's content is not looked at."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(wanted.st_mode):
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)
    return identity(found) == identity(wanted) and found.st_nlink == 1


def _back(source: tuple[int, str], target: tuple[int, str], flag: int) -> None:
    """As it was. Where even that fails, nobody can say what is there now."""
    try:
        kernel.rename(source, target, flag)
    except OSError as error:
        raise unclear() from error


def unclear() -> FileRefused:
    """Nobody can say what is there now; what came out may be under a spare name."""
    message = f"somebody changed it at the same time; look for a name that begins with {SPARE}"
    return FileRefused(Reason("files.changed", "files", message, "Look at it before going on."), unsure=True)


def changed() -> FileRefused:
    """Somebody else was at work at the same time."""
    return refused(
        "files.changed", "somebody changed it at the same time; it is as they left it", "Look again.", Answer.WAIT
    )
