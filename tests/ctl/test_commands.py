"""Every command in its three forms: on a terminal, in a pipe, as JSON; and hostile text through all of them."""

import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.core.types.records import Kind
from agentd.ctl.commands.spend import budget_row, condensed
from agentd.ctl.exits import Exit
from ctl.office import Office, done, plain_line

BUDGETS: list[dict[str, Any]] = [
    {
        "name": "box-day",
        "account": "box",
        "spent": 1_500_000_000,
        "limit": 10**10,
        "calls": 4,
        "calls_limit": None,
        "resets": "2026-11-26T00:00:00Z",
    },
    {
        "name": "heartbeats",
        "account": "class:heartbeat",
        "spent": 1000,
        "limit": 250_000_000,
        "calls": 150,
        "calls_limit": 200,
        "resets": "",
    },
    {"name": "free", "account": "box", "spent": 0, "limit": None, "calls": 3, "calls_limit": None, "resets": ""},
]


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    """A morning's work: chat, a heartbeat that wanted more, code, a stranger, and a call that still runs."""
    made = Office()
    made.open()
    made.call(text="thanks!")
    made.call(text="Read HEARTBEAT.md if it exists (workspace context). Follow it strictly.", tier="frontier")
    made.call(lane="implementation", tier="frontier")
    made.decide(uid=65533)
    made.decide(text="hello")
    made.budgets = list(BUDGETS)
    yield made
    made.destroy()


CHAT, HEARTBEAT, CODE, STRANGER, OPEN = "d-3", "d-5", "d-7", "d-9", "d-10"

QUESTIONS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("status",): (
        "agentd 0.1.0",
        "version 1",
        "trial",
        "today",
        "box-day: $1.50 of $10.00, 15 %",
        "150 calls of 200 calls",
    ),
    ("logs",): ("d-3", "d-10", "open", "caller.unknown", "policy", "the record begins"),
    ("logs", "--class", "implementation"): ("d-7", "standard"),
    ("explain", CODE): (
        "implementation",
        "needs an escalation",
        "$0.004300",
        "Fireworks",
        "the bytes give this digest",
    ),
    ("explain", STRANGER): ("nobody that the policy knows", "65533", "add it under `agents:`"),
    ("explain", OPEN): ("not finished",),
    ("spend",): ("routine", "implementation", "total", "box-day", "heartbeats"),
    ("spend", "--by", "model", "--compare"): ("minimax/minimax-m2.5", "warm cache", "no cache", "estimate"),
    ("spend", "--by", "day", "--since", "7d"): ("2026-11-25",),
    ("key", "list"): ("openrouter", "in use"),
    ("agent", "list"): ("main", "active", "openclaw.service", "2027-06-30"),
    ("policy", "test"): ("ok    strangers get nothing",),
    ("policy", "why", "--agent", "main", "--lane", "implementation"): ("allow", "standard", "minimax/minimax-m2.5"),
    ("policy", "why", "--agent", "main", "--tier", "nonsense", "--lane", "nap", "--model", "x/y"): (
        "no tier 'nonsense', so none was asked for",
        "no class is named 'nap'",
        "no tier lists the model 'x/y'",
    ),
    ("policy", "why", "--uid", "65533"): ("deny: caller.unknown", "nobody that the policy knows"),
    ("policy", "history"): ("loaded", "first version"),
    ("policy", "history", "--diff"): ("loaded", "first version"),
    ("policy", "show"): ("default_class: routine",),
    ("audit", "verify"): ("intact: 10 lines", "checked, at line 10", "d-10"),
    ("doctor",): ("ok    record", "warn  boundary", "->", " ok, 1 warn, 0 bad"),
}


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_in_a_pipe(office: Office, command: tuple[str, ...]) -> None:
    result = office.ctl(*command)
    assert (result.code, result.err) == (Exit.OK, "")
    for words in QUESTIONS[command]:
        assert words in result.out
    assert not any(char in result.out for char in "\x1b\t\r")
    assert not any(line != line.rstrip() for line in result.out.splitlines())


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_on_a_terminal(office: Office, command: tuple[str, ...]) -> None:
    result = office.on_terminal(*command)
    assert result.code == Exit.OK
    for words in QUESTIONS[command]:
        assert words.split()[0] in result.out
    assert max(len(line) for line in _plain(result.out).splitlines()) <= 120 or command[0] in (
        "policy",
        "logs",
        "status",
        "doctor",
    )


