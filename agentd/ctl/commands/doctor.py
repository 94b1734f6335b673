"""`agentctl doctor`: is this box well?"""

import click

from agentd.ctl.exits import Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import as_json_document
from agentd.ctl.text import clean

STATES = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}
"""States as words of one width: colour alone would tell nothing in a pipe."""


def _summary(states: list[str]) -> str:
    bad = sum(state not in ("ok", "warn") for state in states)
    return f"{states.count('ok')} ok, {states.count('warn')} warn, {bad} bad"


@click.command(short_help="Is this box well, and what would mend it?")
@ask_options
def doctor(*, as_json: bool) -> None:
    """Is this box well, and what would mend it?

    Asks the daemon about its record, disk, policy, agents, keyring, keys, sockets, memory, clock and upstreams. Nobody is
    called for it. Ends with 1 when something is BAD: calls are refused, or a promise does not hold here.
    """
    checks = client().get("/doctor")["checks"]
    if as_json:
        as_json_document({"checks": checks})
    else:
        for check in checks:
            click.echo(f"{STATES.get(check['state'], 'BAD ')}  {clean(check['name'])}: {clean(check['says'])}")
            if check["cure"] and check["state"] != "ok":
                click.echo(f"      -> {clean(check['cure'])}")
        click.echo(_summary([check["state"] for check in checks]))
    if any(check["state"] not in ("ok", "warn") for check in checks):
        raise click.exceptions.Exit(Exit.FINDING)
