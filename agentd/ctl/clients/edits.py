"""Edits of a client's configuration files that can be taken back: texts in, texts out, nothing is read or written here.

An untouched file gets its old bytes back. One that was changed in the meantime (OpenClaw rewrites its own) loses exactly what was
put in, and only where it is still as it was put: keys of JSON by their path, lines of TOML and YAML by their marks.
"""

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

BEGIN, END = "# >>> agentd", "# <<< agentd"
ASIDE = "# agentd put aside: "
"""Before a line that was commented out, because a file may hold its key once only."""

Json = dict[str, Any]


class CannotEdit(Exception):
    """A file is not what its client's manual says, or holds something that would be lost. The text says which."""


class Edit(Protocol):
    """One file's change."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    @property
    def mode(self) -> int:
        """Its mode when it is new."""
        ...

    def applied(self, before: str | None) -> str:
        """The new text of the file; None: there is none yet. Raises `CannotEdit`."""
        ...

    def shown(self) -> str:
        """What a person would put there by hand."""
        ...


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A file of ours."""

    path: Path
    mode: int
    text: str

    def applied(self, before: str | None) -> str:
        """See `Edit`. A stranger's file is not overwritten."""
        if before not in (None, self.text):
            raise CannotEdit(f"{self.path} is there and was not made by agentctl")
        return self.text

    def shown(self) -> str:
        """See `Edit`."""
        return self.text


@dataclass(frozen=True, slots=True)
class JsonKeys:
    """Values at paths of a JSON file; what else is in it stays."""

    path: Path
    mode: int
    values: Sequence[tuple[tuple[str, ...], Any]]

    def applied(self, before: str | None) -> str:
        """See `Edit`."""
        data = _object(before, self.path)
        for keys, value in self.values:
            _put(data, keys, value, self.path)
        return _written(data)

    def shown(self) -> str:
        """See `Edit`."""
        return self.applied(None)


@dataclass(frozen=True, slots=True)
class Lines:
    """Marked lines at the top and at the end of a text file; `keys` are root keys of TOML that the top sets."""

    path: Path
    mode: int
    top: str = ""
    end: str = ""
    keys: Sequence[str] = ()

    def applied(self, before: str | None) -> str:
        """See `Edit`."""
        rest = self._put_aside(before or "")
        if rest and not rest.endswith("\n"):
            rest += "\n"
        text = "".join(part for part in (_marked(self.top), rest, _marked(self.end)) if part)
        if self.path.suffix == ".toml":
            _proved(text, self.path)
        return text

    def shown(self) -> str:
        """See `Edit`."""
        return "\n".join(part for part in (self.top, self.end) if part)

    def _put_aside(self, text: str) -> str:
        """Root keys stand before the first table."""
        lines, at_root = [], True
        for line in text.splitlines(keepends=True):
            at_root = at_root and not line.lstrip().startswith("[")
            key = line.split("=", 1)[0].strip()
            lines.append(ASIDE + line if at_root and "=" in line and key in self.keys else line)
        return "".join(lines)


def undone(before: str | None, after: str, now: str) -> str | None:
    """The text of a file with our part taken back; None: no file. Raises `CannotEdit` when that part cannot be told apart."""
    if now == after:
        return before
    if BEGIN in after:
        rest = _without_marked(now)
        return None if before is None and not rest.strip() else rest
    try:
        was, put, held = (json.loads(text) for text in (before or "{}", after, now))
    except ValueError:
        raise CannotEdit("it was changed since, so it is left as it is") from None
    _take_back(was, put, held)
    return None if before is None and held == {} else _written(held)


def _proved(text: str, path: Path) -> None:
    """Refuse to leave TOML behind that its client could not read."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotEdit(f"{path} would not be TOML any more ({error}); merge by hand what --print shows") from None


def _object(text: str | None, path: Path) -> Json:
    if text is None or not text.strip():
        return {}
    try:
        data = json.loads(text)
    except ValueError as error:
        raise CannotEdit(f"{path} is no plain JSON ({error}); merge by hand what --print shows") from None
    if not isinstance(data, dict):
        raise CannotEdit(f"{path} holds no JSON object")
    return data


def _put(data: Json, keys: tuple[str, ...], value: object, path: Path) -> None:
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise CannotEdit(f"{path}: {key} is no object; look at it, or merge by hand what --print shows")
    data[keys[-1]] = value


def _take_back(was: Json, put: Json, held: Json) -> None:
    """Where `put` differs from `was` and `held` still has what was put, `held` gets what was."""
    for key in [key for key in put if key in held and put[key] != was.get(key, ...)]:
        old, new, current = was.get(key), put[key], held[key]
        if current == new and key in was:
            held[key] = old
        elif current == new:
            del held[key]
        elif isinstance(new, dict) and isinstance(current, dict):
            _take_back(old if isinstance(old, dict) else {}, new, current)
            if current == {} and key not in was:
                del held[key]


def _written(data: Json) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def _marked(text: str) -> str:
    return f"{BEGIN}\n{text}{END}\n" if text else ""


def _without_marked(text: str) -> str:
    kept, ours = [], False
    for line in text.splitlines(keepends=True):
        mark = line.strip()
        if mark == BEGIN:
            ours = True
        elif mark == END:
            ours = False
        elif not ours:
            kept.append(line.removeprefix(ASIDE))
    if ours:
        raise CannotEdit(f"the line “{END}” is missing, so it is left as it is")
    return "".join(kept)
