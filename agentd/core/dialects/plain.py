"""The quick reading of bodies that leave no question open. It never refuses: whatever it is not sure of is left to the
strict reading in `reading`, which knows the reasons and words them.

What the fast parser takes is valid JSON in valid UTF-8 without NUL, NaN and halves of surrogate pairs. Left to be shown
are depth, numbers, and that no object has a key twice, of which that parser silently keeps the last. For the keys there are
two proofs, the cheaper one first:

* The value, written down again, gives the client's own bytes but for white space: what was lost could not come back. Most
  clients write as the fast parser's own writer does.
* There are as many members as there are places that can be keys. In valid JSON every key's closing quote has a colon
  behind it; a quote inside a text may have one too, but then an odd number of backslashes in front. All such quotes,
  less those that are surely escaped, are at least as many as there are keys, and a key that is there twice makes one
  member less. A text that begins with a colon only makes the count too high, which is the safe side.
"""

import math
import re
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 128
"""Nesting of lists and objects. Tool schemas of real agents reach about 15."""

MAX_DIGITS: Final = 40
"""Characters of a whole number: 128 bits have 39 digits. Longer ones cost time to convert and lose digits in other parsers."""

_LEAST: Final = -(10 ** (MAX_DIGITS - 1))
_MOST: Final = 10**MAX_DIGITS
"""Whole numbers between these two have at most `MAX_DIGITS` characters."""

_COLONS: Final = re.compile(rb'"[ \t\r\n]*+:')
"""Quotes with a colon behind them."""

_ROWS: Final = tuple(re.compile(rb"\\" * row + rb'"[ \t\r\n]*+:') for row in range(1, 9))
"""The same behind at least one backslash, two, and so on. JSON in JSON in JSON has seven; a longer row is taken for an even
one, the safe side. Each pattern begins with fixed bytes, which are searched for quickly however long a row is."""


class _Beyond(Exception):
    """A number that no float holds."""


def read(body: bytes) -> dict[str, Any] | None:
    """The body as an object, exactly as the strict reading gives it; None if that has to have its say."""
    try:
        value = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, _Beyond):
        return None
    if not isinstance(value, dict):
        return None
    members = _members(value)
    if members is None:
        return None
    return value if _same(value, body) or _keys(body) == members else None


def _decimal(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Beyond
    return value


_DECODER: Final = msgspec.json.Decoder(float_hook=_decimal)


def _members(value: dict[str, Any]) -> int | None:
    """How many members all objects have together; None if the value is too deep or holds too long a number. It goes level by
    level, since recursion is what a deep body attacks."""
    level: list[Any] = [value]
    members = 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for holder in level:
            items = holder
            if type(holder) is dict:
                members += len(holder)
                items = holder.values()
            for item in items:
                kind = type(item)
                if kind is dict or kind is list:
                    below.append(item)
                elif kind is int and not _LEAST < item < _MOST:
                    return None
        if not below:
            return members
        level = below
    return None


def _same(value: dict[str, Any], body: bytes) -> bool:
    """Whether the value, written down, is the body but for white space between its parts."""
    written = msgspec.json.encode(value)
    return written == body or (len(written) < len(body) and written == msgspec.json.format(body, indent=-1))


def _keys(body: bytes) -> int:
    """At least the number of keys in valid JSON, and just that unless texts begin with a colon."""
    keys = len(_COLONS.findall(body))
    for place, row in enumerate(_ROWS):
        behind = len(row.findall(body))
        if not behind:
            break
        keys += behind if place % 2 else -behind
    return keys
