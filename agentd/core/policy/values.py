"""Leaves of the policy file: one scalar in, a good value or the reason why it is none out.

Money and rates are read from the digits as written, never through a float. Faults quote a value shortened, with control
characters shown and secrets left out, so that a message can go to a log and a terminal.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from agentd.core.policy.kinds import Account, Choice, Day, Flag, Kind, Money, Number, Rate, Ref, Span, Text
from agentd.core.policy.leaks import without_leaks
from agentd.core.types.documents import Scalar
from agentd.core.types.money import NUSD_PER_USD

SHOWN_CHARS = 60
"""So much of a value is quoted in a fault."""

MAX_USD = Decimal(10) ** 9
"""Above this an amount is a typing error, and sums would leave SQLite's integers."""

MAX_USD_PER_MILLION = Decimal(10) ** 6
"""A dollar per token; dearer figures were meant per token or in cents."""

MAX_ID = 2**32 - 2
"""The highest uid or gid of Linux; the one above it means "no change" to the kernel."""

_AMOUNT = re.compile(r"\d{1,12}(\.\d{1,9})?")
"""Up to nine decimals: a nano-dollar is the smallest unit that agentd counts in."""

_SPAN = re.compile(r"(\d{1,7})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


Leaf = str | int | date
"""What a leaf is read as: flags are bool, money and durations int."""


class BadValue(Exception):
    """A value that cannot be taken: `args[0]` says what is wrong, `hint` what a good one looks like."""

    def __init__(self, message: str, hint: str) -> None:
        """Both end up in one `Fault`."""
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Names:
    """What only the caller knows: the machine's accounts, and which models have a price.

    `prices` None means that prices are not checked, as when a file is looked at away from its daemon.
    """

    self_uid: int
    uid_of: Callable[[str], int | None]
    gid_of: Callable[[str], int | None]
    prices: frozenset[str] | None = None


def shown(text: str) -> str:
    """A value as a fault may quote it."""
    clean = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in without_leaks(text))
    return f'"{clean}"' if len(clean) <= SHOWN_CHARS else f'"{clean[: SHOWN_CHARS - 1]}…"'


def read_value(kind: Kind, scalar: Scalar, names: Names) -> Leaf:
    """Convert a leaf. Raises `BadValue`; so for kinds that are no leaves, since a map or list was wanted."""
    if scalar.value is None:
        raise BadValue("nothing stands here", f"write {kind.words}, or leave the key out")
    if isinstance(kind, Account):
        return _account(kind, scalar, names)
    read = _READERS.get(type(kind))
    if read is None:
        raise BadValue(f"{shown(scalar.text)} stands where {kind.words} belongs", f"write {kind.words}")
    return read(kind, scalar)


def _text(kind: Text, scalar: Scalar) -> str:
    text = scalar.text
    if not text.strip():
        raise BadValue("it is empty", f"write {kind.words}")
    if len(text) > kind.max_chars:
        raise BadValue(f"it has {len(text)} characters, {kind.max_chars} are the most", "shorten it")
    if kind.pattern is not None and not re.fullmatch(kind.pattern, text):
        raise BadValue(f"{shown(text)} is not {kind.words}", f"write {kind.words}")
    return text


def _number(kind: Number, scalar: Scalar) -> int:
    value = scalar.value
    hint = f"write {kind.words}" + ("" if kind.low == kind.high else f" from {kind.low} to {kind.high}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadValue(f"{shown(scalar.text)} is not a whole number", hint)
    if not kind.low <= value <= kind.high:
        raise BadValue(f"{value} is outside {kind.low} to {kind.high}", hint)
    return value


def _amount(scalar: Scalar, words: str, most: Decimal) -> Decimal:
    if not _AMOUNT.fullmatch(scalar.text):
        hint = f"write {words}: digits, a point, at most nine decimals, no sign"
        raise BadValue(f"{shown(scalar.text)} is not an amount", hint)
    amount = Decimal(scalar.text)
    if amount > most:
        raise BadValue(f"{scalar.text} is more than {most:,f}", f"write {words}")
    return amount


def _span(kind: Span, scalar: Scalar) -> int:
    match = _SPAN.fullmatch(scalar.text)
    if match is None:
        raise BadValue(f"{shown(scalar.text)} is not a duration", f"write {kind.words}")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not kind.low <= seconds <= kind.high:
        raise BadValue(f"{scalar.text} is outside {kind.low}s to {kind.high}s", f"write {kind.words} in that range")
    return seconds


def _day(kind: Day, scalar: Scalar) -> date:
    if not isinstance(scalar.value, date):
        raise BadValue(f"{shown(scalar.text)} is not a date", f"write {kind.words}, without quotes")
    return scalar.value


def _flag(kind: Flag, scalar: Scalar) -> bool:
    if not isinstance(scalar.value, bool):
        raise BadValue(f"{shown(scalar.text)} is neither true nor false", f"write {kind.words}")
    return scalar.value


def _money(kind: Money, scalar: Scalar) -> int:
    return int(_amount(scalar, kind.words, MAX_USD) * NUSD_PER_USD)


def _rate(kind: Rate, scalar: Scalar) -> str:
    return f"{_amount(scalar, kind.words, MAX_USD_PER_MILLION):f}"


def _ref(kind: Ref, scalar: Scalar) -> str:
    return scalar.text


def _choice(kind: Choice, scalar: Scalar) -> str:
    if scalar.text not in kind.options:
        raise BadValue(f"{shown(scalar.text)} is not known here", f"write {kind.words}")
    return scalar.text


def _account(kind: Account, scalar: Scalar, names: Names) -> int:
    if isinstance(scalar.value, int) and not isinstance(scalar.value, bool):
        if 0 <= scalar.value <= MAX_ID:
            return scalar.value
        raise BadValue(f"{scalar.value} is no id", f"write {kind.words}")
    if scalar.text == "self" and not kind.group:
        return names.self_uid
    found = (names.gid_of if kind.group else names.uid_of)(scalar.text)
    if found is None:
        what = "group" if kind.group else "user"
        raise BadValue(f"this machine has no {what} {shown(scalar.text)}", f"create it first, or write {kind.words}")
    return found


_READERS: dict[type, Callable[[Any, Scalar], Leaf]] = {
    Text: _text,
    Number: _number,
    Money: _money,
    Rate: _rate,
    Span: _span,
    Day: _day,
    Flag: _flag,
    Choice: _choice,
    Ref: _ref,
}
"""Each kind of leaf with its reader; a kind is only ever handed to its own."""
