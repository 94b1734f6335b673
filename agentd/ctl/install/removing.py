"""`agentctl uninstall` as a list of steps: stop, take away what install put, and only when told so what agentd wrote itself.

Without `purge` the record, the keys and the policy stay, and so does the user that they belong to: an install finds them again.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentd.ctl.install.files import Manifest, remove
from agentd.ctl.install.layout import UNITS, Layout
from agentd.ctl.install.run import CommandFailed, Commands
from agentd.ctl.install.steps import Step

USER = "agentd"
GROUPS = ("agentd-agents", "agentd-operators")


@dataclass(frozen=True, slots=True)
class Uninstall:
    """What is taken away, and with what."""

    layout: Layout
    run: Commands
    manifest: Manifest
    purge: bool

    def steps(self) -> list[Step]:
        """The list. The programs go last: until then it can be run again."""
        at = self.layout
        listed = [*self.manifest.files, *self.manifest.links]
        steps = [
            Step("service", [f"systemctl disable --now {' '.join(UNITS)}"], self._stop, "See: systemctl list-jobs."),
            Step("files", listed, self._files, "Look at what the message names."),
            Step("sockets", [str(at.run)], lambda: _gone([at.run, at.root / "run/agentd-keyring"]), "Remove it yourself."),
        ]  # fmt: skip
        if self.purge:
            places = self._owned()
            steps += [
                Step("record", [str(path) for path in places], lambda: _gone(places), "Remove it yourself."),
                Step("accounts", [USER, *GROUPS], self._accounts, "Remove them yourself: userdel, groupdel."),
            ]
        return [*steps, Step("programs", [str(at.opt)], lambda: _gone([at.opt]), f"Remove {at.opt} yourself.")]

    def kept(self) -> list[str]:
        """What stays without `purge`, as far as it is there."""
        return [] if self.purge else [str(path) for path in self._owned() if path.exists()]

    def _owned(self) -> list[Path]:
        at = self.layout
        return [at.config, at.state, at.keyring, at.sealed]

    def _stop(self) -> str:
        known = [name for name in UNITS if (self.layout.units / name).exists()]
        if not known:
            return ""
        # Sockets first, or a caller would start the daemon again.
        for name in sorted(known, key=lambda name: not name.endswith(".socket")):
            self.run("systemctl", "stop", name)
        self.run("systemctl", "disable", "--quiet", *known)
        return "stopped, and not started at boot any more"

    def _files(self) -> str:
        kept = remove(self.manifest)
        for directory in (self.layout.helpers,):
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()
        self.run("systemctl", "daemon-reload")
        for name in UNITS:  # what failed once would be listed for ever
            try:
                self.run("systemctl", "reset-failed", name)
            except CommandFailed:
                continue  # not loaded any more, which is what is wanted
        return "\n".join([f"{len(self.manifest.files) + len(self.manifest.links)} removed", *kept])

    def _accounts(self) -> str:
        said = []
        for database, command, names in (("passwd", "userdel", (USER,)), ("group", "groupdel", (USER, *GROUPS))):
            for name in names:
                try:
                    self.run("getent", database, name)
                except CommandFailed:
                    continue  # gone already
                self.run(command, name)
                said.append(name)
        return f"removed {', '.join(said)}" if said else ""


def _gone(places: Sequence[Path]) -> str:
    """Remove files and trees. Links are removed, never followed."""
    said = []
    for path in places:
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            continue
        said.append(str(path))
    return f"removed {', '.join(said)}" if said else ""
