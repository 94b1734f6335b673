"""What `connect` wrote for a user, kept in that user's home so that `--undo` can take back exactly that.

The note is written before the files: after a crash in between, undo finds files that are as before, and leaves them. It holds
their old texts, and the token of the TCP door when there is one: mode 0600.
Everything here runs with the rights of the user whose home it is, never root's in a place that an agent can rearrange.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from agentd.ctl.clients.edits import CannotEdit, Edit, undone
from agentd.ctl.clients.plan import Door

FOLDER = ".local/state/agentd/connect"
"""Below a home."""


@dataclass(frozen=True, slots=True)
class Change:
    """A file's text before and after; `made` are directories that were not there."""

    path: str
    before: str | None
    after: str
    mode: int
    made: list[str]


@dataclass(frozen=True, slots=True)
class Note:
    """What was written for one client; `made` are the directories that were made for the note itself."""

    door: Door
    model: str
    changes: list[Change]
    made: list[str]


class Notebook:
    """The note about one client in one home."""

    def __init__(self, home: Path, client: str) -> None:
        """Reads nothing yet."""
        self.path = home / FOLDER / f"{client}.json"

    def read(self) -> Note | None:
        """The note, or None. Raises `CannotEdit` when it is not one."""
        try:
            held = json.loads(self.path.read_text(encoding="utf-8"))
            changes = [Change(**change) for change in held["changes"]]
            return Note(Door(**held["door"]), str(held["model"]), changes, list(held["made"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise CannotEdit(f"{self.path} cannot be understood") from None

    def write(self, door: Door, model: str, edits: Sequence[Edit]) -> list[Change]:
        """Make the edits, all or none as far as they can be judged beforehand. Raises `CannotEdit`, `OSError`."""
        changes = [_change(edit) for edit in edits]
        note = Note(door, model, changes, _missing(self.path))
        _write(self.path, json.dumps(asdict(note), indent=1), 0o600)
        for change in changes:
            _write(Path(change.path), change.after, change.mode)
        return changes

    def undo(self) -> list[tuple[str, str]]:
        """Take back what the note says: (file, what was done). A file that cannot be told apart stays, and so does the note."""
        note = self.read()
        if note is None:
            return []
        done, left = [], []
        for change in note.changes:
            try:
                done.append((change.path, _taken_back(change)))
            except CannotEdit as why:
                done.append((change.path, f"LEFT: {why}"))
                left.append(change)
        if left:
            _write(self.path, json.dumps(asdict(replace(note, changes=left)), indent=1), 0o600)
        else:
            self.path.unlink()
            _remove_empty(note.made)
        return done

    def unchanged(self) -> list[tuple[str, bool]]:
        """Each file, and whether it is as it was written."""
        note = self.read()
        return [(change.path, _text(Path(change.path)) == change.after) for change in note.changes] if note else []


def _change(edit: Edit) -> Change:
    path = edit.path.resolve()  # what people keep as a link into a folder of their own stays one
    before = _text(path)
    mode = path.stat().st_mode & 0o777 if before is not None else edit.mode
    return Change(str(path), before, edit.applied(before), mode, _missing(path))


def _taken_back(change: Change) -> str:
    path = Path(change.path)
    now = _text(path)
    if now is None or now == change.before:
        said = "was as before"
    else:
        text = undone(change.before, change.after, now)
        if text is None:
            path.unlink()
            said = "removed"
        else:
            _write(path, text, change.mode)
            said = "as before" if now == change.after else "taken out of it"
    _remove_empty(change.made)
    return said


def _missing(path: Path) -> list[str]:
    """Directories above it that are not there, innermost first."""
    return [str(parent) for parent in path.parents if not parent.exists()]


def _remove_empty(directories: Sequence[str]) -> None:
    for directory in directories:
        if Path(directory).is_dir() and not any(Path(directory).iterdir()):
            Path(directory).rmdir()


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise CannotEdit(f"{path} is no text") from None


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.agentctl")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    fresh.rename(path)
