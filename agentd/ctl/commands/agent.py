"""`agentctl agent`: who the policy knows, and the tokens by which agents that come by TCP say who they are."""

from typing import Any

import click

from agentd.ctl.commands.token import token
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import Column, as_json_document, table

Json = dict[str, Any]


@click.group(short_help="The agents that the policy knows, and their tokens.")
def agent() -> None:
    """The agents that the policy knows, and their tokens."""


agent.add_command(token)


@agent.command("list")
@ask_options
def list_(*, as_json: bool) -> None:
    """Each agent: how it is recognised, its owner, until when, what it may do, and whether it is stopped."""
    found = client().get("/agents")
    if as_json:
        as_json_document(found)
        return
    heads = [
        Column("agent", "name"),
        Column("state", "state"),
        Column("recognised by", "match"),
        Column("default", "default_class"),
        Column("classes", "classes"),
        Column("ceiling", "ceiling"),
        Column("label", "label"),
        Column("expires", "expires"),
        Column("owner", "owner"),
    ]
    table(heads, [{**row, **_words(row)} for row in found["agents"]])
    if not found["agents"]:
        click.echo("No policy is in force, so no agent is known.", err=True)


def _words(row: Json) -> Json:
    state = "halted" if row["halted"] else "expired" if row["days_left"] < 0 else "active"
    matches = [" and ".join(f"{key} {value}" for key, value in match.items()) for match in row["match"]]
    return {"state": state, "match": " or ".join(matches), "classes": ",".join(row["classes"])}
