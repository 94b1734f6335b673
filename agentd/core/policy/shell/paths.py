"""Paths by their text: made absolute and normal without a file system, and held against the patterns of rules.

A path's unknown parts stand in it as marks. Two questions are asked. *Within*: is every path that this one can be a path of the
pattern? An allow needs that, so a mark counts as a character that only a wildcard covers. *Touches*: may it be one? A deny asks
that; an unquoted glob then counts as any names it matches, whereas a wholly unknown part (`$x`) counts as a name that no rule
names: what it is will be known at run time, and there the kernel's view decides. Links are not
followed here, for the same reason.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agentd.core.policy.shell.marks import ANY_GLOB, HERE, HOME, PIPE, QUERY, STAR, UNDER, UNKNOWN

MAX_PARTS = 64
"""Names in a path that are compared one by one; a longer one is unknown."""

MAX_CHARS = 4096
"""The kernel takes no longer path (PATH_MAX). What is longer is compared with nothing and may be anything."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt")
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  names to compare with; nothing is made there
DEVICES = (
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/tty",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/random",
    "/dev/urandom",
    "/dev/fd",
)
NETWORK = re.compile(r"/dev/(tcp|udp)/")
"""Names that the shell itself opens as connections."""


@dataclass(frozen=True, slots=True)
class Roots:
    """What the first name of a pattern may stand for: absolute, normal paths."""

    workspace: str
    home: str


@dataclass(frozen=True, slots=True)
class Place:
    """A path: absolute and normal, with marks. `open`: it begins with, or holds, something of which nothing is known."""

    text: str
    open: bool = False


def resolve(shape: str, cwd: str | None, home: str | None) -> Place | None:
    """A word as a path. None: it is no file (a pipe). `cwd` or `home` None: not known at that point."""
    if PIPE in shape:
        return None
    if HOME in shape:
        shape = shape.replace(HOME, home if home is not None else UNKNOWN)
    if HERE in shape:
        shape = shape.replace(HERE, cwd if cwd is not None else UNKNOWN)
    if not shape.startswith("/"):
        base = UNKNOWN if cwd is None or shape.startswith(UNKNOWN) else cwd
        shape = f"{base}/{shape}"
    if len(shape) < MAX_PARTS and "//" not in shape and "/." not in shape and UNKNOWN not in shape:
        return Place(shape.rstrip("/") or "/")
    return _normal(shape)


def _normal(shape: str) -> Place:
    parts: list[str] = []
    opened = False
    for part in shape.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and not opened:
            if parts and parts[-1] == UNDER:
                opened = True
            else:
                del parts[-1:]
            continue
        opened = opened or UNKNOWN in part or part == ".." or (part[0] == "." and ANY_GLOB.search(part) is not None)
        parts.append(part)
    text = "/" + "/".join(parts)
    return Place(text, opened or len(parts) > MAX_PARTS or len(text) > MAX_CHARS)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A path pattern of a rule, made ready: the whole as an expression, and name by name."""

    whole: re.Pattern[str]
    parts: tuple[str, ...]
    stem: tuple[str, ...]  # the names before the first wildcard


@lru_cache(maxsize=4096)
def patterns(text: str, roots: Roots) -> tuple[Pattern, ...]:
    """A rule's pattern: `workspace/**`, `home/.ssh/**`, `system`, `temp`, `devices`, `/var/log/*`, `**/.env`."""
    first, slash, rest = text.partition("/")
    bases = {
        "workspace": (roots.workspace,),
        "home": (roots.home,),
        "~": (roots.home,),
        "system": SYSTEM,
        "temp": TEMPORARY,
        "devices": DEVICES,
    }.get(first, ("" if first == "" else f"/{first}",))
    below = slash + rest if first else "/" + rest
    found = [base.rstrip("/") + below for base in bases]
    if first in ("system", "temp", "devices") and not rest:
        found = [each for base in bases for each in (base, base + "/**")]
    return tuple(_pattern(each) for each in found)


