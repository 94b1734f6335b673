"""`agentctl connect` against a real daemon: written, proved with a call, and taken back to the byte."""

import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.ctl.clients import NAMES
from ctl.office import run
from harness.daemon import REPO, SHIPPED_POLICY, Daemon

OVER_TCP = ("codex", "openclaw", "nanobot", "aider", "llm")
ME = SHIPPED_POLICY.read_text().replace("{ uid: self }", f"{{ uid: {os.getuid()} }}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of nobody else's, with what people have in theirs."""
    for name, text in {
        ".codex/config.toml": 'model = "gpt"\n[mcp_servers.x]\ncommand = "x"\n',
        ".openclaw/openclaw.json": '{"agents": {"defaults": {"model": {"primary": "old/one"}}}, "gateway": {"port": 1}}',
        ".config/io.datasette.llm/keys.json": '{"openai": "theirs"}',
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def daemon(start_agentd: Callable[..., Daemon], monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """With its door over TCP open, and a policy that knows this uid by its number."""
    started = start_agentd(ME, "--tcp", "127.0.0.1:0")
    monkeypatch.setenv("AGENTD_OPERATOR_SOCKET", str(started.operator_socket))
    return started


def tree(home: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its mode and bytes, every directory."""
    return {
        str(path.relative_to(home)): (stat.S_IMODE(path.lstat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in home.rglob("*")
    }


def test_claude_code_is_written_proved_and_taken_back(daemon: Daemon, home: Path) -> None:
    before = tree(home)
    done = run("connect", "claude-code")
    assert done.code == 0, done.err
    env = (home / ".config/agentd/claude-code.env").read_text()
    assert f"ANTHROPIC_UNIX_SOCKET={daemon.agent_socket}\n" in env
    proof = run("connect", "claude-code", "--check", "--json")
    assert proof.code == 0, proof.err
    found = json.loads(proof.out)
    assert (found["status"], set(found["files"].values())) == (200, {True})
    assert [line["id"] for line in daemon.lines() if line["kind"] == "decision"] == [found["decision"]]
    assert run("connect", "claude-code", "--undo").code == 0
    assert tree(home) == before


def test_the_wrapper_starts_the_client_with_the_environment(daemon: Daemon, home: Path) -> None:
    run("connect", "claude-code")
    fake = home / "bin/claude"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$ANTHROPIC_UNIX_SOCKET|$ANTHROPIC_API_KEY|$1"\n')
    fake.chmod(0o755)
    command = [home / ".local/bin/claude-agentd", "a b"]
    done = subprocess.run(command, env={"PATH": f"{fake.parent}:/bin:/usr/bin"}, capture_output=True, text=True)
    assert done.stdout == f"{daemon.agent_socket}||a b\n"


@pytest.mark.parametrize("client", NAMES)
def test_the_model_that_was_named_is_what_a_client_asks_for(daemon: Daemon, home: Path, client: str) -> None:
    """No client may leave it out: what it does would count as another class of work than its operator said."""
    for way in ((), ("--tcp", "127.0.0.1:8710")):
        shown = run("connect", client, "--print", "--model", "a-lane", *way)
        assert shown.code == 0
        assert "a-lane" in shown.out


def test_claude_code_names_its_own_models_unless_one_is_named(daemon: Daemon, home: Path) -> None:
    file = home / ".config/agentd/claude-code.env"
    run("connect", "claude-code")
    assert "_MODEL=" not in file.read_text()
    run("connect", "claude-code", "--model", "auto")
    assert "ANTHROPIC_MODEL=auto\n" in file.read_text()


def test_a_proof_asks_for_the_model_that_was_written_or_for_the_one_that_is_named(daemon: Daemon, home: Path) -> None:
    run("connect", "claude-code", "--model", "code")
    for more in ((), ("--model", "analysis")):
        assert run("connect", "claude-code", "--check", *more).code == 0
    asked = [line["model_asked"] for line in daemon.lines() if line["kind"] == "decision"]
    assert asked == ["code", "analysis"]


@pytest.mark.parametrize("client", OVER_TCP)
def test_clients_over_tcp_get_a_token_and_come_in_with_it(daemon: Daemon, home: Path, client: str) -> None:
    before = tree(home)
    done = run("connect", client, "--agent", "main")
    assert done.code == 0, done.err
    assert "agentd-" not in done.out + done.err.replace("-agentd", ""), "the token is written, not shown"
    proof = run("connect", client, "--check")
    assert proof.code == 0, proof.err
    assert "127.0.0.1:" in proof.out
    rows = [line for line in daemon.lines() if line["kind"] == "decision"]
    assert rows[-1]["agent"] == "main"
    assert rows[-1]["id"] in proof.out
    gone = run("connect", client, "--undo")
    assert gone.code == 0
    assert "agentctl agent token revoke t-" in gone.err
    assert tree(home) == before


def test_connecting_again_keeps_the_oldest_text(daemon: Daemon, home: Path) -> None:
    before = tree(home)
    for model in ("chat", "code"):
        assert run("connect", "openclaw", "--agent", "main", "--model", model).code == 0
    written = json.loads((home / ".openclaw/openclaw.json").read_text())
    assert written["agents"]["defaults"]["model"]["primary"] == "agentd/code"
    assert written["gateway"] == {"port": 1}
    run("connect", "openclaw", "--undo")
    assert tree(home) == before


def test_what_the_client_wrote_since_stays(daemon: Daemon, home: Path) -> None:
    file = home / ".openclaw/openclaw.json"
    run("connect", "openclaw", "--agent", "main")
    held = json.loads(file.read_text())
    file.write_text(json.dumps({**held, "meta": {"touched": 1}}))
    assert "CHANGED" in run("connect", "openclaw", "--check").out
    assert run("connect", "openclaw", "--undo").code == 0
    left = json.loads(file.read_text())
    assert left == {
        "agents": {"defaults": {"model": {"primary": "old/one"}}},
        "gateway": {"port": 1},
        "meta": {"touched": 1},
    }


def test_a_file_that_cannot_be_told_apart_is_left_and_said(daemon: Daemon, home: Path) -> None:
    run("connect", "claude-code")
    (home / ".config/agentd/claude-code.env").write_text("MINE=1\n")
    done = run("connect", "claude-code", "--undo")
    assert done.code == 4
    assert "LEFT" in done.out
    assert (home / ".config/agentd/claude-code.env").read_text() == "MINE=1\n"
    assert not (home / ".local/bin/claude-agentd").exists()


def test_nothing_half_is_written(daemon: Daemon, home: Path) -> None:
    (home / ".config/io.datasette.llm/keys.json").write_text("{ // mine\n}")
    before = tree(home)
    done = run("connect", "llm", "--agent", "main")
    assert done.code == 4
    assert "no plain JSON" in done.err
    assert tree(home) == before


def test_a_link_stays_a_link(daemon: Daemon, home: Path) -> None:
    kept = home / "dotfiles/openclaw.json"
    kept.parent.mkdir()
    (home / ".openclaw/openclaw.json").rename(kept)
    (home / ".openclaw/openclaw.json").symlink_to(kept)
    run("connect", "openclaw", "--agent", "main")
    assert (home / ".openclaw/openclaw.json").is_symlink()
    assert "agentd" in kept.read_text()


def test_printing_writes_nothing_and_makes_no_token(daemon: Daemon, home: Path) -> None:
    before = tree(home)
    for client in (*OVER_TCP, "claude-code", "openai-sdk", "anthropic-sdk"):
        done = run("connect", client, "--print", "--agent", "main")
        assert done.code == 0
        assert done.out
    assert tree(home) == before
    assert json.loads(daemon.ctl("agent", "token", "list", "--json").stdout)["tokens"] == []


def test_the_sdks_get_lines_of_code_with_this_boxs_socket(daemon: Daemon, home: Path) -> None:
    for client in ("openai-sdk", "anthropic-sdk"):
        assert str(daemon.agent_socket) in run("connect", client).out
        assert run("connect", client, "--check").code == 0
        assert "nothing is taken back" in run("connect", client, "--undo").err


def test_a_refusal_is_a_finding_with_its_decision(daemon: Daemon, home: Path) -> None:
    run("connect", "claude-code")
    daemon.ctl("halt", "--reason", "lunch")
    done = run("connect", "claude-code", "--check")
    assert done.code == 1
    assert "lunch" in done.err
    assert "d-" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("codex",), 4, "--agent AGENT"),
        (("codex", "--check"), 4, "--agent AGENT"),
        (("codex", "--tcp", "here"), 2, "HOST:PORT"),
        (("codex", "--tcp", "127.0.0.1:1"), 2, "no token"),
        (("codex", "--agent", "main", "--model", 'x"y'), 2, "no name of a model"),
        (("claude-code", "--model", "x$(y)"), 2, "no name of a model"),
        (("claude-code", "--model", ""), 2, "no name of a model"),
        (("claude-code", "--user", "nobody-has-this-name"), 5, "no user"),
        (("vim",), 2, "vim"),
    ],
)
def test_what_cannot_be_is_said(home: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    before = tree(home)
    done = run("connect", *arguments, stdin="no token")
    assert (done.code, says in done.err) == (code, True), done.err
    assert tree(home) == before


def test_without_a_daemon_the_proof_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTD_OPERATOR_SOCKET", str(home / "operator.sock"))
    assert run("connect", "claude-code", "--check").code == 3


@pytest.mark.root
def test_as_a_user_root_has_that_users_rights_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that makes its own configuration a link to another's file gets a refusal, not root's pen."""
    found = pwd.getpwnam("nobody")
    place = Path(f"/var/tmp/agentd-connect-{os.getpid()}")
    home = place / "home"
    home.mkdir(parents=True)
    try:
        secret = place / "roots.json"
        secret.write_text("{}")
        (home / ".nanobot").mkdir()
        (home / ".nanobot/config.json").symlink_to(secret)
        for path in (home, home / ".nanobot"):
            os.chown(path, found.pw_uid, found.pw_gid)
        program = (
            "import pwd, sys; found = pwd.getpwnam('nobody')\n"
            f"pwd.getpwnam = lambda name: type(found)((*found[:5], {str(home)!r}, found[6]))\n"
            "from agentd.ctl.main import cli; cli(['connect', 'nanobot', '--user', 'nobody', '--tcp', '127.0.0.1:1'])"
        )
        token = "agentd-" + "t" * 43
        command = [sys.executable, "-c", program]
        env = {"PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(command, input=token, env=env, cwd="/", capture_output=True, text=True)
        assert done.returncode == 4, done.stderr
        assert secret.read_text() == "{}"
        (home / ".nanobot/config.json").unlink()
        done = subprocess.run(command, input=token, env=env, cwd="/", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (home / ".nanobot/config.json").stat().st_uid == found.pw_uid
    finally:
        shutil.rmtree(place)
