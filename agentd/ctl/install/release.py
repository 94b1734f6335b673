"""Builds a version: a virtual environment of the system's Python with the locked packages, agentd, and its units.

The system's Python, because the service cannot see homes, where others live. Every package is checked against the hash in the
lock. A version without its mark of completion is what an interruption left: it is made anew.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from agentd.ctl.install.layout import Layout
from agentd.ctl.install.run import CommandFailed, Commands
from agentd.ctl.install.source import LOCK, Source
from agentd.ctl.install.steps import StepFailed

COMPLETE = ".complete"
PYTHONS = ("/usr/bin/python3", "/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11")
USABLE = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"


@dataclass(frozen=True, slots=True)
class Builder:
    """How to build: the place, the programs, and a directory of packages when there is no index to ask."""

    layout: Layout
    run: Commands
    wheels: Path | None

    def plan(self, source: Source) -> list[str]:
        """What `build` would run."""
        target = self.layout.releases / source.name
        if (target / COMPLETE).exists():
            return [f"{target} is complete"]
        return [" ".join(command) for command in self._commands("/usr/bin/python3", source, target)]

    def build(self, source: Source) -> str:
        """Make the version if it is not there. Raises `CommandFailed`, `StepFailed`, `OSError`."""
        target = self.layout.releases / source.name
        if (target / COMPLETE).exists():
            return ""
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for command in self._commands(self._python(), source, target):
            self.run(*command)
        for part in ("systemd", "etc"):
            shutil.copytree(source.checkout / part, self.layout.share(target) / part)
        (target / COMPLETE).touch()
        return f"{target} built"

    def _commands(self, python: str, source: Source, target: Path) -> list[list[str]]:
        inside = str(target / "bin/python")
        pip = [inside, "-I", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        offline = ["--no-index", "--find-links", str(self.wheels)] if self.wheels else []
        return [
            [python, "-I", "-m", "venv", str(target)],
            [*pip, "--require-hashes", *offline, "-r", str(source.checkout / LOCK)],
            [*pip, "--no-deps", "--no-build-isolation", "--no-index", str(source.checkout)],
            [str(target / "bin/agentd"), "--version"],  # it must at least start, before anything is switched
        ]

    def _python(self) -> str:
        for name in PYTHONS:
            try:
                self.run(name, "-I", "-c", USABLE)
            except CommandFailed:
                continue
            return name
        raise StepFailed(
            "There is no Python 3.11 or newer with venv under /usr/bin.",
            "Install one: apt-get install python3 python3-venv.",
        )


def linked(layout: Layout, link: Path) -> Path | None:
    """The version that `current` or `previous` points to, or None."""
    return layout.releases / link.readlink().name if link.is_symlink() else None


def tidy(layout: Layout, wanted: Path) -> str:
    """Remove every version but the wanted one, the one in use, and the one before."""
    keep = {wanted, linked(layout, layout.current), linked(layout, layout.previous)}
    gone = [path for path in sorted(layout.releases.glob("*")) if path not in keep]
    for path in gone:
        shutil.rmtree(path)
    return f"removed {', '.join(path.name for path in gone)}" if gone else ""
