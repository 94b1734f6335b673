"""`agentctl logs`: what was decided, what came of it, and what else happened."""

from typing import Any

import click

from agentd.ctl.completing import agents, classes, tiers
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.rows import lines
from agentd.ctl.show import as_json_line, on_terminal, width
from agentd.ctl.words import since

DEFAULT_ROWS = 50

MAX_ROWS = 10_000
"""What the daemon gives at once; `audit export` has no such bound."""


@click.command(short_help="Decisions with their outcomes, and what else happened.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new rows as they come; ends with Ctrl-C.")
@click.option("--agent", shell_complete=agents, help="Only of this agent.")
@click.option("--class", "class_", metavar="CLASS", shell_complete=classes, help="Only of this class of work.")
@click.option("--tier", shell_complete=tiers, help="Only served at this tier.")
@click.option("--verdict", type=click.Choice(["allow", "ask", "deny"]), help="Only with this verdict.")
@click.option("--session", help="Only of this session, as `explain` names it.")
@click.option("--since", "since_", metavar="TIME", help="Only after: 30m, 2h, 7d ago, or a date or time in UTC.")
@click.option(
    "-n",
    "limit",
    type=click.IntRange(0, MAX_ROWS),
    default=DEFAULT_ROWS,
    show_default=True,
    help="Rows at most, the newest.",
)
@ask_options
def logs(
    *, follow: bool, as_json: bool, limit: int, since_: str | None, class_: str | None, **filters: str | None
) -> None:
    """Decisions with their outcomes, and what else happened.

    One row for each decision: time, name, agent, class, verdict (`open` while the call runs), tier, model, tokens in+out,
    cost, the upstream's milliseconds, reason code. Reloads, keys, stops and the like are told as sentences; a filter by
    agent, class, tier, verdict or session leaves calls and escalations alone.

    With --json each row is one line: the fields of the decision's line with provider, cost_nusd, tokens, status,
    overhead_us and upstream_ms of its outcome filled in, and `outcome`, the outcome's number.
    """
    query = {**filters, "class": class_, "limit": limit, **since(since_)}
    if follow:
        _follow(query, as_json=as_json)
        return
    rows = client().get("/logs", query)["rows"]
    if as_json:
        for row in rows:
            as_json_line(row)
        return
    for line in lines(rows, head=on_terminal(), width=width()):
        click.echo(line)
    if not rows and on_terminal():
        click.echo("Nothing yet." if not any(filters.values()) else "Nothing matches.", err=True)


def _follow(query: dict[str, Any], *, as_json: bool) -> None:
    asked = client()
    if query["agent"]:
        asked.get("/logs", {**query, "limit": 0})  # an agent that there is not is refused now, and not waited for
    try:
        for row in asked.stream("/logs", {**query, "follow": 1}, endless=True):
            if as_json:
                as_json_line(row)
            else:
                click.echo(lines([row], head=False, width=width())[0])
    except KeyboardInterrupt:
        raise click.exceptions.Exit(Exit.INTERRUPTED) from None
    raise CtlError(Exit.UNREACHABLE, f"agentd at {asked.path} has stopped.", "Run it again when the daemon is back.")
