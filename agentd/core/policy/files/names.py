"""Protected names: patterns over the components of a path, blind to how a name is dressed up.

A pattern is components joined by `/`: `*` and `?` within one, `**` for any number of them. One that begins with `/` counts from
the root; any other holds at every depth, since a repository within a repository runs its hooks, too. `x/**` protects `x` and
all below.

Names are compared folded: case, Unicode forms, characters that nobody sees, and dots and blanks at the end are what file systems
and eyes forgive. Folding may take a harmless name for a protected one. That costs a refusal; the other error costs a secret.

What a pattern cannot hold by itself is a directory that is moved as a whole: `x/hooks` is free, and `.git` moved away and back
is `.git/hooks`. So whoever moves or removes also asks `leads_to`: is this a place that the pattern goes through?
"""

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

_UNSEEN = frozenset({"Cf", "Cc", "Mn", "Me"})
"""Formats and controls; marks, so that an accent or a variant on a letter makes no other name of it."""

ANY_DEPTH = "**"


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern as the policy file has it, and its folded components."""

    text: str
    parts: tuple[str, ...]


def pattern(text: str) -> NamePattern:
    """Read a pattern. Raises ValueError for an empty one, `.` or `..` in it, or one that is all wildcards."""
    parts = tuple(part for part in text.split("/") if part)
    if not parts or {".", ".."} & set(parts) or all(set(part) <= set("*?") for part in parts):
        raise ValueError(f"{text!r} protects nothing in particular: name at least one component")
    if not text.startswith("/") and parts[0] != ANY_DEPTH:
        parts = (ANY_DEPTH, *parts)
    return NamePattern(text, tuple(part if part == ANY_DEPTH else fold(part) for part in parts))


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A component without its disguise."""
    if name.isascii() and name.isprintable():
        return name.casefold().rstrip(". ")
    wide = unicodedata.normalize("NFKD", name).casefold()
    bare = "".join(char for char in wide if unicodedata.category(char) not in _UNSEEN)
    return unicodedata.normalize("NFKC", bare).strip().rstrip(". ")


def protects(wanted: NamePattern, parts: tuple[str, ...]) -> bool:
    """Whether the pattern holds for a path, or for a directory that it is in: nothing below a protected name is free."""
    return _reach(wanted.parts, parts)[0]


def leads_to(wanted: NamePattern, parts: tuple[str, ...]) -> bool:
    """Whether something below the path could be protected because of how the path is named."""
    return _reach(wanted.parts, parts)[1]


def _reach(wanted: tuple[str, ...], parts: tuple[str, ...]) -> tuple[bool, bool]:
    """(the pattern ends on or above the path, the pattern goes through it with a name matched)."""
    states = _skipped(wanted, {0})
    for name in map(fold, parts):
        states = _skipped(wanted, {after for at in states for after in _step(wanted, at, name)})
        if len(wanted) in states:
            return True, True
    named = {at for at in states if any(part != ANY_DEPTH for part in wanted[:at])}
    return False, bool(named)


def _step(wanted: tuple[str, ...], at: int, name: str) -> tuple[int, ...]:
    if at == len(wanted):
        return (at,)
    if wanted[at] == ANY_DEPTH:
        return (at,)
    return (at + 1,) if _component(wanted[at]).match(name) else ()


def _skipped(wanted: tuple[str, ...], states: set[int]) -> set[int]:
    """With every `**` that may stand for nothing."""
    found = set(states)
    for start in states:
        at = start
        while at < len(wanted) and wanted[at] == ANY_DEPTH:
            at += 1
            found.add(at)
    return found


@lru_cache(maxsize=1024)
def _component(text: str) -> re.Pattern[str]:
    return re.compile(translate(text), re.IGNORECASE)
