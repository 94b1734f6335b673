"""`agentctl policy`: a file's faults without the daemon, its tests with it."""

from pathlib import Path

import pytest

from agentd.ctl.exits import Exit
from ctl.office import POLICY_FILE, Office, digest_of, run


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(POLICY_FILE.read_text())
    return path


def test_a_good_file(mine: Path) -> None:
    result = run("--socket", "/nonexistent", "policy", "check", str(mine))
    assert (result.code, result.out) == (Exit.OK, f"{mine}: no faults\n")
    assert f"agentctl policy test {mine}" in result.err


def test_every_fault_with_its_place_and_hint(mine: Path) -> None:
    mine.write_text(
        mine.read_text()
        .replace("default_class: routine", "default_class: nap")
        .replace("tier: economy", "tear: economy")
    )
    result = run("policy", "check", str(mine))
    assert result.code == Exit.FINDING
    assert len(result.out.splitlines()) >= 3
    for line in result.out.splitlines():
        place = line.removeprefix(f"{mine}:").split(":")
        assert place[0].isdigit()
        assert place[1].isdigit()
    assert "nap" in result.out
    assert "tear" in result.out
    faults = run("policy", "check", str(mine), "--json").json
    assert faults["ok"] is False
    assert len(faults["faults"]) == len(result.out.splitlines())


@pytest.mark.parametrize(
    "text", ["", "- a", "version: [", "a: 1\na: 2", "&a [*a]", "\x00", "!!python/object:os.system x"]
)
def test_what_is_no_policy_is_a_finding_not_a_crash(text: str) -> None:
    result = run("policy", "check", "-", stdin=text)
    assert result.code == Exit.FINDING
    assert result.out.startswith("stdin:")
    assert result.err == ""


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    result = run("policy", "check", str(tmp_path / "none.yaml"))
    assert (result.code, result.out) == (Exit.NOT_FOUND, "")
    (tmp_path / "bytes.yaml").write_bytes(b"version: \xff")
    result = run("policy", "check", str(tmp_path / "bytes.yaml"))
    assert result.code == Exit.FINDING
    assert "is not UTF-8 (byte 9)" in result.err
    assert run("policy", "check", str(tmp_path)).code != Exit.OK


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    result = run("policy", "check", str(tmp_path / "x"))
    assert result.code == Exit.REFUSED
    assert "Permission denied" in result.err


def test_tests_of_a_file_are_judged_by_the_daemon(office: Office, mine: Path) -> None:
    assert office.ctl("policy", "test", str(mine)).code == Exit.OK
    mine.write_text(mine.read_text().replace("expect: { verdict: allow, tier: standard }", "expect: { verdict: deny }"))
    assert run("policy", "check", str(mine)).code == Exit.OK
    result = office.ctl("policy", "test", str(mine))
    assert result.code == Exit.FINDING
    assert "code runs on the standard tier" in result.out
    assert office.ctl("policy", "test", str(mine), "--json").json["ok"] is False
    assert office.ctl("policy", "test").code == Exit.OK


def test_versions_by_the_beginning_of_their_hash(office: Office) -> None:
    old = POLICY_FILE.read_text()
    office.do(office.policies.load(old.replace("change: first version", "change: second"), "policy.yaml"))
    assert office.ctl("policy", "show", digest_of(old)[:8]).out == old.rstrip("\n") + "\n"
    assert "change: second" in office.ctl("policy", "show").out
    diff = office.ctl("policy", "history", "--diff").out
    assert "-change: first version" in diff
    assert "+change: second" in diff


def test_a_refused_version_is_in_the_history(office: Office) -> None:
    with pytest.raises(Exception, match=r"policy\.refused"):
        office.do(office.policies.load("version: 1", "policy.yaml"))
    assert "refused" in office.ctl("policy", "history").out
    assert "refused, nothing changed" in office.ctl("logs").out
