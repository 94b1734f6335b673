"""A box with a copy of this checkout and the locked packages in it, and `agentctl` from that copy, as an operator has them.

The box has no network, so the packages are fetched beforehand, once, with the hashes of the lock. The copy is one, because a
checkout is worked on while its tests run, and because tests of upgrades change it.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from agentd.ctl.install.source import PARTS
from systemd.box import INSTALL_CLOCK_S, Box

CHECKOUT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3"
SOURCE, WHEELS, PACKAGES = "/src/agentd", "/src/wheels", "/src/packages"
NEEDED = ("dbus-daemon", "gnome-keyring-daemon", "busctl", "systemd-creds")

SIMULATE = """[Service]
ExecStart=
ExecStart=/opt/agentd/current/bin/agentd serve --system --simulate
WatchdogSec=3
"""


def capable() -> str:
    """Why there can be no box here, or nothing."""
    enter = ["unshare", "--mount", "--pid", "--cgroup", "--fork", "true"]
    if subprocess.run(enter, capture_output=True, check=False).returncode:
        return "no namespaces for a box"
    wanted = f" {sys.version_info.major}.{sys.version_info.minor}."
    if wanted not in subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=False).stdout:
        return f"{PYTHON} is no Python{wanted}"
    if subprocess.run([PYTHON, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        return "not installed: python3-venv"
    missing = [name for name in NEEDED if not Path("/usr/bin", name).exists()]
    return f"not installed: {', '.join(missing)}" if missing else ""


def wheels() -> Path:
    """The locked packages, from the index or from the last time. Skips when there is no index."""
    lock = CHECKOUT / "requirements/runtime.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    cache = CHECKOUT / ".cache"
    cache.mkdir(exist_ok=True)
    place = cache / f"wheels-{digest}"
    with (cache / "wheels.lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not place.exists():
            part = place.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            fetch = [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--require-hashes",
                "-r",
                str(lock),
                "-d",
                str(part),
            ]
            done = subprocess.run(fetch, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the locked packages cannot be fetched: {done.stderr.strip().splitlines()[-1]}")
            part.rename(place)
    return place


def prepared(directory: Path) -> Box:
    """A box that has all that an operator brings; nothing is installed yet, and it is not started."""
    if why := capable():
        pytest.skip(why)
    packages = wheels()
    box = Box(directory)
    for part in PARTS:
        target = box.upper / SOURCE.lstrip("/") / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / part).is_dir():
            shutil.copytree(CHECKOUT / part, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / part, target)
    box.bind(packages, WHEELS)
    box.bind(Path(sysconfig.get_paths()["purelib"]), PACKAGES)
    return box


def agentctl(box: Box, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """The checkout's own, as root."""
    path = f"PYTHONPATH={SOURCE}:{PACKAGES}"
    command = ["env", path, "PYTHONDONTWRITEBYTECODE=1", PYTHON, "-m", "agentd.ctl.main", *arguments]
    return box.run(*command, check=check, clock=INSTALL_CLOCK_S)


def install(box: Box, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """`agentctl install` from the copy."""
    return agentctl(box, "install", "--wheels", WHEELS, *arguments, check=check)
