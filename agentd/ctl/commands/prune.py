"""`agentctl audit prune`: old lines of the record go, written down first; and what goes can be kept in a file.

The archive is written by this command, as `audit export` writes it, and is on the disk before anything is asked for. The daemon
builds the digest of the same lines from its own reading, so an archive that lacks something stops the prune."""

import hashlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agentd.ctl import offline
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import as_json_document, heading, pairs
from agentd.ctl.text import clean
from agentd.ctl.words import moment, since, size

if TYPE_CHECKING:
    from agentd.ctl.client import Client

Json = dict[str, Any]

LOOK_S = 0.2
"""Between two looks at a removal that is waited for."""

ARCHIVE_MODE = 0o600
"""An archive is worth the same protection as the record."""


@click.command()
@click.option(
    "--before", required=True, metavar="TIME", help="Lines older than this go: 90d, 52w, a date or a time in UTC."
)
@click.option(
    "--keep-lines", type=click.IntRange(0), default=0, metavar="N", help="Of the newest N lines none goes, however old."
)
@click.option("--reason", metavar="WHY", help="Why; it goes into the record.")
@click.option("--export", "archive", type=click.Path(path_type=Path), help="Write the lines to this new file first.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option("--no-wait", is_flag=True, help="Do not wait until all is removed.")
@ask_options
def prune(**given: Any) -> None:  # noqa: ANN401 - click's names
    """Remove old lines of the record, so that it stays verifiable.

    A line of the record says first who removes what and why, and a signed checkpoint covers it; `audit verify` tells of it, and
    of lines that are missing without it. The cut is made in front of a checkpoint. What is still needed stays: halts that
    hold, tokens that serve, calls that are open, versions of the policy that a line names; nothing of the last 32 days goes.

    The daemon removes the lines in the background, while it serves. Archives put behind each other are the whole chain.
    """
    _prune(given)


def _prune(given: Json) -> None:
    asked = client()
    if not given["dry_run"] and not (given["reason"] or "").strip():
        raise CtlError(Exit.USAGE, "A prune needs a reason.", 'Add --reason "why", or --dry-run to see what would go.')
    ask = {**since(given["before"]), "keep_lines": given["keep_lines"]}
    plan = asked.send("POST", "/prune", {**ask, "dry_run": True}, endless=True)
    if given["dry_run"] or not plan["lines"]:
        _tell(plan, "would go" if plan["lines"] else "", as_json=given["as_json"])
        return
    more: Json = {"reason": given["reason"], "to": plan["to"]}
    if given["archive"]:
        more["archive"] = _export(asked, plan, given["archive"])
    done = asked.send("POST", "/prune", {**ask, **more}, endless=True)
    if not given["no_wait"]:
        _wait(asked)
    _tell(done, "are being removed" if given["no_wait"] else "are removed", as_json=given["as_json"])


def _export(asked: "Client", plan: Json, path: Path) -> str:
    """Write the lines that would go to a new file, on the disk when this returns; the answer is the file's SHA-256."""
    hashed = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, ARCHIVE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            for seq, body, digest in offline.from_stream(asked.stream("/raw", {"first": plan["first"]})):
                if seq > plan["to"]:
                    break
                line = offline.exported(body, digest) + b"\n"
                hashed.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        _sync(path.absolute().parent)
    except FileExistsError:
        raise CtlError(Exit.USAGE, f"{path} exists.", "Name a new file: an archive replaces none.") from None
    except OSError as failed:
        message = f"{path} cannot be written: {failed.strerror}. Nothing was removed."
        raise CtlError(Exit.REFUSED, message, "Name another file.") from None
    return hashed.hexdigest()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _wait(asked: "Client") -> None:
    """Until the removal is over; interrupting this interrupts only the waiting."""
    shown = sys.stderr.isatty()
    while (record := asked.get("/status").get("record") or {}).get("pruning"):
        if shown:
            click.echo(f"\rremoving; the record has {size(record['bytes'])}   ", nl=False, err=True)
        time.sleep(LOOK_S)
    if shown:
        click.echo("\r\033[K", nl=False, err=True)


def _tell(plan: Json, what: str, *, as_json: bool) -> None:
    if as_json:
        as_json_document(plan)
        return
    if not plan["lines"]:
        click.echo(clean(f"Nothing to prune: {plan['because']}."))
        return
    heading(f"{plan['lines']:,} lines {what}: {plan['first']} to {plan['to']}")
    kept = ", ".join(f"{number} for {words}" for words, number in sorted(plan["kept_for"].items()))
    rows = [
        ("from", f"{moment(plan['began'])} to {moment(plan['ended'])} UTC, {size(plan['bytes'])}"),
        ("stay", f"{plan['kept']} lines before the cut: {kept}"),
        ("policy", f"{plan['versions']} versions that no line names any more go, too"),
        ("vouched for", f"by checkpoint {plan['checkpoint']}" if plan["signed"] else "by nobody: nothing is signed here"),
        ("head", f"{plan['to']}:{plan['head']}"),
        ("digest", f"{plan['digest']} (SHA-256 of these lines, as exported)"),
    ]
    if plan.get("line"):
        rows.append(("line", f"{plan['line']} of the record says so"))
    pairs(rows)
