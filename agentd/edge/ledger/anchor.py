"""The head of the chain, noted outside the database.

A database cannot show that its own end was cut off or that an older copy of it was put back. So the number and digest of the
newest line are rewritten in a file of their own after each commit. It lags behind after a crash, never ahead: an anchor
that knows more than the database means that lines were lost.

One record of fixed size at the start of the file, shorter than a disk sector: it is replaced in place as a whole, no new
block is needed (so a full disk does not stop it), and a reader needs no more than `cat`. Its last field is a check sum
against accidents; it is no secret. The file is synced at checkpoints, not at each commit: losing some of its age
costs nothing.
"""

import logging
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from agentd.core.accounting.chain import Link
from agentd.edge.ledger.failures import unavailable
from agentd.edge.ledger.files import create, identity, sync_directory

_MAGIC = "agentd-head"
_VERSION = "1"
_FIELDS = 6
_CHECK_CHARS = 16
_READ_BYTES = 512
"""More than a record has; anything longer is no record."""


log = logging.getLogger("agentd.ledger")


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
    """The anchor, opened to be rewritten. Not for several threads.

    When the file is removed or replaced under a running daemon it is put back: the daemon's own memory of the head is the
    better witness, and nobody can make it forget by deleting a file.
    """

    def __init__(self, path: Path, noted: Noted) -> None:
        """Note a head in the file, which is made if absent. Raises `OSError`."""
        self._path = path
        self._noted = noted
        self._descriptor = self._open()

    def prove(self) -> None:
        """Show before a commit that the anchor can be written after it: the same record is written once more.

        Raises `OSError` when it cannot.
        """
        found = os.fstat(self._descriptor)
        if identity(self._path) != (found.st_dev, found.st_ino):
            log.critical("the anchor %s was removed or replaced; it is put back", self._path)
            fresh = self._open()
            os.close(self._descriptor)
            self._descriptor = fresh
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

    def _open(self) -> int:
        """A new file with the record, put in place as a whole: nothing that stood there is written to or followed."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        create(fresh)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, self._noted.encode(), 0)
            os.fsync(descriptor)
            fresh.rename(self._path)
            sync_directory(self._path.parent)
        except BaseException:  # the descriptor must not leak
            os.close(descriptor)
            raise
        return descriptor


def _check(text: str) -> str:
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:_CHECK_CHARS]
