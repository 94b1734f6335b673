"""`agentctl install` as a list of steps, in the order in which nothing half can come of it.

First everything that may fail without a trace (packages, building, whether the new version takes the policy that is there), then
the switch, then the restart. A new version that does not become ready gives its place back to the one before.
Each step may find its work done; running the list again always leads to the same end.
"""

import grp
from dataclasses import dataclass
from pathlib import Path

from agentd.ctl.install.files import write_whole
from agentd.ctl.install.layout import UNITS, Layout
from agentd.ctl.install.release import Builder, linked, tidy
from agentd.ctl.install.run import CommandFailed, Commands
from agentd.ctl.install.service import DAEMON, KEYRING, Service
from agentd.ctl.install.source import Source, system_policy
from agentd.ctl.install.steps import Step, StepFailed

PACKAGES = (
    ("usr/bin/dbus-daemon", "dbus-daemon"),
    ("usr/bin/gnome-keyring-daemon", "gnome-keyring"),
    ("usr/lib/python3*/ensurepip", "python3-venv"),
)
"""What is looked for (a pattern), and the Debian package that brings it. Of D-Bus the keyring needs the daemon alone."""

LEAST_SYSTEMD = 250
"""The first version with LoadCredentialEncrypted=."""

GROUP = "agentd"
"""Whose members read the policy: the daemon alone."""

LOGS = f"See what it says: journalctl -u {DAEMON} -u {KEYRING} -n 50."


@dataclass(frozen=True, slots=True)
class Install:
    """What an install needs to know and to use."""

    source: Source
    version: str
    builder: Builder
    service: Service

    @property
    def layout(self) -> Layout:
        """All places."""
        return self.builder.layout

    @property
    def run(self) -> Commands:
        """Runs programs."""
        return self.builder.run

    @property
    def release(self) -> Path:
        """Where this version lies."""
        return self.layout.releases / self.source.name

    def steps(self) -> list[Step]:
        """The list."""
        return [*self._before(), *self._switch()]

    def _before(self) -> list[Step]:
        """What changes nothing of a service that runs."""
        at, lacking = self.layout, self._lacking()
        apt = [f"apt-get install {' '.join(lacking)}"] if lacking else ["nothing is missing"]
        return [
            Step("machine", [f"systemd {LEAST_SYSTEMD} or newer runs here"], self._machine, "Install on a Debian box."),
            Step("packages", apt, self._packages, f"Install them yourself: apt-get install {' '.join(lacking)}."),
            Step(
                "version",
                self.builder.plan(self.source),
                self._build,
                "Nothing was changed for what runs. Without a way to a package index: agentctl install --wheels DIR.",
            ),
            Step("policy fits", [f"{at.policy}, if there, has no faults"], self._fits, f"Mend {at.policy}."),
        ]

    def _switch(self) -> list[Step]:
        """What brings it into force."""
        at, service = self.layout, self.service
        units = [str(at.units / name) for name in UNITS] + [
            str(place) for place in (at.helpers, at.sysusers, at.tmpfiles)
        ]
        return [
            Step("files", units, lambda: service.files(self.release), "Make room for what the message names."),
            Step("accounts", ["systemd-sysusers; systemd-tmpfiles --create"], service.accounts, LOGS),
            Step("policy", [f"{at.policy}, unless it is there"], self._policy, f"Look at {at.config}."),
            Step(
                "commands",
                [f"{at.current} -> {self.release.name}", f"{at.commands}/agentd, agentctl"],
                lambda: service.switch(self.release),
                "Move away what is in the way.",
            ),
            Step("at boot", [f"systemctl enable {DAEMON}"], service.enable, LOGS),
            Step("keyring", [f"systemctl start {KEYRING}; seals a password the first time"], service.open_keyring, LOGS),
            Step("start", [f"systemctl restart {DAEMON}, if anything changed; wait for READY"], self._start, LOGS),
            Step("proof", [f"ask {at.run}/operator.sock"], lambda: service.prove(self.version), LOGS),
            Step("tidy", ["remove versions but this and the one before"], self._tidy, f"Look at {at.releases}."),
        ]  # fmt: skip

    def _machine(self) -> str:
        if not self.layout.manager.is_dir():
            raise StepFailed("systemd is not what runs this machine.", "Without it use user mode: agentd serve.")
        first = self.run("systemctl", "--version").split()
        if len(first) < 2 or not first[1].isdigit() or int(first[1]) < LEAST_SYSTEMD:
            message = f"systemd {' '.join(first[1:2])} is too old: {LEAST_SYSTEMD} is the first that seals credentials."
            raise StepFailed(message, "Install on Debian 12 or newer.")
        return ""

    def _lacking(self) -> list[str]:
        return [package for path, package in PACKAGES if not any(self.layout.root.glob(path))]

    def _packages(self) -> str:
        lacking = self._lacking()
        if not lacking:
            return ""
        self.run("apt-get", "-q", "update")
        self.run("apt-get", "-q", "-y", "--no-install-recommends", "install", *lacking)
        return f"installed {', '.join(lacking)}"

    def _build(self) -> str:
        gone = tidy(self.layout, self.release)  # what earlier attempts left; an interrupted one needs the room again
        return "\n".join(filter(None, (gone, self.builder.build(self.source))))

    def _fits(self) -> str:
        policy = self.layout.policy
        if not policy.exists():
            return ""
        try:
            self.run(str(self.release / "bin/agentctl"), "policy", "check", str(policy))
        except CommandFailed as failed:
            message = f"This version does not take {policy} as it is; nothing was switched.\n{failed.output.strip()}"
            raise StepFailed(message, "Mend what is named, line by line.") from None
        return ""

    def _policy(self) -> str:
        policy = self.layout.policy
        if policy.exists():
            return ""
        text = (self.layout.share(self.release) / "etc/policy.yaml").read_text(encoding="utf-8")
        write_whole(policy, system_policy(text).encode(), 0o640, grp.getgrnam(GROUP).gr_gid)
        return f"{policy} made"

    def _start(self) -> str:
        before = self._before_this()
        try:
            return self.service.start()
        except CommandFailed as failed:
            if before is None:
                raise
            self.service.files(before)
            self.service.switch(before, back=True)
            self.run("systemctl", "daemon-reload")
            self.service.start()
            raise StepFailed(f"{failed}\nIt did not become ready; {before.name} serves again.", LOGS) from None

    def _before_this(self) -> Path | None:
        """The version to go back to."""
        previous = linked(self.layout, self.layout.previous)
        return previous if previous not in (None, self.release) else None

    def _tidy(self) -> str:
        return tidy(self.layout, self.release)
