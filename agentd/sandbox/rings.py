"""Rings: the layers of the cage, tried on this machine and not guessed from its version. This is the look from outside:
what the kernel and this user can do. The zygote looks again from inside (`trying`).
"""

import os
import shutil
from collections.abc import Sequence

from agentd.sandbox import kernel, landlock, seccomp
from agentd.sandbox.protocol import Ring

BEST_LANDLOCK = 6
"""The newest version whose file rules and scopes are used here."""


def rings_outside(groups: Sequence[str]) -> tuple[Ring, ...]:
    """Every ring by name, held or not, with the cure. `groups` are the cgroup controllers that were handed over."""
    version = landlock.abi()
    bwrap = shutil.which("bwrap")
    users = _namespaces()
    return (
        Ring("view", bool(bwrap and users), bwrap or "no bwrap", "" if bwrap else "apt-get install bubblewrap"),
        Ring("users", users, "user namespaces", "" if users else _why_no_namespaces()),
        Ring("network", users, "a network namespace with nothing but loopback", "" if users else _why_no_namespaces()),
        Ring("processes", users, "a process namespace for each command", "" if users else _why_no_namespaces()),
        _landlock(version),
        *(
            Ring(f"landlock:{abi}", version >= abi, f"Landlock ABI {abi}", _newer(abi))
            for abi in range(2, BEST_LANDLOCK + 1)
        ),
        _seccomp(),
        *(_group(name, name in groups) for name in ("memory", "pids", "cpu")),
        Ring("rlimits", True, "bounds of each process"),
    )


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()


def _namespaces() -> bool:
    """Whether this user may make them, found by making one in a child."""
    child = os.fork()
    if child == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _why_no_namespaces() -> str:
    for path, value, cure in (
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "an AppArmor profile that lets agentd-sandbox make user namespaces",
        ),
    ):
        if os.path.exists(path) and _lines(path)[:1] == [value]:
            return cure
    return "allow user namespaces to this unit (no RestrictNamespaces=) and outside of containers that forbid them"


def _newer(abi: int) -> str:
    since = {2: "5.19", 3: "6.2", 4: "6.7", 5: "6.10", 6: "6.12"}[abi]
    return f"needs Linux {since} or newer"


def _landlock(version: int) -> Ring:
    cure = "" if version else "a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in the boot parameter lsm="
    return Ring("landlock", version > 0, f"ABI {version}", cure)


def _seccomp() -> Ring:
    known = kernel.MACHINE in seccomp.NUMBERS
    there = os.path.exists("/proc/sys/kernel/seccomp/actions_avail")
    cure = "" if known and there else "x86_64 or aarch64, and a kernel with CONFIG_SECCOMP_FILTER"
    return Ring("seccomp", known and there, f"filter for {kernel.MACHINE}", cure)


def _group(name: str, held: bool) -> Ring:
    cure = "" if held else "a unit with Delegate=yes and --cgroup auto; until then rlimits bound each process"
    return Ring(f"cgroup.{name}", held, f"{name} of a command's tree together", cure)
