"""`agentctl audit`: whoever changes the record is found out, over the socket, from the file and from an export."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.ctl.exits import Exit
from agentd.ctl.offline import exported, good_signature
from ctl.office import Office, Result, TestSigner, run

Tamper = Callable[[sqlite3.Connection], object]


@pytest.fixture
def record(office: Office) -> Path:
    """The database of a day with four calls, of a daemon that has ended (so with a signed checkpoint)."""
    for text in ("thanks!", "hello", "fix the failing build", "thanks!"):
        office.call(text=text)
    office.close()
    return office.home / "state" / "ledger.db"


def verify(path: Path, *more: str) -> Result:
    return run("audit", "verify", "--db", str(path), *more)


def test_an_untouched_record_is_intact(record: Path) -> None:
    result = verify(record)
    assert result.code == Exit.OK, result.out
    assert result.out.startswith("intact: ")
    assert "1 of 1 checkpoints" in result.out
    assert "checked, at line" in result.out


def change(connection: sqlite3.Connection, sql: str) -> None:
    """As somebody who may write the file would: past the triggers."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.executescript(sql)
    connection.commit()


TAMPERS: dict[str, tuple[str, int]] = {
    "a flipped verdict": ("UPDATE lines SET body = replace(body, '\"allow\"', '\"deny\"') WHERE seq = 5", 5),
    "a deleted line": ("DELETE FROM lines WHERE seq = 6", 6),
    "two lines swapped": (
        "UPDATE lines SET seq = -4 WHERE seq = 4;"
        "UPDATE lines SET seq = 4 WHERE seq = 6;"
        "UPDATE lines SET seq = 6 WHERE seq = -4;",
        4,
    ),
    "the end cut off": ("DELETE FROM lines WHERE seq > 8", 9),
    "a line doubled": ("INSERT INTO lines (seq, body, digest) SELECT 99, body, digest FROM lines WHERE seq = 3", 12),
    "a digest changed": ("UPDATE lines SET digest = 'aa' WHERE seq = 7", 7),
    "no line left": ("DELETE FROM lines", 1),
}


@pytest.mark.parametrize("what", TAMPERS)
def test_tampering_is_found_and_the_line_named(record: Path, what: str) -> None:
    sql, line = TAMPERS[what]
    with sqlite3.connect(record) as connection:
        change(connection, sql)
    result = verify(record)
    assert result.code == Exit.FINDING
    assert result.out.startswith("BROKEN: ")
    assert f"line {line}: " in result.out
    report = verify(record, "--json").json
    assert report["intact"] is False
    assert report["findings"][0]["seq"] == line


def test_an_old_copy_put_back_is_found_by_the_anchor(office: Office, tmp_path: Path) -> None:
    office.call(text="thanks!")
    office.close()
    record, copy = office.home / "state" / "ledger.db", tmp_path / "ledger.db"
    shutil.copy(record, copy)
    again = Office(home=office.home)
    again.open()
    again.call(text="hello")
    again.close()
    assert verify(record).code == Exit.OK
    shutil.copy(copy, record)
    result = verify(record)
    assert result.code == Exit.FINDING
    assert "cut off, or an older copy was put back" in result.out


def test_a_head_noted_elsewhere_counts(record: Path) -> None:
    head = next(line.split()[1] for line in verify(record).out.splitlines() if line.strip().startswith("head"))
    assert verify(record, "--anchor", head).code == Exit.OK
    seq, digest = head.split(":")
    assert verify(record, "--anchor", f"{seq}:{'0' * 64}").code == Exit.FINDING
    assert verify(record, "--anchor", f"{int(seq) + 1}:{digest}").code == Exit.FINDING
    assert verify(record, "--anchor", "nonsense").code == Exit.USAGE


def test_a_record_signed_by_somebody_else_is_not_vouched_for(record: Path, office: Office) -> None:
    assert f"good up to line {json.loads(verify(record, '--json').out)['vouched_to']}" in verify(record).out
    report = verify(record, "--json", "--key", TestSigner().public_hex).json
    assert report["vouched_to"] == 0
    assert verify(record, "--json", "--key", office.signer.public_hex).json["vouched_to"] > 0


def test_over_the_socket(office: Office) -> None:
    office.call(text="thanks!")
    result = office.ctl("audit", "verify")
    assert result.code == Exit.OK
    assert "checked, at line 4" in result.out
    assert office.ctl("audit", "verify", "--json").json["intact"] is True


def test_over_the_socket_tampering_is_found_while_the_daemon_runs(office: Office) -> None:
    office.call(text="thanks!")
    with sqlite3.connect(office.home / "state" / "ledger.db") as connection:
        change(connection, TAMPERS["a flipped verdict"][0].replace("seq = 5", "seq = 3"))
    result = office.ctl("audit", "verify")
    assert result.code == Exit.FINDING
    assert "line 3: Line 3 was changed" in result.out


