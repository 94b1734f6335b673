"""`agentctl install` and `uninstall`: agentd as a service of this box. Steps are shown as they go; each can be run again."""

import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from agentd import __version__
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.install.files import InTheWay, Manifest
from agentd.ctl.install.installing import Install
from agentd.ctl.install.layout import Layout
from agentd.ctl.install.release import Builder
from agentd.ctl.install.removing import Uninstall
from agentd.ctl.install.run import run
from agentd.ctl.install.service import Service, version_at
from agentd.ctl.install.source import find
from agentd.ctl.install.steps import Done, Step, StepFailed, perform
from agentd.ctl.options import json_option
from agentd.ctl.show import as_json_document
from agentd.ctl.text import clean

DIRECTORY = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)

UMASK = 0o022
"""Programs and units are for all to read; what is not sets its own mode."""

NEXT = """
What now:
  agentctl key set openrouter               the upstream's key; asked for, not shown, kept in the keyring
  usermod -aG agentd-operators YOU          who may use agentctl without being root (log in again)
  usermod -aG agentd-agents AGENT           which user's programs may call; for a service: SupplementaryGroups=agentd-agents
  nano /etc/agentd/policy.yaml              who they are and what they may: match by unit or uid; read again when saved
  agentctl connect claude-code --user AGENT     and other clients; --check proves it with a call
  agentctl doctor                           is all well?"""


@click.command(short_help="Put agentd on this box as a service, or bring it up to date.")
@click.option("--from", "source", metavar="DIR", type=DIRECTORY, help="Checkout to install.  [default: this one]")
@click.option("--wheels", metavar="DIR", type=DIRECTORY, help="Take the locked packages from here and ask no index.")
@click.option("--dry-run", is_flag=True, help="Show every step, do none.")
@json_option
def install(*, source: Path | None, wheels: Path | None, dry_run: bool, as_json: bool) -> None:
    """Put agentd on this box as a service, or bring it up to date.

    For Debian 12 and newer, as root, from a checkout. Programs go to /opt/agentd, a first policy to /etc/agentd, the
    record to /var/lib/agentd. Run again with a newer checkout it is an upgrade: policy, record and keys stay, callers wait
    for the restart, and a version that does not become ready gives its place back to the one before.
    A step that fails says what to do; then run it again.
    """
    _root(dry_run)
    found, layout = find(source, __version__), Layout()
    service = Service(layout, run, _manifest(layout), version_at)
    installing = Install(found, __version__, Builder(layout, run, wheels), service)
    _go("install", installing.steps(), dry_run=dry_run, as_json=as_json)
    if not dry_run and not as_json:
        click.echo(f"\nagentd {__version__} serves.{NEXT}", err=True)


@click.command(short_help="Take agentd off this box; record, keys and policy stay.")
@click.option("--purge", is_flag=True, help="The record, the keys and the policy too. They cannot be had back.")
@click.option("--yes", is_flag=True, help="Do not ask before --purge.")
@click.option("--dry-run", is_flag=True, help="Show every step, do none.")
@json_option
def uninstall(*, purge: bool, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Take agentd off this box; record, keys and policy stay.

    Stops it and removes what `agentctl install` put. A file of it that was edited is kept beside its place as
    NAME.edited. A later install finds record, keys and policy again, unless --purge removes them and the users too.
    """
    _root(dry_run)
    layout = Layout()
    if not layout.opt.exists():
        raise CtlError(Exit.NOT_FOUND, f"agentd is not installed here: there is no {layout.opt}.", "agentctl install")
    if purge and not (yes or dry_run):
        _sure()
    removing = Uninstall(layout, run, _manifest(layout), purge)
    kept = removing.kept()
    _go("uninstall", removing.steps(), dry_run=dry_run, as_json=as_json)
    if kept and not dry_run and not as_json:
        click.echo(clean(f"Kept: {', '.join(kept)}, and the user agentd."), err=True)


def _go(what: str, steps: list[Step], *, dry_run: bool, as_json: bool) -> None:
    before = os.umask(UMASK)
    try:
        done = perform(steps, lambda step: _show(step, err=as_json), dry_run=dry_run)
    except StepFailed as failed:
        again = f"Then run it again: agentctl {what}"
        raise CtlError(Exit.REFUSED, str(failed), f"{failed.cure} {again}") from None
    finally:
        os.umask(before)
    if as_json:
        as_json_document({"steps": [asdict(step) for step in done], "dry_run": dry_run})


def _show(done: Done, *, err: bool) -> None:
    for at, line in enumerate(done.says.splitlines()):
        head = f"{done.state:<4}  {done.title:<12}" if at == 0 else ""
        click.echo(f"{head:<18}  {clean(line)}", err=err)


def _root(dry_run: bool) -> None:
    if os.geteuid() != 0 and not dry_run:
        command = f"sudo {Path(sys.argv[0]).absolute()} {' '.join(sys.argv[1:2])}"
        raise CtlError(Exit.REFUSED, "Only root may do that.", f"{command}   or look first: --dry-run")


def _manifest(layout: Layout) -> Manifest:
    try:
        return Manifest.read(layout.manifest)
    except InTheWay as error:
        raise CtlError(Exit.REFUSED, f"{error}.", "Look at it; without it nothing of the box is touched.") from None


def _sure() -> None:
    if not sys.stdin.isatty():
        raise CtlError(Exit.USAGE, "--purge removes the record and the keys for good.", "Say so: --purge --yes")
    click.confirm("Remove the record, the keys and the policy for good?", abort=True, err=True)
