"""Codex does its work through agentd, over the TCP door with a local token; refused, it says so once and stops.

The simulated model does what the prompt says: `[[sim:shell COMMAND]]` makes it call the client's own shell tool, and when the
result comes back it answers with that.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients import codex
from harness.daemon import SHIPPED_POLICY, Daemon

pytestmark = pytest.mark.clients

TOUCH = "[[sim:shell touch marker && echo the-file-is-there]]"
Start = Callable[..., Daemon]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Path:
    return codex.binary()


def served(start: Start, policy: str | Path = SHIPPED_POLICY) -> Daemon:
    return start(policy, "--tcp", "127.0.0.1:0")


def decisions(daemon: Daemon) -> list[dict[str, Any]]:
    """The lines of decisions, oldest first, each with its outcome."""
    return [line for line in daemon.lines() if line["kind"] == "decision"]


def changed(old: str, new: str) -> str:
    """The shipped policy with a part of it put differently, without its own tests."""
    text = SHIPPED_POLICY.read_text()
    assert text.count(old) == 1, f"the shipped policy has {old!r} {text.count(old)} times"
    return text.replace(old, new).partition("\ntests:")[0] + "\n...\n"


def test_a_turn_with_a_tool_call(start_agentd: Start, tmp_path: Path) -> None:
    daemon = served(start_agentd)
    turn = codex.turn(daemon, TOUCH, tmp_path, model="agentd/implementation")

    assert (turn.status, (turn.work / "marker").exists()) == (0, True)
    assert "the-file-is-there" in turn.said
    first, second = decisions(daemon)
    for line in (first, second):
        assert (line["agent"], line["verdict"], line["class"], line["tier"]) == (
            "main",
            "allow",
            "implementation",
            "standard",
        )
        assert line["class_why"]["stage"] == "lane"
        assert line["caller"]["transport"] == "tcp"
        assert line["status"] == "done"
        assert 0 < line["cost_nusd"] <= line["reserved_nusd"]
    assert (second["model"], second["session"], second["code"]) == (first["model"], first["session"], "tier.kept")


def test_what_a_provider_would_run_is_left_out_and_recorded(start_agentd: Start, tmp_path: Path) -> None:
    daemon = served(start_agentd)
    turn = codex.turn(daemon, "[[sim:say ok]]", tmp_path, model="chat", web_search="live")

    assert (turn.status, turn.said) == (0, "ok")
    (line,) = decisions(daemon)
    assert "web_search" in daemon.ctl("explain", f"d-{line['seq']}").stdout


def test_a_halt_is_told_once(start_agentd: Start, tmp_path: Path) -> None:
    daemon = served(start_agentd)
    assert daemon.ctl("halt", "--reason", "maintenance of the disk").returncode == 0
    turn = codex.turn(daemon, TOUCH, tmp_path / "halted", model="chat")

    assert (turn.status, (turn.work / "marker").exists()) == (1, False)
    (line,) = decisions(daemon)  # one request: it did not try again
    assert (line["verdict"], line["code"]) == ("deny", "operator.halt")
    assert "maintenance of the disk" in turn.told
    assert f"d-{line['seq']}" in turn.told

    assert daemon.ctl("resume", "--reason", "done").returncode == 0
    assert codex.turn(daemon, TOUCH, tmp_path / "resumed", model="chat").status == 0


def test_a_budget_that_ends_within_a_tool_loop_ends_the_loop(start_agentd: Start, tmp_path: Path) -> None:
    daemon = served(start_agentd, changed("window: day, limit: 10.00 }", "window: day, calls: 1 }"))
    turn = codex.turn(daemon, TOUCH, tmp_path, model="chat")

    assert (turn.status, (turn.work / "marker").exists()) == (1, True)
    first, second = decisions(daemon)
    assert (first["verdict"], second["verdict"], second["code"]) == ("allow", "deny", "budget.exhausted")
    assert f"d-{second['seq']}" in turn.told


def test_an_upstream_that_is_busy_once_is_not_noticed(start_agentd: Start, tmp_path: Path) -> None:
    turn = codex.turn(served(start_agentd), "[[sim:fault once:503]] [[sim:say back]]", tmp_path, model="chat")
    assert (turn.status, turn.said) == (0, "back")


@pytest.mark.parametrize("fault", ["cut-mid", "error-mid:int"])
def test_an_answer_that_breaks_off_is_no_answer(start_agentd: Start, tmp_path: Path, fault: str) -> None:
    daemon = served(start_agentd)
    turn = codex.turn(daemon, f"[[sim:long 60]] [[sim:fault {fault}]]", tmp_path, model="chat")

    assert (turn.status, turn.said) == (1, "")
    assert len(decisions(daemon)) <= codex.STREAM_RETRIES + 1
    assert "disconnected" not in turn.told


def test_a_token_that_is_none_starts_no_storm(start_agentd: Start, tmp_path: Path) -> None:
    daemon = served(start_agentd)
    config = codex.CONFIG.format(model="chat", door=codex.door(daemon), retries=codex.STREAM_RETRIES, web_search="live")
    turn = codex.run("[[sim:say ok]]", tmp_path, config, {"AGENTD_TOKEN": "sk-somebody"})
    assert turn.status == 1
    assert {line["code"] for line in decisions(daemon)} == {"token.unknown"}
    assert len(decisions(daemon)) <= codex.STREAM_RETRIES + 1


def test_its_websocket_is_declined_and_it_goes_on_by_http(start_agentd: Start, tmp_path: Path) -> None:
    """The provider that is built in, with its address moved, tries a WebSocket first."""
    daemon = served(start_agentd)
    config = f"""\
model = "chat"
approval_policy = "never"
sandbox_mode = "danger-full-access"
web_search = "disabled"
openai_base_url = "{codex.door(daemon)}/v1"
"""
    keys = {"OPENAI_API_KEY": codex.token(daemon), "CODEX_API_KEY": codex.token(daemon)}
    turn = codex.run("[[sim:say ok]]", tmp_path, config, keys)
    assert "failed to connect to Responses WebSocket" in turn.told
    assert (turn.status, turn.said) == (0, "ok")
    assert [line["verdict"] for line in decisions(daemon)] == ["allow"]
