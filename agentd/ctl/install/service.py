"""The service itself: its files, users, start and proof; what install and going back to the version before have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentd.ctl.client import Client
from agentd.ctl.exits import CtlError
from agentd.ctl.install.files import Manifest, link, place, point
from agentd.ctl.install.layout import HELPERS, PROGRAMS, UNITS, Layout
from agentd.ctl.install.run import CommandFailed, Commands
from agentd.ctl.install.steps import StepFailed, Warned

DAEMON = "agentd.service"
KEYRING = "agentd-keyring.service"
DOORS = ("agentd.socket", "agentd-operator.socket")
DOORS_CHANGED = "doors"


@dataclass(slots=True)
class Service:
    """What changed and waits for a restart is noted in a file, so that an interrupted install knows of it when run again."""

    layout: Layout
    run: Commands
    manifest: Manifest
    ask: Callable[[str], str]
    """Version that the daemon behind a socket reports. Raises `CtlError`."""

    @property
    def touched(self) -> bool:
        """Whether something changed that only a restart brings into force."""
        return self.layout.pending.exists()

    def _touch(self, word: str) -> None:
        self.layout.opt.mkdir(parents=True, exist_ok=True)
        with self.layout.pending.open("a", encoding="utf-8") as file:
            file.write(f"{word}\n")

    def files(self, release: Path) -> str:
        """Put the units and what belongs to them, as this version has them."""
        share = self.layout.share(release) / "systemd"
        wanted = [(share / name, self.layout.units / name, 0o644) for name in UNITS]
        wanted += [(share / name, self.layout.helpers / name, mode) for name, mode in HELPERS]
        wanted += [
            (share / "sysusers.d/agentd.conf", self.layout.sysusers, 0o644),
            (share / "tmpfiles.d/agentd.conf", self.layout.tmpfiles, 0o644),
        ]
        said = []
        for source, target, mode in wanted:
            changed = place(self.manifest, target, source.read_bytes(), mode)
            if changed:
                said.append(changed)
                self._touch(DOORS_CHANGED if target.name in DOORS else target.name)
        return "\n".join(said)

    def accounts(self) -> str:
        """Users, groups, directories; systemd's own tools leave alone what is there."""
        said = self.run("systemd-sysusers", str(self.layout.sysusers))
        self.run("systemd-tmpfiles", "--create", str(self.layout.tmpfiles))
        return said.strip()

    def switch(self, release: Path, *, back: bool = False) -> str:
        """Make this version the current one. The one that was so is noted as previous, unless this is the way `back` to it."""
        said = [
            link(self.manifest, self.layout.commands / name, f"/opt/agentd/current/bin/{name}") for name in PROGRAMS
        ]
        target = f"releases/{release.name}"
        if not self.layout.current.is_symlink() or str(self.layout.current.readlink()) != target:
            self._touch(target)
            if self.layout.current.is_symlink() and not back:
                point(self.layout.previous, str(self.layout.current.readlink()))
            point(self.layout.current, target)
            said.append(f"{self.layout.current} -> {target}")
        return "\n".join(filter(None, said))

    def enable(self) -> str:
        """Let the manager read the units, and start them at every boot."""
        if self._is("is-enabled", DAEMON) and not self.touched:
            return ""
        self.run("systemctl", "daemon-reload")
        self.run("systemctl", "enable", "--quiet", DAEMON)
        return f"{DAEMON} enabled"

    def open_keyring(self) -> str:
        """Start the keyring; its password is made and sealed at the first start. Without it agentd still serves."""
        if self._is("is-active", KEYRING) and not self.touched:
            return ""
        try:
            self.run("systemctl", "restart" if self.touched else "start", KEYRING)
        except CommandFailed as failed:
            raise Warned(
                f"{failed}\nno keyring: keys cannot be stored and checkpoints are unsigned until it runs. "
                f"See: journalctl -u {KEYRING}; then: systemctl start {KEYRING}"
            ) from None
        return f"{KEYRING} runs"

    def start(self) -> str:
        """Start, or restart what changed, and wait for its READY. Callers wait meanwhile. Raises `CommandFailed`."""
        if self._is("is-active", DAEMON) and not self.touched:
            return ""
        if self._doors_changed():  # a changed socket is opened anew, which it cannot be while its service runs
            self.run("systemctl", "stop", DAEMON, *DOORS)
        self.run("systemctl", "start", *DOORS)
        self.run("systemctl", "restart", DAEMON)
        self.layout.pending.unlink(missing_ok=True)
        return f"{DAEMON} is ready"

    def prove(self, version: str) -> str:
        """Ask it who it is. Raises `StepFailed` when it does not answer, or is another version than was installed."""
        door = str(self.layout.run / "operator.sock")
        try:
            found = self.ask(door)
        except CtlError as error:
            raise StepFailed(error.message, f"See: journalctl -u {DAEMON}") from None
        if found != version:
            message = f"agentd {found} answers at {door}, but {version} was installed."
            raise StepFailed(message, f"See what else serves there: systemctl status {DAEMON}")
        return ""

    def _doors_changed(self) -> bool:
        return self.touched and DOORS_CHANGED in self.layout.pending.read_text(encoding="utf-8").split()

    def _is(self, question: str, unit: str) -> bool:
        try:
            self.run("systemctl", question, "--quiet", unit)
        except CommandFailed:
            return False
        return True


def version_at(door: str) -> str:
    """The version of the daemon behind an operator's socket. Raises `CtlError`."""
    return str(Client(door).get("/status").get("version", "unknown"))
