"""The upstream's connection is reset, by the kernel's RST, at each place where it can be.

Before the request is through, or before a byte of the answer: the agent is refused (429, `upstream.cut`); the reservation stays
and is named `lost`, since nobody knows the call's name. In the answer: a whole one is refused the same way, a stream ends, after
what came, in an error event and without its end mark; the reservation stays until the accounting says what it cost. Where nobody
listens: refused (429, `upstream.unreachable`) after a second model was tried; it costs nothing.
"""

from agentd.core.types.verdicts import Answer
from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line

IN_STREAM = {"chat": "rate_limit_error", "messages": "rate_limit_error", "responses": "rate_limit_exceeded"}
LONG = "[[sim:long 100]]"
EACH = len(agents.KINDS)


def refused(seen: agents.Seen, code: str) -> None:
    """Refused before the first byte, in the dialect's own shape, with the decision's name and a time to wait."""
    assert seen.told is not None, seen
    assert (seen.status, seen.told.type) == agents.form_of(seen.dialect, Answer.WAIT)
    assert (seen.told.code, seen.told.decision) == (code, seen.reply.headers["x-agentd-decision"])
    assert int(seen.reply.headers["retry-after"]) > 0


def broken_off(seen: agents.Seen, code: str) -> None:
    """A good beginning, then an error event and no end mark: nobody takes it for whole."""
    assert seen.told is not None, seen
    assert (seen.status, seen.broke, seen.told.type) == (200, "", IN_STREAM[seen.dialect])
    assert (seen.told.code, seen.told.decision) == (code, seen.reply.headers["x-agentd-decision"])
    assert agents.END_MARKS[seen.dialect] not in seen.reply.body


def test_a_connection_that_is_reset(stage_of: Start, line: Line) -> None:
    stage = stage_of(line)
    assert agents.ask(stage.daemon).whole
    before = books.descriptors(stage)
    early, unanswered, begun = (
        agents.begin(stage.daemon, EACH, f"RST:{at} {LONG}") for at in ("early", "before", "mid")
    )
    for seen in agents.ended([*early, *unanswered]):
        refused(seen, "upstream.cut")
    agents.all_began(agent for agent in begun if agent.stream)
    stage.until(in_flight=EACH)
    line.reset()
    for seen in agents.ended(begun):
        broken_off(seen, "upstream.cut") if seen.stream else refused(seen, "upstream.cut")
    assert agents.ask(stage.daemon, "messages").whole, "the next call is served"
    closed = books.agree(stage, lost=2 * EACH)
    assert sum(row["status"] == "cut" for row in closed) == 3 * EACH
    assert books.descriptors(stage) <= before


def test_a_port_where_nobody_listens(stage_of: Start, line: Line) -> None:
    """Nothing has been sent, so nothing is billed and another model is tried."""
    line.end()
    stage = stage_of(line)
    for seen in agents.ended(agents.begin(stage.daemon, EACH, "hello")):
        refused(seen, "upstream.unreachable")
    closed = books.agree(stage)
    assert [(row["status"], row["cost_nusd"]) for row in closed] == [("error", 0)] * 2 * EACH
