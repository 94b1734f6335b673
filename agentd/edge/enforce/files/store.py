"""Contents by their SHA-256, one file each, 0600, below the state directory.

Whole or not there: written under another name, synced, renamed, and the directory synced before anybody relies on it.
Not compressed: what is kept is small and bounded, and a plain file can be given back by hand.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

_TEMPORARY = ".new-"


class Store:
    """The directory of contents. Made where it is missing, closed to others. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory

    def put(self, data: bytes) -> str:
        """Keep it, durably; the same content costs nothing again. Returns its digest. Raises OSError."""
        digest = hashlib.sha256(data).hexdigest()
        target = self._directory / digest
        if target.exists():
            return digest
        temporary = self._directory / f"{_TEMPORARY}{secrets.token_hex(8)}"
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        self._sync()
        return digest

    def get(self, digest: str) -> bytes | None:
        """The content, or None: not there, or not what its name says."""
        try:
            data = (self._directory / digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def forget(self, digests: Iterable[str]) -> None:
        """Remove contents."""
        for digest in digests:
            (self._directory / digest).unlink(missing_ok=True)

    def sweep(self, wanted: set[str]) -> None:
        """Remove all that nobody wants: what a crash left between a content and its line."""
        for path in self._directory.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def _sync(self) -> None:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
