"""Text on its way to a terminal or a pipe.

Everything that agents, upstreams and files had a hand in is data here: a control character could move the cursor, a
bidirectional mark could turn a "deny" around, a line end could forge a row. `clean` makes them visible instead."""

import unicodedata
from collections.abc import Iterable, Sequence

from agentd.core.types.shown import UNSAFE

EMPTY = "-"
"""What stands where nothing is, so that columns can be counted."""

GAP = "  "
"""Between columns."""


def clean(text: object) -> str:
    r"""The text with every unsafe character written out: `\n`, `\x1b`, `\u202e`."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_shown(char) for char in plain)


def cell(value: object) -> str:
    """One column's text: cleaned, and never empty."""
    return clean(value) if value not in (None, "") else EMPTY


def columns(rows: Iterable[Sequence[str]], least: Sequence[int] = (), right: frozenset[int] = frozenset()) -> list[str]:
    """Lines with aligned columns, for cleaned cells. `least` are widths to keep to, `right` the columns of numbers."""
    table = [list(row) for row in rows]
    count = max((len(row) for row in table), default=0)
    sizes = [max([len(row[at]) for row in table if at < len(row)] + list(least[at : at + 1])) for at in range(count)]
    return [_line(row, sizes, right) for row in table]


def _line(row: Sequence[str], sizes: Sequence[int], right: frozenset[int]) -> str:
    cells = [text.rjust(sizes[at]) if at in right else text.ljust(sizes[at]) for at, text in enumerate(row)]
    return GAP.join(cells).rstrip()


def bar(used: int, limit: int, width: int = 20) -> str:
    """How full something is, for eyes: `████····  42 %`. More than full shows as full with its true number."""
    share = used / limit if limit > 0 else 1.0
    full = min(width, max(0, int(share * width + 0.5)))
    return "█" * full + "·" * (width - full) + f" {share * 100:3.0f} %"


def _shown(char: str) -> str:
    if unicodedata.category(char) not in UNSAFE:
        return char
    return char.encode("unicode_escape").decode("ascii")
