"""Rings: the layers of the cage, tried on this machine and not guessed from its version.

Two looks. `rings_outside` by the sandbox process at its start: what the kernel and this user can do. `rings_inside` by the
zygote in its view: whether the view is what it should be.
"""

import os
import shutil
import stat
from collections.abc import Sequence

from agentd.sandbox import kernel, landlock, seccomp
from agentd.sandbox.inner import Settle
from agentd.sandbox.protocol import Ring

BEST_LANDLOCK = 6
"""The newest version whose file rules and scopes are used here."""
SILENT_PLACES = ("/run", "/var", "/root", "/sys", "/boot", "/srv", "/media", "/mnt", "/opt")
"""What has nothing in it in a view, where a profile does not put it there."""


class Elsewhere(Exception):
    """The view is not what was asked for."""


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


def rings_inside(settle: Settle) -> tuple[Ring, ...]:
    """What holds in this view. Raises Elsewhere where the view shows what it must not."""
    profile = settle.profile
    named = (profile.workspace, profile.home, *profile.read, *profile.write)
    for place in SILENT_PLACES:
        if not any(path == place or path.startswith(place + "/") for path in named) and _holds_something(place):
            raise Elsewhere("view-shows-too-much", f"{place} is not empty in the view")
    networks = sorted(line.split(":")[0].strip() for line in _lines("/proc/self/net/dev")[2:])
    return (
        Ring("view", True, "system read-only; /run, /var and homes are empty"),
        Ring("network", networks == ["lo"], f"interfaces: {' '.join(networks)}"),
        Ring("processes", True, "a namespace for each command"),
        Ring("landlock", landlock.abi() > 0, f"ABI {landlock.abi()}"),
        Ring("seccomp", True, "a filter for each command"),
    )


def stand_in_the_right_places(settle: Settle) -> None:
    """Hold each directory of the view against the one that was opened outside: a name may have been exchanged meanwhile."""
    for place in settle.places:
        about = os.stat(place.path)
        if (about.st_dev, about.st_ino) != (place.device, place.inode) or not stat.S_ISDIR(about.st_mode):
            raise Elsewhere(
                "workspace-replaced", f"{place.path} in the view is another directory than the one that was opened"
            )


def _holds_something(path: str) -> bool:
    return os.path.isdir(path) and bool(os.listdir(path))


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
