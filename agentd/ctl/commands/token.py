"""`agentctl agent token`: local tokens for agents that come by TCP. A new token is the one line on stdout, so that it can be
piped into where it belongs; it is shown this once, and kept nowhere but there."""

from typing import Any

import click

from agentd.core.types.tokens import digest_of, id_of, is_token
from agentd.ctl.completing import agents, tokens
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import Column, as_json_document, table
from agentd.ctl.text import clean
from agentd.ctl.words import moment, seconds_of

Json = dict[str, Any]

EXPIRES = "90d"
"""As often as people are used to renew what opens a door."""

GRACE = "15m"
"""Long enough to give an agent its new token and start it again."""

expires_option = click.option(
    "--expires", default=EXPIRES, show_default=True, metavar="TIME", help="How long it serves: 12h, 30d, 52w."
)


@click.group(short_help="Local tokens for agents that come by TCP.")
def token() -> None:
    """Local tokens for agents that come by TCP.

    A token says which agent its bearer would be. It serves only on this machine, and only for a user that the agent's
    `match:` names by uid; with any other user it is refused, recorded and shown in `agentctl status`.
    """


@token.command()
@click.argument("agent", shell_complete=agents)
@expires_option
@ask_options
def create(*, agent: str, expires: str, as_json: bool) -> None:
    """Make a token for AGENT and show it, this once.

    The token alone goes to stdout. Give it to the agent's client as its API key; agentd keeps a digest.
    """
    made = client().send("POST", "/tokens", {"agent": agent, "expires_s": seconds_of(expires, "--expires")})
    _show(made, as_json=as_json)


@token.command()
@click.argument("agent", shell_complete=agents)
@expires_option
@click.option("--grace", default=GRACE, show_default=True, metavar="TIME", help="How long the old tokens still serve.")
@click.option("--now", is_flag=True, help="End the old tokens at once: they were stolen.")
@ask_options
def rotate(*, agent: str, expires: str, grace: str, now: bool, as_json: bool) -> None:
    """Make a new token for AGENT; those that it has end after a grace, or --now."""
    ask = {
        "agent": agent,
        "expires_s": seconds_of(expires, "--expires"),
        "grace_s": 0 if now else seconds_of(grace, "--grace"),
    }
    made = client().send("POST", "/tokens/rotate", ask)
    _show(made, as_json=as_json)
    if made["replaces"] and not as_json:
        end = "have ended" if now else f"end at {moment(made['until'])} UTC"
        click.echo(clean(f"The old ones {end}: {', '.join(made['replaces'])}."), err=True)


@token.command("list")
@click.option("--agent", metavar="NAME", shell_complete=agents, help="Only this agent's.")
@click.option("--all", "every", is_flag=True, help="Expired and revoked ones too.")
@ask_options
def list_(*, agent: str | None, every: bool, as_json: bool) -> None:
    """Each token: whose, what it is worth now, until when, when it last served; never a value."""
    asked = client()
    found = asked.get("/tokens")
    wanted = [row for row in found["tokens"] if agent in (None, row["agent"])]
    if agent is not None and not wanted:
        check_agent(agent, asked.get("/agents"))
    rows = [row for row in wanted if every or row["state"] in ("valid", "replaced")]
    if as_json:
        as_json_document({**found, "tokens": rows})
        return
    heads = [
        Column("token", "id"),
        Column("agent", "agent"),
        Column("state", "state"),
        Column("expires (UTC)", "expires"),
        Column("made (UTC)", "made_at"),
        Column("by uid", "by_uid", number=True),
        Column("last used (UTC)", "last_used"),
    ]
    table(heads, [{**row, **{key: moment(row[key]) for key in ("expires", "made_at", "last_used")}} for row in rows])
    if found["tcp"] is None:
        click.echo(
            "The door over TCP is not open, so no token is asked for: agentd serve --tcp 127.0.0.1:PORT", err=True
        )
    if found["misuse"]:
        click.echo(clean(misuse_words(found["misuse"])), err=True)


@token.command()
@click.argument("name", metavar="ID", shell_complete=tokens)
@ask_options
def revoke(*, name: str, as_json: bool) -> None:
    """End the token ID (t-...), now. A token itself, found where it should not be, names itself too."""
    found = id_of(digest_of(name)) if is_token(name) else name
    from agentd.ctl.client import part  # noqa: PLC0415 - HTTP is imported when somebody asks something

    done = client().send("DELETE", f"/tokens/{part(found)}", {})
    if as_json:
        as_json_document(done)
        return
    click.echo(clean(f"Token {done['id']} of agent {done['agent']} is revoked."))


def check_agent(name: str, known: Json) -> None:
    """Raise `CtlError` for an agent that the policy does not have."""
    names = [row["name"] for row in known["agents"]]
    if name not in names:
        hint = f"It has {', '.join(names)}." if names else "agentctl doctor"
        raise CtlError(Exit.NOT_FOUND, f"The policy has no agent {name!r} [agent.none]", hint)


def misuse_words(seen: Json) -> str:
    """What is said of valid tokens in wrong hands."""
    times = "once" if seen["count"] == 1 else f"{seen['count']} times"
    return (
        f"A valid token was used by the wrong user {times}; last {seen['token']} of agent {seen['agent']} by uid {seen['uid']} "
        f"at {moment(seen['at'])} UTC. If it was stolen: agentctl agent token rotate {seen['agent']} --now"
    )


def _show(made: Json, *, as_json: bool) -> None:
    if as_json:
        as_json_document(made)
        return
    click.echo(made["token"])
    click.echo(
        f"Token {made['id']} of agent {clean(made['agent'])} serves until {moment(made['expires'])} UTC.", err=True
    )
    click.echo(
        "It is not shown again. Give it to the client as its API key (Authorization: Bearer, or x-api-key).", err=True
    )
    if not made["usable"]:
        warning = f"No entry under agents.{made['agent']}.match names a uid alone, so it will be refused: add {{ uid: USER }}."
        click.echo(clean(warning), err=True)
    if made["tcp"] is None:
        click.echo("The door over TCP is not open: agentd serve --tcp 127.0.0.1:PORT", err=True)
