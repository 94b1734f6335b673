"""Files and links that install puts outside /opt/agentd, and the manifest that says which they are.

Each is written beside its place and renamed into it. The manifest is saved *before* a file changes, with the digests of both
contents: after a crash in between, the file is still known as ours, whichever of the two it holds. A file that holds neither
was edited by the operator: it is kept beside as NAME.edited, never overwritten and never deleted.
"""

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

EDITED = ".edited"
"""Ending of an operator's edited copy; systemd ignores files with it."""

FORMAT = 1


class InTheWay(Exception):
    """Something that is not ours stands where something of ours belongs."""


@dataclass(slots=True)
class Manifest:
    """What was put: file -> digests that it may hold, link -> target."""

    path: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The manifest at `path`, empty when there is none. Raises `InTheWay` when it cannot be understood."""
        try:
            held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if held["format"] != FORMAT:
                raise InTheWay(f"{path} was written by a newer agentd; use its own agentctl")
            return cls(path, held["files"], held["links"])
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError):
            raise InTheWay(f"{path} is not a manifest of agentd") from None

    def save(self) -> None:
        """Durably, whole."""
        held = {"format": FORMAT, "files": self.files, "links": self.links}
        write_whole(self.path, json.dumps(held, indent=1, sort_keys=True).encode() + b"\n", 0o644)


def write_whole(target: Path, content: bytes, mode: int, gid: int = -1) -> None:
    """Make or replace a file in one step. `gid` -1 leaves the group. Raises `OSError`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchown(descriptor, -1, gid)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    fresh.rename(target)


def place(manifest: Manifest, target: Path, content: bytes, mode: int) -> str:
    """Put a file of ours. Returns what that did: "" when all was so already, else a word or two. Raises `OSError`."""
    name, new = str(target), hashlib.sha256(content).hexdigest()
    known = manifest.files.get(name, [])
    held = digest_of(target)
    if held == new and known == [new] and target.stat().st_mode & 0o7777 == mode:
        return ""
    kept = _set_aside(target) if held not in (None, new, *known) else ""
    manifest.files[name] = sorted({new, *known})
    manifest.save()
    write_whole(target, content, mode)
    manifest.files[name] = [new]
    manifest.save()
    return f"{target} {'made' if held is None else 'replaced' if held != new else 'taken over'}{kept}"


def link(manifest: Manifest, place: Path, target: str) -> str:
    """Put a symbolic link of ours. Returns "" when it was there. Raises `InTheWay` for anything else in its place."""
    if place.is_symlink() and str(place.readlink()) == target:
        changed = str(place) not in manifest.links
    elif os.path.lexists(place) and not (place.is_symlink() and str(place) in manifest.links):
        raise InTheWay(f"{place} is there and is not agentd's")
    else:
        changed = True
    if not changed:
        return ""
    manifest.links[str(place)] = target
    manifest.save()
    point(place, target)
    return f"{place} -> {target}"


def point(place: Path, target: str) -> None:
    """Make a link, or turn it, in one step."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(place)


def remove(manifest: Manifest) -> list[str]:
    """Take away every file and link of the manifest that is still ours; says what was found edited, and kept."""
    kept = []
    for name, digests in sorted(manifest.files.items()):
        target = Path(name)
        held = digest_of(target)
        if held is None:
            continue
        if held in digests:
            target.unlink()
        else:
            kept.append(f"{name}{_set_aside(target)}")
    for name, aim in sorted(manifest.links.items()):
        if Path(name).is_symlink() and str(Path(name).readlink()) == aim:
            Path(name).unlink()
    return kept


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file in hex; None when there is none, and a digest that nothing has for what is no plain file."""
    if path.is_symlink():
        return f"link to {path.readlink()}"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _set_aside(target: Path) -> str:
    aside = target.with_name(target.name + EDITED)
    target.rename(aside)
    return f" (it had been edited: that is kept as {aside})"