def test_sums_that_the_lines_do_not_give_are_found(office: Office) -> None:
    office.call(text="thanks!")
    with sqlite3.connect(office.home / "state" / "ledger.db") as connection:
        connection.execute("UPDATE spend SET cost_nusd = 1")
    result = office.ctl("audit", "verify")
    assert result.code == Exit.FINDING
    assert "spend: " in result.out


def test_an_export_verifies_elsewhere(office: Office, tmp_path: Path) -> None:
    office.call(text="größer 日本")
    result = office.ctl("audit", "export")
    assert result.code == Exit.OK
    assert [row["seq"] for row in result.rows] == [1, 2, 3, 4]
    assert all(len(row["digest"]) == 64 for row in result.rows)
    path = tmp_path / "export.jsonl"
    path.write_text(result.out)
    assert run("audit", "verify", "--file", str(path)).code == Exit.OK
    path.write_text(result.out.replace('"allow"', '"deny"', 1))
    broken = run("audit", "verify", "--file", str(path))
    assert broken.code == Exit.FINDING
    assert "was changed" in broken.out
    path.write_text(result.out + "rubbish\n")
    assert run("audit", "verify", "--file", str(path)).code == Exit.FINDING
    assert [row["seq"] for row in office.ctl("audit", "export", "--first", "3").rows] == [3, 4]


def test_a_line_is_had_back_from_its_export_byte_for_byte() -> None:
    from agentd.ctl.offline import _exported

    body = b'{"detail":{"x":",\\"digest\\":\\""},"seq":7}'
    assert _exported(exported(body, "ab" * 32), 1) == (7, body, "ab" * 32)
    assert _exported(b"rubbish", 5) == (5, b"rubbish", "")


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("--db", "/nonexistent/ledger.db"), Exit.NOT_FOUND),
        (("--file", "/nonexistent/export.jsonl"), Exit.NOT_FOUND),
        (("--db", "a", "--file", "b"), Exit.USAGE),
    ],
)
def test_what_cannot_be_verified(args: tuple[str, ...], code: Exit) -> None:
    assert run("audit", "verify", *args).code == code


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("not a database, but long enough to look at" * 50)
    result = verify(tmp_path / "ledger.db")
    assert result.code == Exit.FINDING
    assert "is no record that can be read: file is not a database" in result.err


def test_an_empty_file_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch()
    result = verify(tmp_path / "ledger.db")
    assert (result.code, result.out) == (Exit.FINDING, "")
    assert "the file is empty" in result.err


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("other (a)", "no such table: lines"),
        ("lines (seq)", "no such column: body"),
        ("lines (seq TEXT, body TEXT, digest TEXT)", "a line of it has no number"),
    ],
)
def test_a_database_of_another_kind_is_a_finding(tmp_path: Path, table: str, says: str) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(f"CREATE TABLE {table}")
        if "digest" in table:
            connection.execute("INSERT INTO lines VALUES ('one', '{}', 'x')")
    result = verify(tmp_path / "ledger.db")
    assert result.code == Exit.FINDING
    assert says in result.err


def test_a_truncated_database_is_a_finding(record: Path) -> None:
    data = record.read_bytes()
    record.write_bytes(data[: len(data) // 2])
    assert verify(record).code == Exit.FINDING


def test_a_record_that_somebody_holds_is_no_finding(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    monkeypatch.setattr(sqlite3, "connect", busy)
    result = verify(record)
    assert result.code == Exit.REFUSED
    assert "database is locked" in result.err


def test_an_export_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    result = run("audit", "verify", "--file", str(tmp_path))
    assert result.code == Exit.REFUSED
    assert "cannot be read" in result.err


@pytest.mark.parametrize(
    "head", ["", "agentd-head 1 x", "other 1 l 00000000000000000004 aa bb", "agentd-head 1 l four aa bb", "\xff"]
)
def test_an_anchor_that_cannot_be_read_is_none(record: Path, head: str) -> None:
    (record.parent / "ledger.head").write_bytes(head.encode("latin-1"))
    assert "none: a cut-off end would not show" in verify(record).out


@pytest.mark.parametrize(("key", "signature"), [("", ""), ("zz", "00"), ("00", "00"), ("ab" * 32, "ab" * 64)])
def test_a_bad_signature_is_bad_and_not_an_error(key: str, signature: str) -> None:
    assert not good_signature(key, b"message", signature)


def test_a_good_signature_is_good() -> None:
    signer = TestSigner()
    assert good_signature(signer.public_hex, b"message", signer.sign(b"message").hex())
    assert not good_signature(signer.public_hex, b"massage", signer.sign(b"message").hex())