def _plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_as_json(office: Office, command: tuple[str, ...]) -> None:
    piped, shown = office.ctl(*command, "--json"), office.on_terminal(*command, "--json")
    assert piped.code == shown.code == Exit.OK
    assert piped.out.isascii()
    assert all(isinstance(row, dict) for row in _documents(piped.out))
    assert _documents(piped.out) == _documents(shown.out) or command[0] in ("status", "policy")


def _documents(text: str) -> list[Any]:
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


FIELDS = (
    "seq id at kind agent caller session request class class_why verdict code rule tier_asked tier model_asked model provider "
    "label reserved_nusd cost_nusd tokens status overhead_us upstream_ms escalation policy prev digest outcome"
).split()


def test_a_row_of_logs_has_every_field_and_the_outcomes_facts(office: Office) -> None:
    rows = {row["id"]: row for row in office.ctl("logs", "--json").rows if row["kind"] == "decision"}
    assert all(set(FIELDS) <= set(row) for row in rows.values())
    assert rows[CHAT]["outcome"] == 4
    assert (rows[CHAT]["cost_nusd"], rows[CHAT]["provider"], rows[CHAT]["status"]) == (4_300_000, "Fireworks", "done")
    assert (rows[CHAT]["overhead_us"], rows[CHAT]["upstream_ms"], rows[CHAT]["tokens"]["prompt"]) == (2300, 840, 1200)
    assert (rows[OPEN]["outcome"], rows[OPEN]["cost_nusd"]) == (None, None)
    assert rows[STRANGER]["outcome"] is None


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--agent", "main"), [CHAT, HEARTBEAT, CODE, OPEN]),
        (("--class", "heartbeat"), [HEARTBEAT]),
        (("--tier", "standard"), [CODE]),
        (("--verdict", "deny"), [STRANGER]),
        (("--session", "5e55"), [CHAT, HEARTBEAT, CODE, STRANGER, OPEN]),
        (("--session", "none"), []),
        (("-n", "2"), [STRANGER, OPEN]),
        (("-n", "0"), []),
        (("--since", "2026-11-24"), [CHAT, HEARTBEAT, CODE, STRANGER, OPEN]),
        (("--since", "2026-11-26"), []),
        (("--verdict", "allow", "--class", "routine", "-n", "1"), [OPEN]),
    ],
)
def test_filters(office: Office, filters: tuple[str, ...], ids: list[str]) -> None:
    rows = office.ctl("logs", "--json", *filters).rows
    assert [row["id"] for row in rows if row["kind"] == "decision"] == ids


def test_nothing_to_show_is_said_to_people_alone(office: Office) -> None:
    quiet = ("logs", "--agent", "main", "--since", "2026-11-26")
    assert (office.ctl(*quiet).code, office.ctl(*quiet).out, office.ctl(*quiet).err) == (Exit.OK, "", "")
    assert office.on_terminal(*quiet).err == "Nothing matches.\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("explain", "d-999"), Exit.NOT_FOUND, "no line 999"),
        (("explain", "nonsense"), Exit.USAGE, "names no decision"),
        (("logs", "--since", "yesterday"), Exit.USAGE, "is no time"),
        (("logs", "--verdict", "maybe"), Exit.USAGE, "maybe"),
        (("logs", "-n", "many"), Exit.USAGE, "many"),
        (("policy", "show", "ffff"), Exit.NOT_FOUND, "No policy version"),
        (("policy", "show", "../x"), Exit.USAGE, "no hash"),
        (("logs", "--agent", "nobody"), Exit.NOT_FOUND, "There are main."),
        (("logs", "-f", "--agent", "nobody"), Exit.NOT_FOUND, "There are main."),
        (("policy", "why", "--agent", "nobody"), Exit.NOT_FOUND, "It has main."),
        (("policy", "why", "--agent", "main", "--uid", "65533"), Exit.USAGE, "nobody that the policy knows"),
        (("agent", "token", "list", "--agent", "nobody"), Exit.NOT_FOUND, "It has main."),
        (("agent", "token", "create", "nobody"), Exit.NOT_FOUND, "It has main."),
        (("policy", "why"), Exit.USAGE, "Who would ask?"),
        (("key", "delete", "spare"), Exit.NOT_FOUND, "no key spare"),
        (("halt", "--agent", "nobody", "--reason", "r"), Exit.NOT_FOUND, "It has main."),
        (("halt", "--agent", "main", "--tier", "economy", "--reason", "r"), Exit.USAGE, "One at a time"),
        (("halt", "--reason", " "), Exit.USAGE, "need a reason"),
        (("resume", "--reason", "r"), Exit.NOT_FOUND, "The box is not stopped"),
    ],
)
def test_how_it_ends_otherwise(office: Office, command: tuple[str, ...], code: Exit, words: str) -> None:
    result = office.ctl(*command)
    assert (result.code, result.out) == (code, "")
    assert words in result.err


