"""`agentctl spend`: what was spent, and what the budgets still hold."""

from typing import Any

import click

from agentd.ctl.options import ask_options, client
from agentd.ctl.show import Column, as_json_document, heading, on_terminal, pairs, table
from agentd.ctl.text import bar, clean
from agentd.ctl.words import count, moment, money, since

Json = dict[str, Any]

SESSION, SHORT = "session:", 8
"""How the account of a session begins, and the digits of it that people are shown."""

NOTE = (
    "warm cache: as many tokens read from and written to the prompt cache as there were, at that model's rates for both; "
    "no cache: every prompt token at its full rate. An estimate: that model might have needed fewer tokens."
)

BY = ("class", "tier", "model", "agent", "day")


@click.command(short_help="What was spent, and what the budgets still hold.")
@click.option("--by", type=click.Choice(BY), default="class", show_default=True, help="Add up by this.")
@click.option("--since", "since_", metavar="TIME", help="From: 2h, 7d ago, or a date in UTC.  [default: today]")
@click.option("--compare", is_flag=True, help="Also what the same tokens would have cost on the dearest tier.")
@ask_options
def spend(*, by: str, since_: str | None, compare: bool, as_json: bool) -> None:
    """What was spent, and what the budgets still hold.

    Calls, tokens, what is reserved for calls that run or whose cost stayed unknown, and cost. Whole hours are added up.
    --compare sets the cost against one where every call goes to the dearest tier's first model, with as much read from and
    written to the prompt cache as there was, and with no cache; that model might have needed fewer tokens, so it is an estimate.
    """
    found = client().get("/spend", {"by": by, "compare": compare, **since(since_)})
    if as_json:
        as_json_document(found)
        return
    _accounts(found)
    _budgets(found["budgets"])
    if compare:
        _compare(found["compare"])


def _accounts(found: Json) -> None:
    heads = [
        Column(found["by"], "name"),
        Column("calls", "calls", number=True),
        Column("tokens in", "prompt", number=True),
        Column("cached", "cached", number=True),
        Column("tokens out", "completion", number=True),
        Column("reserved", "reserved", number=True),
        Column("cost", "cost", number=True),
    ]
    if on_terminal():
        heading(f"Spent since {moment(found['since'])} UTC")
    rows = [_account(row, row.get("name")) for row in found["rows"]]
    table(heads, [*rows, _account(found["total"], "total")])


def _account(row: Json, name: object) -> Json:
    return {
        "name": name,
        "calls": count(row.get("calls", 0)),
        "prompt": count(row.get("prompt_tokens", 0)),
        "cached": count(row.get("cached_tokens", 0)),
        "completion": count(row.get("completion_tokens", 0)),
        "reserved": money(row.get("reserved_nusd", 0)),
        "cost": money(row.get("cost_nusd", 0)),
    }


def _budgets(budgets: list[Json]) -> None:
    if not budgets:
        return
    click.echo()
    heading("Budgets")
    drawn = on_terminal()
    heads = [
        Column("budget", "name"),
        Column("account", "account"),
        Column("used", "used", number=True),
        Column("limit", "limit", number=True),
        *([Column("", "bar")] if drawn else []),
        Column("resets (UTC)", "resets"),
    ]
    table(heads, [budget_row(budget) for budget in condensed(budgets)])


def condensed(budgets: list[Json]) -> list[Json]:
    """Of a budget per session, of which there can be hundreds, only the fullest, with how many there are; --json has all."""
    shown: list[Json] = []
    sessions: dict[str, list[Json]] = {}
    for budget in budgets:
        if budget["account"].startswith(SESSION):
            sessions.setdefault(budget["name"], []).append(budget)
        else:
            shown.append(budget)
    for found in sessions.values():
        fullest = max(found, key=lambda budget: budget.get("spent") or 0)
        more = f", fullest of {len(found)}" if len(found) > 1 else ""
        shown.append({**fullest, "account": fullest["account"][: len(SESSION) + SHORT] + more})
    return shown


def budget_row(budget: Json) -> Json:
    """A budget in words; the fuller of money and calls is shown, since that one stops first."""
    spent, limit = budget.get("spent") or 0, budget.get("limit")
    calls, most = budget.get("calls") or 0, budget.get("calls_limit")
    by_money = limit is not None and (most is None or spent * most >= calls * limit)
    used, of = (spent, limit) if by_money else (calls, most)
    return {
        "name": budget["name"],
        "account": budget["account"],
        "used": money(spent) if by_money else f"{calls:,} calls",
        "limit": None if of is None else money(of) if by_money else f"{of:,} calls",
        "bar": None if of is None else bar(used, of),
        "resets": moment(budget.get("resets")),
    }


def _compare(compare: Json | None) -> None:
    click.echo()
    if compare is None:
        click.echo("No comparison: the dearest tier has no model with a price.", err=True)
        return
    heading(clean(f"The same tokens on {compare['model']}, the first model of the dearest tier ({compare['tier']})"))
    actual = compare["actual_nusd"]
    pairs(
        [
            ("as it was", money(actual) or ""),
            ("warm cache", _against(compare["warm_nusd"], actual)),
            ("no cache", _against(compare["cold_nusd"], actual)),
            ("note", NOTE),
        ]
    )


def _against(other: int, actual: int) -> str:
    times = f", {other / actual:.1f} times as much" if actual > 0 else ""
    return f"{money(other)}{times}"
