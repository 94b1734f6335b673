"""The files of the record: where they are, whose they are, and that only one daemon has them.

The record is worth what its files' permissions are worth: a directory for agentd's user alone, plain files in it, no
symbolic link in their place. (The directory itself may be one: systemd's DynamicUser makes it so.) Too wide modes are
narrowed; somebody else's files are refused, since whoever owns a file can always open it up again.
"""

import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from agentd.edge.ledger.failures import DATABASE, HEAD, unavailable

LOCK = "lock"

DIRECTORY_MODE, FILE_MODE = 0o700, 0o600

Identity = tuple[int, int]
"""Device and inode: which file a name stands for."""


@dataclass(frozen=True, slots=True)
class Place:
    """The state directory and the record's names in it."""

    directory: Path

    @property
    def database(self) -> Path:
        """The SQLite file; `-wal` and `-shm` stand beside it."""
        return self.directory / DATABASE

    @property
    def wal(self) -> Path:
        """The write-ahead log, which holds the newest lines."""
        return self.directory / f"{DATABASE}-wal"

    @property
    def head(self) -> Path:
        """The anchor."""
        return self.directory / HEAD


def prepare(directory: Path) -> Place:
    """The place of a record, made if absent and narrowed if too wide. Raises `RecordUnavailable` (record.unsafe), `OSError`."""
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    place = Place(directory)
    _narrow(place, directory, DIRECTORY_MODE, directory.stat())
    for path in (place.database, place.wal, place.head, directory / LOCK):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise unavailable("record.unsafe", directory, f"{path} is no plain file.")
        _narrow(place, path, FILE_MODE, found)
    return place


def create(path: Path) -> None:
    """Make an empty file of mode 0600, durably named. Raises `FileExistsError` and other `OSError`."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE))
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def identity(path: Path | str) -> Identity | None:
    """Which file a name stands for now; None: nothing, or a symbolic link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def take(place: Place) -> int:
    """Lock the record for this process; the answer is the descriptor that holds the lock until it is closed.

    Raises `RecordUnavailable` (record.in_use) when another process has it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(place.directory / LOCK, flags, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise unavailable("record.in_use", place.directory, f"Its process is {holder or 'unknown'}.") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _narrow(place: Place, path: Path, mode: int, found: os.stat_result) -> None:
    """Take away what others may do; refuse a file of somebody else."""
    if found.st_uid != os.geteuid():
        raise unavailable("record.unsafe", place.directory, f"{path} belongs to uid {found.st_uid}.")
    if stat.S_IMODE(found.st_mode) & ~mode:
        path.chmod(mode)
