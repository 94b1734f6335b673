"""Mounts and other things that are private to one call, made anew before each."""

import os
from contextlib import suppress

from agentd.sandbox import kernel
from agentd.sandbox.inner import MOUNTED, Settle

FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV
MAX_FILES = 65_536
"""Inodes of each private directory: they are kernel memory."""


class Mounts:
    """A mount namespace of one cage."""

    def __init__(self, settled: Settle) -> None:
        """Leave the view's mount namespace for an own one. /proc shows this cage's processes alone, and is read-only: where the
        command's user has root's number, /proc/sys would listen to it. `proc` is a second one, writable, and mounted nowhere."""
        self._profile = settled.profile
        self._private = (("/tmp", "1777"), ("/dev/shm", "1777"), (self._profile.home, "0755"))
        self._made = False
        kernel.unshare(kernel.CLONE_NEWNS)
        hidden = [place.path for place in settled.places if self._hides(place.path)]
        self._shadowed = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in hidden]
        self.shadowing = any(path == self._profile.workspace for path in hidden)
        for path in MOUNTED:
            with suppress(OSError):  # the interpreter is mounted there only where it is not the system's
                kernel.detach(path)
        self.proc = kernel.detached_proc()
        kernel.mount("proc", "/proc", "proc", FLAGS | kernel.MS_NOEXEC | kernel.MS_RDONLY)

    def fresh(self) -> None:
        """Empty private directories, terminals and IPC; what the last call left in them is gone."""
        size = f"size={self._profile.tmp_bytes},nr_inodes={MAX_FILES}"
        for path, mode in self._private:
            if self._made:
                kernel.detach(path)
            kernel.mount("tmpfs", path, "tmpfs", FLAGS, f"{size},mode={mode}")
        if self._made:
            kernel.detach("/dev/pts")
        terminals = kernel.MS_NOSUID | kernel.MS_NOEXEC
        kernel.mount("devpts", "/dev/pts", "devpts", terminals, "newinstance,ptmxmode=0666,mode=620")
        kernel.unshare(kernel.CLONE_NEWIPC)
        for path, fd in self._shadowed:
            os.makedirs(path, exist_ok=True)
            over = os.open(path, os.O_PATH | os.O_CLOEXEC)
            kernel.bind(fd, over, read_only=path in self._profile.read)
            os.close(over)
        self._made = True

    def _hides(self, path: str) -> bool:
        """Whether a private directory would hide another one."""
        return any(f"{path}/".startswith(f"{private}/") for private, _ in self._private)
