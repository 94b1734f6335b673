"""One word of shell text -> what it becomes: quotes taken off, escapes resolved, braces expanded, the unknown marked.

The grammar says where a word begins and ends and where the expansions in it stand (the holes). What is between is read here
once more, by the shell's own rules, and a word in which a character is found that would have ended it is refused: so a grammar
that cuts words other than the shell does is noticed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentd.core.policy.shell.marks import HERE, HOME, QUERY, STAR, UNKNOWN
from agentd.core.policy.shell.script import Word

MAX_BRACES = 256
"""Words that braces of one word may become, and braces that are looked at; beyond, nothing is known of them."""

MAX_BRACED = 4096
"""Characters of a word whose braces are expanded; they are read once for each brace."""

PLAIN = re.compile(r"[\w./:@%+,^-]+", re.ASCII)
"""Words in which no character means anything to the shell."""

_ENDS = frozenset(" \t\n;|&<>()`$'\"")
_GLOB = {"*": STAR, "?": QUERY}
_NAMED = re.compile(r"(?:[A-Za-z_]\w*|-{1,2}[\w-]+)=", re.ASCII)
_EXPANDS = re.compile(r"[\w({@*#?$!\[-]", re.ASCII)
_ANSI = re.compile(
    r"\\(?:([abeEfnrtv\\'\"?])|([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c(.))",
    re.DOTALL,
)
_ANSI_NAMED = dict(zip("abeEfnrtv\\'\"?", "\a\b\x1b\x1b\f\n\r\t\v\\'\"?", strict=True))

OPEN, COMMA, CLOSE = "\ue0f0", "\ue0f1", "\ue0f2"
"""Unquoted `{`, `,` and `}` until braces are expanded; they do not leave this file."""

_BRACE = re.compile(f"[{OPEN}{COMMA}{CLOSE}]")
_SEQUENCE = re.compile(r"-?\w+\.\.-?\w+(\.\.-?\d+)?")
_UNBRACED = {OPEN: "{", COMMA: ",", CLOSE: "}"}


class Unreadable(Exception):
    """The word cannot be read as the shell would: `args[0]` says why."""


@dataclass(frozen=True, slots=True)
class Hole:
    """An expansion inside a word: its place in the word's text, and the mark that stands for it."""

    start: int
    end: int
    mark: str = UNKNOWN
    many: bool = False  # "$@" and "${a[@]}" become several words even in quotes


def read_word(raw: str, holes: Sequence[Hole] = ()) -> list[Word]:
    """The words that a word becomes: one, but for braces. Raises `Unreadable`."""
    if not holes and PLAIN.fullmatch(raw):
        return [Word(raw)]
    reader = _Reader(raw, holes)
    reader.run()
    shape = "".join(reader.out)
    shapes = _braces(shape) if OPEN in shape else [_BRACE.sub(_unbraced, shape)]
    if shapes is None:
        return [Word(UNKNOWN, many=True)]
    return [Word(_tilde(each, reader.quoted_start), reader.many) for each in shapes]


def read_text(raw: str, holes: Sequence[Hole] = ()) -> Word:
    """The body of an unquoted heredoc: as in double quotes, but that a quote is a character like any other."""
    reader = _Reader(raw, holes)
    reader.body()
    return Word("".join(reader.out))


