"""What is installed: a checkout, named by a digest of everything in it that ends up on the box.

The same content always has the same name, so a second install of it finds the work done.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentd.ctl.exits import CtlError, Exit

PARTS = ("pyproject.toml", "README.md", "requirements/runtime.txt", "etc/policy.yaml", "agentd", "systemd")
"""What a version is made of, below the checkout."""

LOCK = "requirements/runtime.txt"
NAME_DIGITS = 12
"""Hex digits of the digest in a version's name; for telling versions of one box apart."""

SELF_UID = "{ uid: self }"
"""Matches whoever runs agentd: for trials. As a service that would let the daemon's own uid in as an agent."""


@dataclass(frozen=True, slots=True)
class Source:
    """A checkout, and the name of the version that it makes."""

    checkout: Path
    name: str


def find(given: Path | None, version: str) -> Source:
    """The checkout to install from: the one given, or the one that this program runs from. Raises `CtlError`."""
    checkout = (given or Path(__file__).parents[3]).resolve()
    missing = [part for part in PARTS if not (checkout / part).exists()]
    if missing:
        raise CtlError(
            Exit.NOT_FOUND,
            f"{checkout} is no checkout of agentd: it has no {missing[0]}.",
            "Say where one is: agentctl install --from DIR",
        )
    digest = hashlib.sha256()
    for path in _files(checkout):
        digest.update(f"{path.relative_to(checkout)}\0{path.stat().st_mode & 0o111:o}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Source(checkout, f"{version}-{digest.hexdigest()[:NAME_DIGITS]}")


def system_policy(shipped: str) -> str:
    """The shipped policy as a service's first one: without the entry that is for trials alone."""
    return "".join(line for line in shipped.splitlines(keepends=True) if SELF_UID not in line)


def _files(checkout: Path) -> Iterator[Path]:
    for part in PARTS:
        place = checkout / part
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)
