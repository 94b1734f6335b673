"""Why the record cannot be kept, as codes that stay stable, words, and the next step.

Whoever is refused for lack of a record must learn what to do without reading a log. So each cause has its own code here, and
SQLite's and the system's errors are sorted into them in one place.
"""

import errno
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from agentd.core.types.errors import RecordUnavailable

_RESUMES = "agentd tries again by itself and resumes when it works."
_ANEW = "If no copy is left, begin a new chain, whose first line names the old head, with `agentd serve --new-ledger REASON`."

FAILURES: Mapping[str, tuple[str, str]] = {
    "record.disk_full": ("The disk that holds the record in {dir} is full.", f"Free some space there; {_RESUMES}"),
    "record.read_only": (
        "The record in {dir} cannot be written: read-only file system or missing permission.",
        f"Make {{dir}} writable for agentd's user; {_RESUMES}",
    ),
    "record.gone": (
        "The record {db} was removed or replaced while agentd was running.",
        f"Put the very file back (with its -wal file); {_RESUMES}",
    ),
    "record.locked": ("Another program holds the record {db} locked.", f"Close what has it open; {_RESUMES}"),
    "record.io": ("The disk that holds the record {db} reports an error.", f"Look at the kernel's log and the disk; {_RESUMES}"),
    "record.damaged": (
        "The record {db} is damaged: it cannot be read as a database.",
        f"Put a good copy back, the newest there is. {_ANEW}",
    ),
    "record.rolled_back": (
        "The record {db} lacks lines that were written before: cut off, or an older copy was put back.",
        f"Put the newest copy back. {_ANEW}",
    ),
    "record.missing": (
        "The record {db} is not there, but {head} says that it was begun.",
        f"Put the database back. {_ANEW}",
    ),
    "record.disagrees": (
        "The record {db} is not the one that {head} anchors: a line was replaced, or it is another record.",
        f"Put the right copy back. {_ANEW}",
    ),
    "record.broken": ("The chain of the record {db} is broken.", f"Put a good copy back. {_ANEW}"),
    "record.anchor_gone": (
        "The anchor {head} of the record was removed or replaced.",
        "Put it back. " + _ANEW,
    ),
    "record.anchor_damaged": ("The anchor {head} of the record cannot be read.", "Put a good copy back. " + _ANEW),
    "record.in_use": ("Another agentd keeps the record in {dir}.", "Stop that one first, or use another --state."),
    "record.unsafe": ("The record in {dir} is not safe to use.", "Make it plain files that belong to agentd's user."),
    "record.newer": ("The record {db} was written by a newer agentd.", "Run that version."),
    "record.overloaded": ("Too many lines are waiting to be written.", "Try again in a moment."),
    "record.slow": ("The disk took too long to make a line durable.", "Look at the disk's load; try again in a moment."),
    "record.closed": ("The record is closed: agentd is stopping.", "Try again when agentd is back."),
    "record.not_open": ("An outcome was given for a call that is not open.", "This is a fault in agentd."),
    "record.not_owed": ("A settlement was given for a call whose cost is not open.", "This is a fault in agentd."),
    "record.malformed": ("A line was given without a proper time.", "This is a fault in agentd."),
    "record.pruning": ("The record in {dir} is being pruned already.", "Try again when agentctl status says that it is done."),
    "record.internal": ("The writer of the record failed unexpectedly.", f"See the log; {_RESUMES}"),
}  # fmt: skip
"""Code -> (what happened, what to do next)."""

DATABASE, HEAD = "ledger.db", "ledger.head"

_BY_ERRNO: Mapping[int, str] = {
    errno.ENOSPC: "record.disk_full",
    errno.EDQUOT: "record.disk_full",
    errno.EFBIG: "record.disk_full",
    errno.EROFS: "record.read_only",
    errno.EACCES: "record.read_only",
    errno.EPERM: "record.read_only",
    errno.ENOENT: "record.gone",
    errno.EEXIST: "record.unsafe",
    errno.ENOTDIR: "record.unsafe",
    errno.EISDIR: "record.unsafe",
    errno.ELOOP: "record.unsafe",
}

_BY_SQLITE: Mapping[int, str] = {
    sqlite3.SQLITE_FULL: "record.disk_full",
    sqlite3.SQLITE_READONLY: "record.read_only",
    sqlite3.SQLITE_PERM: "record.read_only",
    sqlite3.SQLITE_BUSY: "record.locked",
    sqlite3.SQLITE_LOCKED: "record.locked",
    sqlite3.SQLITE_ERROR: "record.damaged",  # our statements are right: a table or a JSON text is not
    sqlite3.SQLITE_CONSTRAINT: "record.damaged",
    sqlite3.SQLITE_CORRUPT: "record.damaged",
    sqlite3.SQLITE_NOTADB: "record.damaged",
    sqlite3.SQLITE_IOERR: "record.io",
    sqlite3.SQLITE_CANTOPEN: "record.io",
}

_PRIMARY = 0xFF
"""SQLite's extended error codes keep the primary one in the low byte."""

_NO_SPACE_BYTES = 1 << 14
"""Below this much free space an I/O error of SQLite is a full disk: it cannot grow its shared-memory file by its 32 KiB."""


def unavailable(code: str, directory: Path, more: str = "") -> RecordUnavailable:
    """The error for one of `FAILURES`; `more` is a sentence about this very case."""
    message, hint = FAILURES[code]
    names = {"dir": str(directory), "db": str(directory / DATABASE), "head": str(directory / HEAD)}
    return RecordUnavailable(code, message.format(**names) + (f" {more}" if more else ""), hint.format(**names))


def from_error(error: sqlite3.Error | OSError, directory: Path) -> RecordUnavailable:
    """What SQLite or the system said, sorted."""
    if isinstance(error, OSError):
        code = _BY_ERRNO.get(error.errno or 0, "record.io")
    else:
        primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & _PRIMARY
        code = _BY_SQLITE.get(primary, "record.internal")
    if code == "record.io":
        code = _closer(directory)
    return unavailable(code, directory, f"({error})")


def again(failure: RecordUnavailable) -> RecordUnavailable:
    """The same failure as an exception of its own: one raised in many tasks would collect all their tracebacks."""
    return RecordUnavailable(failure.code, failure.message, failure.hint)


def _closer(directory: Path) -> str:
    """An I/O error looked at again: SQLite reports a full disk and a lost file as one, too."""
    try:
        space = os.statvfs(directory)
    except OSError:
        return "record.gone"
    if space.f_bavail * space.f_frsize < _NO_SPACE_BYTES:
        return "record.disk_full"
    return "record.io" if (directory / DATABASE).exists() else "record.gone"
