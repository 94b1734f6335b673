"""Local tokens from the operator's side: made, shown once, replaced, revoked; recorded before, kept as a digest."""

import pytest

from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.tokens import digest_of, id_of, is_token
from agentd.ctl.exits import Exit
from agentd.gate.desk.tokens import MAX_LIVE
from agentd.gate.ports import LineQuery
from ctl.office import Office
from harness import canary

CREATE = ("agent", "token", "create", "main")
LIST = ("agent", "token", "list")


def created(office: Office) -> str:
    result = office.ctl(*CREATE)
    assert result.code == Exit.OK, result.err
    return result.out.strip()


@pytest.fixture
def open_office(office: Office) -> Office:
    """With the door over TCP open."""
    office.vitals["tcp"] = "127.0.0.1:8710"
    return office


def test_a_new_token_is_all_that_stands_on_stdout(open_office: Office) -> None:
    result = open_office.ctl(*CREATE)
    token = result.out.removesuffix("\n")
    assert is_token(token)
    assert f"Token {id_of(digest_of(token))} of agent main serves until 2027-02-23" in result.err
    assert "not shown again" in result.err
    assert token not in result.err


def test_it_is_written_down_before_and_nowhere_as_itself(open_office: Office) -> None:
    token = created(open_office)
    (line,) = open_office.do(open_office.ledger.reader.lines(LineQuery(kinds=(Kind.TOKEN,))))
    assert (line["code"], line["agent"]) == ("token.create", "main")
    assert line["detail"]["sha256"] == digest_of(token)
    assert canary.found_under([open_office.home], token) == []
    for question in (LIST, ("logs",), ("logs", "--json"), ("explain", f"d-{line['seq']}"), ("status",), ("doctor",)):
        told = open_office.ctl(*question)
        assert not canary.found_in(told.out + told.err, token), question


def test_what_cannot_be_written_down_is_no_token(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_line: object) -> None:
        raise RecordUnavailable("record.disk_full", "The disk is full.", "Make room.")

    monkeypatch.setattr(office.ledger, "append", full)
    result = office.ctl(*CREATE)
    assert (result.code, result.out) == (Exit.REFUSED, "")
    assert office.tokens.all() == []


def test_the_door_that_is_not_open_is_said(office: Office) -> None:
    assert "agentd serve --tcp" in office.ctl(*CREATE).err
    assert "agentd serve --tcp" in office.ctl(*LIST).err


def test_an_agent_that_no_uid_recognises_is_warned_of(office: Office) -> None:
    assert "names a uid alone" not in office.ctl(*CREATE).err
    text = (office.policy_text or "").replace("      - { uid: self }", "      # none")
    office.do(office.policies.load(text, "policy.yaml"))
    result = office.ctl(*CREATE)
    assert is_token(result.out.strip())
    assert "agents.main.match names a uid alone" in result.err


def test_somebody_who_is_no_agent_gets_none(office: Office) -> None:
    result = office.ctl("agent", "token", "create", "nobody")
    assert (result.code, result.out) == (Exit.NOT_FOUND, "")
    assert "It has main." in result.err
    assert office.tokens.all() == []


@pytest.mark.parametrize("life", ["0d", "367d", "x", "-1d", "90"])
def test_a_life_that_is_none(office: Office, life: str) -> None:
    result = office.ctl(*CREATE, "--expires", life)
    assert (result.code, result.out) == (Exit.USAGE, "")
    assert office.tokens.all() == []


def test_no_heap_of_forgotten_ones(office: Office) -> None:
    for _ in range(MAX_LIVE):
        created(office)
    result = office.ctl(*CREATE)
    assert result.code == Exit.USAGE
    assert f"has {MAX_LIVE} valid tokens already" in result.err


def test_rotate_leaves_the_old_one_its_grace(office: Office) -> None:
    old = created(office)
    result = office.ctl("agent", "token", "rotate", "main", "--grace", "10m")
    new = result.out.strip()
    assert is_token(new)
    assert new != old
    assert f"The old ones end at 2026-11-25 10:10:00 UTC: {id_of(digest_of(old))}." in result.err
    states = {row["id"]: row["state"] for row in office.ctl(*LIST, "--json").json["tokens"]}
    assert states == {id_of(digest_of(old)): "replaced", id_of(digest_of(new)): "valid"}
    office.clock.now += 11 * 60 * NS_PER_S
    assert [row["id"] for row in office.ctl(*LIST, "--json").json["tokens"]] == [id_of(digest_of(new))]
    every = office.ctl(*LIST, "--all", "--json").json["tokens"]
    assert {row["state"] for row in every} == {"expired", "valid"}


def test_rotate_now_ends_the_old_one(office: Office) -> None:
    old = created(office)
    result = office.ctl("agent", "token", "rotate", "main", "--now")
    assert "have ended" in result.err
    found = office.tokens.find(old)
    assert found is not None
    assert found.standing(office.clock.wall_ns()).value == "expired"


def test_revoke(office: Office) -> None:
    name = id_of(digest_of(created(office)))
    result = office.ctl("agent", "token", "revoke", name)
    assert (result.code, result.out) == (Exit.OK, f"Token {name} of agent main is revoked.\n")
    assert office.ctl(*LIST, "--json").json["tokens"] == []
    (row,) = office.ctl(*LIST, "--all", "--json").json["tokens"]
    assert row["state"] == "revoked"


@pytest.mark.parametrize("name", ["t-000000000000", "x", "agentd-" + "x" * 43, "..", "%2e%2e"])
def test_what_is_no_token_cannot_be_revoked(office: Office, name: str) -> None:
    result = office.ctl("agent", "token", "revoke", name)
    assert result.code == Exit.NOT_FOUND
    assert "x" * 10 not in result.err


def test_a_token_that_was_found_lying_about_is_revoked_by_itself(office: Office) -> None:
    token = created(office)
    assert office.ctl("agent", "token", "revoke", token).code == Exit.OK
    assert office.ctl(*LIST, "--json").json["tokens"] == []


def test_the_list_shows_what_people_ask_for(open_office: Office) -> None:
    token = created(open_office)
    name = id_of(digest_of(token))
    open_office.tokens.used(open_office.tokens.all()[0], open_office.clock.now)
    for shown in (open_office.ctl(*LIST), open_office.on_terminal(*LIST)):
        for word in (name, "main", "valid", "2027-02-23", "2026-11-25"):
            assert word in shown.out
    assert open_office.ctl(*LIST, "--agent", "other", "--json").code == Exit.NOT_FOUND


def test_a_token_in_wrong_hands_is_shown_wherever_one_looks(open_office: Office) -> None:
    created(open_office)
    open_office.tokens.misused(open_office.tokens.all()[0], 65534, rfc3339(open_office.clock.now))
    assert "TOKEN MISUSED" in open_office.ctl("status").out
    assert "by uid 65534" in open_office.ctl("status").out
    assert "rotate main --now" in open_office.ctl(*LIST).err
    checks = open_office.ctl("doctor")
    assert checks.code == Exit.FINDING
    assert "by uid 65534" in checks.out


def test_each_act_reads_as_a_sentence(office: Office) -> None:
    name = id_of(digest_of(created(office)))
    office.ctl("agent", "token", "rotate", "main")
    office.ctl("agent", "token", "revoke", name)
    said = office.ctl("logs").out
    assert f"token {name} of agent main made by uid" in said
    assert "of agent main made in place of others" in said
    assert f"token {name} of agent main revoked" in said
