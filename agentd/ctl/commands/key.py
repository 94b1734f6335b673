"""`agentctl key`: keys for upstreams. A value is typed hidden or piped in, and goes to the daemon alone: never an argument,
since every process of the box can read those, and a shell keeps them in its history."""

import sys
from typing import NoReturn

import click

from agentd.ctl.completing import keys
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import Column, as_json_document, table
from agentd.ctl.text import clean

MAX_KEY = 4096
"""Characters that are read: real keys have below 300."""

MAX_NAME = 40

MIN_KEY = 16
"""Characters from which on a word that is no name may be a key: no provider gives shorter ones."""


@click.group(short_help="Keys for upstreams, in the keyring of this box.")
def key() -> None:
    """Keys for upstreams, in the keyring of this box."""


@key.command("set")
@click.argument("name", shell_complete=keys)
@click.argument("extra", nargs=-1, metavar="")
@ask_options
def set_(*, name: str, extra: tuple[str, ...], as_json: bool) -> None:
    """Store a key under NAME and put it in use; the old one is gone.

    The value is asked for without showing it, or read from stdin in a pipe:

    \b
      agentctl key set openrouter
      pass show openrouter | agentctl key set openrouter

    No restart is needed. It is refused as an argument, where every process could read it.
    """  # noqa: D301 - \b is an escape here: click keeps the lines after it
    if extra:
        _exposed()
    _check_name(name, "set")
    done = client().send("PUT", f"/keys/{name}", {"value": _value(name)})
    if as_json:
        as_json_document(done)
        return
    users = ", ".join(done["upstreams"])
    click.echo(f"Key {name} {'replaced' if done['replaced'] else 'set'}.")
    note = f"In use now for upstream {users}." if users else f"No upstream of the policy wants a key named {name} yet."
    click.echo(clean(note), err=True)


@key.command("list")
@ask_options
def list_(*, as_json: bool) -> None:
    """Names of keys and the upstreams that want them; never a value."""
    found = client().get("/keys")
    if as_json:
        as_json_document(found)
        return
    heads = [Column("key", "name"), Column("state", "state"), Column("upstreams", "upstreams")]
    rows = [
        {
            "name": row["name"],
            "state": "missing" if not row["in_use"] else "in use" if row["upstreams"] else "unused",
            "upstreams": ", ".join(row["upstreams"]) or "none of the policy's wants it",
        }
        for row in found["keys"]
    ]
    table(heads, rows)
    if found["keyring"]["code"] != "ok":
        click.echo(clean(f"Keyring: {found['keyring']['sentence']}"), err=True)


@key.command()
@click.argument("name", shell_complete=keys)
@ask_options
def delete(*, name: str, as_json: bool) -> None:
    """Forget the key NAME, in the keyring and in the daemon."""
    _check_name(name, "delete")
    done = client().send("DELETE", f"/keys/{name}", {})
    if as_json:
        as_json_document(done)
        return
    click.echo(f"Key {name} deleted.")
    if done["upstreams"]:
        click.echo(clean(f"Upstream {', '.join(done['upstreams'])} cannot serve without it."), err=True)


def _value(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(f"Key {name}", hide_input=True, err=True)).strip()
    value = sys.stdin.read(MAX_KEY + 2).strip()
    if not value:
        raise CtlError(Exit.USAGE, "Nothing came on stdin.", f"pass show ... | agentctl key set {name}")
    if len(value) > MAX_KEY:
        raise CtlError(Exit.USAGE, f"That is longer than {MAX_KEY} characters: no key.", "Pipe the key alone.")
    return value


def _check_name(name: str, verb: str) -> None:
    """Names as the daemon takes them. What may be a key by mistake is not repeated anywhere."""
    if _is_name(name):
        return
    if _may_be_key(name):
        _exposed()
    lower = name.lower()
    hint = f"Like: agentctl key {verb} {lower}" if _is_name(lower) else "Like openrouter."
    raise CtlError(
        Exit.USAGE,
        f"{name!r} is no name for a key: names are lower-case letters, digits, - and _, a letter first.",
        hint,
    )


def _is_name(name: str) -> bool:
    plain = name.replace("_", "").replace("-", "")
    return (
        len(name) <= MAX_NAME
        and name[:1].isalpha()
        and plain.isascii()
        and plain.isalnum()
        and name == name.lower()
        and not name.startswith("sk-")
    )


def _may_be_key(name: str) -> bool:
    """Whether something that is no name could be a key: it begins like one, is as long as one, or is an assignment of one."""
    return name.lower().startswith("sk-") or len(name) >= MIN_KEY or "=" in name


def _exposed() -> NoReturn:
    raise CtlError(
        Exit.USAGE,
        "A key's value is never given as an argument: every process could read it there. Nothing was sent.",
        "If what you typed was a key, revoke it. Then: agentctl key set NAME   and type it when asked.",
    )
