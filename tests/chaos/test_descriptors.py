"""The daemon may open no more descriptors, while streams run.

A running stream goes on to its end. Who comes is not let in: his connection is closed without an answer, at once. Who has a
connection already, and whose call needs one to the upstream, is refused (429, `upstream.unreachable`) at no cost. When there is
room again everybody is served, without a restart.
"""

import os
import resource

import pytest

from agentd.core.types.verdicts import Answer
from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from daemon.stage import Stage
from harness.daemon import Daemon
from harness.http import Reply, UnixConnection

STREAMS = 12


def limit(stage: Stage, most: int) -> int:
    """Set how many descriptors the daemon may have; what it might have before."""
    soft, hard = resource.prlimit(stage.daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(stage.daemon.process.pid, resource.RLIMIT_NOFILE, (most, hard))
    return soft


def all_taken(stage: Stage) -> int:
    """The lowest number that is free: with this limit there is none."""
    taken = {int(name) for name in os.listdir(f"/proc/{stage.daemon.process.pid}/fd")}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def with_connections(daemon: Daemon, size: int) -> list[UnixConnection]:
    """Connections that were let in, and are kept."""
    kept = [UnixConnection(daemon.agent_socket) for _ in range(size)]
    for connection in kept:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read()
    return kept


def call(connection: UnixConnection, dialect: str, *, stream: bool) -> agents.Seen:
    """A call on a connection that is there."""
    connection.request("POST", agents.PATHS[dialect], agents.body_of(dialect, "inside", stream=stream))
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return agents.Seen(dialect, stream, Reply(answer.status, headers, answer.read()))


@pytest.mark.root  # the daemon shows its descriptors to nobody else
def test_streams_go_on_and_newcomers_stay_outside(stage_of: Start, line: Line) -> None:
    stage = stage_of(line)
    assert agents.ask(stage.daemon).whole
    books.agree(stage)
    before = books.descriptors(stage)
    line.hold()
    crowd = agents.begin(stage.daemon, STREAMS, "[[sim:long 200]] while there are none")
    agents.all_began(agent for agent in crowd if agent.stream)
    stage.until(in_flight=STREAMS)
    kept = with_connections(stage.daemon, len(agents.KINDS))
    was = limit(stage, all_taken(stage))
    for seen in agents.ended(agents.begin(stage.daemon, 6, "outside")):
        assert (seen.status, seen.broke) in {
            (0, "ConnectionResetError"),
            (0, "RemoteDisconnected"),
            (0, "BrokenPipeError"),
        }
    for connection, (dialect, stream) in zip(kept, agents.KINDS, strict=True):
        refused = call(connection, dialect, stream=stream)
        assert refused.told is not None
        assert (refused.status, refused.told.type) == agents.form_of(dialect, Answer.WAIT)
        assert refused.told.code == "upstream.unreachable"
        assert "LimitNOFILE" in refused.told.text
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    limit(stage, was)
    for connection, (dialect, stream) in zip(kept, agents.KINDS, strict=True):
        assert call(connection, dialect, stream=stream).whole
        connection.close()
    assert agents.ask(stage.daemon, "messages", stream=True).whole
    closed = books.agree(stage)
    assert {(row["status"], row["cost_nusd"] == 0) for row in closed} == {("done", False), ("error", True)}
    assert books.descriptors(stage) <= before
