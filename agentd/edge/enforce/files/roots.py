"""The roots, opened once at the start, and what stands below them.

A root is the directory that its path named *then*. If the path names another one later, somebody replaced it, and until the
roots are opened anew nothing is done there: not in the new directory, which nobody vetted, nor in the old one, which nobody sees.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentd.core.types.files import FileKind, FileRoot, FileStat, Place
from agentd.core.types.shown import shown
from agentd.edge.enforce.files import kernel
from agentd.edge.enforce.files.refusing import refused

_NAME_ONLY = os.O_PATH | os.O_NOFOLLOW
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
NEW_DIRECTORY = 0o777
"""Less the umask, as everywhere."""


class RootsUnavailable(Exception):
    """The gate cannot start: says what is missing and what to do."""


@dataclass(frozen=True, slots=True)
class _Root:
    path: str
    fd: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Found:
    """Something opened by name alone (O_PATH): nothing of it was touched. The descriptor ends with the block."""

    fd: int
    stat: os.stat_result

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What changes when it is another file, or other content: device, inode, size, time of change (nanoseconds)."""
        return identity(self.stat)


def identity(found: os.stat_result) -> tuple[int, int, int, int]:
    """See `Found.identity`."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Roots:
    """All roots. Raises `RootsUnavailable` when made where the kernel or a directory is missing."""

    def __init__(self, roots: Iterable[FileRoot]) -> None:
        missing = kernel.lacking()
        if missing:
            raise RootsUnavailable(f"{missing}. Use a newer kernel, or a policy without files")
        self._roots: dict[str, _Root] = {}
        try:
            for root in roots:
                self._roots[root.name] = _opened(root)
        except BaseException:  # whatever it was, nothing of it stays and it goes on
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directories."""
        for root in self._roots.values():
            os.close(root.fd)
        self._roots.clear()

    @contextmanager
    def found(self, at: Place) -> Iterator[Found]:
        """What stands there, on the root's own device. Raises OSError, `FileRefused`."""
        root = self._root(at.root)
        with closing(kernel.open_beneath(root.fd, at.parts, _NAME_ONLY)) as fd:
            facts = os.fstat(fd)
            if facts.st_dev != root.device:
                raise refused("files.mount", "it lies on another file system", "Work within the root.")
            yield Found(fd, facts)

    @contextmanager
    def parent(self, at: Place, *, make: bool = False) -> Iterator[int]:
        """The directory that the place is in, as a descriptor; `make`: made where it is missing. Raises OSError."""
        root = self._root(at.root)
        with closing(self._directory(root.fd, at.parts[:-1], make)) as fd:
            if os.fstat(fd).st_dev != root.device:
                raise refused("files.mount", "it lies on another file system", "Work within the root.")
            yield fd

    def _directory(self, root: int, parts: tuple[str, ...], make: bool) -> int:
        try:
            return kernel.open_beneath(root, parts, _DIRECTORY)
        except FileNotFoundError:
            if not make or not parts:
                raise
        made = self._directory(root, parts[:-1], make)
        with closing(made):
            try:
                os.mkdir(parts[-1], NEW_DIRECTORY, dir_fd=made)
            except FileExistsError:  # made meanwhile; or something else, which opening it tells
                pass
            os.fsync(made)
            return kernel.open_beneath(made, parts[-1:], _DIRECTORY)

    def _root(self, name: str) -> _Root:
        root = self._roots.get(name)
        if root is None:
            raise refused("files.root", f"no root {shown(name)} was opened", "An operator has to look at the policy.")
        try:
            now = Path(root.path).lstat()
        except OSError:
            now = None
        if now is None or (now.st_dev, now.st_ino) != (root.device, root.inode):
            hint = "An operator has to look at it and load the policy again."
            raise refused("files.root", f"the directory of root {shown(name)} was replaced or removed", hint)
        return root


def _opened(root: FileRoot) -> _Root:
    try:
        fd = os.open(root.path, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise RootsUnavailable(
            f"root {root.name} ({shown(root.path)}): {error.strerror}. Make the directory"
        ) from error
    facts = os.fstat(fd)
    return _Root(root.path, fd, facts.st_dev, facts.st_ino)


@contextmanager
def closing(fd: int) -> Iterator[int]:
    """Close a descriptor after the block."""
    try:
        yield fd
    finally:
        os.close(fd)


def described(name: str, facts: os.stat_result) -> FileStat:
    """Facts of a file in the project's words."""
    kinds = ((stat.S_ISREG, FileKind.FILE), (stat.S_ISDIR, FileKind.DIRECTORY), (stat.S_ISLNK, FileKind.LINK))
    kind = next((kind for test, kind in kinds if test(facts.st_mode)), FileKind.OTHER)
    return FileStat(name, kind, facts.st_size, stat.S_IMODE(facts.st_mode), facts.st_mtime_ns)
