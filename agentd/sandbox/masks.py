"""Names within a workspace that a cage must not write, or not read, whatever they lead to and whether they exist or not.

* A protected name that exists is mounted over itself, read-only; each directory above it is mounted over itself, too,
  since a mount point cannot be renamed: otherwise `.git` is moved away and made anew.
* One that does not exist gets an empty directory as placeholder, which the zygote makes before a call and removes after
  the last one that needed it (`placeholders`), and an empty read-only directory over it. A directory and not a file,
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
from collections.abc import Iterator, Sequence, Set
from enum import Enum

from agentd.sandbox import kernel
from agentd.sandbox.placeholders import PLACEHOLDER_MODE
from agentd.sandbox.protocol import Profile

MAX_ENTRIES = 500_000
"""Of a workspace that is searched for hidden names; one that is larger is refused, not searched in part."""
EMPTY = "/.cage/empty"
VOID = "/.cage/void"
OBJECTS = ".git/objects"
"""Thousands of directories of git's own, not searched where `.git` is a mount of its own, into which nothing can be renamed."""
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


class Masks:
    """The masks of one cage. They stay over several calls; before each, what has changed meanwhile is masked anew."""

    def __init__(self, profile: Profile, hidden: re.Pattern[str] | None) -> None:
        self._profile = profile
        self._hidden = hidden
        self._root = kernel.open_without_links(profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
        self._empty = os.open(EMPTY, os.O_PATH | os.O_CLOEXEC)
        self._void = os.open(VOID, os.O_PATH | os.O_CLOEXEC)
        self._covers = {_identity(os.fstat(self._empty)), _identity(os.fstat(self._void))}
        self._mount = kernel.mount_id(self._root)
        self._read_only: dict[str, bool] = {}
        self._placeholders: set[str] = set()

    def forget(self) -> None:
        """The workspace is mounted anew, and nothing in it is masked."""
        os.close(self._root)
        self._root = kernel.open_without_links(self._profile.workspace, os.O_RDONLY | os.O_DIRECTORY)
        self._mount = kernel.mount_id(self._root)
        self._read_only.clear()

    def put(self, *, complete: bool) -> None:
        """See to it that everything is masked now. `complete`: what does not exist has its placeholder. Raises OSError where
        something cannot be masked: then nothing may run."""
        self._placeholders.clear()
        for name in self._profile.protected:
            self._protect(name.split("/"), complete=complete)
        if self._hidden is not None:
            shut = set(self._placeholders)
            if any(name.startswith(".git/") for name in self._profile.protected):
                shut.add(OBJECTS)
            for path in list(found(self._root, self._hidden, shut)):
                self._hide(path)

    def _protect(self, parts: Sequence[str], *, complete: bool) -> None:
        above = self._mount
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            if path in self._placeholders:
                return
            kind, above = self._pin(path, above, last=count == len(parts))
            if kind is Kind.NOTHING and complete:
                raise Unprotected(errno.ENOENT, f"{path} cannot be protected: its placeholder is gone")
            if kind is Kind.PLACEHOLDER:
                self._placeholders.add(path)
            if kind is not Kind.DIRECTORY:
                return

    def _pin(self, path: str, above: int, *, last: bool) -> "tuple[Kind, int]":
        """Mount a part of a name over itself, unless it is so already. What stands there, and the number of its mount."""
        try:
            fd = _open(self._root, path)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return Kind.NOTHING, above
            raise Unprotected(error.errno, f"{path} cannot be protected: {error.strerror}") from error
        try:
            mode = os.fstat(fd).st_mode
            kind = _kind(mode)
            read_only = last or kind is not Kind.DIRECTORY
            if kernel.mount_id(fd) == above or (read_only and not self._read_only.get(path)):
                kernel.bind(fd, fd, read_only=read_only)
                self._read_only[path] = read_only
        finally:
            os.close(fd)
        return kind, self._mount_of(path)

    def _mount_of(self, path: str) -> int:
        fd = _open(self._root, path)
        try:
            return kernel.mount_id(fd)
        finally:
            os.close(fd)

    def _hide(self, path: str) -> None:
        """Cover a name, and where it is a link, what it leads to within the workspace."""
        self._cover(path)
        workspace = self._profile.workspace
        target = os.path.realpath(f"{workspace}/{path}")
        if target != f"{workspace}/{path}" and target.startswith(workspace + "/"):
            self._cover(target[len(workspace) + 1 :])

    def _cover(self, path: str) -> None:
        try:
            fd = kernel.open_beneath(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (*_ABSENT, errno.ELOOP):  # gone; or a link, whose target is covered
                return
            raise
        try:
            about = os.fstat(fd)
            if not stat.S_ISLNK(about.st_mode) and _identity(about) not in self._covers:
                kernel.bind(self._void if stat.S_ISDIR(about.st_mode) else self._empty, fd, read_only=True)
        finally:
            os.close(fd)


class Kind(Enum):
    """What stands at a part of a protected name: only in a directory is there more to look at."""

    DIRECTORY = "directory"
    PLACEHOLDER = "placeholder"
    FILE = "file"
    NOTHING = "nothing"


def found(root: int, wanted: re.Pattern[str], shut: Set[str] = frozenset()) -> Iterator[str]:
    """Every path beneath `root` that is wanted. Links are named, not followed; neither a directory that is wanted nor one that is
    shut is entered."""
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
            elif is_directory and path not in shut:
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


def _open(root: int, path: str) -> int:
    fd = kernel.open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise Unprotected(
            errno.ELOOP, f"{path} is a symbolic link, which cannot be protected: put what it names in its place"
        )
    return fd


def _kind(mode: int) -> Kind:
    if not stat.S_ISDIR(mode):
        return Kind.FILE
    return Kind.PLACEHOLDER if stat.S_IMODE(mode) == PLACEHOLDER_MODE else Kind.DIRECTORY


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino
