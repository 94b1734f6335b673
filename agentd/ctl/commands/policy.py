"""`agentctl policy`: check a file, try it, ask it, read versions."""

import sys
from pathlib import Path
from typing import Any

import click

from agentd.core.types.bounds import Effort
from agentd.ctl.completing import agents, classes, tiers
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client, json_option
from agentd.ctl.show import Column, as_json_document, heading, on_terminal, pairs, table
from agentd.ctl.text import clean
from agentd.ctl.words import moment, money

Json = dict[str, Any]

SHORT = 12
"""Digits of a digest for people; enough to name a version by."""


@click.group(short_help="Check, try, ask and read the policy.")
def policy() -> None:
    """Check, try, ask and read the policy."""


@policy.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@json_option
def check(*, file: str, as_json: bool) -> None:
    """Every fault of a policy FILE, with line, column and a hint; `-` reads stdin.

    Needs no daemon. Prices and the tests in the file are not judged here: `agentctl policy test FILE` does that.
    Ends with 1 when there are faults.
    """
    from agentd.ctl.offline import check_policy  # noqa: PLC0415 - the parser is imported when it is needed

    source, text = _read(file)
    faults = check_policy(text, source)
    if as_json:
        as_json_document({"source": source, "ok": not faults, "faults": faults})
    else:
        _faults(source, faults)
        if not faults:
            click.echo(f"{clean(source)}: no faults")
            click.echo(f"Prices and tests are judged by: agentctl policy test {clean(source)}", err=True)
    if faults:
        raise click.exceptions.Exit(Exit.FINDING)


@policy.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@ask_options
def test(*, file: str | None, as_json: bool) -> None:
    """Judge the tests in a policy FILE as a reload would, with the daemon's prices; without FILE those in force.

    Changes nothing. Ends with 1 when a test fails or the file is faulty.
    """
    asked: Json = {}
    if file is not None:
        asked["source"], asked["text"] = _read(file)
    found = client().send("POST", "/policy/test", asked)
    if as_json:
        as_json_document(found)
    else:
        _faults(found["source"], found["faults"])
        for name in found["tests"]:
            click.echo(f"ok    {clean(name)}")
        if found["ok"] and not found["tests"]:
            click.echo(f"{clean(found['source'])}: no faults, and no tests in it")
    if not found["ok"]:
        raise click.exceptions.Exit(Exit.FINDING)


@policy.command()
@click.option("--agent", shell_complete=agents, help="Who would ask; its name in the policy.")
@click.option("--uid", type=int, help="Or: a process with this uid.")
@click.option("--text", help="The last human turn.")
@click.option("--lane", shell_complete=classes, help="The class that the client would declare.")
@click.option("--tier", shell_complete=tiers, help="The tier that it would ask for.")
@click.option("--model", help="The model that it would name.")
@click.option("--effort", type=click.Choice([one.value for one in Effort]), help="How hard it would have it thought about.")
@ask_options
def why(*, as_json: bool, **given: str | int | None) -> None:
    """The verdict that a call would get now under the policy in force, and why. Records nothing, changes nothing.

    Judged on the box as it is: what is spent, what is stopped, which keys are there, and today's date; only the caller, its
    words and its wishes are what the options say. A name that the policy does not have is said, and counts as not given.
    """
    asked = {key: value for key, value in given.items() if value is not None}
    if "agent" not in asked and "uid" not in asked:
        raise CtlError(
            Exit.USAGE, "Who would ask?", 'Like: agentctl policy why --agent main --text "fix the bug in parser.py"'
        )
    found = client().send("POST", "/policy/why", asked)
    if as_json:
        as_json_document(found)
        return
    heading(f"{found['verdict']}: {found['code']}")
    pairs((label, str(text)) for label, text in _why_rows(found) if text not in (None, ""))


