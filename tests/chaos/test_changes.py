"""A new key, and a new policy, while fifty streams run.

A running stream ends whole, with the key and under the policy that it began with, at the price it began with. The next call is
sent with the new key, and judged by the new policy. A stream that was broken off before its upstream left the policy keeps its
reservation, named `lost`: nobody can be asked.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from daemon.stage import Stage
from harness import upstream as upstreams
from harness.daemon import Daemon
from harness.upstream import Upstream

STREAMS = 50
TEXT = "[[sim:long 200]] to be changed"
STREAMED = tuple(kind for kind in agents.KINDS if kind[1])
SECOND = "sk-or-v1-test-fedcba9876543210"


def digest(stage: Stage) -> str:
    """The policy in force."""
    found: str = books.status(stage)["policy"]["digest"]
    return found


def other_policy(stage: Stage, text: str) -> None:
    """Put a policy in the place of the one in force, and wait until it is."""
    before = digest(stage)
    stage.daemon.policy.write_text(text)
    ends = books.Patience()
    while digest(stage) == before:
        ends.look(f"the new policy: {books.status(stage)['policy']}")


def running(stage: Stage, line: Line) -> list[agents.Agent]:
    """Streams that have begun and wait for their second part."""
    line.hold()
    crowd = agents.begin(stage.daemon, STREAMS, TEXT, STREAMED)
    agents.all_began(crowd)
    return crowd


@pytest.fixture
def any_key(tmp_path: Path) -> Iterator[Upstream]:
    """A simulator that takes any key."""
    made = upstreams.start(tmp_path, "--late", "0", key=None)
    yield made
    made.stop()


def test_a_key_is_replaced_in_mid_stream(start_agentd: Callable[..., Daemon], any_key: Upstream) -> None:
    line = Line(any_key.url).begin()
    policy = any_key.policy().replace(any_key.url, line.url)
    stage = Stage(start_agentd(policy, env=any_key.environment(), simulate=False), any_key)
    crowd = running(stage, line)
    (any_key.home / "credentials" / "openrouter").write_text(SECOND)
    stage.daemon.process.send_signal(signal.SIGHUP)
    line.flow(later=True)
    ends = books.Patience()
    while line.keys[-1] != SECOND:
        ends.look("the new key")
        assert agents.ask(stage.daemon).whole
    stage.until(in_flight=STREAMS)  # they still run, with the old key
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    assert line.keys == sorted(line.keys, key=lambda key: key == SECOND), "never back to the old one"
    assert SECOND not in stage.daemon.said()
    assert {row["status"] for row in books.agree(stage)} == {"done"}
    line.end()


def test_a_policy_is_replaced_in_mid_stream(stage_of: Start, line: Line) -> None:
    """The new one has other models, another owner, and no budget left at all."""
    stage = stage_of(line)
    old = digest(stage)
    crowd = running(stage, line)
    left = agents.begin(stage.daemon, 3, "RST:mid [[sim:long 200]]", STREAMED)
    agents.all_began(left)
    text = stage.daemon.policy.read_text().partition("\ntests:")[0] + "\n...\n"
    other_policy(stage, text.replace("limit: 10.00", "limit: 0.0001"))
    line.flow(later=True)
    refused = agents.ask(stage.daemon)
    assert refused.told is not None
    assert refused.told.code == "budget.exhausted"
    stage.until(in_flight=STREAMS + len(left))
    line.flow()
    line.reset()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    agents.ended(left)
    other_policy(stage, text.replace("change: first version", "change: as before"))
    assert agents.ask(stage.daemon, "messages").whole
    closed = books.agree(stage)
    decided = {row["seq"]: row["policy"] for row in books.exported(stage) if row["kind"] == "decision"}
    assert [decided[row["opens"]] == old for row in closed].count(True) == STREAMS + len(left)
    assert len(set(decided.values())) == 3


@pytest.mark.slow
def test_an_upstream_that_left_the_policy_is_asked_no_more(stage_of: Start, upstream: Upstream, line: Line) -> None:
    """Whose accounting would know the call is no longer there to be asked; when it comes back, it is asked."""
    stage = stage_of(line)
    left = agents.begin(stage.daemon, 3, "RST:mid [[sim:long 200]]", STREAMED)
    agents.all_began(left)
    text = stage.daemon.policy.read_text()
    other_policy(
        stage,
        text.replace("openrouter:\n    kind: openrouter", "other:\n    kind: openrouter").replace(
            "upstream: openrouter", "upstream: other"
        ),
    )
    line.reset()
    agents.ended(left)
    ends = books.Patience()
    while stage.in_flight():
        ends.look()
    unsettled = books.status(stage)["unsettled"]
    assert unsettled["waiting"] + unsettled["lost"] == len(left)
    other_policy(stage, text)
    stage.daemon.stop()
    assert {row["status"] for row in books.agree(stage_of(line, home=stage.daemon.home))} == {"cut"}
