"""Watches the policy file and hands on what it says, whole.

Editors write in place, or beside and rename, or delete and write anew; configuration tools swap a symlink somewhere up the
path. So every directory is watched in which a name of the path's chain could change its meaning. An event is a reason to
look, never a fact: what counts is a file that two looks in a row found the same, read from one descriptor, and unchanged
after reading. A writer that changed the file and still has it open is waited for, though not for ever: two versions mixed
halfway can read like a third one. (A writer without any event, or a very slow one, can outlast that; the end mark that a
policy must have covers most of it.)

Where the kernel has no watches left, or none are to be had, a look every few seconds does it alone.

A file that others may write is not read: whoever writes the policy makes the rules. Nothing here blocks the event loop;
looking and reading happen in threads.
"""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from watchdog.events import (
    EVENT_TYPE_ATTRIB,
    EVENT_TYPE_MODIFIED,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from agentd.core.types.errors import AgentdError, Fault, PolicyRefused, RecordUnavailable
from agentd.gate.ports import Sleep

SETTLE_S = 0.1
"""Two looks this far apart must agree: longer than an editor takes between truncating and writing."""

POLL_S = 5.0
"""A look without any event: the slowest that a change may be seen where the kernel tells of none."""

WRITER_LOOKS = 30
"""So many looks (3 s) a file is left alone for that somebody changed it and did not close it yet. Not longer: a program may hold
a file open for days, and one that was shortened by its name is never closed."""

MAX_LOOKS = 50
"""A file that does not rest for this many looks is left until the next event."""

MAX_BYTES = 1024 * 1024
"""Enough for any policy; a larger file is refused unread."""

MAX_LINKS = 40
"""Symlinks that are followed, as the kernel does."""

EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]
"""Not among them: opening and reading, or every look would bring the next one."""

log = logging.getLogger("agentd.policy")

State = tuple[int, ...]
"""What changes when a file does: device, inode, size, times, owner, mode. Empty: there is no file."""

OnText = Callable[[str], Awaitable[object]]
OnRefused = Callable[[PolicyRefused], Awaitable[object]]


def read_policy_file(path: Path) -> str:
    """The text of a policy file that only its rightful owner can write. Raises `PolicyRefused` with the cure."""
    text, _ = _read(path)
    return text


def _read(path: Path) -> tuple[str, State]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        raise _refused(
            path, "there is no such file", "write one, or name another: agentd serve --policy FILE"
        ) from None
    except OSError as error:
        raise _refused(path, f"it cannot be opened: {error.strerror}", f"let {_whoami()} read it") from None
    try:
        before = os.fstat(descriptor)
        _check(path, before)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        after = os.fstat(descriptor)
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}", "see to its disk and directories") from None
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise _refused(path, f"it is larger than {MAX_BYTES // 1024} KiB", "a policy has some hundred lines")
    try:
        return data.decode("utf-8"), _state(after) if _state(after) == _state(before) else ()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _refused(path, f"byte {error.start} is not UTF-8", "save it as UTF-8", line) from None


def _check(path: Path, found: os.stat_result) -> None:
    """Whether the file, and the directory that it lies in, can be changed by its owner's hand alone."""
    if not stat.S_ISREG(found.st_mode):
        raise _refused(path, "it is not a regular file", "put a plain file there")
    real = Path(os.path.realpath(path))
    if found.st_uid not in (0, os.geteuid()):
        what = f"it belongs to uid {found.st_uid}, neither to root nor to {_whoami()}"
        raise _refused(path, what, f"chown root {real}")
    if found.st_mode & stat.S_IWOTH:
        raise _refused(path, "everybody may write it, so anybody could make the rules", f"chmod o-w {real}")
    for directory in {real.parent, path.absolute().parent}:
        mode = directory.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            what = f"everybody may write its directory {directory}, and so replace the file"
            raise _refused(path, what, f"chmod o-w {directory}")


def _refused(path: Path, what: str, hint: str, line: int = 1) -> PolicyRefused:
    return PolicyRefused(str(path), (Fault(line, 1, "", what, hint),))


def _whoami() -> str:
    return f"agentd (uid {os.geteuid()})"


def _state(found: os.stat_result) -> State:
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_uid,
        found.st_gid,
        found.st_mode,
    )


def _look(path: Path) -> State:
    try:
        return _state(path.stat())
    except OSError:
        return ()


def chain(path: Path) -> set[tuple[Path, str]]:
    """(directory, name) of everything whose change could give the path another meaning: the file and each symlink on the way.

    Directories are real paths. A path that leads nowhere gives what there is of it.
    """
    found: set[tuple[Path, str]] = set()
    at = Path("/")
    todo = list(path.absolute().parts[1:])
    links = 0
    while todo and links <= MAX_LINKS:
        name = todo.pop(0)
        if name in ("..", "."):
            at = at.parent if name == ".." else at
            continue
        link = _link(at / name)
        if link is None:
            at = at / name
            continue
        found.add((at, name))
        links += 1
        target = Path(link)
        if target.is_absolute():
            at = Path("/")
        todo = [part for part in target.parts if part != "/"] + todo
    found.add((at.parent, at.name))
    return found