def _pattern(path: str) -> Pattern:
    parts = tuple(part for part in path.split("/") if part)
    pieces: list[str] = []
    for index, part in enumerate(parts):
        if part == "**":
            pieces.append("(?:/.+)?" if index == len(parts) - 1 else "(?:/[^/]+)*")
        else:
            pieces.append("/" + "".join(_char(char) for char in part))
    stem = next((parts[:index] for index, part in enumerate(parts) if "*" in part or "?" in part), parts)
    return Pattern(re.compile("".join(pieces), re.DOTALL), parts, stem)


def _char(char: str) -> str:
    if char == "*":
        return f"[^/{UNDER}]*"
    return f"[^/{STAR}{QUERY}{UNDER}{UNKNOWN}]" if char == "?" else re.escape(char)


@dataclass(frozen=True, slots=True)
class Paths:
    """All patterns of a condition: one expression for the usual question, the single ones for the rest."""

    whole: re.Pattern[str]
    each: tuple[Pattern, ...]


@lru_cache(maxsize=1024)
def paths(texts: tuple[str, ...], roots: Roots) -> Paths:
    """The patterns of a condition, made ready."""
    each = tuple(pattern for text in texts for pattern in patterns(text, roots))
    return Paths(re.compile("|".join(f"(?:{pattern.whole.pattern})" for pattern in each) or "(?!)", re.DOTALL), each)


def within(place: Place, found: Paths) -> bool:
    """Whether every path that this can be fits one of the patterns."""
    return not place.open and found.whole.fullmatch(place.text) is not None


def touches(place: Place, found: Paths, *, tree: bool = False) -> bool:
    """Whether it may fit one of the patterns; `tree`: or may be a directory above what fits."""
    text = place.text
    if len(text) > MAX_CHARS or found.whole.fullmatch(text):
        return True
    globs = STAR in text or QUERY in text
    if not tree and not globs:
        return False
    parts = tuple([part for part in text.split("/") if part])
    if tree and any(each.stem and parts == each.stem[: len(parts)] for each in found.each):
        return True
    return globs and any(_overlap(parts[:MAX_PARTS], each.parts) for each in found.each)


def _overlap(path: tuple[str, ...], rule: tuple[str, ...]) -> bool:
    """Whether names with globs and a rule's names have a path in common. A table, so that no pattern is slow."""
    reach = [True] + [False] * len(rule)
    _skip(reach, rule)
    for part in path:
        after = [False] * (len(rule) + 1)
        for index, wanted in enumerate(rule):
            if not reach[index]:
                continue
            if wanted == "**":
                after[index] = True
            elif _names_overlap(part, wanted):
                after[index + 1] = True
        _skip(after, rule)
        reach = after
    return reach[-1]


def _skip(reach: list[bool], rule: Sequence[str]) -> None:
    for index, wanted in enumerate(rule):
        if reach[index] and wanted == "**":
            reach[index + 1] = True


@lru_cache(maxsize=4096)
def _name(rule: str) -> re.Pattern[str]:
    return re.compile("".join(map(_char, rule)), re.DOTALL)


@lru_cache(maxsize=4096)
def _names_overlap(glob: str, rule: str) -> bool:
    """Whether one name fits both. A leading dot is not matched by the shell's wildcards.

    Two wildcards that might meet (`t*` and `*.pem`) do not count: the letters of the command then
    name nothing that the rule does.
    """
    if rule.startswith(".") and glob[0] in (STAR, QUERY):
        return False
    if "*" in rule or "?" in rule:
        return _name(rule).fullmatch(glob) is not None
    row = [True] + [False] * len(rule)
    for mark in glob:
        after = [row[0] and mark == STAR] + [False] * len(rule)
        for index, char in enumerate(rule):
            same = char == mark or mark == QUERY
            after[index + 1] = (row[index] and same) or (mark == STAR and (row[index + 1] or after[index]))
        row = after
    return row[-1]
