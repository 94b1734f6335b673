"""The words of the file gate: what is asked, what an allow is worth, what came of it.

An allow names a root and the components below it, never a path that somebody would have to look up again. Names are text as
Python keeps names of files (`surrogateescape`); show them by `agentd.core.types.shown`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from agentd.core.types.receipts import Receipt
from agentd.core.types.verdicts import Answer, Ask, Deny, Reason


class FileOp(StrEnum):
    """What can be done to a file."""

    READ = "read"
    WRITE = "write"  # the whole content, new or instead of the old
    APPEND = "append"
    LIST = "list"
    STAT = "stat"
    MOVE = "move"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class FileRoot:
    """A directory of the policy, as enforcement opens it at the start: its name and absolute path."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Place:
    """A file by its root's name and the components below; none: the root itself. No component is empty, `.` or `..`."""

    root: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How much one act may move. Bytes of content read or resulting, entries of a list, seconds on the clock."""

    max_bytes: int
    max_entries: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class FileAllow:
    """Yes: this act, on this place, within limits. `to` is set for a move alone."""

    reason: Reason
    op: FileOp
    at: Place
    limits: FileLimits
    to: Place | None = None
    label: str = ""  # data label of what is read


FileVerdict = FileAllow | Ask | Deny


@dataclass(frozen=True, slots=True)
class FilePermit:
    """An allow that was written down: all that file enforcement takes."""

    allow: FileAllow
    receipt: Receipt


class FileKind(StrEnum):
    """What a name stands for."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"  # fifo, socket, device


@dataclass(frozen=True, slots=True)
class FileStat:
    """Facts of one opened file. Times are nanoseconds since 1970, the mode holds permission bits alone."""

    name: str
    kind: FileKind
    size: int
    mode: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of a permitted act."""

    stat: FileStat | None = None
    data: bytes = field(default=b"", repr=False)
    digest: str = ""  # SHA-256 (hex) of the content read or written
    entries: tuple[FileStat, ...] = ()
    more: bool = False  # the list goes on, it was bounded
    kept: str = ""  # SHA-256 of the content that was there before; empty: there was none


@dataclass(frozen=True, slots=True)
class Kept:
    """One line of the history: what a decision did to a place, and which content it had before and has since."""

    seq: int
    op: FileOp
    at: Place
    to: Place | None
    before: str  # SHA-256; empty: nothing was there, or a directory
    after: str
    size: int  # bytes kept
    at_ns: int
    state: str  # "begun" | "done" | "void" (never happened) | "unsure" (a crash, and the content is neither)


class FileRefused(Exception):
    """The act did not happen, or `unsure`, it may have. Says why and what to do."""

    def __init__(self, reason: Reason, answer: Answer = Answer.DENY, *, unsure: bool = False) -> None:
        super().__init__(f"{reason.message}. {reason.hint}" if reason.hint else reason.message)
        self.reason = reason
        self.answer = answer
        self.unsure = unsure
