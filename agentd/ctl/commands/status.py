"""`agentctl status`: what the daemon is and does now."""

from typing import Any

import click

from agentd.ctl.commands.spend import budget_row, condensed
from agentd.ctl.commands.token import misuse_words
from agentd.ctl.options import ask_options, client
from agentd.ctl.show import as_json_document, heading, pairs
from agentd.ctl.words import count, lasted, moment, money, size

Json = dict[str, Any]

SHORT = 12
"""Digits of a digest for people."""


@click.command(short_help="What the daemon is and does now.")
@ask_options
def status(*, as_json: bool) -> None:
    """What the daemon is and does now.

    Version and mode, the policy in force and what is wrong with the newest file, the record, the keyring, what is stopped,
    today's calls and cost, and the budgets.
    """
    asked = client()
    found = asked.get("/status")
    if as_json:
        as_json_document(found)
        return
    heading(f"agentd {found.get('version', '')} at {asked.path}")
    pairs([*_daemon(found), *_policy(found["policy"]), *_rooms(found), *_work(found)])


def _daemon(found: Json) -> list[tuple[str, str]]:
    up = lasted(found.get("started_at"), found.get("now"))
    mode = "trial: agent and operator share a uid, no boundary between them" if found.get("user_mode") else "system"
    rows = [("up", f"{up}, since {moment(found.get('started_at'))} UTC"), ("mode", mode)]
    if found.get("simulate"):
        rows.append(("answers", "SIMULATED: no model is called"))
    if found.get("tcp"):
        rows.append(("tcp", f"{found['tcp']}; agents show a local token there"))
    if found.get("rss"):
        rows.append(("memory", size(found["rss"])))
    return rows


def _policy(policy: Json) -> list[tuple[str, str]]:
    rows, path = [], policy.get("path")
    if policy["in_force"]:
        when = f"since {moment(policy['loaded_at'])} UTC" if policy.get("loaded_at") else ""
        digest = str(policy["digest"])[:SHORT]
        rows.append(
            ("policy", f"version {policy['version']} ({digest}) by {policy['owner']} {when}: {policy['change']}")
        )
    else:
        rows.append(("policy", "NONE in force: everything is refused"))
    if policy["fault"]:
        fault = policy["fault"]
        first = fault["faults"][0]
        where = f"{first['where']}: " if first["where"] else ""
        place = f"{fault.get('path') or fault['source']}:{first['line']}:{first['column']}"
        rows.append(("policy file", f"NOT IN FORCE: {place}: {where}{first['message']}"))
        rows.append(("", str(fault.get("cure") or "agentctl doctor")))
    elif path:
        rows.append(("policy file", path))
    return rows


def _rooms(found: Json) -> list[tuple[str, str]]:
    code, sentence = found.get("ledger") or ("unknown", "not reported")
    keyring = found["keyring"]
    keys = ", ".join(found["keys"]) or "no keys"
    rows = [
        ("record", "takes lines" if code == "ok" else f"REFUSES LINES: {sentence}"),
        *_extent(found.get("record")),
        ("signing", "checkpoints are signed" if found.get("signing") else "checkpoints are not signed"),
        ("keyring", keys if keyring["code"] == "ok" else f"{keys}; {_short(keyring)}"),
    ]
    if (private := found.get("private")) is not None:
        known = f"{count(private['models'])} models, by the list of {moment(private['at'])} UTC" if private["at"] else ""
        rows.append(("zero retention", known or "not known yet; calls demand it all the same"))
    rows += [("upstream key", _upstream_key(key)) for key in found.get("upstream_keys") or []]
    for upstream in found.get("upstreams") or []:
        if upstream.get("last_error") or upstream.get("breaker", "closed") != "closed":
            when = f" at {moment(upstream['failed_at'])} UTC" if upstream.get("failed_at") else ""
            reason = upstream.get("last_error") or "no reason known"
            rows.append(("upstream", f"the last call of {upstream['name']} failed{when}: {reason}"))
    return rows


def _extent(record: Json | None) -> list[tuple[str, str]]:
    """How long the record is, how long it is kept, and what was pruned."""
    if record is None or record.get("since") is None:
        return []
    keep = "for ever" if record["keep_s"] is None else f"for {record['keep_s'] // 86_400} days"
    rows = [("", f"since {moment(record['since'])} UTC, {size(record['bytes'])}; lines are kept {keep}")]
    cut = record["pruned"]
    if cut is not None:
        going = ", being removed" if record["pruning"] else ""
        rows.append(("", f"lines up to {cut['to']:,} pruned at {moment(cut['at'])} UTC (line {cut['line']}){going}"))
    return rows


def _short(keyring: Json) -> str:
    """The failure in its first sentence; what to do about it is the doctor's."""
    first = str(keyring["sentence"]).split(". ", 1)[0].rstrip(".")
    return f"{first} [{keyring['code']}]; see agentctl doctor"


def _upstream_key(key: Json) -> str:
    shut = "SHUT, nothing is sent there; " if key.get("shut") else ""
    used = f", {money(key['used_today_nusd'])} billed today" if key.get("used_today_nusd") is not None else ""
    if key.get("limit_nusd") is None:
        return f"{key['upstream']}: {shut}no limit at the upstream{used}"
    left = money(key.get("remaining_nusd")) or "an unknown part"
    resets = f", resets {key['reset']}" if key.get("reset") else ""
    return f"{key['upstream']}: {shut}{left} of {money(key['limit_nusd'])} left{resets}{used}"


def _work(found: Json) -> list[tuple[str, str]]:
    rows = []
    for halt in found["halts"]:
        what = f"{halt['scope']} {halt['name']}".strip()
        rows.append(("HALTED", f"{what} since {moment(halt['at'])} UTC: {halt['reason']}"))
    if found.get("token_misuse"):
        rows.append(("TOKEN MISUSED", misuse_words(found["token_misuse"])))
    rows += [("ALARM", f"{alarm['about']}: {alarm['message']}") for alarm in found.get("alarms") or []]
    rows.append(("today", f"{_today(found['today'])}, {found.get('in_flight', 0)} running"))
    rows += _unsettled(found.get("unsettled") or {})
    rows += [("budget", _budget(budget)) for budget in condensed(found["budgets"])]
    return rows


def _unsettled(owed: Json) -> list[tuple[str, str]]:
    told = {"waiting": "asked for", "lost": "not known"}
    parts = [
        f"{owed[key]} {words} ({money(owed[f'{key}_nusd'])} reserved)" for key, words in told.items() if owed.get(key)
    ]
    return [("unsettled", f"cost of the last day's calls: {', '.join(parts)}")] if parts else []


def _today(today: Json | None) -> str:
    if today is None:
        return "not known: the record cannot be read"
    return f"{count(today.get('calls', 0))} calls, {money(today.get('cost_nusd', 0))}"


def _budget(budget: Json) -> str:
    row = budget_row(budget)
    name = row["name"] if budget["account"] == "box" else f"{row['name']} ({row['account']})"
    full = str(row["bar"] or "").split(" ", 1)[-1].strip()
    resets = f", resets {row['resets']} UTC" if row["resets"] else ""
    return f"{name}: {row['used']} of {row['limit'] or 'no limit'}, {full}{resets}"
