"""The doctor's questions: each with the facts that make it content, worried and alarmed."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from agentd.core.policy.facts import Halt
from agentd.core.types.errors import Fault, PolicyRefused
from agentd.gate.desk import doctor
from agentd.gate.desk.cures import fault_view
from agentd.gate.desk.doctor import (
    DISK_BAD,
    DISK_WARN,
    EXPIRY_WARN_DAYS,
    LAG_WARN_MS,
    QUESTIONS,
    Check,
    Patient,
    examine,
)
from agentd.gate.tokens import Misuse
from builders import NOON, policy

WELL: dict[str, Any] = {
    "simulate": False,
    "user_mode": False,
    "sockets": [{"door": "agent", "path": "/run/agentd/agent.sock", "mode": 0o660, "group": "agentd-agents"}],
    "upstreams": [{"name": "or", "url": "https://up.example", "breaker": "closed"}],
    "ledger": ("ok", ""),
    "signing": True,
    "state_dir": "/var/lib/agentd",
    "policy_path": "/etc/agentd/policy.yaml",
    "disk_free": DISK_WARN,
    "core_dumps_off": True,
    "clock_synced": True,
    "loop_lag_ms": 1,
}
RECORD = {"since": "2026-09-11T14:13:20.000000Z", "bytes": 5 * 2**20, "pruning": False, "keep_s": None}
MISUSE = Misuse(2, "2026-09-21T14:13:20Z", "t-1", "main", 65534)
FAULT = PolicyRefused("policy.yaml", (Fault(3, 5, "tiers", "no such tier", "use economy"),))


def patient(**more: Any) -> Patient:
    """Somebody well, but for what is said."""
    vitals = {**WELL, **more.pop("vitals", {})}
    base = Patient(
        now_ns=NOON,
        vitals=vitals,  # type: ignore[arg-type]
        policy=policy(),
        fault=None,
        keys=("or",),
        keyring=("ok", ""),
        halts=(),
        last_line_at="2026-09-21T14:13:20.000000Z",
        record=dict(RECORD),
    )
    return replace(base, **more)


def by_state(checks: tuple[Check, ...], state: str) -> list[str]:
    return [check.name for check in checks if check.state == state]


def test_somebody_well_is_well_and_every_question_that_has_something_to_ask_is_asked() -> None:
    checks = examine(patient())
    assert {check.state for check in checks} == {"ok"}
    assert len(checks) >= len(QUESTIONS) - 8  # eight of them say nothing when all is well


def test_a_daemon_that_reports_nothing_is_never_called_well() -> None:
    checks = examine(replace(patient(), vitals={}, policy=None))
    said = {check.name: check.state for check in checks}
    assert said["record"] == "bad"
    assert said["memory"] == "bad"
    assert said["policy"] == "bad"
    assert said["disk"] == "warn"
    assert said["socket"] == "warn"
    assert said["signing"] == "warn"


FAILED = {"name": "or", "last_error": "upstream.limit", "failed_at": "12:01"}
CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"vitals": {"ledger": ("record.disk_full", "The disk is full.")}}, "record", "bad", "The disk is full."),
    ({"vitals": {"disk_free": DISK_WARN - 1}}, "disk", "warn", "MiB free"),
    ({"vitals": {"disk_free": DISK_BAD - 1}}, "disk", "bad", "MiB free"),
    ({"vitals": {"tcp": "127.0.0.1:8710"}}, "token", "ok", "no valid token came from a wrong user"),
    ({"misuse": MISUSE}, "token", "bad", "token t-1 of agent main was used by uid 65534"),
    ({"policy": None}, "policy", "bad", "everything is refused"),
    ({"fault": FAULT}, "policy file", "bad", "/etc/agentd/policy.yaml:3: tiers: no such tier"),
    ({"policy": replace(policy(), reviewed=date(2026, 1, 1))}, "review", "warn", "263 days ago"),
    ({"keyring": ("keyring.locked", "It is locked.")}, "keyring", "warn", "It is locked."),
    ({"keys": ()}, "key", "bad", "its models cannot serve"),
    ({"keys": (), "vitals": {"simulate": True}}, "key", "ok", "needs no key"),
    ({"vitals": {"signing": False}}, "signing", "warn", "not signed"),
    ({"vitals": {"simulate": True}}, "upstream mode", "warn", "simulator"),
    ({"vitals": {"user_mode": True}}, "boundary", "warn", "no boundary"),
    ({"vitals": {"sockets": [{"door": "operator", "path": "/s", "mode": 0o666}]}}, "operator socket", "bad", "0666"),
    ({"vitals": {"sockets": [{"door": "operator", "path": "/s"}]}}, "operator socket", "warn", "not known"),
    ({"vitals": {"core_dumps_off": False}}, "memory", "bad", "core dumps"),
    ({"last_line_at": "2026-09-21T14:14:00.000000Z"}, "clock", "bad", "before the newest line"),
    ({"vitals": {"clock_synced": False}}, "clock", "warn", "not synchronised"),
    ({"vitals": {"clock_synced": None}}, "clock", "ok", "does not stand before"),
    ({"last_line_at": None}, "clock", "ok", "does not stand before"),
    ({"vitals": {"upstreams": [{"name": "or", "breaker": "open", "last_error": "timeout"}]}}, "upstream", "bad", "timeout"),
    ({"vitals": {"upstreams": [{"name": "or", "last_ok": "12:00"}]}}, "upstream", "ok", "last good answer 12:00"),
    ({"vitals": {"upstreams": [FAILED]}}, "upstream", "warn", "failed at 12:01 (upstream.limit)"),
    ({"vitals": {"upstreams": [{"name": "or", "simulated": True}]}}, "upstream", "ok", "or is simulated"),
    ({"vitals": {"ledger": ("record.disk_full", "Full.")}}, "disk", "bad", "a line found no room"),
    ({"halts": (Halt("box", "", "smoke", "now", 3),)}, "halt", "warn", "stopped everything"),
    ({"halts": (Halt("agent", "main", "loops", "now", 3),)}, "halt", "warn", "stopped agent main"),
    ({"affairs": {"private": {"models": 0, "at": None}}}, "zero retention", "warn", "not known"),
    ({"affairs": {"private": {"models": 7, "at": "2026-09-21T12:00:00Z"}}}, "zero retention", "ok", "7 models"),
    ({"affairs": {"private": {"models": 7, "at": "2026-09-01T12:00:00Z"}}}, "zero retention", "warn", "20 days ago"),
    ({"vitals": {"loop_lag_ms": LAG_WARN_MS + 1}}, "load", "warn", "stalled"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "name", "state", "says"), CASES)
def test_question(change: dict[str, Any], name: str, state: str, says: str) -> None:
    found = [check for check in examine(patient(**change)) if check.name == name]
    assert [check.state for check in found] == [state]
    assert says in found[0].says
    assert found[0].cure or state == "ok" or name == "keyring"  # the keyring's own sentence holds its cure


FILE = "/etc/my box/policy.yaml"
UNREAD = PolicyRefused(FILE, (Fault(1, 1, "", "everybody may write it", f"chmod o-w {FILE}"),))
CURES = [
    (FAULT, f"agentctl policy check '{FILE}'"),
    (
        PolicyRefused("policy.yaml", (Fault(90, 5, "tests[3]", "a test failed", "change it"),)),
        f"agentctl policy test '{FILE}'",
    ),
    (
        PolicyRefused("policy.yaml", (Fault(9, 5, "tiers.x.models[0]", "no price", "p"),)),
        f"agentctl policy test '{FILE}'",
    ),
    (PolicyRefused("policy.yaml", (Fault(9, 5, "", "a tab", "use spaces"),)), f"agentctl policy check '{FILE}'"),
    (UNREAD, f"chmod o-w {FILE}"),
]


@pytest.mark.parametrize(("fault", "cure"), CURES)
def test_the_cure_of_a_policy_file_can_be_typed_as_it_stands(fault: PolicyRefused, cure: str) -> None:
    checks = examine(patient(fault=fault, vitals={"policy_path": FILE}))
    assert [check.cure for check in checks if check.name == "policy file"] == [cure]
    assert fault_view(fault, FILE)["cure"] == cure
    assert fault_view(fault, FILE)["path"] == FILE


def test_without_a_path_the_fault_names_its_file() -> None:
    assert fault_view(FAULT)["cure"] == "agentctl policy check policy.yaml"


UPSTREAM_CURES = [("key.missing", "agentctl key set or-key"), ("upstream.key_refused", "agentctl key set or-key")]


@pytest.mark.parametrize(("code", "cure"), [*UPSTREAM_CURES, ("upstream.limit", "account at or"), ("x", "curl -sI")])
def test_an_upstream_that_failed_last_gets_the_cure_of_its_code(code: str, cure: str) -> None:
    made = policy()
    keyed = replace(made, upstreams={"or": replace(made.upstreams["or"], key="or-key")})
    seen = {"upstreams": [{"name": "or", "url": "https://up.example", "last_error": code}]}
    assert [cure in check.cure for check in doctor.upstreams(patient(policy=keyed, vitals=seen))] == [True]


def test_a_record_that_finds_no_room_is_believed_also_where_nobody_knows_the_free_space() -> None:
    full = {"ledger": ("record.disk_full", "Full.")}
    found = patient(vitals=full)
    blind = replace(found, vitals={key: value for key, value in found.vitals.items() if key != "disk_free"})  # type: ignore[arg-type]
    assert [check.state for check in doctor.disk(blind)] == ["bad"]


@pytest.mark.parametrize(
    ("days", "state"),
    [(-1, "bad"), (0, "warn"), (EXPIRY_WARN_DAYS, "warn"), (EXPIRY_WARN_DAYS + 1, None)],
)
def test_agents_that_expire(days: int, state: str | None) -> None:
    expires = date.fromordinal(date(2026, 9, 21).toordinal() + days)
    made = policy()
    soon = replace(made, agents={"main": replace(made.agents["main"], expires=expires)})
    assert [check.state for check in doctor.expiry(patient(policy=soon))] == ([state] if state else [])


def test_an_upstream_without_key_asks_for_none() -> None:
    made = policy()
    local = replace(made, upstreams={"or": replace(made.upstreams["or"], key=None)})
    assert list(doctor.keys(patient(policy=local, keys=()))) == []


def test_the_cure_of_a_stop_names_what_to_resume() -> None:
    halts = (Halt("tier", "frontier", "dear", "now", 3), Halt("box", "", "smoke", "now", 4))
    cures = [check.cure for check in doctor.halts(patient(halts=halts))]
    assert cures == ['agentctl resume --tier frontier --reason "why"', 'agentctl resume --reason "why"']


def test_it_says_how_old_the_record_is_and_what_it_weighs() -> None:
    says = {check.name: check.says for check in examine(patient())}["retention"]
    assert says == "the record goes back 10 days and has 5 MiB; lines are kept for ever"
    keeping = {**RECORD, "keep_s": 90 * 86_400, "pruning": True}
    says = {check.name: check.says for check in examine(patient(record=keeping))}["retention"]
    assert says.endswith("kept for 90 days; old lines are being removed")
    assert "retention" not in {check.name for check in examine(patient(record=None))}


def test_sums_that_were_mended_at_the_start_are_told() -> None:
    checks = examine(patient(vitals={"counters": {"mended": 3}}))
    assert by_state(checks, "warn") == ["sums"]
