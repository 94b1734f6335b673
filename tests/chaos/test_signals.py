"""SIGTERM while fifty streams run.

A stream that ends within `finish_s` is answered whole. One that does not is cut: after what came, an error event
(`daemon.stopping`) and no end mark; its reservation stays until the next start has asked for it. A call without an answer yet is
refused (429, `daemon.stopping`, Retry-After); its reservation stays, since nobody knows the call's name. Who comes while the
daemon finishes is not let in: the connection is refused.
"""

import contextlib
import http.client
import signal
from pathlib import Path

import pytest

from agentd.core.types.verdicts import Answer
from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from daemon.stage import Stage

STREAMS = 50
TEXT = "[[sim:long 200]] to be stopped"
STREAMED = tuple(kind for kind in agents.KINDS if kind[1])


def running(stage: Stage, line: Line, size: int = STREAMS) -> list[agents.Agent]:
    """Streams that have begun and wait for their second part."""
    line.hold()
    crowd = agents.begin(stage.daemon, size, TEXT, STREAMED)
    agents.all_began(crowd)
    return crowd


def nobody_comes_in(stage: Stage) -> None:
    """The door is closed, once the daemon has heard the signal: there is not even a connection."""
    ends = books.Patience()
    with contextlib.suppress(
        ConnectionRefusedError, FileNotFoundError, http.client.HTTPException, ConnectionResetError
    ):
        while stage.daemon.ask("GET", "/healthz").status == 200:
            ends.look("the closing of the door")
    seen = agents.ask(stage.daemon)
    assert (seen.status, seen.broke) in {(0, "ConnectionRefusedError"), (0, "FileNotFoundError")}


def test_streams_end_by_themselves(stage_of: Start, line: Line) -> None:
    stage = stage_of(line)
    crowd = running(stage, line)
    stage.daemon.process.send_signal(signal.SIGTERM)
    nobody_comes_in(stage)
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    assert stage.daemon.process.wait(agents.PATIENCE_S) == 0
    again = stage_of(line, home=stage.daemon.home)
    assert {row["status"] for row in books.agree(again)} == {"done"}


@pytest.mark.parametrize(
    "hurry",
    [pytest.param(False, id="by the clock"), pytest.param(True, id="by a second signal", marks=pytest.mark.slow)],
)
def test_streams_are_cut(stage_of: Start, line: Line, tmp_path: Path, hurry: bool) -> None:
    config = tmp_path / "agentd.yaml"
    config.write_text(f"finish_s: {60 if hurry else 0.2}\n")
    stage = stage_of(line, "--config", str(config))
    crowd = running(stage, line)
    waiting = agents.begin(stage.daemon, len(agents.KINDS), "[[sim:fault hang-before]]")
    stage.until(in_flight=STREAMS + len(waiting))
    for number in (signal.SIGTERM, signal.SIGINT)[: 1 + hurry]:
        stage.daemon.process.send_signal(number)
    cut, unanswered = agents.ended(crowd), agents.ended(waiting)
    assert stage.daemon.process.wait(agents.PATIENCE_S) == 0
    line.flow()
    for seen in cut:
        assert (seen.status, seen.broke) == (200, "")
        assert seen.told is not None
        assert seen.told.code == "daemon.stopping"
        assert agents.END_MARKS[seen.dialect] not in seen.reply.body
    for seen in unanswered:
        assert seen.told is not None, seen
        assert (seen.status, seen.told.type) == agents.form_of(seen.dialect, Answer.WAIT)
        assert seen.told.code == "daemon.stopping"
        assert int(seen.reply.headers["retry-after"]) > 0
    again = stage_of(line, home=stage.daemon.home)
    closed = books.agree(again, lost=len(waiting))
    assert {row["status"] for row in closed} == {"stopped"}
