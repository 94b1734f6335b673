"""What an operator does: keys, stops, following; each as a conversation."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from agentd.core.types.errors import Fault, PolicyRefused, RecordUnavailable
from agentd.ctl.exits import Exit
from agentd.ctl.rows import sentence
from ctl.office import POLICY_FILE, Office

COMMAND = [sys.executable, "-c", "from agentd.ctl.main import main; main()"]


class TestKey:
    """Values come hidden or piped, and show nowhere."""

    def test_from_a_pipe(self, office: Office, canary: str) -> None:
        result = office.ctl("key", "set", "openrouter", stdin=f"{canary}\n")
        assert (result.code, result.out) == (Exit.OK, "Key openrouter replaced.\n")
        assert result.err == "In use now for upstream openrouter.\n"
        assert office.keys.values["openrouter"] == canary

    def test_a_name_that_nobody_wants_is_stored_and_said(self, office: Office) -> None:
        result = office.ctl("key", "set", "spare", stdin="v")
        assert (result.code, result.out) == (Exit.OK, "Key spare set.\n")
        assert "No upstream of the policy wants a key named spare" in result.err

    @pytest.mark.parametrize(
        "args", [("openrouter", "CANARY"), ("CANARY",), ("openrouter=CANARY",), ("sk-ant",), ("", "CANARY")]
    )
    def test_as_an_argument_it_is_refused_and_not_repeated(
        self, office: Office, canary: str, args: tuple[str, ...]
    ) -> None:
        result = office.ctl("key", "set", *(arg.replace("CANARY", canary) for arg in args), stdin="v")
        assert (result.code, result.out) == (Exit.USAGE, "")
        assert "never given as an argument" in result.err
        assert "revoke" in result.err
        assert canary not in result.err
        assert office.keys.values == {"openrouter": "sk-or-v1-stored"}

    @pytest.mark.parametrize("value", ["", "\n", " \n "])
    def test_nothing_is_no_key(self, office: Office, value: str) -> None:
        result = office.ctl("key", "set", "spare", stdin=value)
        assert result.code == Exit.USAGE
        assert "Nothing came on stdin" in result.err

    def test_a_whole_file_is_no_key(self, office: Office) -> None:
        assert office.ctl("key", "set", "spare", stdin="x" * 10_000).code == Exit.USAGE
        assert "spare" not in office.keys.values

    def test_a_keyring_that_fails_says_what_to_do(self, office: Office) -> None:
        office.keys.broken = True
        result = office.ctl("key", "set", "spare", stdin="v")
        assert result.code == Exit.REFUSED
        assert result.err == "agentctl: The keyring is locked. [keyring.locked]\n  Unlock it.\n"

    def test_on_a_terminal_it_is_asked_for_and_not_shown(self, office: Office, canary: str) -> None:
        ours, theirs = pty.openpty()
        command = [*COMMAND, "--socket", str(office.socket), "key", "set", "spare"]
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(theirs)
        seen = _until(ours, b"Key spare: ")
        os.write(ours, canary.encode() + b"\n")
        out, _ = process.communicate(timeout=20)
        seen += _rest(ours)
        os.close(ours)
        assert (process.returncode, out) == (0, b"Key spare set.\n")
        assert canary.encode() not in seen
        assert office.keys.values["spare"] == canary

    def test_delete(self, office: Office) -> None:
        result = office.ctl("key", "delete", "openrouter")
        assert (result.code, result.out) == (Exit.OK, "Key openrouter deleted.\n")
        assert "Upstream openrouter cannot serve without it." in result.err
        assert "missing" in office.ctl("key", "list").out
        assert "uid" in next(
            line for line in office.ctl("logs").out.splitlines() if line.endswith("deletes key openrouter")
        )
        assert office.ctl("key", "delete", "openrouter").code == Exit.NOT_FOUND

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("OpenRouter", "Like: agentctl key set openrouter"),
            ("open.router", "Like openrouter."),
            ("2nd", "Like openrouter."),
            ("", "Like openrouter."),
        ],
    )
    def test_a_bad_name_is_a_bad_name_and_no_alarm(self, office: Office, name: str, says: str) -> None:
        result = office.ctl("key", "set", name, stdin="v")
        assert result.code == Exit.USAGE
        assert says in result.err
        assert "revoke" not in result.err
        assert office.keys.values == {"openrouter": "sk-or-v1-stored"}

    def test_a_key_that_no_upstream_wants_is_marked(self, office: Office) -> None:
        office.ctl("key", "set", "spare", stdin="v")
        row = next(line for line in office.ctl("key", "list").out.splitlines() if line.startswith("spare"))
        assert row.split(maxsplit=2)[1:] == ["unused", "none of the policy's wants it"]

    def test_a_key_given_for_deletion_is_not_repeated(self, office: Office, canary: str) -> None:
        result = office.ctl("key", "delete", canary)
        assert result.code == Exit.USAGE
        assert canary not in result.err

    def test_json(self, office: Office) -> None:
        assert office.ctl("key", "set", "spare", "--json", stdin="v").json == {
            "name": "spare",
            "replaced": False,
            "upstreams": [],
        }
        assert office.ctl("key", "delete", "spare", "--json").json == {"name": "spare", "upstreams": []}


def _own_terminal() -> None:
    """Make the terminal on stdin the one that /dev/tty means, as a shell does."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _until(descriptor: int, words: bytes) -> bytes:
    seen = b""
    while words not in seen:
        seen += os.read(descriptor, 1024)
    return seen


