"""A box: the real systemd as PID 1, in namespaces of its own, over a copy-on-write view of this machine. No image, half a second.

Nothing outside changes: files land in an overlay, the network is empty but for loopback, the cgroup goes when the box ends.
Needs root and Linux with overlayfs and cgroup v2 (also beside v1). Limits of memory and tasks are accepted but not enforced
where the host keeps those controllers in v1.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

INIT = Path(__file__).with_name("box_init.sh")
BOOT_CLOCK_S = 60
COMMAND_CLOCK_S = 60
INSTALL_CLOCK_S = 240
"""An install makes a virtual environment and unpacks fifty packages into it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TARGET = "agentd-box.target"
TARGET_UNIT = """[Unit]
Description=What a box boots into: the basics and the system bus, nothing that the host has enabled
Requires=basic.target
Wants=dbus.socket systemd-journald.service
After=basic.target
AllowIsolate=yes
"""

MASKED = (
    "systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-udev-trigger.service "
    "systemd-resolved.service systemd-timesyncd.service systemd-networkd.service systemd-networkd.socket "
    "systemd-firstboot.service systemd-machine-id-commit.service systemd-binfmt.service systemd-modules-load.service "
    "sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount "
    "dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount network-online.target getty.target"
).split()
"""What has no business in a box, or needs rights that it lacks."""


class Box:
    """`put` files and `bind` directories, then `start`, `run` commands inside, and `stop`."""

    def __init__(self, directory: Path) -> None:
        self.upper = directory / "upper"
        self._directory = directory
        self._binds: list[str] = []
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid = 0
        unified = Path("/sys/fs/cgroup/unified")
        self._cgroup = (unified if unified.is_dir() else unified.parent) / f"agentd-box-{os.getpid()}-{directory.name}"
        for name in ("upper", "work", "root"):
            (directory / name).mkdir(parents=True)

    def put(self, place: str, text: str, mode: int = 0o644) -> None:
        """A file of the box, before it starts."""
        path = self.upper / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def bind(self, source: Path, place: str) -> None:
        """Show a directory of the host, read-only, before it starts."""
        self._binds.append(f"{source}:{place}")

    def start(self) -> None:
        """Boot it; again after `power_off`, with the same disk."""
        if not (self.upper / "etc/fstab").exists():
            self.put(f"/etc/systemd/system/{TARGET}", TARGET_UNIT)
            self.put("/etc/fstab", "")
            for name in MASKED:
                (self.upper / "etc/systemd/system" / name).symlink_to("/dev/null")
        self._cgroup.mkdir()
        new = "unshare --mount --uts --ipc --net --pid --cgroup --fork --propagation private"
        enter = f'echo $$ >"$0/cgroup.procs"; exec {new} "$@"'
        with (self._directory / "console.log").open("wb") as console:
            self._unshare = subprocess.Popen(
                ["sh", "-c", enter, self._cgroup, INIT, self._directory, TARGET, *self._binds],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self._pid = self._await(self._first_child, "no PID 1")
        self._await(lambda: self._state() in ("running", "degraded"), "systemd did not come up")

    def run(
        self, *command: str, check: bool = True, stdin: str = "", clock: float = COMMAND_CLOCK_S
    ) -> "subprocess.CompletedProcess[str]":
        """A command inside, as root."""
        enter = [
            "nsenter",
            "-t",
            str(self._pid),
            "-m",
            "-u",
            "-i",
            "-n",
            "-p",
            "-C",
            "env",
            "-i",
            f"PATH={PATH}",
            "LANG=C.UTF-8",
        ]
        done = subprocess.run([*enter, *command], input=stdin, capture_output=True, text=True, timeout=clock, cwd="/")
        if check and done.returncode:
            raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit).stdout

    def power_off(self) -> None:
        """As a box is turned off: systemd stops its services, then the machine is gone. Its disk stays."""
        self.run("systemctl", "poweroff")
        self._wait()

    def stop(self) -> None:
        """At once, and for good: the end of PID 1 is the end of all in the box."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        elif self._unshare:
            self._unshare.kill()
        self._wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wait(self) -> None:
        if self._unshare:
            self._unshare.wait(COMMAND_CLOCK_S)
        self._unshare, self._pid = None, 0
        self._await(self._without_cgroup, "its cgroup stays")

    def _first_child(self) -> int:
        if self._unshare is None or self._unshare.poll() is not None:
            raise AssertionError(f"the box did not start:\n{(self._directory / 'console.log').read_text()}")
        pid = self._unshare.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _state(self) -> str:
        self._first_child()
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def _without_cgroup(self) -> bool:
        if self._unshare is None and not self._cgroup.exists():
            return True
        for path, _, _ in os.walk(self._cgroup, topdown=False):
            try:
                os.rmdir(path)
            except OSError:
                return False
        return not self._cgroup.exists()

    def _await(self, ask: Callable[[], T], failure: str) -> T:
        """Ask again until the answer is true: before systemd listens there is nothing to wait on."""
        deadline = time.monotonic() + BOOT_CLOCK_S
        while not (answer := ask()):
            if time.monotonic() > deadline:
                console = (self._directory / "console.log").read_text()
                raise AssertionError(f"{failure} within {BOOT_CLOCK_S} s:\n{console}")
            time.sleep(0.02)
        return answer