class _Reader:
    """A pass over one word. States are methods; each returns where it stopped."""

    def __init__(self, raw: str, holes: Iterable[Hole]) -> None:
        self.raw = raw
        self.holes = {hole.start: hole for hole in holes}
        self.out: list[str] = []
        self.many = False
        self.quoted_start = bool(raw) and raw[0] in "'\"\\$"

    def run(self) -> None:
        at, raw = 0, self.raw
        if raw[:1] == "#":
            raise Unreadable("a word begins like a comment")
        while at < len(raw):
            at = self._bare(at)

    def body(self) -> None:
        at = 0
        while at < len(self.raw):
            at = self._in_double(at, "$`\\")

    def _bare(self, at: int) -> int:
        raw, char = self.raw, self.raw[at]
        if at in self.holes:
            return self._hole(at, split=True)
        if char == "'":
            return self._single(at + 1)
        if char == '"' or raw.startswith('$"', at):
            return self._double(at + (1 if char == '"' else 2))
        if raw.startswith("$'", at):
            return self._ansi(at + 2)
        if char == "\\":
            return self._escape(at)
        if char == "[":
            return self._class(at)
        if char == "$" and not _EXPANDS.match(raw, at + 1):
            self.out.append(char)
            return at + 1
        if char in _ENDS:
            raise Unreadable(f"{char!r} stands inside a word")
        self._ordinary(char)
        return at + 1

    def _ordinary(self, char: str) -> None:
        if char in _GLOB:
            self.many = True
        self.out.append(_GLOB.get(char) or {"{": OPEN, ",": COMMA, "}": CLOSE}.get(char, char))

    def _escape(self, at: int) -> int:
        following = self.raw[at + 1 : at + 2]
        if following in ("", "\n"):
            raise Unreadable("a line is continued inside a word")
        self.out.append(following)
        return at + 2

    def _class(self, at: int) -> int:
        """`[...]` matches one character when it closes within the word; alone it is itself."""
        end = self.raw.find("]", at + 2)
        if end < 0 or any(place in self.holes or self.raw[place] in "'\"\\/$" for place in range(at, end)):
            if end >= 0:
                raise Unreadable("a bracket that holds quotes or expansions")
            self.out.append("[")
            return at + 1
        self.out.append(QUERY)
        self.many = True
        return end + 1

    def _single(self, at: int) -> int:
        end = self.raw.find("'", at)
        if end < 0:
            raise Unreadable("a quote does not end")
        self.out.append(self.raw[at:end])
        return end + 1

    def _double(self, at: int) -> int:
        while at < len(self.raw):
            if self.raw[at] == '"' and at not in self.holes:
                return at + 1
            at = self._in_double(at)
        raise Unreadable("a quote does not end")

    def _in_double(self, at: int, escaped: str = '$`"\\') -> int:
        raw, char = self.raw, self.raw[at]
        if at in self.holes:
            return self._hole(at, split=False)
        if char == "\\":
            following = raw[at + 1 : at + 2]
            if following != "\n":  # a continued line vanishes
                self.out.append(following if following and following in escaped else "\\" + following)
            return at + 2
        if char == "`" or (char == "$" and _EXPANDS.match(raw, at + 1)):
            raise Unreadable(f"{char!r} expands where no expansion was seen")
        self.out.append(char)
        return at + 1

    def _ansi(self, at: int) -> int:
        end = at
        while end < len(self.raw) and self.raw[end] != "'":
            end += 2 if self.raw[end] == "\\" else 1
        if end >= len(self.raw):
            raise Unreadable("a quote does not end")
        self.out.append(_ansi_text(self.raw[at:end]))
        return end + 1

    def _hole(self, at: int, *, split: bool) -> int:
        hole = self.holes[at]
        self.out.append(hole.mark)
        self.many = self.many or hole.many or (split and hole.mark == UNKNOWN)
        return hole.end


def _ansi_text(raw: str) -> str:
    """`$'...'`. A NUL would end the string, in ways that differ: refused."""

    def one(found: re.Match[str]) -> str:
        named, octal, hexa, short, long, control = found.groups()
        if named:
            return _ANSI_NAMED[named]
        if control:
            return chr(ord(control.upper()) ^ 64 & 0x7F)
        code = int(octal, 8) & 0xFF if octal else int(hexa or short or long, 16)
        if code == 0 or code > 0x10FFFF or (code > 0x7F and (octal or hexa)) or 0xD800 <= code < 0xE000:
            raise Unreadable("a quoted character that is no character")
        return chr(code)

    return _ANSI.sub(one, raw)


def _tilde(shape: str, quoted: bool) -> str:
    """An unquoted `~` at the start, or after the `=` of what looks like an assignment."""
    if shape.startswith("~") and not quoted:
        return _home(shape)
    named = _NAMED.match(shape) if "=~" in shape else None
    if named and shape.startswith("~", named.end()):
        return shape[: named.end()] + _home(shape[named.end() :])
    return shape


def _home(shape: str) -> str:
    name, slash, rest = shape[1:].partition("/")
    mark = {"": HOME, "+": HERE}.get(name, UNKNOWN)
    return mark + slash + rest


def _unbraced(found: re.Match[str]) -> str:
    return _UNBRACED[found.group()]


def _braces(shape: str) -> list[str] | None:
    """Brace expansion: the words, innermost last; None when they are too many or a sequence (`{a..z}`)."""
    done: list[str] = []
    todo = [shape]
    steps = 0
    while todo:
        steps += 1
        if len(shape) > MAX_BRACED or len(todo) + len(done) > MAX_BRACES or steps > 2 * MAX_BRACES:
            return None
        each = todo.pop()
        span = _first_brace(each)
        if span is None:
            done.append(_BRACE.sub(_unbraced, each))
            continue
        start, end = span
        choices = _choices(each[start + 1 : end])
        if len(choices) == 1:
            if _SEQUENCE.fullmatch(choices[0]):
                return None
            todo.append(each[:start] + "{" + choices[0] + "}" + each[end + 1 :])
            continue
        todo += [each[:start] + choice + each[end + 1 :] for choice in reversed(choices)]
    return [each for each in done if each] or [""]


def _first_brace(shape: str) -> tuple[int, int] | None:
    """The first brace that closes, with its end."""
    opened: list[int] = []
    closed: list[tuple[int, int]] = []
    for found in _BRACE.finditer(shape):
        if found.group() == OPEN:
            opened.append(found.start())
        elif found.group() == CLOSE and opened:
            closed.append((opened.pop(), found.start()))
    return min(closed, default=None)


def _choices(inner: str) -> list[str]:
    """What stands between the commas of the outermost level."""
    parts, depth = [""], 0
    for char in inner:
        depth += (char == OPEN) - (char == CLOSE)
        if char == COMMA and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts
