"""Names within a workspace that a cage must not write, or not read, whatever they lead to and whether they exist or not.

* A protected name that exists is mounted over itself, read-only; each directory above it is mounted over itself, too,
  since a mount point cannot be renamed: otherwise `.git` is moved away and made anew.
* One that does not exist gets an empty directory as placeholder, which the zygote makes before a call and removes after
  the last one that needed it (`Placeholders`), and an empty read-only directory over it. A directory and not a file,
  because git and most tools do not see empty directories.
* What a pattern hides is covered by an empty regular file or directory. (With /dev/null in place of a file, `git add`
  fails.)

Everything is opened beneath the workspace without following links, and mounted by descriptor: another command in the same
workspace may exchange names meanwhile, and gains nothing. A protected name that is a link is refused, for no mount can
hold a link.
"""

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence

from agentd.sandbox import kernel

PLACEHOLDER_MODE = 0o555
MAX_ENTRIES = 500_000
"""Of a workspace that is searched for hidden names; one that is larger is refused, not searched in part."""
EMPTY = "/.cage/empty"
VOID = "/.cage/void"
_ABSENT = (errno.ENOENT, errno.ENOTDIR)


class Unprotected(OSError):
    """A name cannot be protected; nothing may run."""


def matcher(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """One expression for all patterns, over paths within the workspace. `**/` is any number of directories, also none."""
    if not patterns:
        return None
    parts = []
    for pattern in patterns:
        anywhere = pattern.startswith("**/")
        text = fnmatch.translate(pattern[3:] if anywhere else pattern)
        parts.append(("(?s:.*/)?" if anywhere else "") + text)
    return re.compile("|".join(f"(?:{part})" for part in parts))


def found(root: int, wanted: re.Pattern[str]) -> Iterator[str]:
    """Every path beneath `root` that is wanted. Links are named, not followed; a directory that is wanted is not entered."""
    left = MAX_ENTRIES
    waiting = [""]
    while waiting:
        directory = waiting.pop()
        for name, is_directory in _entries(root, directory):
            left -= 1
            if left < 0:
                raise Unprotected(errno.E2BIG, "the workspace is too large to be searched for hidden names")
            path = f"{directory}{name}"
            if wanted.match(path):
                yield path
            elif is_directory:
                waiting.append(f"{path}/")


def _entries(root: int, directory: str) -> list[tuple[str, bool]]:
    try:
        fd = kernel.open_beneath(root, directory or ".", os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (*_ABSENT, errno.EACCES, errno.ELOOP):  # gone, exchanged, or shut to the command as well
            return []
        raise
    try:
        with os.scandir(fd) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    finally:
        os.close(fd)


def missing(root: int, name: str) -> str | None:
    """The first part of a protected name that does not exist; None where all of it does, or where a file stands in its way."""
    parts = name.split("/")
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        try:
            fd = _open(root, path)
        except FileNotFoundError:
            return path
        except NotADirectoryError:
            return None
        os.close(fd)
    return None


def protect(root: int, names: Sequence[str]) -> None:
    """Make each name read-only in this mount namespace. Raises Unprotected."""
    pinned: set[str] = set()
    for name in names:
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            if path not in pinned and _pin(root, path, last=count == len(parts)):
                pinned.add(path)
                break
            pinned.add(path)


def _pin(root: int, path: str, *, last: bool) -> bool:
    """Mount a part of a name over itself. True: nothing beneath it needs to be looked at."""
    try:
        fd = _open(root, path)
    except OSError as error:
        if error.errno in _ABSENT:  # the placeholder above it was covered already, or a file stands in its way
            return True
        raise Unprotected(error.errno, f"{path} cannot be protected: {error.strerror}") from error
    try:
        about = os.fstat(fd)
        directory = stat.S_ISDIR(about.st_mode)
        if directory and stat.S_IMODE(about.st_mode) == PLACEHOLDER_MODE and not last:
            last = True  # a placeholder: the whole of it is shut
        kernel.bind(fd, fd, read_only=last or not directory)
    finally:
        os.close(fd)
    return last or not directory


def hide(root: int, workspace: str, wanted: re.Pattern[str]) -> None:
    """Cover all that is wanted with emptiness, in this mount namespace."""
    empty, void = os.open(EMPTY, os.O_PATH | os.O_CLOEXEC), os.open(VOID, os.O_PATH | os.O_CLOEXEC)
    try:
        for path in list(found(root, wanted)):
            _cover(root, path, empty, void)
            target = os.path.realpath(f"{workspace}/{path}")
            if target != f"{workspace}/{path}" and target.startswith(workspace + "/"):
                _cover(root, target[len(workspace) + 1 :], empty, void)
    finally:
        os.close(empty)
        os.close(void)


def _cover(root: int, path: str, empty: int, void: int) -> None:
    try:
        fd = kernel.open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (*_ABSENT, errno.ELOOP):  # gone; or a link, whose target is covered
            return
        raise
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            return
        kernel.bind(void if stat.S_ISDIR(os.fstat(fd).st_mode) else empty, fd, read_only=True)
    finally:
        os.close(fd)


def _open(root: int, path: str) -> int:
    fd = kernel.open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unprotected(
            errno.ELOOP, f"{path} is a symbolic link, which cannot be protected: put what it names in its place"
        )
    return fd


class Placeholders:
    """The empty directories that stand for protected names while something runs. One per zygote."""

    def __init__(self, root: int, names: Sequence[str]) -> None:
        self._root = root
        self._names = names
        self._users: dict[str, int] = {}

    def clear(self) -> None:
        """Remove what an earlier zygote left when it was killed: empty directories of the placeholders' mode."""
        for name in self._names:
            parts = name.split("/")
            for count in range(len(parts), 0, -1):
                self._remove("/".join(parts[:count]))

    def take(self) -> tuple[str, ...]:
        """Make those that are missing. What is given has to be returned to `release`. Raises OSError."""
        wanted = list(self._users)
        for name in self._names:
            if any(name == path or name.startswith(path + "/") for path in wanted):
                continue
            path = missing(self._root, name)
            if path is not None:
                self._make(path)
                wanted.append(path)
        for path in wanted:
            self._users[path] = self._users.get(path, 0) + 1
        return tuple(wanted)

    def release(self, taken: Sequence[str]) -> None:
        """One call less needs these."""
        for path in reversed(taken):
            self._users[path] -= 1
            if self._users[path] == 0:
                del self._users[path]
                self._remove(path)

    def _make(self, path: str) -> None:
        parent, name = self._parent(path)
        try:
            os.mkdir(name, PLACEHOLDER_MODE, dir_fd=parent)
            os.chmod(name, PLACEHOLDER_MODE, dir_fd=parent)
        except FileExistsError:
            return
        finally:
            os.close(parent)

    def _remove(self, path: str) -> None:
        try:
            parent, name = self._parent(path)
        except OSError:
            return
        try:
            about = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) == PLACEHOLDER_MODE:
                os.rmdir(name, dir_fd=parent)
        except OSError:
            return
        finally:
            os.close(parent)

    def _parent(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        return kernel.open_beneath(self._root, directory or ".", os.O_RDONLY | os.O_DIRECTORY), name
