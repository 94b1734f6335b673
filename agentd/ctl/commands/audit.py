"""`agentctl audit`: verify, export and shorten the record.

Verification happens in this process, from the bytes that were digested: the daemon is asked for lines, not for an opinion.
What only the daemon knows (its anchor, its signing key) can be given by hand instead, as it should be where the box itself
is in doubt. The anchor is fetched before the lines: whatever it knows must then be among them. So is the newest prune line, which
tells of lines that are gone by right; where another prune came in between, all is read once more."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentd.core.accounting import chain
from agentd.ctl import offline
from agentd.ctl.commands.prune import prune
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client, socket_option
from agentd.ctl.show import as_json_document, heading, pairs
from agentd.ctl.text import clean
from agentd.ctl.words import moment

if TYPE_CHECKING:
    from agentd.ctl.client import Client

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
    policies: list[Json] = field(default_factory=list)  # versions of the policy that are not kept as they were
    prune: offline.Raw | None = None  # the newest prune line
    asked: "Client | None" = None  # the daemon, if the lines are its


@click.group(short_help="Verify, export and shorten the record.")
def audit() -> None:
    """Verify, export and shorten the record."""


audit.add_command(prune)


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
    that was cut off or put back; sums of spend and versions of the policy that do not fit the lines; and lines that are gone
    without a prune line that a signature covers. The first line that is wrong is named, and it ends with 1.

    Without --db and --file the lines and the anchor come from the daemon; --db uses the anchor that lies beside the file.
    """
    noted = tuple(_anchor(text) for text in anchors)
    given = _given(db, file)
    report = _verify(given, noted, key)
    if not report.intact and given.asked is not None and _pruned(given.asked.get("/anchor")) != given.prune:
        given = _given(db, file)
        report = _verify(given, noted, key)
    if as_json:
        found = {"spend_differs": given.differs, "policies_differ": given.policies}
        as_json_document({"intact": report.intact, **asdict(report), **found})
    else:
        _tell(report, given, key or given.key)
    if not report.intact or given.differs or given.policies:
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
        flaws: list[Json] = []
        lines, gone = offline.from_database(db), offline.pruned_in_database(db)
        return Given(_then(lines, flaws, db), offline.anchor_beside(db), policies=flaws, prune=gone)
    if file:
        return Given(offline.from_export(file), prune=offline.pruned_in_export(file))
    asked = client()
    answer = asked.get("/anchor")
    anchor = answer["anchor"] or {}
    heads = ((int(anchor["seq"]), str(anchor["digest"])),) if anchor.get("seq") else ()
    sums = asked.get("/sums", endless=True)
    lines = offline.from_stream(asked.stream("/raw"))
    return Given(lines, heads, anchor.get("public"), sums["differs"], sums["policies"], _pruned(answer), asked)


def _pruned(answer: Json) -> offline.Raw | None:
    """The newest prune line, as the daemon tells it beside its anchor."""
    found = answer.get("pruned")
    return next(offline.from_stream(iter([found]))) if found else None


def _then(lines: Iterable[offline.Raw], flaws: list[Json], database: Path) -> Iterator[offline.Raw]:
    """The lines, and after the last of them the look at the versions of the policy: what is no record is told by its lines."""
    yield from lines
    flaws += offline.policy_flaws(database)


def _anchor(text: str) -> tuple[int, str]:
    found = ANCHOR.fullmatch(text)
    if not found:
        raise CtlError(
            Exit.USAGE, f"--anchor {text} is no SEQ:DIGEST.", "As `audit verify` prints it: 41:9f2c... (64 digits)"
        )
    return int(found[1]), found[2]


def _verify(given: Given, noted: tuple[tuple[int, str], ...], key: str | None) -> chain.Report:
    links = [chain.Link(seq, digest) for seq, digest in (*given.anchors, *noted) if seq > 0]
    trusted = frozenset({trust}) if (trust := key or given.key) else None
    cut = chain.cut_of(*given.prune) if given.prune else None
    return chain.verify(_counted(given.lines), links, offline.good_signature, trusted, cut)


def _counted(lines: Iterable[offline.Raw]) -> Iterator[offline.Raw]:
    """The lines, with a sign of life on a terminal."""
    shown = sys.stderr.isatty()
    for number, line in enumerate(lines, start=1):
        if shown and number % PROGRESS_EVERY == 0:
            click.echo(f"\r{number:,} lines verified", nl=False, err=True)
        yield line
    if shown:
        click.echo("\r\033[K", nl=False, err=True)


def _tell(report: chain.Report, given: Given, key: str | None) -> None:
    heading(f"{'intact' if report.intact else 'BROKEN'}: {report.lines:,} lines")
    for finding in report.findings:
        click.echo(f"  line {finding.seq}: {clean(finding.message)} [{finding.flaw.value}]")
        if finding.expected or finding.found:
            click.echo(f"    expected {clean(finding.expected)}, found {clean(finding.found)}")
    if report.found > len(report.findings):
        click.echo(f"  and {report.found - len(report.findings):,} more")
    for row in given.differs:
        click.echo(f"  spend: {clean(', '.join(f'{name} {value}' for name, value in row.items()))}")
    for row in given.policies:
        click.echo(f"  policy: version {row['digest']} is {row['flaw']}: its text is not kept as it was in force")
    pairs(_facts(report, given, key))


def _facts(report: chain.Report, given: Given, key: str | None) -> Iterator[tuple[str, str]]:
    yield "ledger", str(report.ledger)
    yield "head", f"{report.head.seq}:{report.head.digest}"
    anchored = max((seq for seq, _ in given.anchors), default=0)
    yield "anchor", f"checked, at line {anchored}" if anchored else "none: a cut-off end would not show"
    if report.uncompared:
        yield "", f"heads of pruned lines cannot be compared: {', '.join(map(str, report.uncompared))}"
    if report.pruned:
        yield "pruned", _gone(report.pruned, report.head.seq)
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


def _gone(cut: chain.Pruned, last: int) -> str:
    """What is gone by right, who says so, and who vouches for that."""
    who = "by retention" if cut.uid is None else f"by uid {cut.uid}"
    whose = f"vouched for by the checkpoint behind line {cut.line}" if cut.vouched else "VOUCHED FOR BY NOBODY"
    left = f"; {cut.left} of them are still there" if cut.left else ""
    return (
        f"lines 1 to {cut.to} at {moment(cut.at)} UTC {who} ({cut.reason}), {cut.kept} of them stay, {whose}; "
        f"{cut.to + 1} to {last} verified{left}"
    )
