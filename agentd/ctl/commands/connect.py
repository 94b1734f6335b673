"""`agentctl connect`: point a client at agentd, take it back, prove it.

With `--user` root becomes that user, for good, before it looks at anything: a home is rearranged by whoever owns it, and a
proof is one only when the kernel sees the agent's own uid. All modules are imported before, since the user may not read them.
"""

import os
import pwd
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from agentd.ctl.clients import NAMES, client_named
from agentd.ctl.clients.check import Proof, call
from agentd.ctl.clients.edits import CannotEdit
from agentd.ctl.clients.notebook import Notebook
from agentd.ctl.clients.plan import NO_TOKEN, PLACE_TCP, PLACE_TOKEN, Aim, Client, Door, Plan
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, chosen_socket
from agentd.ctl.show import as_json_document, pairs
from agentd.ctl.text import clean

AGENT_SOCKET = "agent.sock"
"""The agents' door, beside the operators'."""

MAX_TOKEN = 4096

MODEL_MARKS = "-_./:@+~"
"""What a name may hold besides letters and digits; none of it means anything to TOML, YAML, JSON or a shell in quotes."""

ANY_MODEL = "auto"
"""A name that nobody has: the choice is the policy's."""

TCP_NEED = "{name} reaches agentd over TCP alone: it cannot open a Unix socket."
TCP_HINT = (
    "When agentd serves TCP here: agentctl connect {name} --tcp HOST:PORT, with the agent's token typed or piped in."
)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done, for whom."""

    client: Client
    aim: Aim
    notebook: Notebook
    as_json: bool


@click.command(short_help="Point a client at agentd, take it back, or prove it.")
@click.argument("name", metavar="CLIENT", type=click.Choice(NAMES))
@click.option("--user", metavar="USER", help="Do it as this user, in its home. Needs root.")
@click.option("--model", default=ANY_MODEL, show_default=True, help="Model or lane that the client asks for.")
@click.option("--tcp", metavar="HOST:PORT", help="Use agentd's TCP door; the token is asked for, or read from stdin.")
@click.option("--print", "action", flag_value="print", help="Show the configuration, write nothing.")
@click.option("--undo", "action", flag_value="undo", help="Take back exactly what was written.")
@click.option(
    "--check", "action", flag_value="check", help="Prove it with one small, real call; it is recorded and billed."
)
@ask_options
def connect(*, name: str, user: str | None, model: str, tcp: str | None, action: str | None, as_json: bool) -> None:
    """Point a client at agentd, take it back, or prove it.

    CLIENT is one of claude-code, codex, openclaw, nanobot, aider, llm, openai-sdk, anthropic-sdk. Its configuration is
    written to the user's home, with the old texts kept for --undo. Claude Code and the SDKs come by the Unix socket; the
    others need the TCP door. --check ends with 1 when the call is refused.
    """
    if not all(char.isalnum() or char in MODEL_MARKS for char in model):
        raise CtlError(Exit.USAGE, f"{model} is no name of a model.", f"Letters, digits and {MODEL_MARKS} alone.")
    client = client_named(name)
    socket = str(Path(chosen_socket()).with_name(AGENT_SOCKET))
    home = _become(user)
    door = Door(socket, *_tcp(tcp, action))
    job = Job(client, Aim(home, door, model), Notebook(home, name), as_json)
    try:
        ACTIONS[action or "write"](job)
    except CannotEdit as why:
        raise CtlError(Exit.REFUSED, f"{why}.", "Nothing was written.") from None
    except OSError as error:
        raise CtlError(Exit.REFUSED, f"{error.filename}: {error.strerror}.", "See to it, then run it again.") from None


def _write(job: Job) -> None:
    client = job.client
    if client.tcp_only and job.aim.door.tcp is None:
        _print(job)
        raise CtlError(
            Exit.REFUSED, TCP_NEED.format(name=client.name) + " Nothing was written.", TCP_HINT.format(name=client.name)
        )
    plan = client.plan(job.aim)
    if not plan.edits:
        _print(job)
        return
    before = job.notebook.undo()
    if any(what.startswith("LEFT") for _, what in before):
        _undone(job, before)
    changes = job.notebook.write(job.aim.door, job.aim.model, plan.edits)
    if job.as_json:
        as_json_document({"client": client.name, "written": [change.path for change in changes], "start": plan.start})
        return
    for change in changes:
        click.echo(clean(f"{'made' if change.before is None else 'changed'}  {change.path}"))
    _advise(job, plan)


def _print(job: Job) -> None:
    door = job.aim.door
    if job.client.tcp_only and door.tcp is None:
        door = Door(door.socket, PLACE_TCP, PLACE_TOKEN)
    plan = job.client.plan(Aim(job.aim.home, door, job.aim.model))
    if job.as_json:
        files = [{"path": str(edit.path), "text": edit.shown()} for edit in plan.edits]
        as_json_document({"client": job.client.name, "files": files, "start": plan.start, "notes": list(plan.notes)})
        return
    for edit in plan.edits:
        click.echo(f"# {clean(edit.path)}\n{edit.shown()}")
    if not plan.edits:
        click.echo(plan.start, nl=False)
    for note in plan.notes:
        click.echo(clean(note), err=True)


def _undo(job: Job) -> None:
    _undone(job, job.notebook.undo())


def _undone(job: Job, done: list[tuple[str, str]]) -> None:
    if job.as_json:
        as_json_document({"client": job.client.name, "undone": [{"path": path, "what": what} for path, what in done]})
    else:
        for path, what in done:
            click.echo(clean(f"{path}: {what}"))
    if not done:
        click.echo(f"Nothing was written for {job.client.name}, so nothing is taken back.", err=True)
    if any(what.startswith("LEFT") for _, what in done):
        hint = "Look at them; what was before is in " + str(job.notebook.path)
        raise CtlError(Exit.REFUSED, "Not all could be taken back.", hint)


def _check(job: Job) -> None:
    note = job.notebook.read()
    door = note.door if note and job.aim.door.tcp is None else job.aim.door
    if job.client.tcp_only and door.tcp is None:
        raise CtlError(Exit.REFUSED, TCP_NEED.format(name=job.client.name), TCP_HINT.format(name=job.client.name))
    files = job.notebook.unchanged()
    proof = call(door, job.client.dialect, note.model if note else job.aim.model)
    if job.as_json:
        shown = {"status": proof.status, "decision": proof.decision, "model": proof.model, "error": proof.error}
        as_json_document({"client": job.client.name, "files": dict(files), "door": door.tcp or door.socket, **shown})
    else:
        rows = [(f"file {'as written' if same else 'CHANGED since'}", path) for path, same in files]
        pairs([*rows, *_proof_rows(proof, door)])
    if proof.error:
        _refused(proof)


def _proof_rows(proof: Proof, door: Door) -> list[tuple[str, str]]:
    who = pwd.getpwuid(os.getuid()).pw_name
    rows = [("door", door.tcp or door.socket), ("caller", f"{who} (uid {os.getuid()})")]
    rows.append(("answer", f"{proof.status}, from {proof.model}" if not proof.error else f"{proof.status}, refused"))
    return [*rows, ("decision", proof.decision or "none: it did not come so far")]


def _refused(proof: Proof) -> None:
    hint = proof.hint or (f"agentctl explain {proof.decision}" if proof.decision else "See the daemon's log.")
    if "caller.unknown" in proof.error + proof.hint:
        hint += " If the policy knows this agent by its unit, only calls from that unit are let in."
    raise CtlError(Exit.FINDING, proof.error, hint)


ACTIONS: dict[str, Callable[[Job], None]] = {"write": _write, "print": _print, "undo": _undo, "check": _check}


def _advise(job: Job, plan: Plan) -> None:
    for line in (
        f"Start it with: {plan.start}",
        *plan.notes,
        f"Prove it: agentctl connect {job.client.name} --check      take it back: --undo",
    ):
        click.echo(clean(line), err=True)


def _become(user: str | None) -> Path:
    """Be this user from now on; the home."""
    if user is None:
        return Path.home()
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise CtlError(Exit.NOT_FOUND, f"There is no user {user}.", "getent passwd lists them.") from None
    if os.geteuid() == 0 and found.pw_uid != 0:
        os.initgroups(found.pw_name, found.pw_gid)
        os.setgid(found.pw_gid)
        os.setuid(found.pw_uid)
    elif os.getuid() != found.pw_uid:
        raise CtlError(Exit.REFUSED, f"Only root may do that as {user}.", f"sudo agentctl connect ... --user {user}")
    return Path(found.pw_dir)


def _tcp(tcp: str | None, action: str | None) -> tuple[str | None, str]:
    """Host:port and token. The token is never an argument, where every process could read it."""
    if tcp is None or action == "undo":
        return None, NO_TOKEN
    if action == "print":
        return tcp, PLACE_TOKEN
    host, _, port = tcp.rpartition(":")
    if not host or not port.isdigit():
        raise CtlError(Exit.USAGE, f"{tcp} is no HOST:PORT.", "Like: --tcp 127.0.0.1:8700")
    if sys.stdin.isatty():
        token = str(click.prompt("Token", hide_input=True, err=True)).strip()
    else:
        token = sys.stdin.read(MAX_TOKEN).strip()
    if not token.isascii() or not token.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise CtlError(Exit.USAGE, "That is no token.", "It is letters, digits and -_. alone.")
    return tcp, token
