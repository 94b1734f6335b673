"""Where on the box everything lies. `root` is `/`; tests give another, and nothing outside it is touched.

A version lies whole in a directory of its own under /opt/agentd/releases, named by what it was made of. `current` points to the
one in use and is swapped in one rename, so a running daemon never sees half of the next version, and the one before stays at
hand. Everything outside /opt/agentd that install puts is in the manifest with its digest: uninstall takes those and no others.
"""

from dataclasses import dataclass
from pathlib import Path

UNITS = (
    "agentd.service",
    "agentd.socket",
    "agentd-operator.socket",
    "agentd-tcp.socket",  # put, not enabled: whoever wants the door over TCP does that
    "agentd-keyring.service",
    "agentd-keyring-bus.service",
    "agentd-keyring-seal.service",
)
HELPERS = (("keyring-bus.conf", 0o644), ("keyring-is-open", 0o755), ("keyring-seal", 0o755))
"""What the keyring's units use, with modes."""

PROGRAMS = ("agentd", "agentctl")
SEALED = "agentd.keyring-password"
"""Name of the sealed password; a credential is bound to its name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """All places."""

    root: Path = Path("/")

    @property
    def opt(self) -> Path:
        """Programs, whole versions."""
        return self.root / "opt/agentd"

    @property
    def releases(self) -> Path:
        """One directory for each version."""
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        """A link to the version in use."""
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        """A link to the version that was in use before: what to go back to."""
        return self.opt / "previous"

    @property
    def manifest(self) -> Path:
        """What was put outside /opt/agentd."""
        return self.opt / "manifest.json"

    @property
    def pending(self) -> Path:
        """Is there while something was changed that a restart has to bring into force."""
        return self.opt / "restart-needed"

    @property
    def commands(self) -> Path:
        """Where an operator's shell finds programs."""
        return self.root / "usr/local/bin"

    @property
    def units(self) -> Path:
        """Units of this box."""
        return self.root / "etc/systemd/system"

    @property
    def helpers(self) -> Path:
        """What units use."""
        return self.root / "usr/lib/agentd"

    @property
    def sysusers(self) -> Path:
        """The declaration of users and groups."""
        return self.root / "usr/lib/sysusers.d/agentd.conf"

    @property
    def tmpfiles(self) -> Path:
        """The declaration of directories."""
        return self.root / "usr/lib/tmpfiles.d/agentd.conf"

    @property
    def config(self) -> Path:
        """Policy and settings."""
        return self.root / "etc/agentd"

    @property
    def policy(self) -> Path:
        """The operator's file: made when absent, never touched again."""
        return self.config / "policy.yaml"

    @property
    def state(self) -> Path:
        """The record."""
        return self.root / "var/lib/agentd"

    @property
    def keyring(self) -> Path:
        """The keys."""
        return self.root / "var/lib/agentd-keyring"

    @property
    def sealed(self) -> Path:
        """The keyring's password, sealed to this machine."""
        return self.root / "etc/credstore.encrypted" / SEALED

    @property
    def run(self) -> Path:
        """The doors."""
        return self.root / "run/agentd"

    @property
    def manager(self) -> Path:
        """Is there exactly where systemd is the service manager that runs."""
        return self.root / "run/systemd/system"

    def share(self, release: Path) -> Path:
        """Units, helpers and the first policy of a version, kept with it."""
        return release / "share"