def test_every_budget_is_drawn_on_a_terminal(office: Office) -> None:
    shown = office.on_terminal("spend").out
    assert "███·················  15 %" in shown
    assert "███████████████·····  75 %" in shown
    assert "█" not in office.ctl("spend").out


def test_of_many_sessions_the_fullest_is_shown() -> None:
    sessions = [{**BUDGETS[0], "name": "one", "account": f"session:{at:024x}", "spent": at * 10**9} for at in (3, 7, 5)]
    shown = condensed([*sessions, BUDGETS[2], {**sessions[0], "name": "two"}])
    assert [(row["name"], row["account"]) for row in shown] == [
        ("free", "box"),
        ("one", "session:00000000, fullest of 3"),
        ("two", "session:00000000"),
    ]
    assert shown[1]["spent"] == 7 * 10**9


def test_the_fuller_of_money_and_calls_is_shown() -> None:
    assert budget_row(BUDGETS[0])["used"] == "$1.50"
    assert budget_row(BUDGETS[1])["used"] == "150 calls"
    assert budget_row({**BUDGETS[1], "spent": 249_000_000})["used"] == "$0.2490"
    assert budget_row(BUDGETS[2])["limit"] is None


def test_a_comparison_without_a_priced_model_is_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.gate.desk.operator.views.compared", lambda *_: None)
    result = office.ctl("spend", "--compare")
    assert result.code == Exit.OK
    assert "no model with a price" in result.err


def test_a_narrow_terminal_goes_without_the_least_telling_columns(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, narrow = office.ctl("logs"), office.on_terminal("logs")
    assert "1200+80" in wide.out
    assert "1200+80" not in narrow.out
    assert max(map(len, narrow.out.splitlines())) <= 120
    assert "tier.capped" in narrow.out


HOSTILE = "x\x1b[2J\x1b]0;pwn\x07\r\ny\u202edeny\u200b\u2028z\x9b1m\U000e0041"


def test_hostile_text_reaches_no_terminal(office: Office) -> None:
    made = Office(policy_text=None)
    made.open()
    try:
        facts = {"uid": 1, "gid": 1, "pid": 1, "start": 1, "unit": HOSTILE, "exe": HOSTILE}
        why = {"stage": HOSTILE, "why": HOSTILE, "evidence": {HOSTILE: HOSTILE}}
        texts = dict.fromkeys(
            ("code", "rule", "tier_asked", "model_asked", "session", "agent", "class_", "tier", "label"), HOSTILE
        )
        detail = {"message": HOSTILE, "hint": HOSTILE, "smuggled": [HOSTILE], "dropped": [HOSTILE], "client": HOSTILE}
        seq = made.append(
            plain_line(Kind.DECISION, verdict="deny", caller=facts, class_why=why, detail=detail, **texts)
        ).seq
        for kind in (Kind.KEY, Kind.HALT, Kind.POLICY, Kind.ESCALATION, Kind.START, Kind.STOP):
            made.append(
                plain_line(
                    kind, caller=facts, detail={**detail, "name": HOSTILE, "reason": HOSTILE, "scope": HOSTILE}, **texts
                )
            )
        made.budgets = [{**BUDGETS[0], "name": HOSTILE, "account": HOSTILE}]
        made.vitals["ledger"] = ("record.x", HOSTILE)
        made.keys.broken = True
        for command in (
            ("logs",),
            ("explain", f"d-{seq}"),
            ("status",),
            ("spend",),
            ("doctor",),
            ("key", "list"),
            ("policy", "history"),
        ):
            piped, shown = made.ctl(*command), made.on_terminal(*command)
            for text in (piped.out, piped.err, _plain(shown.out), shown.err):
                assert not [
                    char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char != "\n"
                ]
            assert "\\x1b[2J" in piped.out + piped.err or command[0] in ("policy", "key")
        rows = made.ctl("logs").out.splitlines()
        assert len(rows) == 8  # one line for each line, whatever stands in it
    finally:
        made.destroy()


def test_a_call_whose_cost_stayed_unknown_keeps_its_reservation(office: Office) -> None:
    made = Office()
    made.open()
    try:
        _, closed = made.decide(text="hello")
        closed(done(cost=None))
        total = made.ctl("spend", "--json").json["total"]
        assert total["cost_nusd"] == 0
        assert total["reserved_nusd"] > 0
    finally:
        made.destroy()
