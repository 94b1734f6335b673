"""Landlock: which parts of the file system a command may use, and how. The third layer, behind view and mounts.

Facts: ABI 1 (5.13) file access, 2 (5.19) moving between directories, 3 (6.2) truncate, 4 (6.7) TCP ports, 5 (6.10) ioctl of
devices, 6 (6.12) scopes for signals and abstract sockets. Ports are not restricted here: the network namespace has none.
"""

import ctypes
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from agentd.sandbox import kernel

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_CHAR = 1 << 6
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SOCK = 1 << 9
MAKE_FIFO = 1 << 10
MAKE_BLOCK = 1 << 11
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15

READ = EXECUTE | READ_FILE | READ_DIR
CHANGE = (
    WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM | REFER | TRUNCATE
)  # fmt: skip
"""Not among them: making devices, which a workspace never needs."""
DEVICES = READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

SCOPE_ABSTRACT_SOCKETS = 1 << 0
SCOPE_SIGNALS = 1 << 1

_HANDLED_SINCE = ((1, (1 << 13) - 1), (2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
_CREATE_VERSION = 1
_RULE_PATH_BENEATH = 1


@dataclass(frozen=True, slots=True)
class Grant:
    """What may be done beneath a path. One that does not exist grants nothing."""

    path: str
    access: int


def abi() -> int:
    """The version this kernel has; 0 where there is none."""
    try:
        return kernel.call("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:
        return 0


def handled(version: int) -> int:
    """Every kind of file access that this version can restrict."""
    return sum(access for since, access in _HANDLED_SINCE if version >= since)


def restrict(version: int, grants: Sequence[Grant]) -> None:
    """Put this process and all it starts under the grants, for good. `no_new_privs` must stand already."""
    can = handled(version)
    scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if version >= 6 else 0
    attributes = (ctypes.c_uint64 * 3)(can, 0, scopes)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = kernel.call("landlock_create_ruleset", attributes, size, 0)
    try:
        for grant in grants:
            _add(rules, grant, can)
        kernel.call("landlock_restrict_self", rules, 0)
    finally:
        os.close(rules)


def _add(rules: int, grant: Grant, can: int) -> None:
    try:
        fd = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = grant.access & can
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= OF_FILES
        rule = access.to_bytes(8, "little") + fd.to_bytes(4, "little")
        kernel.call("landlock_add_rule", rules, _RULE_PATH_BENEATH, rule, 0)
    finally:
        os.close(fd)
