"""`agentctl audit`: verify and export the record.

Verification happens in this process, from the bytes that were digested: the daemon is asked for lines, not for an opinion.
What only the daemon knows (its anchor, its signing key) can be given by hand instead, as it should be where the box itself
is in doubt. The anchor is fetched before the lines: whatever it knows must then be among them."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentd.ctl import offline
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client, socket_option
from agentd.ctl.show import as_json_document, heading, pairs
from agentd.ctl.text import clean

if TYPE_CHECKING:
    from agentd.core.accounting.chain import Report

Json = dict[str, Any]

PROGRESS_EVERY = 20_000
"""Lines between two signs of life on a terminal: about half a second."""

ANCHOR = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Given:
    """What is verified, and what it is compared with."""

    lines: Iterable[offline.Raw]
    anchors: tuple[tuple[int, str], ...] = ()
    key: str | None = None
    differs: list[Json] = field(default_factory=list)  # sums of spend that the lines do not give


@click.group(short_help="Verify and export the record.")
def audit() -> None:
    """Verify and export the record."""


@audit.command()
@click.option("--db", type=click.Path(path_type=Path), help="Verify this database file, without the daemon.")
@click.option("--file", type=click.Path(path_type=Path), help="Verify this file of `audit export`, without the daemon.")
@click.option(
    "--anchor", "anchors", multiple=True, metavar="SEQ:DIGEST", help="Compare with a head that you noted elsewhere."
)
@click.option("--key", metavar="HEX", help="Believe checkpoints of this public key alone.")
@ask_options
def verify(*, db: Path | None, file: Path | None, anchors: tuple[str, ...], key: str | None, as_json: bool) -> None:
    """Verify the record, line by line, here and not in the daemon.

    Finds lines that were changed, left out, swapped, reordered or inserted, bad signatures, and against an anchor a record
    that was cut off or put back. Without --db and --file the lines and the anchor come from the daemon; --db uses the anchor
    that lies beside the file. The first line that is wrong is named, and it ends with 1.
    """
    given = _given(db, file)
    noted = tuple(_anchor(text) for text in anchors)
    report = _verify(given.lines, (*given.anchors, *noted), key or given.key)
    if as_json:
        as_json_document({"intact": report.intact, **asdict(report), "spend_differs": given.differs})
    else:
        _tell(report, given, key or given.key)
    if not report.intact or given.differs:
        raise click.exceptions.Exit(Exit.FINDING)


@audit.command()
@click.option(
    "--first", type=click.IntRange(1), default=1, show_default=True, metavar="SEQ", help="Begin at this line."
)
@socket_option
def export(*, first: int) -> None:
    """Write the record to stdout, one JSON object a line, to be kept elsewhere and verified with `verify --file`.

    Without `,"digest":"..."` at its end each line is, byte for byte, what was digested.
    """
    out = sys.stdout.buffer
    for _, body, digest in offline.from_stream(client().stream("/raw", {"first": first})):
        out.write(offline.exported(body, digest) + b"\n")
    out.flush()


def _given(db: Path | None, file: Path | None) -> Given:
    if db and file:
        raise CtlError(Exit.USAGE, "One at a time: --db or --file.")
    if db:
        return Given(offline.from_database(db), offline.anchor_beside(db))
    if file:
        return Given(offline.from_export(file))
    asked = client()
    anchor = asked.get("/anchor")["anchor"] or {}
    heads = ((int(anchor["seq"]), str(anchor["digest"])),) if anchor.get("seq") else ()
    differs = asked.get("/sums", endless=True)["differs"]
    return Given(offline.from_stream(asked.stream("/raw")), heads, anchor.get("public"), differs)


def _anchor(text: str) -> tuple[int, str]:
    found = ANCHOR.fullmatch(text)
    if not found:
        raise CtlError(
            Exit.USAGE, f"--anchor {text} is no SEQ:DIGEST.", "As `audit verify` prints it: 41:9f2c... (64 digits)"
        )
    return int(found[1]), found[2]


def _verify(lines: Iterable[offline.Raw], anchors: tuple[tuple[int, str], ...], key: str | None) -> "Report":
    from agentd.core.accounting import chain  # noqa: PLC0415 - only verification needs it

    links = [chain.Link(seq, digest) for seq, digest in anchors if seq > 0]
    trusted = frozenset({key}) if key else None
    return chain.verify(_counted(lines), links, offline.good_signature, trusted)


def _counted(lines: Iterable[offline.Raw]) -> Iterator[offline.Raw]:
    """The lines, with a sign of life on a terminal."""
    shown = sys.stderr.isatty()
    for number, line in enumerate(lines, start=1):
        if shown and number % PROGRESS_EVERY == 0:
            click.echo(f"\r{number:,} lines verified", nl=False, err=True)
        yield line
    if shown:
        click.echo("\r\033[K", nl=False, err=True)


def _tell(report: "Report", given: Given, key: str | None) -> None:
    heading(f"{'intact' if report.intact else 'BROKEN'}: {report.lines:,} lines")
    for finding in report.findings:
        click.echo(f"  line {finding.seq}: {clean(finding.message)} [{finding.flaw.value}]")
        if finding.expected or finding.found:
            click.echo(f"    expected {clean(finding.expected)}, found {clean(finding.found)}")
    if report.found > len(report.findings):
        click.echo(f"  and {report.found - len(report.findings):,} more")
    for row in given.differs:
        click.echo(f"  spend: {clean(', '.join(f'{name} {value}' for name, value in row.items()))}")
    pairs(_facts(report, given, key))


def _facts(report: "Report", given: Given, key: str | None) -> Iterator[tuple[str, str]]:
    yield "ledger", str(report.ledger)
    yield "head", f"{report.head.seq}:{report.head.digest}"
    anchored = max((seq for seq, _ in given.anchors), default=0)
    yield "anchor", f"checked, at line {anchored}" if anchored else "none: a cut-off end would not show"
    if report.signed:
        whose = f"key {key}" if key else f"any of its keys: {', '.join(report.keys)}; pass --key to believe one alone"
        yield (
            "signatures",
            f"{report.signed} of {report.checkpoints} checkpoints; good up to line {report.vouched_to}, by {whose}",
        )
    else:
        yield "signatures", f"none of {report.checkpoints} checkpoints is signed"
    if report.open_count:
        yield "open", f"{report.open_count} calls: {', '.join(f'd-{seq}' for seq in report.open_lines)}"
