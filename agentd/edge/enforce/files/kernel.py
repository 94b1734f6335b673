"""Two system calls that Python's library lacks: openat2, by number (Debian's C library has no name for it), and renameat2.

openat2 is what the whole gate stands on. The kernel resolves a path below a directory's descriptor and refuses to leave it, to
follow a link or to cross a mount, however names are exchanged meanwhile. There is no second-best way here: a kernel without it
(before 5.6), or a filter that hides it, means that the gate does not start.
"""

import ctypes
import errno
import os
from collections.abc import Sequence

_OPENAT2 = 437
"""The same number on every architecture."""
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_RETRIES = 32
"""EAGAIN means that names were moved while the kernel looked; an attacker can cause it for long, not for so long."""

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_beneath(directory: int, parts: Sequence[str], flags: int) -> int:
    """A descriptor for what stands at `parts` below `directory`, no link followed, no mount crossed; closed on exec.

    With O_PATH and O_NOFOLLOW a link at the very end is opened as itself. Raises OSError: ELOOP for a link, EXDEV for a way out.
    """
    path = os.fsencode("/".join(parts) or ".")
    how = _How(flags | os.O_CLOEXEC, 0, _RESOLVE)
    number = errno.EAGAIN
    for _ in range(_RETRIES):
        got: int = _libc.syscall(_OPENAT2, directory, path, ctypes.byref(how), ctypes.sizeof(how))
        if got >= 0:
            return got
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))


def rename(source: tuple[int, str], target: tuple[int, str], flags: int) -> None:
    """Rename between two directories' descriptors. Raises OSError: EEXIST under NOREPLACE, ENOENT under EXCHANGE."""
    (from_fd, old), (to_fd, new) = source, target
    if _libc.renameat2(from_fd, os.fsencode(old), to_fd, os.fsencode(new), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def lacking() -> str:
    """What this kernel lacks, in words; empty where nothing is missing."""
    try:
        os.close(open_beneath(_AT_FDCWD, (), os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return "the kernel has no openat2 (Linux 5.6), or a filter hides it: the file gate cannot hold"
        raise
    return ""


_AT_FDCWD = -100
