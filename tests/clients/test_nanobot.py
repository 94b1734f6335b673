"""nanobot does its work through agentd, over TCP with a local token and the configuration that `agentctl connect` writes.

The simulated model does what the prompt says: `[[sim:shell COMMAND]]` makes it call the client's own shell tool, and when the
result comes back it answers with that.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clients import connecting, nanobot
from clients.connecting import Way
from clients.tcp import TcpAgent, agent_over_tcp
from harness.daemon import SHIPPED_POLICY, Daemon, discard, start

pytestmark = pytest.mark.clients

TOUCH = "[[sim:shell touch marker && echo the-file-is-there]]"


@pytest.fixture(scope="module", autouse=True)
def _installed() -> Path:
    return nanobot.binary()


@pytest.fixture(scope="module")
def agent() -> Iterator[TcpAgent]:
    """One daemon for all that leave it as it is."""
    made = agent_over_tcp(start)
    yield made
    discard(made.daemon)


def decisions(daemon: Daemon) -> list[dict[str, Any]]:
    """The lines of decisions, oldest first, each with its outcome."""
    return [line for line in daemon.lines() if line["kind"] == "decision"]


def way(agent: TcpAgent, model: str = "chat") -> Way:
    return Way(agent.url, agent.token, model)


def test_a_turn(agent: TcpAgent, tmp_path: Path) -> None:
    before = len(decisions(agent.daemon))
    home = connecting.home("nanobot", way(agent), tmp_path)
    assert nanobot.turn(home, "[[sim:say good morning]]").said == "good morning"
    (line,) = decisions(agent.daemon)[before:]
    assert (line["agent"], line["caller"]["transport"], line["verdict"], line["status"]) == (
        "main",
        "tcp",
        "allow",
        "done",
    )
    assert (line["class"], line["tier"], line["class_why"]["stage"]) == ("routine", "economy", "lane")


def test_a_turn_with_a_tool_call_is_one_session_on_one_model(agent: TcpAgent, tmp_path: Path) -> None:
    before = len(decisions(agent.daemon))
    home = connecting.home("nanobot", way(agent, "code"), tmp_path)
    turn = nanobot.turn(home, TOUCH)

    assert nanobot.marker(home).exists()
    assert "the-file-is-there" in turn.said.partition("Exit code")[0]
    first, second = decisions(agent.daemon)[before:]
    for line in (first, second):
        assert (line["verdict"], line["class"], line["tier"]) == ("allow", "implementation", "standard")
        assert 0 < line["cost_nusd"] <= line["reserved_nusd"]
    assert (second["model"], second["session"], second["code"]) == (first["model"], first["session"], "tier.kept")


def test_what_it_does_on_its_own_is_classified(agent: TcpAgent, tmp_path: Path) -> None:
    """It declares no class and asks for a model that nobody has; its own wake-up is known by its words."""
    before = len(decisions(agent.daemon))
    home = connecting.home("nanobot", way(agent, "auto"), tmp_path)
    nanobot.turn(home, "Read HEARTBEAT.md if it exists (workspace context). Follow it strictly.")
    (line,) = decisions(agent.daemon)[before:]
    assert (line["class"], line["tier"]) == ("heartbeat", "economy")


def test_a_halt_is_told_once_and_locks_nothing(start_agentd: Callable[..., Daemon], tmp_path: Path) -> None:
    agent = agent_over_tcp(start_agentd)
    home = connecting.home("nanobot", way(agent), tmp_path)
    assert agent.daemon.ctl("halt", "--reason", "maintenance of the disk").returncode == 0
    turn = nanobot.turn(home, TOUCH)

    assert not nanobot.marker(home).exists()
    (line,) = decisions(agent.daemon)  # one request: it did not try again
    assert (line["verdict"], line["code"]) == ("deny", "operator.halt")
    assert "maintenance of the disk" in turn.said
    assert f"d-{line['seq']}" in turn.said

    assert agent.daemon.ctl("resume", "--reason", "done").returncode == 0
    assert nanobot.turn(home, "[[sim:say back]]").said == "back"


def test_a_budget_that_ends_within_a_tool_loop_ends_the_loop(
    start_agentd: Callable[..., Daemon], tmp_path: Path
) -> None:
    text = SHIPPED_POLICY.read_text()
    assert text.count("window: day, limit: 10.00 }") == 1
    policy = text.replace("window: day, limit: 10.00 }", "window: day, calls: 1 }").partition("\ntests:")[0] + "\n...\n"
    agent = agent_over_tcp(lambda _, *flags: start_agentd(policy, *flags))
    home = connecting.home("nanobot", way(agent), tmp_path)
    turn = nanobot.turn(home, TOUCH)

    assert nanobot.marker(home).exists()
    first, second = decisions(agent.daemon)
    assert (first["verdict"], second["verdict"], second["code"]) == ("allow", "deny", "budget.exhausted")
    assert "the calls limit of box-day" in turn.said  # and nothing about an account to be topped up


def test_an_upstream_that_is_busy_once_is_not_noticed(agent: TcpAgent, tmp_path: Path) -> None:
    home = connecting.home("nanobot", way(agent), tmp_path)
    assert nanobot.turn(home, "[[sim:fault once:503]] [[sim:say back]]").said == "back"


def test_an_answer_that_breaks_off_is_kept_by_nobody(agent: TcpAgent, tmp_path: Path) -> None:
    """Its command line shows the part that came, without a word; its session and the record take the turn for failed."""
    before = len(decisions(agent.daemon))
    home = connecting.home("nanobot", way(agent), tmp_path)
    said = nanobot.turn(home, "[[sim:long 60]] [[sim:fault cut-mid]]").said
    (line,) = decisions(agent.daemon)[before:]
    assert line["status"] == "cut"
    (session,) = (home.path / ".nanobot" / "sessions").rglob("*.jsonl")
    assert said.startswith("(simulated) words")
    assert "(simulated) words" not in session.read_text()
    assert "model error" in session.read_text()
