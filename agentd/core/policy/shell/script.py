"""What reading a command gives: the simple commands it holds, wherever they stand, and what could not be read.

The list is flat and in the order of the text. A command inside a substitution, a loop or a function is a command like any
other; where it stood is told by its scopes. A command that a wrapper runs (`sudo env rm`) follows the wrapper and names the
chain that leads to it. Nothing is dropped: what is not a `Simple` is an `Opaque`.
"""

from dataclasses import dataclass
from enum import StrEnum

from agentd.core.policy.shell.marks import ANY_MARK, UNKNOWN


class Unread(StrEnum):
    """Why something could not be read as the shell would read it."""

    SYNTAX = "syntax"  # not a command by the grammar, or one that the grammar here does not know
    PROGRAM = "program"  # which program would run is known at run time alone
    TEXT = "text"  # shell text that is put together at run time
    STDIN = "stdin"  # a shell that reads its commands from a pipe
    OPTION = "option"  # an option of a wrapper that is not known here, so where its command begins is not either
    REBIND = "rebind"  # words change their meaning from here on (alias, hash -p, enable -f)
    DEPTH = "depth"  # nested too deep
    SIZE = "size"  # too long
    CONTROL = "control"  # characters that one reader takes for blanks and another does not


@dataclass(frozen=True, slots=True)
class Span:
    """From byte to byte of the UTF-8 of the text that was handed in."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """One argument. `shape` is its text with marks where something is not known; `many`: it may become none or several words."""

    shape: str
    many: bool = False

    @property
    def value(self) -> str | None:
        """The text, None where it is not wholly known."""
        return None if self.many or ANY_MARK.search(self.shape) else self.shape


ANYTHING = Word(UNKNOWN, many=True)
"""Words of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Assign:
    """`NAME=value`, before a command or alone, or what a builtin assigns."""

    name: str
    value: Word


@dataclass(frozen=True, slots=True)
class Redirect:
    """`>`, `<`, ... and the file. Heredocs and herestrings have `text`; a duplicated descriptor is none."""

    operator: str
    target: Word
    text: Word | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """A construct around a command: its kind (subshell, pipe, loop, branch, function ...) and a number of its own."""

    kind: str
    number: int


@dataclass(frozen=True, slots=True)
class Where:
    """Where a command stands: in what, joined to what stands before it by which operator, run in the background or not."""

    span: Span
    scopes: tuple[Scope, ...] = ()
    join: str = ";"
    background: bool = False


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple command. No words: assignments or redirections alone. `via`: the wrappers around it, outermost first."""

    words: tuple[Word, ...]
    where: Where
    text: str
    assigns: tuple[Assign, ...] = ()
    redirects: tuple[Redirect, ...] = ()
    via: tuple[str, ...] = ()
    function: bool = False  # calls a function that this script has defined for certain, whose body is in the list


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that could not be read. It never leads to an allow."""

    kind: Unread
    reason: str
    where: Where
    text: str
    via: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """All that was found, in the order of the text."""

    text: str
    items: tuple[Simple | Opaque, ...]

    @property
    def simples(self) -> tuple[Simple, ...]:
        """The commands that could be read."""
        return tuple(item for item in self.items if isinstance(item, Simple))

    @property
    def opaques(self) -> tuple[Opaque, ...]:
        """What could not be read."""
        return tuple(item for item in self.items if isinstance(item, Opaque))
