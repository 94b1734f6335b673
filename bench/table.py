"""The result: rows of figures, printed as one table that says plainly which marks are met."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from bench.gateways import LITELLM, PORTKEY


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `floor` and `peers` are in the same unit; `ratio` is what the mark is about where it is one."""

    figure: str
    agentd: str
    floor: str = ""
    peers: dict[str, str] = field(default_factory=dict)
    ratio: str = ""
    mark: str = ""
    met: bool | None = None


def number(value: float | None, unit: str = "") -> str:
    """A figure with three digits that count; empty for one that was not measured."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}{unit}"


def times(value: float | None) -> str:
    """A ratio."""
    return "" if value is None else f"{value:.2f}x"


def show(rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Print the table, and below it what has to be known to read it."""
    table = Table(title="agentd beside its floors and peers", title_justify="left", pad_edge=False)
    table.add_column("figure", min_width=40)
    for name in ("agentd", "floor", LITELLM, PORTKEY, "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mark", no_wrap=True)
    table.add_column("met?", no_wrap=True)
    for row in rows:
        peers = (row.peers.get(LITELLM, ""), row.peers.get(PORTKEY, ""))
        met = "" if row.met is None else "yes" if row.met else "NO"
        table.add_row(row.figure, row.agentd, row.floor, *peers, row.ratio, row.mark, met)
    console = Console()
    wide = Console(width=max(console.width, 130)) if not console.is_terminal else console
    wide.print(table)
    for note in notes:
        wide.print(f"  {note}", highlight=False)
