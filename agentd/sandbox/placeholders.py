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
        for name in names:
            for count in range(name.count("/") + 1):
                self._remove(name.rsplit("/", count)[0])

    def ensure(self) -> None:
        """Make those that are missing. Raises OSError."""
        for name in self._names:
            if not any(name == path or name.startswith(path + "/") for path in self._made):
                made = self._make_first_missing(name)
                if made:
                    self._made.append(made)

    def remove(self) -> None:
        """Nothing runs any more: take away what was made."""
        for path in reversed(self._made):
            self._remove(path)
        self._made.clear()

    def _make_first_missing(self, name: str) -> str:
        """The part of a name that was made; empty where all of it exists, or a file stands in its way."""
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            try:
                self._make(path)
            except FileExistsError:
                continue
            except (NotADirectoryError, FileNotFoundError):
                return ""
            return path
        return ""

    def _make(self, path: str) -> None:
        if "/" not in path:
            os.mkdir(path, PLACEHOLDER_MODE, dir_fd=self._root)
            return
        parent, name = self._parent(path)
        try:
            os.mkdir(name, PLACEHOLDER_MODE, dir_fd=parent)
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
            if parent != self._root:
                os.close(parent)

    def _parent(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        if not directory:
            return self._root, name
        return kernel.open_beneath(self._root, directory, os.O_RDONLY | os.O_DIRECTORY), name
