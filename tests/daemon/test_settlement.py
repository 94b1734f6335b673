"""What cut calls cost, learned afterwards by a real daemon from a real upstream's accounting: to the nano-dollar, across a kill,
in every place where an operator looks."""

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from daemon.stage import ASKS, PATHS, Stage
from harness import daemon as daemons
from harness import upstream as upstreams
from harness.http import UnixConnection

Start = Callable[..., daemons.Daemon]
Json = dict[str, Any]

SLOW = "[[sim:slow 5]] [[sim:long 300]] tell me a story"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[upstreams.Upstream]:
    """Its accounting knows a call at the second question."""
    made = upstreams.start(tmp_path_factory.mktemp("upstream"), "--late", "1")
    yield made
    made.stop()


def stage_at(start: Start, upstream: upstreams.Upstream, **more: Any) -> Stage:
    return Stage(start(upstream.policy(), env=upstream.environment(), simulate=False, **more), upstream)


def leave(stage: Stage, dialect: str) -> None:
    """Begin to read a stream and go; the call is closed when this returns."""
    connection = UnixConnection(stage.daemon.agent_socket)
    body = {"model": "chat", "stream": True, "max_tokens": 400, "messages": [{"role": "user", "content": SLOW}]}
    connection.request("POST", PATHS[dialect], json.dumps(body))
    answer = connection.getresponse()
    assert answer.read1(64)
    answer.close()
    connection.close()
    stage.until(in_flight=0)


def unsettled(stage: Stage) -> Json:
    found: Json = stage.daemon.operate("GET", "/operator/v1/status").json()["unsettled"]
    return found


def settle(stage: Stage, calls: int = 1) -> list[Json]:
    """Ask until so many calls are settled: a daemon that has just started may not have looked yet for what it owes."""
    for _ in range(3 * ASKS):
        lines = [row for row in stage.rows(20) if row["kind"] == "settlement"]
        if len(lines) >= calls and unsettled(stage)["waiting"] == 0:
            return lines
    raise AssertionError(f"still waiting: {unsettled(stage)}")


def generations(lines: list[Json]) -> list[str]:
    return [line["detail"]["generation"] for line in lines]


@pytest.mark.parametrize("dialect", PATHS)
def test_a_call_that_was_left_costs_what_the_upstream_says(
    start_agentd: Start, upstream: upstreams.Upstream, dialect: str
) -> None:
    stage = stage_at(start_agentd, upstream)
    leave(stage, dialect)
    (row,) = (row for row in stage.rows(5) if row["kind"] == "decision")
    assert (row["status"], row["cost_nusd"]) == ("client_gone", None)
    assert stage.used() == row["reserved_nusd"]
    assert unsettled(stage) == {"waiting": 1, "waiting_nusd": row["reserved_nusd"], "lost": 0, "lost_nusd": 0}
    assert "1 asked for" in stage.daemon.ctl("status").stdout
    (line,) = settle(stage)
    cost = stage.books()[line["detail"]["generation"]]
    assert 0 < cost < row["reserved_nusd"]
    assert (line["opens"], line["cost_nusd"], line["detail"]["cancelled"]) == (row["seq"], cost, True)
    assert line["detail"]["recipients"] == [line["provider"]]
    assert stage.used() == stage.used("box-month") == cost
    seen_everywhere(stage, row["seq"], cost)


def seen_everywhere(stage: Stage, seq: int, cost: int) -> None:
    """The cost stands in every place where an operator looks, and the record still verifies."""
    total = json.loads(stage.daemon.ctl("spend", "--json").stdout)["total"]
    assert (total["cost_nusd"], total["reserved_nusd"], total["calls"]) == (cost, 0, 1)
    (row,) = (row for row in stage.rows(20) if row["kind"] == "decision")
    assert (row["cost_nusd"], row["status"]) == (cost, "client_gone")
    page = stage.daemon.ctl("explain", f"d-{seq}").stdout
    assert "by the upstream's accounting" in page
    assert "stays charged" not in page
    assert f"d-{seq} cost $" in stage.daemon.ctl("logs").stdout
    assert stage.daemon.ctl("audit", "verify").returncode == 0
    assert stage.daemon.operate("GET", "/operator/v1/sums").json()["differs"] == []


def test_what_is_owed_survives_a_kill(start_agentd: Start, upstream: upstreams.Upstream) -> None:
    first = stage_at(start_agentd, upstream)
    leave(first, "chat")
    leave(first, "messages")
    held = first.used()
    first.daemon.stop(signal.SIGKILL)
    again = stage_at(start_agentd, upstream, home=first.daemon.home)
    lines = settle(again, 2)
    books = again.books()
    assert [line["cost_nusd"] for line in lines] == [books[name] for name in generations(lines)]
    assert again.used() == sum(line["cost_nusd"] for line in lines) < held
    assert again.daemon.operate("GET", "/operator/v1/sums").json()["differs"] == []
    third = stage_at(start_agentd, upstream, home=restarted(again))
    assert third.used() == sum(line["cost_nusd"] for line in lines)
    assert unsettled(third)["waiting"] == 0


def restarted(stage: Stage) -> Any:
    stage.daemon.stop()
    return stage.daemon.home


def test_it_is_settled_with_the_built_in_simulator_too(
    running_agentd: daemons.Daemon, upstream: upstreams.Upstream
) -> None:
    stage = Stage(running_agentd, upstream)
    leave(stage, "chat")
    (line,) = settle(stage)
    assert stage.used() == line["cost_nusd"] > 0
