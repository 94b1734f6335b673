"""`agentctl audit prune`, on the real record behind the real door: what it shows, asks for, keeps and removes, and how a prune
that nobody with the key made is found out."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.core.accounting.canonical import canonical
from agentd.core.accounting.chain import digest_of
from agentd.core.accounting.times import NS_PER_S
from agentd.ctl.exits import Exit
from ctl.office import NOW, Office, Result, TestSigner, run
from ctl.test_audit import change

DAY_NS = 86_400 * NS_PER_S
REASON = ("--reason", "older than a quarter")


def at_day(office: Office, day: int) -> Office:
    """The same box at noon of another day, behind a checkpoint: the record was closed and is opened again."""
    office.close()
    again = Office(home=office.home)
    again.signer, again.clock.now = office.signer, NOW + day * DAY_NS
    again.open()
    return again


@pytest.fixture
def aged(office: Office) -> Iterator[Office]:
    """A record of three days of work, long ago, with a halt that holds and one that does not; and of today."""
    for day in range(3):
        for text in ("thanks!", "hello", "fix the failing build"):
            office.call(text=text)
        office = at_day(office, day + 1)
    office.ctl("halt", "--tier", "frontier", "--reason", "too dear")
    office.ctl("halt", "--tier", "economy", "--reason", "by mistake")
    office.ctl("resume", "--tier", "economy", "--reason", "by mistake")
    office = at_day(office, 100)
    office.call(text="thanks!")
    yield office
    office.destroy()


def database(office: Office) -> Path:
    return office.home / "state" / "ledger.db"


def pruned(office: Office, *more: str) -> Result:
    result = office.ctl("audit", "prune", "--before", "40d", *REASON, *more)
    assert result.code == Exit.OK, result.err
    return result


def test_a_dry_run_says_what_would_go_and_changes_nothing(aged: Office) -> None:
    before = aged.ctl("audit", "export").out
    result = aged.ctl("audit", "prune", "--before", "40d", "--dry-run")
    assert result.code == Exit.OK
    assert "lines would go: 1 to " in result.out
    assert "1 for acts, 1 for genesis" in result.out
    assert aged.ctl("audit", "export").out == before


def test_a_prune_is_an_act_with_a_uid_and_a_reason_and_verify_tells_of_it(aged: Office) -> None:
    result = pruned(aged)
    assert "lines are removed: 1 to " in result.out
    plan = pruned_line(aged)
    assert (plan["caller"]["uid"], plan["detail"]["reason"]) == (os.getuid(), REASON[1])
    verified = aged.ctl("audit", "verify")
    assert verified.code == Exit.OK, verified.out
    assert f"lines 1 to {plan['detail']['to']} at " in verified.out
    assert "vouched for by the checkpoint behind line" in verified.out
    assert verified.out.startswith("intact: ")
    assert "older than a quarter" in aged.ctl("logs").out
    assert "lines up to" in aged.ctl("status").out
    assert aged.ctl("halt", "--tier", "economy", "--reason", "x").code == Exit.OK


def pruned_line(office: Office) -> dict[str, Any]:
    rows = [row for row in office.ctl("audit", "export").rows if row["kind"] == "prune"]
    found: dict[str, Any] = rows[-1]
    return found


def test_what_holds_holds_after_the_next_start(aged: Office) -> None:
    pruned(aged)
    again = at_day(aged, 101)
    halts = again.ctl("status", "--json").json["halts"]
    assert [(halt["name"], halt["reason"]) for halt in halts] == [("frontier", "too dear")]
    assert again.ctl("audit", "verify").code == Exit.OK
    again.close()


def test_an_archive_is_kept_and_belongs_to_the_chain(aged: Office, tmp_path: Path) -> None:
    archive = tmp_path / "archive.jsonl"
    answer = pruned(aged, "--export", str(archive), "--json").json
    assert (
        hashlib.sha256(archive.read_bytes()).hexdigest() == answer["digest"] == pruned_line(aged)["detail"]["archive"]
    )
    assert archive.stat().st_mode & 0o777 == 0o600
    rest = aged.ctl("audit", "export", "--first", str(answer["to"] + 1)).out
    whole = tmp_path / "whole.jsonl"
    whole.write_text(archive.read_text() + rest)
    verified = run("audit", "verify", "--file", str(whole))
    assert verified.code == Exit.OK, verified.out
    assert aged.ctl("audit", "prune", "--before", "40d", *REASON, "--export", str(archive)).code == Exit.OK, (
        "nothing to do"
    )


def test_an_archive_replaces_no_file(aged: Office, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("mine")
    before = aged.ctl("audit", "export").out
    for path, code in ((tmp_path / "there", Exit.USAGE), (tmp_path / "no" / "where", Exit.REFUSED)):
        result = aged.ctl("audit", "prune", "--before", "40d", *REASON, "--export", str(path))
        assert result.code == code
    assert (tmp_path / "there").read_text() == "mine"
    assert aged.ctl("audit", "export").out == before


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--before", "40d"), Exit.USAGE, "needs a reason"),
        (("--before", "40d", "--reason", "x" * 501), Exit.USAGE, "at most 500"),
        (("--before", "31d", *REASON), Exit.USAGE, "nothing younger can go"),
        (("--before", "never", *REASON), Exit.USAGE, "is no time"),
        (("--before", "2026-11-26", "--keep-lines", "1000", *REASON), Exit.OK, "Nothing to prune: line 1 "),
    ],
)
def test_what_is_not_done(aged: Office, args: tuple[str, ...], code: Exit, says: str) -> None:
    before = aged.ctl("audit", "export").out
    result = aged.ctl("audit", "prune", *args)
    assert (result.code, says in result.out + result.err) == (code, True), result
    assert aged.ctl("audit", "export").out == before


def test_a_line_that_is_gone_says_so(aged: Office) -> None:
    pruned(aged)
    result = aged.ctl("explain", "d-4")
    assert result.code == Exit.NOT_FOUND
    assert "was pruned: line" in result.err
    assert "older than a quarter" in result.err
    assert "has no line 999" in aged.ctl("explain", "d-999").err


def test_from_the_file_too_and_by_the_key_alone(aged: Office) -> None:
    pruned(aged)
    aged.close()
    assert run("audit", "verify", "--db", str(database(aged)), "--key", aged.signer.public_hex).code == Exit.OK
    other = run("audit", "verify", "--db", str(database(aged)), "--key", TestSigner().public_hex)
    assert other.code == Exit.FINDING
    assert "[unvouched]" in other.out


FORGERIES: dict[str, Callable[[sqlite3.Connection], None]] = {}


def forgery(make: Callable[[sqlite3.Connection], None]) -> Callable[[sqlite3.Connection], None]:
    FORGERIES[make.__name__] = make
    return make


@forgery
def lines_removed_and_nothing_said(connection: sqlite3.Connection) -> None:
    change(connection, "DELETE FROM lines WHERE seq BETWEEN 2 AND 9")


@forgery
def a_prune_line_of_their_own_at_the_end(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT seq, digest FROM lines ORDER BY seq").fetchall()
    last, digests = rows[-1], dict(rows)
    detail = {"to": 9, "head": digests[9], "reason": "old", "kept": [[1, digests[1]]], "lines": 8}
    line = dict.fromkeys(["agent", "caller"]) | {"seq": last[0] + 1, "id": "prune-x", "kind": "prune", "prev": last[1]}
    body = canonical(line | {"at": "2027-03-05T10:00:00.000000Z", "detail": detail})
    connection.execute(
        "INSERT INTO lines (seq, body, digest) VALUES (?, ?, ?)", (last[0] + 1, body.decode(), digest_of(body))
    )
    change(connection, "DELETE FROM lines WHERE seq BETWEEN 2 AND 9")


@pytest.mark.parametrize("how", FORGERIES)
def test_lines_that_somebody_without_the_key_removed_show(aged: Office, how: str, tmp_path: Path) -> None:
    aged.close()
    copy = tmp_path / "ledger.db"
    shutil.copy(database(aged), copy)
    with sqlite3.connect(copy) as connection:
        FORGERIES[how](connection)
    for key in ((), ("--key", aged.signer.public_hex)):
        result = run("audit", "verify", "--db", str(copy), *key)
        assert result.code == Exit.FINDING, result.out
        assert ("[missing]" if how == "lines_removed_and_nothing_said" else "[unvouched]") in result.out


AFTER: dict[str, str] = {
    "one more line than the prune line names": "DELETE FROM lines WHERE seq = (SELECT MIN(seq) FROM lines WHERE seq > {to} + 1)",
    "a halt that was kept": "DELETE FROM lines WHERE seq > 1 AND kind = 'halt'",
    "the prune line itself": "DELETE FROM lines WHERE kind = 'prune'",
    "a kept line, replaced": "UPDATE lines SET body = replace(body, 'too dear', 'too deer') WHERE kind = 'halt'",
    "the kept list": "UPDATE lines SET body = replace(body, '\"kept\":[[1,', '\"kept\":[[2,') WHERE kind = 'prune'",
}


@pytest.mark.parametrize("how", AFTER)
def test_nor_does_an_honest_prune_hide_another(aged: Office, how: str, tmp_path: Path) -> None:
    to = pruned(aged, "--json").json["to"]
    aged.close()
    copy = tmp_path / "ledger.db"
    shutil.copy(database(aged), copy)
    assert run("audit", "verify", "--db", str(copy)).code == Exit.OK
    with sqlite3.connect(copy) as connection:
        change(connection, AFTER[how].format(to=to))
    result = run("audit", "verify", "--db", str(copy))
    assert result.code == Exit.FINDING, result.out


POLICY_TAMPERS = {
    "altered": "UPDATE policies SET text = replace(text, 'economy', 'frontier')",
    "missing": "DELETE FROM policies",
}


@pytest.mark.parametrize("flaw", POLICY_TAMPERS)
def test_a_policy_that_is_not_kept_as_it_was_is_found(office: Office, flaw: str) -> None:
    with sqlite3.connect(database(office)) as connection:
        change(connection, POLICY_TAMPERS[flaw])
    online = office.ctl("audit", "verify")
    office.close()
    for result in (online, run("audit", "verify", "--db", str(database(office)))):
        assert result.code == Exit.FINDING
        assert f"is {flaw}: its text is not kept as it was in force" in result.out
    report = json.loads(run("audit", "verify", "--db", str(database(office)), "--json").out)
    assert [row["flaw"] for row in report["policies_differ"]] == [flaw]
