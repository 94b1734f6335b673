"""Claude Code does its work through agentd, and the record shows what it did; refused, it says so once and stops.

The simulated model does what the prompt says: `[[sim:shell COMMAND]]` makes it call the client's own shell tool, and when the
result comes back it answers with that.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients import claude, connecting
from clients.connecting import Way
from clients.tcp import agent_over_tcp
from harness.daemon import SHIPPED_POLICY, Daemon

pytestmark = pytest.mark.clients

TOUCH = "[[sim:shell touch marker && echo the-file-is-there]]"


def changed(*changes: tuple[str, str]) -> str:
    """The shipped policy with parts of it put differently."""
    text = SHIPPED_POLICY.read_text()
    for old, new in changes:
        assert text.count(old) == 1, f"the shipped policy has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text.partition("\ntests:")[0] + "\n...\n"


def decisions(daemon: Daemon) -> list[dict[str, Any]]:
    """The lines of decisions, oldest first, each with its outcome."""
    return [line for line in daemon.lines() if line["kind"] == "decision"]


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Path:
    return claude.binary()


def test_a_turn_with_a_tool_call(running_agentd: Daemon, tmp_path: Path) -> None:
    turn = claude.turn(running_agentd, TOUCH, tmp_path, model="agentd/implementation")

    assert (turn.work / "marker").exists()
    assert "the-file-is-there" in turn.said
    assert (turn.status, turn.result["is_error"]) == (0, False)

    first, second = decisions(running_agentd)
    for line in (first, second):
        assert (line["agent"], line["verdict"], line["class"], line["tier"]) == (
            "main",
            "allow",
            "implementation",
            "standard",
        )
        assert line["class_why"]["stage"] == "lane"
        assert line["model_asked"] == "agentd/implementation"
        assert line["status"] == "done"
        assert 0 < line["cost_nusd"] <= line["reserved_nusd"]
    assert second["model"] == first["model"]
    assert second["code"] == "tier.kept"
    assert second["session"] == first["session"]


def test_a_tool_loop_stays_in_its_class(running_agentd: Daemon, tmp_path: Path) -> None:
    """Without a declared class the words decide once; what follows in the loop is the same work on the same model."""
    turn = claude.turn(running_agentd, TOUCH, tmp_path, model="house-model")

    assert (turn.work / "marker").exists()
    first, second = decisions(running_agentd)
    assert first["class_why"]["stage"] not in ("lane", "continuation")
    assert second["class_why"]["stage"] == "continuation"
    assert (second["class"], second["tier"], second["model"]) == (first["class"], first["tier"], first["model"])


def test_a_class_declared_by_header(running_agentd: Daemon, tmp_path: Path) -> None:
    claude.turn(running_agentd, "[[sim:say ok]]", tmp_path, model="house-model", headers={"X-Agentd-Class": "analysis"})
    (line,) = decisions(running_agentd)
    assert (line["class"], line["class_why"]["stage"]) == ("analysis", "lane")


def test_the_model_that_it_is_connected_with_is_what_all_of_it_asks_for(
    start_agentd: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Its turns, those with a model by its own words, and sub-agents, whatever model they were to have."""
    agent = agent_over_tcp(start_agentd)
    home = connecting.home("claude-code", Way(agent.url, agent.token, "analysis"), tmp_path)
    inner = '{"description": "look", "prompt": "look", "subagent_type": "general-purpose", "model": "haiku"}'
    env = connecting.environment(home, claude.binary().parent)
    for asked in (["[[sim:say ok]]"], ["[[sim:say ok]]", "--model", "opus"], [f"[[sim:tool Agent {inner}]]"]):
        command = [str(home.path / ".local/bin/claude-agentd"), "--allowedTools=Agent", "-p", *asked]
        done = connecting.run(command, home, env, claude.TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        assert "assumes a context window" not in done.stderr
    lines = decisions(agent.daemon)
    assert len(lines) > 4  # one, one, and for the last: the turn, its end, and the sub-agent
    assert {(line["model_asked"], line["class"], line["verdict"]) for line in lines} == {
        ("analysis", "analysis", "allow")
    }


def test_without_a_model_it_names_its_own_and_a_lane_takes_them(
    start_agentd: Callable[..., Daemon], tmp_path: Path
) -> None:
    agent = agent_over_tcp(start_agentd)
    home = connecting.home("claude-code", Way(agent.url, agent.token, None), tmp_path)
    command = [str(home.path / ".local/bin/claude-agentd"), "-p", "[[sim:say ok]]"]
    done = connecting.run(command, home, connecting.environment(home, claude.binary().parent), claude.TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    (line,) = decisions(agent.daemon)
    assert line["model_asked"].startswith("claude-")
    assert (line["class"], line["class_why"]["stage"]) == ("implementation", "lane")


def test_a_tier_above_the_classs_own_is_served_at_that(running_agentd: Daemon, tmp_path: Path) -> None:
    """A header may choose below what policy grants, never above; work that can be done cheaper is done, not refused."""
    headers = {"X-Agentd-Tier": "frontier"}
    turn = claude.turn(running_agentd, "[[sim:say ok]]", tmp_path, model="agentd/implementation", headers=headers)
    assert (turn.status, turn.said) == (0, "ok")
    (line,) = decisions(running_agentd)
    assert (line["tier_asked"], line["tier"], line["code"]) == ("frontier", "standard", "tier.capped")


def test_a_budget_that_is_used_up_is_one_clear_message(start_agentd: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = start_agentd(changed(("window: day, limit: 10.00 }", "window: day, limit: 0.0001 }")))
    turn = claude.turn(daemon, TOUCH, tmp_path, model="agentd/implementation")

    assert (turn.status, (turn.work / "marker").exists()) == (1, False)
    (line,) = decisions(daemon)  # one request: it did not try again
    assert (line["verdict"], line["code"]) == ("deny", "budget.exhausted")
    assert "box-day" in turn.said
    assert f"d-{line['seq']}" in turn.said


def test_a_budget_that_ends_within_a_tool_loop_ends_the_loop(
    start_agentd: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = start_agentd(changed(("window: day, limit: 10.00 }", "window: day, calls: 1 }")))
    turn = claude.turn(daemon, TOUCH, tmp_path, model="agentd/implementation")

    assert (turn.status, (turn.work / "marker").exists()) == (1, True)
    first, second = decisions(daemon)
    assert (first["verdict"], second["verdict"], second["code"]) == ("allow", "deny", "budget.exhausted")
    assert f"d-{second['seq']}" in turn.said


def test_a_halt_stops_it_and_a_resume_lets_it_work(running_agentd: Daemon, tmp_path: Path) -> None:
    halted = running_agentd.ctl("halt", "--reason", "maintenance of the disk")
    assert halted.returncode == 0, halted.stderr
    refused = claude.turn(running_agentd, TOUCH, tmp_path / "halted", model="agentd/implementation")
    assert refused.status == 1
    assert "maintenance of the disk" in refused.said

    assert running_agentd.ctl("resume", "--reason", "done").returncode == 0
    served = claude.turn(running_agentd, TOUCH, tmp_path / "resumed", model="agentd/implementation")
    assert (served.status, (served.work / "marker").exists()) == (0, True)
    assert [line["verdict"] for line in decisions(running_agentd)] == ["deny", "allow", "allow"]
