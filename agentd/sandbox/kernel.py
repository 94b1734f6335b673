"""System calls that Python's library lacks, by number, through ctypes.

Why by number: Debian's C library is older than most of these calls. The numbers of calls since 2019 are the same on every
architecture; the older ones stand in a table for the two that are supported. A failing call raises OSError with its name, so
that a message says which layer was refused.
"""

import ctypes
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MNT_DETACH = 0x2

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
OPEN_TREE_CLONE = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 0x1
FSCONFIG_CMD_CREATE = 6
_STATX_MNT_ID = 0x1000
_STATX_MNT_ID_AT = 144
_STATX_SIZE = 256

RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
SECURE_BITS_NO_ROOT = 0x2F
"""NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, the first two locked: user id 0 is a number like any other."""

LAST_CAPABILITY = 40
CAPABILITY_VERSION = 0x20080522

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""How the kernel names the calling convention of a system call."""

_OLD_CALLS = {
    "x86_64": {
        "capset": 126,
        "setns": 308,
        "unshare": 272,
        "mount": 165,
        "umount2": 166,
        "execveat": 322,
        "statx": 332,
    },
    "aarch64": {"capset": 91, "setns": 268, "unshare": 97, "mount": 40, "umount2": 39, "execveat": 281, "statx": 291},
}
_NEW_CALLS = {
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "openat2": 437,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

MACHINE = os.uname().machine
CALLS: dict[str, int] = {**_NEW_CALLS, **_OLD_CALLS.get(MACHINE, {})}
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Filter:
    """A compiled seccomp program, kept alive beside the structure that points to it."""

    instructions: ctypes.Array[ctypes.c_char]
    header: ctypes.Structure


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def call(name: str, *arguments: object) -> int:
    """Make a system call; integers travel as machine words, bytes and None as pointers."""
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _libc.syscall(ctypes.c_long(CALLS[name]), *words)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """`prctl(2)`; raises OSError."""
    words = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = _libc.prctl(ctypes.c_int(option), *words)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` name for new ones."""
    call("unshare", flags)


def setns(fd: int, kind: int) -> None:
    """Enter the namespace behind a descriptor."""
    call("setns", fd, kind)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount a new file system."""
    call("mount", source.encode(), target.encode(), kind.encode(), flags, options.encode())


def detach(target: str) -> None:
    """Take a mount away, for this mount namespace."""
    call("umount2", target.encode(), MNT_DETACH)


def bind(source: int, target: int, *, read_only: bool) -> None:
    """Put what one descriptor names over what another one names. No name is looked up, so none can be exchanged."""
    tree = call("open_tree", source, b"", OPEN_TREE_CLONE | AT_EMPTY_PATH | os.O_CLOEXEC)
    try:
        if read_only:
            attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY, 0, 0, 0)
            call("mount_setattr", tree, b"", AT_EMPTY_PATH, attributes, ctypes.sizeof(attributes))
        call("move_mount", tree, b"", target, b"", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH)
    finally:
        os.close(tree)


def detached_proc() -> int:
    """A writable /proc of this process' namespace that is mounted nowhere: a descriptor alone leads to it."""
    context = call("fsopen", b"proc", 1)
    try:
        call("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return call("fsmount", context, 1, 0)
    finally:
        os.close(context)


def open_beneath(root: int, name: str, flags: int) -> int:
    """Open what lies below `root`, following no link at all and leaving it by no way."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    return _openat2(root, name, flags, resolve)


def open_without_links(path: str, flags: int) -> int:
    """Open an absolute path none of whose components is a link."""
    return _openat2(AT_FDCWD, path, flags, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)


def mount_id(fd: int) -> int:
    """The number of the mount on which something lies: a mount point has another one than its parent."""
    about = ctypes.create_string_buffer(_STATX_SIZE)
    call("statx", fd, b"", AT_EMPTY_PATH, _STATX_MNT_ID, about)
    return int.from_bytes(about.raw[_STATX_MNT_ID_AT : _STATX_MNT_ID_AT + 8], sys.byteorder)


def _openat2(root: int, name: str, flags: int, resolve: int) -> int:
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, resolve)
    return call("openat2", root, os.fsencode(name), how, ctypes.sizeof(how))


def execute(fd: int, argv: Sequence[bytes], environment: Sequence[bytes]) -> None:
    """Become the program behind a descriptor. Returns never, or raises OSError."""
    arguments = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    variables = (ctypes.c_char_p * (len(environment) + 1))(*environment, None)
    call("execveat", fd, b"", arguments, variables, AT_EMPTY_PATH)


def drop_capabilities() -> None:
    """Give up every capability for good: the bounding set, the ambient ones, the own ones, and what user id 0 would get."""
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_SECUREBITS, SECURE_BITS_NO_ROOT)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    call("capset", header, (ctypes.c_uint32 * 6)())


def compiled(program: bytes) -> Filter:
    """Make a filter ready for `install`."""
    instructions = ctypes.create_string_buffer(program, len(program))
    return Filter(instructions, _Program(len(program) // 8, ctypes.addressof(instructions)))


def install(program: Filter) -> None:
    """Put this process and its children under a seccomp filter. `no_new_privs` must stand already."""
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program.header))
