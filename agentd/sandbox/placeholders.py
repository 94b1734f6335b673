"""Empty directories that stand for protected names which do not exist, while something runs.

Why: only what exists can be a mount point. Why directories: git and most tools do not see empty ones. They are known by
their mode, so that those which a killed zygote left behind are found and removed by the next. Whoever makes such a
directory by hand loses nothing but an empty directory.
"""

import os
import stat
from collections.abc import Sequence

from agentd.sandbox import kernel

PLACEHOLDER_MODE = 0o555


class Placeholders:
    """Those of one workspace."""

    def __init__(self, root: int, names: Sequence[str]) -> None:
        """`root` is the open workspace. What an earlier zygote left is removed."""
        self._root = root
        self._names = names
        self._made: list[str] = []
        os.umask(0o022)
        remove_leftovers(root, names)

    def ensure(self) -> None:
        """Make those that are missing, also where somebody has removed or replaced them since. Raises OSError."""
        made: list[str] = []
        for name in self._names:
            if not any(name == path or name.startswith(path + "/") for path in made):
                held = self._hold(name)
                if held:
                    made.append(held)
        self._made = made

    def remove(self) -> None:
        """Nothing runs any more: take away what was made."""
        for path in reversed(self._made):
            _remove(self._root, path)
        self._made.clear()

    def _hold(self, name: str) -> str:
        """The part of a name that is a placeholder; empty where all of it exists, or a file stands in its way."""
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            try:
                self._make(path)
            except FileExistsError:
                if path not in self._made or not self._stands(path):
                    continue
            except (NotADirectoryError, FileNotFoundError):
                return ""
            return path
        return ""

    def _stands(self, path: str) -> bool:
        """Whether what was made is still there, and nothing else in its place."""
        fd = kernel.open_beneath(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        try:
            mode = os.fstat(fd).st_mode
        finally:
            os.close(fd)
        return stat.S_ISDIR(mode) and stat.S_IMODE(mode) == PLACEHOLDER_MODE

    def _make(self, path: str) -> None:
        if "/" not in path:
            os.mkdir(path, PLACEHOLDER_MODE, dir_fd=self._root)
            return
        parent, name = _parent(self._root, path)
        try:
            os.mkdir(name, PLACEHOLDER_MODE, dir_fd=parent)
        finally:
            os.close(parent)


def remove_leftovers(root: int, names: Sequence[str]) -> None:
    """Remove placeholders that nobody needs any more: empty directories of their mode, where protected names would be."""
    for name in names:
        for count in range(name.count("/") + 1):
            _remove(root, name.rsplit("/", count)[0])


def _remove(root: int, path: str) -> None:
    try:
        parent, name = _parent(root, path)
    except OSError:
        return
    try:
        about = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(about.st_mode) and stat.S_IMODE(about.st_mode) == PLACEHOLDER_MODE:
            os.rmdir(name, dir_fd=parent)
    except OSError:
        return
    finally:
        if parent != root:
            os.close(parent)


def _parent(root: int, path: str) -> tuple[int, str]:
    directory, _, name = path.rpartition("/")
    if not directory:
        return root, name
    return kernel.open_beneath(root, directory, os.O_RDONLY | os.O_DIRECTORY), name
