"""What a command may run: words, shell text, or something that cannot be told."""

from dataclasses import dataclass

from agentd.core.policy.shell.script import Redirect, Unread, Word


@dataclass(frozen=True, slots=True)
class Runs:
    """A command that is run, as words. No words: it only opens `writes`."""

    words: tuple[Word, ...]
    writes: tuple[Redirect, ...] = ()
    same: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Tells:
    """Shell text that is run."""

    text: Word
    same: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Hides:
    """Something is run, and what cannot be told."""

    kind: Unread
    reason: str


Inner = Runs | Tells | Hides


def joined(words: tuple[Word, ...]) -> Word:
    """Words with blanks between them, as one text."""
    return Word(" ".join(word.shape for word in words), any(word.value is None for word in words))