def _rest(descriptor: int) -> bytes:
    seen = b""
    while True:
        try:
            data = os.read(descriptor, 1024)
        except OSError:
            return seen
        if not data:
            return seen
        seen += data


class TestHalt:
    """Stop, look, go on."""

    def test_a_stop_from_order_to_end(self, office: Office) -> None:
        result = office.ctl("halt", "--agent", "main", "--reason", "it loops")
        assert result.code == Exit.OK
        assert result.out.startswith("Halted agent main (line ")
        assert "agentctl resume --agent main --reason WHY" in result.err
        assert [halt.name for halt in office.halts.active()] == ["main"]
        assert "HALTED" in office.ctl("status").out
        assert "halted" in office.ctl("agent", "list").out
        assert "it loops" in office.ctl("doctor").out
        assert "agent main halted by uid" in office.ctl("logs").out
        assert office.ctl("resume", "--reason", "box goes on").code == Exit.NOT_FOUND
        assert "it loops" in office.ctl("resume", "--agent", "main", "--reason", "mended").out
        assert office.halts.active() == ()

    def test_the_box(self, office: Office) -> None:
        assert "Halted the box" in office.ctl("halt", "--reason", "smoke").out
        assert office.ctl("resume", "--reason", "out", "--json").json["scope"] == "box"

    def test_no_record_no_stop(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        async def full(_line: object) -> None:
            raise RecordUnavailable("record.disk_full", "The disk is full.", "Make room.")

        monkeypatch.setattr(office.ledger, "append", full)
        result = office.ctl("halt", "--reason", "smoke", "--json")
        assert (result.code, result.out) == (Exit.REFUSED, "")
        assert "The disk is full." in result.err
        assert office.halts.active() == ()


class TestFollow:
    """`logs -f`, as a process of its own."""

    @pytest.fixture
    def process(self, office: Office) -> subprocess.Popen[str]:
        command = [*COMMAND, "--socket", str(office.socket), "logs", "-f", "--json", "-n", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout
        assert json.loads(process.stdout.readline())["kind"] == "policy"
        return process

    def test_rows_come_as_they_close_until_interrupted(self, office: Office, process: subprocess.Popen[str]) -> None:
        seq = office.call(text="thanks!")
        assert process.stdout
        row = json.loads(process.stdout.readline())
        assert (row["seq"], row["outcome"], row["cost_nusd"]) == (seq, seq + 1, 4_300_000)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (Exit.INTERRUPTED, "", "")

    def test_it_ends_with_the_daemon_and_says_so(self, office: Office, process: subprocess.Popen[str]) -> None:
        office.close()
        out, err = process.communicate(timeout=20)
        assert process.returncode == Exit.UNREACHABLE
        assert out == ""
        assert str(office.socket) in err


class TestDoctor:
    """Ends with its finding."""

    def test_something_bad_ends_with_one(self, office: Office) -> None:
        office.vitals["core_dumps_off"] = False
        for args in ((), ("--json",)):
            assert office.ctl("doctor", *args).code == Exit.FINDING
        assert "BAD   memory" in office.ctl("doctor").out

    def test_warnings_alone_do_not(self, office: Office) -> None:
        office.vitals["signing"] = False
        assert office.ctl("doctor").code == Exit.OK


def test_status_shouts_what_is_wrong(office: Office) -> None:
    office.vitals.update(
        simulate=True,
        ledger=("record.disk_full", "The disk is full. Make room."),
        upstreams=[{"name": "openrouter", "breaker": "open", "last_error": "timeout"}],
    )
    try:
        office.do(office.policies.load(POLICY_FILE.read_text().replace("tier: economy", "tier: gold"), "policy.yaml"))
    except Exception:
        pass
    shown = office.ctl("status").out
    for words in (
        "SIMULATED",
        "REFUSES LINES: The disk is full.",
        "the last call of openrouter failed: timeout",
        "NOT IN FORCE: /etc/agentd/policy.yaml:",
        "agentctl policy check /etc/agentd/policy.yaml",
    ):
        assert words in shown
    office.keys.broken = True
    row = next(line for line in office.ctl("status").out.splitlines() if line.strip().startswith("keyring"))
    assert row.endswith("; The keyring is locked [keyring.locked]; see agentctl doctor")
    assert "Unlock it." in office.ctl("doctor").out


def test_status_names_the_file_in_force(office: Office) -> None:
    assert "policy file     /etc/agentd/policy.yaml\n" in office.ctl("status").out


def test_a_failing_test_in_the_file_leads_to_the_command_that_shows_it(office: Office) -> None:
    wrong = POLICY_FILE.read_text().replace("expect: { verdict: allow, tier: standard }", "expect: { verdict: deny }")
    with pytest.raises(Exception, match=r"policy\.refused"):
        office.do(office.policies.load(wrong, "policy.yaml"))
    for command in ("status", "doctor"):
        assert "agentctl policy test /etc/agentd/policy.yaml" in office.ctl(command).out


def test_a_file_that_cannot_be_read_leads_to_its_own_cure(office: Office) -> None:
    path = office.vitals["policy_path"]
    fault = Fault(1, 1, "", "everybody may write it", f"chmod o-w {path}")
    office.do(office.policies.refuse(PolicyRefused(path, (fault,))))
    for command in ("status", "doctor"):
        assert f"chmod o-w {path}" in office.ctl(command).out
        assert "policy check" not in office.ctl(command).out
    office.do(office.policies.load(POLICY_FILE.read_text(), "policy.yaml"))
    assert "stays in force: the file holds the policy in force again" in office.ctl("logs").out
    assert "the file holds the policy in force again" in office.ctl("policy", "history").out


OLD = {"reason": "disk died", "moved_to": "ledger-until-X"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"kind": "gap", "missed": 7}, "7 lines were not shown"),
        ({"kind": "start", "detail": {"version": "0.1.0"}}, "agentd started: 0.1.0"),
        ({"kind": "stop"}, "agentd stopped"),
        (
            {"kind": "policy", "verdict": "deny", "policy": "ab" * 32, "detail": {"faults": [{"message": "no tier"}]}},
            "refused, nothing changed: no tier",
        ),
        ({"kind": "policy", "verdict": "deny", "policy": None, "detail": {}}, "refused, nothing changed"),
        (
            {"kind": "key", "code": "key.failed", "detail": {"name": "a", "act": "set", "failure": "keyring.locked"}},
            "could not be stored: keyring.locked",
        ),
        ({"kind": "key", "code": "key.failed", "detail": {"name": "a", "act": "delete"}}, "could not be deleted"),
        (
            {"kind": "key", "code": "key.delete", "detail": {"name": "a"}, "caller": {"uid": 7}},
            "uid 7 deletes key a",
        ),
        ({"kind": "key", "code": "key.set", "detail": {"name": "a", "replaces": True}}, "somebody replaces key a"),
        (
            {
                "kind": "key",
                "code": "key.failed",
                "detail": {"name": "a", "act": "delete", "failure": "keyring.locked"},
            },
            "could not be deleted from the keyring: keyring.locked; it is out of use all the same",
        ),
        ({"kind": "key", "code": "key.failed", "detail": {"name": "a", "failure": "key.unknown"}}, ": key.unknown"),
        (
            {"kind": "policy", "verdict": "allow", "code": "policy.restored", "detail": {"message": "it is back"}},
            "stays in force: it is back",
        ),
        ({"kind": "genesis", "detail": {"ledger": "ab"}}, "the record begins"),
        (
            {"kind": "genesis", "detail": {"previous": {**OLD, "seq": 7, "digest": "ab" * 32}}},
            "begins anew: disk died; the one before ended at line 7 (abababababab), its files are in ledger-until-X beside",
        ),
        (
            {"kind": "genesis", "detail": {"previous": {**OLD, "unreadable": "record.damaged"}}},
            "ended at an unknown line",
        ),
        (
            {"kind": "escalation", "verdict": "allow", "agent": "main", "class": "analysis"},
            "escalation granted to main for analysis",
        ),
        (
            {"kind": "escalation", "verdict": "deny", "detail": {"message": "used up"}},
            "escalation refused to an unknown caller for no class: used up",
        ),
        ({"kind": "future", "detail": {"message": "hello"}}, "future: hello"),
        ({}, "None"),
    ],
)
def test_sentences(row: dict[str, object], words: str) -> None:
    assert words in sentence(row)
