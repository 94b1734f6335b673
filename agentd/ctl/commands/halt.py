"""`agentctl halt` and `resume`: stop the box, an agent or a tier, and let it go on."""

from typing import Any

import click

from agentd.ctl.completing import agents, halted_agents, halted_tiers, tiers
from agentd.ctl.exits import CtlError, Exit
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import as_json_document
from agentd.ctl.text import clean

Json = dict[str, Any]


@click.command(short_help="Stop the box, an agent or a tier, now.")
@click.option("--agent", metavar="NAME", shell_complete=agents, help="Stop only this agent.")
@click.option("--tier", metavar="NAME", shell_complete=tiers, help="Stop only this tier.")
@click.option("--reason", required=True, help="Why; it goes into the record and into every refusal.")
@ask_options
def halt(*, agent: str | None, tier: str | None, reason: str, as_json: bool) -> None:
    """Stop the box, an agent or a tier, now.

    Every new call is refused with the reason, and running streams are cut. It holds until `agentctl resume`, also over a
    restart. It is written into the record first.
    """
    done = client().send("POST", "/halt", _ask(agent, tier, reason))
    if as_json:
        as_json_document(done)
        return
    click.echo(clean(f"Halted {_what(done)} (line {done['seq']} of the record)."))
    click.echo(clean(f"Let it go on with: agentctl resume{_option(done)} --reason WHY"), err=True)


@click.command(short_help="Let go on what was stopped.")
@click.option("--agent", metavar="NAME", shell_complete=halted_agents, help="Let this agent go on.")
@click.option("--tier", metavar="NAME", shell_complete=halted_tiers, help="Let this tier go on.")
@click.option("--reason", required=True, help="Why; it goes into the record.")
@ask_options
def resume(*, agent: str | None, tier: str | None, reason: str, as_json: bool) -> None:
    """Let go on what was stopped.

    Ends the stop of exactly that thing: an agent that was stopped by name stays stopped when the box goes on.
    """
    done = client().send("POST", "/resume", _ask(agent, tier, reason))
    if as_json:
        as_json_document(done)
        return
    click.echo(clean(f"Resumed {_what(done)}, which was halted at {done['at']}: {done['reason']}"))


def _ask(agent: str | None, tier: str | None, reason: str) -> Json:
    if agent and tier:
        raise CtlError(Exit.USAGE, "One at a time: --agent or --tier.", "Run it twice to stop both.")
    scope = "agent" if agent else "tier" if tier else "box"
    return {"scope": scope, "name": agent or tier or "", "reason": reason}


def _what(done: Json) -> str:
    return "the box" if done["scope"] == "box" else f"{done['scope']} {done['name']}"


def _option(done: Json) -> str:
    return "" if done["scope"] == "box" else f" --{done['scope']} {done['name']}"
