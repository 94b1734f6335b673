"""Keeps what is in the daemon's memory there: no core dumps, no reading by other processes, private files by default.

A process that is not dumpable writes no core, not even to a helper that the kernel pipes cores to (which ignores
RLIMIT_CORE), and its /proc entries belong to root: a process of the same uid can neither attach to it nor read its memory,
environment or descriptors. Both are inherited by nothing that matters: a program that is executed becomes dumpable again.

And it takes the descriptors that it may have: each call holds two, and a shell gives a process fewer than the doors let in.
"""

import ctypes
import os
import resource
from dataclasses import dataclass

PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4

PRIVATE_UMASK = 0o077
"""Every file is the daemon's alone until somebody opens it up on purpose, as is done for the sockets."""


DESCRIPTORS = 16_384
"""As in the shipped unit: all connections that the doors let in, as many to upstreams, and room to spare."""


@dataclass(frozen=True, slots=True)
class Hardening:
    """What the kernel says about this process now."""

    core_limit: int  # bytes; 0 is none, -1 is no limit
    dumpable: bool

    @property
    def sealed(self) -> bool:
        """No core dumps, and no looking in from outside."""
        return self.core_limit == 0 and not self.dumpable


def harden_process() -> Hardening:
    """Seal this process, and say what holds. Raises `OSError` if the kernel refuses: then the daemon must not serve."""
    if resource.getrlimit(resource.RLIMIT_CORE) != (0, 0):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)
    os.umask(PRIVATE_UMASK)
    return hardening()


def allow_descriptors(wanted: int = DESCRIPTORS) -> int:
    """Raise the limit of open descriptors to `wanted`, as far as the hard limit allows; never lower it. Gives the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        return most
    return soft


def hardening() -> Hardening:
    """How sealed this process is now."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_CORE)
    return Hardening(core_limit=soft, dumpable=_prctl(PR_GET_DUMPABLE, 0) != 0)


def _prctl(option: int, argument: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")
    return result