def _link(path: Path) -> str | None:
    try:
        return str(path.readlink())
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """Seconds between two looks that must agree, and between looks that no event asked for."""

    settle_s: float = SETTLE_S
    poll_s: float = POLL_S


class PolicyWatch:
    """Tells of each new text of a file, and of each new reason why there is none."""

    def __init__(self, path: Path, on_text: OnText, on_refused: OnRefused, times: WatchTimes = WatchTimes()) -> None:
        """`on_text` gets a whole text that differs from the one before. Both may raise: `RecordUnavailable` is asked again at
        the next look, `PolicyRefused` has been dealt with."""
        self._path = path
        self._on_text = on_text
        self._on_refused = on_refused
        self._times = times
        self._sleep: Sleep = asyncio.sleep
        self._wake = asyncio.Event()
        self._written = False  # changed by somebody who has not closed it yet
        self._told: tuple[str, str] | None = None
        self._seen: State | None = None
        self._watching: dict[Path, tuple[State, Any]] = {}
        self._names: set[str] = set()
        self._observer: Any = None

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        handler = _Handler(lambda name, kind: loop.call_soon_threadsafe(self._event, name, kind))
        try:
            await asyncio.to_thread(self._begin)
            while True:
                await asyncio.to_thread(self._arm, handler)
                await self.look()
                await self._event_or_poll()
        finally:
            await asyncio.shield(asyncio.to_thread(self._end))

    def nudge(self) -> None:
        """Look anew, as if nothing had been told: for SIGHUP, since what made a file faulty may lie elsewhere. To be called on
        the event loop."""
        self._seen = self._told = None
        self._wake.set()

    async def look(self) -> None:
        """Look once; tell if there is something new."""
        state = await asyncio.to_thread(_look, self._path)
        if state == self._seen:
            return
        alike = 0
        for _ in range(MAX_LOOKS):
            await self._sleep(self._times.settle_s)
            again = await asyncio.to_thread(_look, self._path)
            alike = alike + 1 if again == state else 0
            rests = alike > (WRITER_LOOKS if self._written else 0)
            if rests and await self._take(state):
                return
            state = again

    async def _event_or_poll(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._times.poll_s):
                await self._wake.wait()
        if self._wake.is_set():
            self._wake.clear()
            self._seen = None  # a change within one tick of the file system's clock shows in no stat

    async def _take(self, state: State) -> bool:
        """Read a file that rests. False if it moved after all."""
        try:
            text, read = await asyncio.to_thread(_read, self._path)
        except PolicyRefused as refused:
            await self._tell(("refused", refused.message), partial(self._on_refused, refused), state)
            return True
        if read != state:
            return False
        await self._tell(("text", text), partial(self._on_text, text), state)
        return True

    async def _tell(self, what: tuple[str, str], tell: Callable[[], Awaitable[object]], state: State) -> None:
        if what != self._told:
            try:
                await tell()
            except RecordUnavailable as error:
                log.error("the new policy waits: %s", error)
                return
            except AgentdError as error:
                log.error("the policy file is refused: %s", error)
        self._told, self._seen = what, state

    def _event(self, name: str, kind: str) -> None:
        """Something happened to a name. An attribute says nothing of a writer; all else but a change means that there is none."""
        if name not in self._names:
            return
        if kind != EVENT_TYPE_ATTRIB:
            self._written = kind == EVENT_TYPE_MODIFIED
        self._wake.set()

    def _begin(self) -> None:
        try:
            observer = Observer()
            observer.start()
            self._observer = observer
        except OSError as error:
            log.warning("no file watches are to be had (%s): looking every %g s", error.strerror, self._times.poll_s)

    def _end(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def _arm(self, handler: "_Handler") -> None:
        """Watch the directories that count now; a directory that was replaced is watched anew."""
        links = chain(self._path)
        self._names = {name for _, name in links}
        if self._observer is None:
            return
        wanted = {directory: _identity(directory) for directory, _ in links}
        for directory, (state, watch) in list(self._watching.items()):
            if wanted.get(directory) != state:
                del self._watching[directory]
                with contextlib.suppress(OSError, KeyError):
                    self._observer.unschedule(watch)
        for directory, state in wanted.items():
            if state and directory not in self._watching:
                self._schedule(handler, directory, state)

    def _schedule(self, handler: "_Handler", directory: Path, state: State) -> None:
        try:
            watch = self._observer.schedule(handler, str(directory), event_filter=EVENTS)
        except OSError as error:
            log.warning("%s cannot be watched (%s): looking every %g s", directory, error.strerror, self._times.poll_s)
            return
        self._watching[directory] = (state, watch)


class _Handler(FileSystemEventHandler):
    """Passes on the names that events are about, and their kinds. Runs in the observer's thread."""

    def __init__(self, tell: Callable[[str, str], object]) -> None:
        self._tell = tell

    def dispatch(self, event: FileSystemEvent) -> None:
        for path in {event.src_path, event.dest_path}:
            if path:
                self._tell(Path(os.fsdecode(path)).name, event.event_type)


def _identity(directory: Path) -> State:
    state = _look(directory)
    return state[:2]
