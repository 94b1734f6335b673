"""The head of the chain, noted outside the database.

A database cannot show that its own end was cut off or that an older copy of it was put back. So the number and digest of the
newest line are rewritten in a file of their own after each commit. It lags behind after a crash, never ahead: an anchor
that knows more than the database means that lines were lost.

One record of fixed size at the start of the file, shorter than a disk sector: it is replaced in place as a whole, no new
block is needed (so a full disk does not stop it), and a reader needs no more than `cat`. Its last field is a check sum
against accidents; it is no secret. The file is synced at checkpoints, not at each commit: losing some of its age
costs nothing.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agentd.core.accounting.chain import Link
from agentd.edge.ledger.failures import unavailable
from agentd.edge.ledger.files import create, identity

_MAGIC = "agentd-head"
_VERSION = "1"
_FIELDS = 6
_CHECK_CHARS = 16
_READ_BYTES = 512
"""More than a record has; anything longer is no record."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What an anchor says: which ledger, and its head."""

    ledger: str
    link: Link

    def encode(self) -> bytes:
        """The record: always of the same length."""
        text = f"{_MAGIC} {_VERSION} {self.ledger} {self.link.seq:020d} {self.link.digest}"
        return f"{text} {_check(text)}\n".encode("ascii")


def read_anchor(path: Path) -> Noted | None:
    """The anchor in a file, or None without a file. Raises `RecordUnavailable` (record.anchor_damaged), `OSError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        text = os.pread(descriptor, _READ_BYTES, 0).decode("ascii", "replace")
    finally:
        os.close(descriptor)
    fields = text.rstrip("\n").split(" ")
    body = " ".join(fields[:-1])
    if len(fields) != _FIELDS or fields[0] != _MAGIC or fields[-1] != _check(body) or not fields[3].isdigit():
        raise unavailable("record.anchor_damaged", path.parent)
    return Noted(fields[2], Link(int(fields[3]), fields[4]))


class AnchorFile:
    """The anchor, opened to be rewritten. Not for several threads."""

    def __init__(self, path: Path, noted: Noted) -> None:
        """Open, and make if absent, the file; then note. Raises `OSError`."""
        if identity(path) is None and not path.is_symlink():
            create(path)
        self._path = path
        self._noted = noted
        self._descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)
        os.pwrite(self._descriptor, noted.encode(), 0)
        os.fsync(self._descriptor)

    def prove(self) -> None:
        """Show before a commit that the anchor can be written after it: the same record is written once more.

        Raises `RecordUnavailable` (record.anchor_gone) when the file is another one by now, `OSError` when it cannot be written.
        """
        if identity(self._path) != self._identity:
            raise unavailable("record.anchor_gone", self._path.parent)
        os.pwrite(self._descriptor, self._noted.encode(), 0)

    def note(self, link: Link, *, sync: bool = False) -> None:
        """Note a new head; `sync` forces it to the disk. Raises `OSError`."""
        self._noted = Noted(self._noted.ledger, link)
        os.pwrite(self._descriptor, self._noted.encode(), 0)
        if sync:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def _check(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:_CHECK_CHARS]
