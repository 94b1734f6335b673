"""Whether a view is what it should be, tried by the zygote from within: what it shows, and that its directories are the
right ones.
"""

import os
import stat

from agentd.sandbox import landlock
from agentd.sandbox.inner import Settle
from agentd.sandbox.protocol import Ring

SILENT_PLACES = ("/run", "/var", "/root", "/sys", "/boot", "/srv", "/media", "/mnt", "/opt")
"""What has nothing in it in a view, where a profile does not put it there."""


class Elsewhere(Exception):
    """The view is not what was asked for."""


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
