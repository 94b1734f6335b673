"""The commands of a sed script, so far that those which run programs or write files are found."""

import re
from dataclasses import dataclass

_ADDRESS = re.compile(r"[\s;0-9,~+$!I]*")
_PLAIN = frozenset("=dDgGhHnNpPxFz")
_RESTS = frozenset("aic")
_FILES = frozenset("rRwW")


@dataclass(frozen=True, slots=True)
class SedFacts:
    """`runs`: it runs commands, or is not understood. `files`: what it writes."""

    runs: bool = False
    files: tuple[str, ...] = ()


def read_sed(script: str) -> SedFacts:
    """Look through a script. What is not understood counts as running something."""
    files: list[str] = []
    at = 0
    while at < len(script):
        after = _command(script, at, files)
        if after is None:
            return SedFacts(True, tuple(files))
        at = after
    return SedFacts(False, tuple(files))


def _command(script: str, at: int, files: list[str]) -> int | None:
    """Past one command, None when it runs something."""
    start = _addresses(script, at)
    if start is None or start >= len(script):
        return start
    char, at = script[start], start + 1
    if char in "{}" or char in _PLAIN:
        return at
    if char in "sy":
        return _substitute(script, at, files) if char == "s" else _delimited(script, at, 2)
    if char in _FILES or char in _RESTS:
        end = _line(script, at)
        if char in "wW":
            files.append(script[at:end].strip())
        return end
    if char in "bTt:":
        found = re.compile(r"[^;\n}]*").match(script, at)
        return found.end() if found else None
    if char in "qQlL":
        found = re.compile(r"\s*\d*").match(script, at)
        return found.end() if found else None
    return _line(script, at) if char == "#" else None


def _addresses(script: str, at: int) -> int | None:
    while at < len(script):
        found = _ADDRESS.match(script, at)
        at = found.end() if found else at
        if script[at : at + 1] == "/":
            after = _delimited(script, at, 1)
        elif script[at : at + 1] == "\\":
            after = _delimited(script, at + 1, 1)
        else:
            return at
        if after is None:
            return None
        at = after
    return at


def _delimited(script: str, at: int, parts: int) -> int | None:
    """Past `/one/` or `/one/two/`, whatever the delimiter is."""
    if at >= len(script) or script[at] in "\n\\":
        return None
    delimiter, at = script[at], at + 1
    while parts and at < len(script):
        char = script[at]
        if char == "\\":
            at += 1
        elif char == delimiter:
            parts -= 1
        at += 1
    return None if parts else at


def _substitute(script: str, at: int, files: list[str]) -> int | None:
    after = _delimited(script, at, 2)
    if after is None:
        return None
    found = re.compile(r"[gpiIMm0-9]*").match(script, after)
    at = found.end() if found else after
    if script[at : at + 1] == "e":
        return None
    if script[at : at + 1] == "w":
        end = _line(script, at)
        files.append(script[at + 1 : end].strip())
        return end
    return at


def _line(script: str, at: int) -> int:
    end = script.find("\n", at)
    return len(script) if end < 0 else end
