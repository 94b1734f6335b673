"""Two hundred streams at once, and readers that are slow or stopped.

Each of 200 agents whose streams are all open at the same moment gets all of its answer and one end mark. One whose process is
stopped delays nobody, and gets the same when it goes on. One that takes nothing for two minutes finds its connection closed in
the middle; its reservation stays until the accounting says what it cost.
"""

import os
import signal
import subprocess
import sys

import pytest

from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from harness.daemon import Daemon
from harness.upstream import Upstream

STREAMS = 200
ROOM = 60_000
"""Tokens: over 400 KB with its events, more than a Unix socket and the daemon's own buffers hold."""
LONG = f"[[sim:long {ROOM}]]"

STREAMED = tuple(kind for kind in agents.KINDS if kind[1])

LENGTHY = ("chat", "responses")
"""Dialects with enough around their words for that; in messages they would fit."""

READER = """
import socket, sys
raw = socket.socket(socket.AF_UNIX)
raw.connect(sys.argv[1])
raw.sendall(sys.stdin.buffer.read())
got = raw.recv(1)
sys.stdout.buffer.write(got); sys.stdout.flush()
while piece := raw.recv(4096):
    sys.stdout.buffer.write(piece)
"""
"""A client as a process of its own: shows its first byte at once, and then all the rest."""


def test_two_hundred_streams_at_once(stage_of: Start, line: Line) -> None:
    stage = stage_of(line)
    assert agents.ask(stage.daemon).whole
    before = books.descriptors(stage)
    line.hold()
    crowd = agents.begin(stage.daemon, STREAMS, "[[sim:long 200]] all at once", STREAMED)
    agents.all_began(crowd)
    stage.until(in_flight=STREAMS)
    line.flow()
    seen = agents.ended(crowd)
    assert [each for each in seen if not each.whole] == []
    closed = books.agree(stage)
    assert len(closed) == STREAMS + 1
    assert {row["status"] for row in closed} == {"done"}
    assert books.descriptors(stage) <= before


def roomy(upstream: Upstream) -> str:
    """The policy with answers that are long enough not to fit into any buffer."""
    return (
        upstream.policy()
        .replace("max_output: 16384", f"max_output: {ROOM}")
        .replace("max_output: 8192", f"max_output: {ROOM}")
    )


def reader(daemon: Daemon, dialect: str) -> "subprocess.Popen[bytes]":
    """A client in a process that has read the first byte of a long answer, and is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-c", READER, str(daemon.agent_socket)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(agents.request_of(dialect, LONG, stream=True, tokens=ROOM, model="code"))
    process.stdin.close()
    assert os.read(process.stdout.fileno(), 1)
    process.send_signal(signal.SIGSTOP)
    return process


def rest_of(process: "subprocess.Popen[bytes]") -> bytes:
    """All that a client reads to its end."""
    assert process.stdout is not None
    with process.stdout as out:
        return out.read()


def test_a_stopped_reader_delays_nobody_and_loses_nothing(stage_of: Start, upstream: Upstream, line: Line) -> None:
    stage = stage_of(line, policy=roomy(upstream))
    line.hold()  # or it would have been read before the stop
    stopped = [reader(stage.daemon, dialect) for dialect in LENGTHY]
    line.flow()
    seen = agents.ended(agents.begin(stage.daemon, 12, "[[sim:long 200]] meanwhile"))
    assert all(each.whole for each in seen)
    stage.until(in_flight=len(stopped))  # theirs are not over: somebody waits for them to read
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    for process, dialect in zip(stopped, LENGTHY, strict=True):
        body = rest_of(process)
        assert body.count(agents.END_MARKS[dialect]) == 1
        assert process.wait(agents.PATIENCE_S) == 0
    assert {row["status"] for row in books.agree(stage)} == {"done"}


@pytest.mark.slow
def test_a_reader_that_never_reads_is_cut_and_paid_for(stage_of: Start, upstream: Upstream, line: Line) -> None:
    """After two minutes without a byte taken it is as good as gone."""
    stage = stage_of(line, policy=roomy(upstream))
    line.hold()
    stopped = [reader(stage.daemon, dialect) for dialect in LENGTHY]
    line.flow()
    ends = books.Patience(200)
    while stage.in_flight():
        ends.look()
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    for process, dialect in zip(stopped, LENGTHY, strict=True):
        assert agents.END_MARKS[dialect] not in rest_of(process)
        process.wait(agents.PATIENCE_S)
    assert {row["status"] for row in books.agree(stage)} == {"client_gone"}