def _why_rows(found: Json) -> list[tuple[str, object]]:
    return [
        ("because", found.get("message")),
        ("rule", found.get("rule")),
        ("hint", found.get("hint")),
        ("agent", found.get("agent") or "nobody that the policy knows"),
        ("class", found.get("class")),
        ("decided by", f"{found['stage']}: {found.get('why')}" if found.get("stage") else None),
        ("evidence", ", ".join(f"{key} = {value}" for key, value in (found.get("evidence") or {}).items())),
        ("tier", found.get("tier")),
        ("model", found.get("model")),
        ("output", f"at most {found['max_output']} tokens" if found.get("max_output") else None),
        ("effort", f"{found['effort']} at most" if found.get("effort") else None),
        *(("bounded", words) for words in found.get("bounded") or []),
        ("would reserve", money(found.get("reserved_nusd"))),
        *(("note", note) for note in found.get("notes") or []),
    ]


@policy.command()
@click.option("--diff", is_flag=True, help="Also what each version changed.")
@ask_options
def history(*, diff: bool, as_json: bool) -> None:
    """Versions that were loaded or refused, newest first."""
    versions = client().get("/policy/history")["versions"]
    if as_json:
        as_json_document({"versions": versions})
        return
    if diff:
        _with_diffs(versions)
        return
    heads = [
        Column("time (UTC)", "at"),
        Column("version", "hash"),
        Column("state", "state"),
        Column("owner", "owner"),
        Column("change", "change"),
    ]
    table(heads, [_version(row) for row in versions])


@policy.command()
@click.argument("version", required=False)
@ask_options
def show(*, version: str | None, as_json: bool) -> None:
    """The text of a VERSION, named by the beginning of its hash; without it the one in force."""
    route = "/policy" if version is None else f"/policy/version/{_hash(version)}"
    found = client().get(route)
    if as_json:
        as_json_document(found)
        return
    shown = (
        "\n".join(clean(line) for line in found["text"].splitlines()) if on_terminal() else found["text"].rstrip("\n")
    )
    click.echo(shown)


def _hash(version: str) -> str:
    digits = version.lower()
    if not digits or any(char not in "0123456789abcdef" for char in digits):
        raise CtlError(Exit.USAGE, f"{version} is no hash of a version.", "agentctl policy history shows them.")
    return digits


def _version(row: Json) -> Json:
    faults = row.get("faults") or []
    untold = f"{len(faults)} fault(s)" if faults else row.get("message")
    restored = row.get("code") in ("policy.restored", "policy.last_good")
    return {
        "at": moment(row.get("at")),
        "hash": str(row.get("hash"))[:SHORT],
        "state": "loaded" if row.get("accepted") else "refused",
        "owner": row.get("owner"),
        "change": row.get("message") if restored else row.get("change") or untold,
    }


def _with_diffs(versions: list[Json]) -> None:
    for row in versions:
        words = _version(row)
        heading(f"{words['at']}  {words['hash']}  {words['state']}  {words['change'] or ''}")
        for line in str(row.get("diff") or "").splitlines():
            click.echo(f"  {clean(line)}")


def _faults(source: str, faults: list[Json]) -> None:
    for fault in faults:
        place = f"{clean(source)}:{fault['line']}:{fault['column']}"
        hint = f" ({clean(fault['hint'])})" if fault["hint"] else ""
        where = f"{clean(fault['where'])}: " if fault["where"] else ""
        click.echo(f"{place}: {where}{clean(fault['message'])}{hint}")


def _read(file: str) -> tuple[str, str]:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError:
        raise CtlError(Exit.NOT_FOUND, f"There is no file {file}.", "Give the path of a policy file.") from None
    except OSError as failed:
        raise CtlError(
            Exit.REFUSED, f"{file} cannot be read: {failed.strerror}.", "Check its owner and mode."
        ) from None
    try:
        return ("stdin" if file == "-" else file), data.decode("utf-8")
    except UnicodeDecodeError as failed:
        raise CtlError(Exit.FINDING, f"{file} is not UTF-8 (byte {failed.start}).", "Save it as UTF-8.") from None
