"""The kinds of values that a policy file is made of, as data: what `reading` accepts, what the editor's schema and the
reference tell. `spec` describes the whole file with them, once.

A kind says which values are good and in which words to ask for a good one; it converts nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_TEXT = 200
"""Characters of a name, an address, a sentence: what fits a line of a table or a log."""

MAX_PROSE = 8000
"""Characters of a test's sample text: longer ones belong into a bench, not into a policy."""

MAX_LIST = 200
"""Entries of a list or map: far above any real policy, and it keeps every check quick."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string that matches `pattern` as a whole (None: any without control characters)."""

    words: str  # "an absolute path, like /usr/bin/openclaw"
    pattern: str | None = None
    max_chars: int = MAX_TEXT


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from `low` to `high`."""

    low: int
    high: int
    words: str = "a whole number"


@dataclass(frozen=True, slots=True)
class Money:
    """Dollars, exactly as written in decimals; read as nano-dollars."""

    words: str = "an amount in US dollars, like 2.50"


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per million tokens, kept as written."""

    words: str = "US dollars per million tokens, like 0.25"


@dataclass(frozen=True, slots=True)
class Span:
    """A duration like 60s, 5m, 2h or 7d; read as seconds, from `low` to `high`."""

    low: int
    high: int
    words: str = "a duration like 60s, 5m, 2h or 7d"


@dataclass(frozen=True, slots=True)
class Day:
    """A calendar date, YYYY-MM-DD."""

    words: str = "a date like 2027-06-30"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    words: str = "true or false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a closed list."""

    options: tuple[str, ...]

    @property
    def words(self) -> str:
        """The list, for people."""
        return f"one of {', '.join(self.options)}"


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an entry of another section: `to` is that section's key."""

    to: str

    @property
    def words(self) -> str:
        """What is wanted, for people."""
        return f"the name of an entry of `{self.to}`"


@dataclass(frozen=True, slots=True)
class Account:
    """A user or group of this machine, by number, by name, or (users) `self`; read as its number."""

    group: bool = False

    @property
    def words(self) -> str:
        """What is wanted, for people."""
        return "a group id or group name" if self.group else "a user id, a user name, or `self` (whoever runs agentd)"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind, without repetitions of plain values."""

    item: Kind
    low: int = 0
    high: int = MAX_LIST

    @property
    def words(self) -> str:
        """What is wanted, for people."""
        return f"a list, each entry {self.item.words}"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Named entries of one kind, in order. `ref` says that the names must be those of another section's entries."""

    item: Kind
    low: int = 0
    ref: str | None = None

    @property
    def words(self) -> str:
        """What is wanted, for people."""
        return "a map of names"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a record: what it takes, whether it must be there, and what the reference says about it.

    `default` is the value taken when the key is absent (None: absent stays absent; then `absent` says what that means).
    """

    name: str
    kind: Kind
    doc: str
    example: str
    required: bool = False
    default: Any = None
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A map with known keys; any other key is a fault."""

    title: str
    keys: tuple[Key, ...]

    @property
    def words(self) -> str:
        """What is wanted, for people."""
        return f"a map with keys of {', '.join(key.name for key in self.keys)}"

    def key(self, name: str) -> Key | None:
        """The description of a key, or None if there is no such key."""
        return next((key for key in self.keys if key.name == name), None)


Kind = Text | Number | Money | Rate | Span | Day | Flag | Choice | Ref | Account | ListOf | MapOf | Record
