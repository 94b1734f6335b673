"""The disk fills up, while streams run.

A running stream is answered whole: its effect has happened, and its outcome is written when there is room. Who comes is refused
(503, responses: 429; `record.disk_full`, Retry-After, no decision), and nothing is sent for him: no line, no call. When there is
room again everybody is served, without a restart; until then the operator reads "REFUSES LINES" in `status`. A daemon that is
stopped on a full disk stops in time; the next one closes what was left as unknown, and its reservation stays.
"""

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.types.verdicts import Answer
from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from harness.upstream import Upstream

DISK = "6m"
"""Holds a fresh record with room for some hundred calls."""

STREAMS = 20
TEXT = "[[sim:long 200]] on a full disk"


@pytest.fixture
def home() -> Iterator[Path]:
    """A home whose state directory is a small disk of its own."""
    made = Path(tempfile.mkdtemp(prefix="agentd-"))
    (made / "state").mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(made / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    yield made
    subprocess.run(["umount", "-l", str(made / "state")], capture_output=True, check=False)
    shutil.rmtree(made, ignore_errors=True)


def fill(disk: Path) -> Path:
    """Leave no block free; gives the file to remove."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def refused(seen: agents.Seen) -> bool:
    """Whether nobody could write it down; else it was let in just before."""
    if seen.whole:
        return False
    assert seen.told is not None, seen
    assert (seen.status, seen.told.type) == agents.form_of(seen.dialect, Answer.UNAVAILABLE)
    assert (seen.told.code, seen.told.decision) == ("record.disk_full", None)
    assert int(seen.reply.headers["retry-after"]) > 0
    return True


@pytest.mark.root
def test_streams_go_on_and_newcomers_are_refused(stage_of: Start, upstream: Upstream, line: Line, home: Path) -> None:
    stage = stage_of(line, home=home)
    line.hold()
    crowd = agents.begin(stage.daemon, STREAMS, TEXT)
    stage.until(in_flight=STREAMS)
    agents.all_began(agent for agent in crowd if agent.stream)
    line.flow(later=True)
    filler = fill(stage.daemon.state)
    ends = books.Patience()
    while not refused(agents.ask(stage.daemon)):
        ends.look("the full disk")
    arrived = len(upstream.arrivals())
    assert all(refused(seen) for seen in agents.ended(agents.begin(stage.daemon, len(agents.KINDS), "on a full disk")))
    assert len(upstream.arrivals()) == arrived, "nothing is sent without a line"
    assert "REFUSES LINES" in stage.daemon.ctl("status").stdout
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    filler.unlink()
    while not agents.ask(stage.daemon).whole:
        ends.look("room on the disk")
    closed = books.agree(stage)
    assert {row["status"] for row in closed} == {"done"}
    assert stage.daemon.stop() == 0


@pytest.mark.root
@pytest.mark.slow
def test_a_stop_on_a_full_disk_loses_no_money(stage_of: Start, line: Line, home: Path) -> None:
    stage = stage_of(line, home=home)
    line.hold()
    crowd = agents.begin(stage.daemon, STREAMS, TEXT, [kind for kind in agents.KINDS if kind[1]])
    agents.all_began(crowd)
    filler = fill(stage.daemon.state)
    ends = books.Patience()
    while not refused(agents.ask(stage.daemon)):
        ends.look("the full disk")
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    assert stage.daemon.stop(signal.SIGTERM) == 0
    filler.unlink()
    again = stage_of(line, home=home)
    assert {row["status"] for row in books.within(again)} == {"unknown"}
