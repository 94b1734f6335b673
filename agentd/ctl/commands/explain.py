"""`agentctl explain`: the page on one decision."""

import click

from agentd.ctl.completing import decisions
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import as_json_document, heading, page
from agentd.ctl.words import seq_of


@click.command(short_help="One decision: who, what, why, and what came of it.")
@click.argument("decision", metavar="d-SEQ", shell_complete=decisions)
@ask_options
def explain(*, decision: str, as_json: bool) -> None:
    """One decision: who, what, why, and what came of it.

    The page is made of the record and of the policy version that decided, not of the state of now. It tells who asked,
    what kind of work it was taken for and by which evidence, the rule with its place in the file, the tiers in question,
    money, upstream, what the agent was told, whether the line is intact, and what can be done next. Any other line of the
    record (a stop, an escalation, a reload) is told by its number too.
    """
    found = client().get(f"/explain/{seq_of(decision)}")
    if as_json:
        as_json_document(found)
        return
    heading(f"{found['decision']}  {found['headline']}")
    page(found["sections"])
