"""Tables, pages and JSON on stdout. `rich` is imported only to draw a table on a terminal."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from agentd.ctl.text import cell, clean, columns

Json = dict[str, Any]

MAX_WIDTH = 118
"""Text runs no wider than this, however wide the terminal is: longer lines are hard to read."""

LABEL_WIDTH = 14
"""Room for labels on a page: the longest has 14 letters."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the field of a row that it shows, and whether it holds numbers."""

    title: str
    field: str
    number: bool = False


def on_terminal() -> bool:
    """Whether a person looks at stdout directly."""
    return sys.stdout.isatty()


def as_json_document(data: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """One JSON document, indented; ASCII alone, so that no terminal can be misled by it."""
    click.echo(json.dumps(data, indent=2))


def as_json_line(row: Json) -> None:
    """One row as one line of JSON."""
    click.echo(json.dumps(row))


def width() -> int | None:
    """Columns of the terminal; None in a pipe, which takes any."""
    return shutil.get_terminal_size().columns if on_terminal() else None


def table(heads: Sequence[Column], rows: Iterable[Json]) -> None:
    """Rows of already worded fields: drawn on a terminal, aligned lines with a heading in a pipe."""
    cells = [[cell(row.get(head.field)) for head in heads] for row in rows]
    if on_terminal():
        _draw(heads, cells)
        return
    right = frozenset(at for at, head in enumerate(heads) if head.number)
    for line in columns([[head.title for head in heads], *cells], right=right):
        click.echo(line)


def _draw(heads: Sequence[Column], cells: list[list[str]]) -> None:
    from rich import box  # noqa: PLC0415 - half of the start-up time, for terminals alone
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for head in heads:
        drawn.add_column(head.title, justify="right" if head.number else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(text) for text in row))
    Console(highlight=False).print(drawn)


def heading(text: str) -> None:
    """A heading; bold on a terminal."""
    click.echo(click.style(clean(text), bold=True) if on_terminal() else clean(text))


def pairs(rows: Iterable[Sequence[str]]) -> None:
    """Labels and texts; long texts run on under themselves on a terminal."""
    for label, text in rows:
        for line in _wrapped(label, clean(text)):
            click.echo(line)


def page(sections: Iterable[Json]) -> None:
    """Sections of labelled rows."""
    for section in sections:
        click.echo()
        heading(section["title"])
        pairs(section["rows"])


def _wrapped(label: str, text: str) -> list[str]:
    head = f"  {clean(label):<{LABEL_WIDTH}}  "
    if not on_terminal():
        return [(head + text).rstrip()]
    room = max(min(MAX_WIDTH, width() or MAX_WIDTH) - len(head), LABEL_WIDTH)
    lines = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [(head if at == 0 else " " * len(head)) + line for at, line in enumerate(lines)]
