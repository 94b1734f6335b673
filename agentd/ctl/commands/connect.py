"""`agentctl connect`: point a client at agentd, take it back, prove it.

With `--user` root becomes that user, for good, before it looks at anything of the user's: a home is rearranged by whoever owns
it, and a proof is one only when the kernel sees the agent's own uid. All modules are imported before, since the user may not be
able to read them, and a token is made before, since the user may not use the operators' door.
"""

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from agentd.core.types.tokens import digest_of, id_of
from agentd.ctl.clients import NAMES, client_named
from agentd.ctl.clients.check import Proof, call
from agentd.ctl.clients.edits import CannotEdit
from agentd.ctl.clients.notebook import Notebook
from agentd.ctl.clients.plan import NO_TOKEN, PLACE_TCP, PLACE_TOKEN, Aim, Client, Door, Plan
from agentd.ctl.clients.way import Wish, door, needs_tcp
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, chosen_socket
from agentd.ctl.show import as_json_document, pairs
from agentd.ctl.text import clean

AGENT_SOCKET = "agent.sock"
"""The agents' door, beside the operators'."""

MODEL_MARKS = "-_./:@+~"
"""What a name may hold besides letters and digits; none of it means anything to TOML, YAML, JSON or a shell in quotes."""

LEFT = "LEFT"
"""How the notebook begins what it says of a file that it could not take back."""


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
@click.option(
    "--model", metavar="MODEL", help="Model or lane to ask for; without it auto, or what Claude Code itself names."
)
@click.option("--agent", metavar="AGENT", help="Come by TCP as this agent of the policy; a token is made for it.")
@click.option("--tcp", metavar="HOST:PORT", help="Come by TCP, with a token that is asked for or read from stdin.")
@click.option("--print", "action", flag_value="print", help="Show the configuration, write nothing.")
@click.option("--undo", "action", flag_value="undo", help="Take back exactly what was written.")
@click.option("--check", "action", flag_value="check", help="Prove it with one small call, recorded and billed as any.")
@ask_options
def connect(
    *, name: str, action: str | None, model: str | None, user: str | None, as_json: bool, **way: str | None
) -> None:
    """Point a client at agentd, take it back, or prove it.

    CLIENT is one of claude-code, codex, openclaw, nanobot, aider, llm, openai-sdk, anthropic-sdk. Its configuration is
    written to the user's home, with the old texts kept for --undo. Claude Code and the SDKs come by the Unix socket. The
    others need the door over TCP: say with --agent who they are; the policy must match that agent by the user's uid.
    --check ends with 1 when the call is refused.
    """
    _check_name(model)
    client, chosen = client_named(name), chosen_socket()
    looks = action in ("print", "undo")
    wish = Wish(chosen, str(Path(chosen).with_name(AGENT_SOCKET)), way["tcp"], way["agent"], looks)
    if action is None and client.tcp_only and not (wish.tcp or wish.agent):
        raise needs_tcp(client)
    aimed = door(wish)
    home = _become(user)
    try:
        ACTIONS[action or "write"](Job(client, Aim(home, aimed, model), Notebook(home, name), as_json))
    except CannotEdit as why:
        raise CtlError(Exit.REFUSED, f"{why}.", "Nothing was written.") from None
    except OSError as error:
        raise CtlError(Exit.REFUSED, f"{error.filename}: {error.strerror}.", "See to it, then run it again.") from None


def _check_name(model: str | None) -> None:
    """Refuse what would mean something to a file that it is written into."""
    if model is not None and not (model and all(char.isalnum() or char in MODEL_MARKS for char in model)):
        raise CtlError(Exit.USAGE, f"{model!r} is no name of a model.", f"Letters, digits and {MODEL_MARKS} alone.")


def _write(job: Job) -> None:
    plan = job.client.plan(job.aim)
    if not plan.edits:
        _print(job)
        return
    before = job.notebook.undo()
    if any(what.startswith(LEFT) for _, what in before):
        _undone(job, before)
    changes = job.notebook.write(job.aim.door, job.aim.model, plan.edits)
    if job.as_json:
        written = [change.path for change in changes]
        as_json_document({"client": job.client.name, "written": written, "start": plan.start})
        return
    for change in changes:
        click.echo(clean(f"{'made' if change.before is None else 'changed'}  {change.path}"))
    _advise(job, plan)


def _print(job: Job) -> None:
    aimed = job.aim.door
    if job.client.tcp_only and aimed.tcp is None:
        aimed = Door(aimed.socket, PLACE_TCP, PLACE_TOKEN)
    plan = job.client.plan(replace(job.aim, door=aimed))
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
    note = job.notebook.read()
    _undone(job, job.notebook.undo())
    if note and note.door.token != NO_TOKEN:
        name = id_of(digest_of(note.door.token))
        click.echo(f"Its token still serves; end it with: agentctl agent token revoke {name}", err=True)


def _undone(job: Job, done: list[tuple[str, str]]) -> None:
    if job.as_json:
        as_json_document({"client": job.client.name, "undone": [{"path": path, "what": what} for path, what in done]})
    else:
        for path, what in done:
            click.echo(clean(f"{path}: {what}"))
    if not done:
        click.echo(f"Nothing was written for {job.client.name}, so nothing is taken back.", err=True)
    if any(what.startswith(LEFT) for _, what in done):
        hint = f"Look at them; the texts of before are in {job.notebook.path}"
        raise CtlError(Exit.REFUSED, "Not all could be taken back.", hint)


def _check(job: Job) -> None:
    note = job.notebook.read()
    used = note.door if note and job.aim.door.tcp is None else job.aim.door
    if job.client.tcp_only and used.tcp is None:
        raise needs_tcp(job.client)
    files = job.notebook.unchanged()
    proof = call(used, job.client.dialect, job.aim.named or (note.model if note else job.aim.model))
    if job.as_json:
        shown = {"status": proof.status, "decision": proof.decision, "model": proof.model, "error": proof.error}
        as_json_document({"client": job.client.name, "files": dict(files), "door": used.tcp or used.socket, **shown})
    else:
        rows = [(f"file {'as written' if same else 'CHANGED'}", path) for path, same in files]
        pairs([*rows, *_proof_rows(proof, used)])
    if proof.error:
        _refused(proof)


def _proof_rows(proof: Proof, used: Door) -> list[tuple[str, str]]:
    who = pwd.getpwuid(os.getuid()).pw_name
    rows = [("door", used.tcp or used.socket), ("caller", f"{who} (uid {os.getuid()})")]
    rows.append(("answer", f"{proof.status}, refused" if proof.error else f"{proof.status}, from {proof.model}"))
    return [*rows, ("decision", proof.decision or "none: it did not come so far")]


def _refused(proof: Proof) -> None:
    hint = proof.hint or (f"agentctl explain {proof.decision}" if proof.decision else "See the daemon's log.")
    if proof.code == "caller.unknown":
        hint += " If the policy knows this agent by its unit, only calls from that unit are let in."
    raise CtlError(Exit.FINDING, proof.error, hint)


ACTIONS: dict[str, Callable[[Job], None]] = {"write": _write, "print": _print, "undo": _undo, "check": _check}


def _advise(job: Job, plan: Plan) -> None:
    proof = f"agentctl connect {job.client.name} --check"
    for line in (f"Start it: {plan.start}", *plan.notes, f"Prove it: {proof}", "Take it back: the same with --undo"):
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
