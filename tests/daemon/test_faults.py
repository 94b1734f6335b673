"""An upstream at its worst behind the real daemon: what the agent sees, what the record says, what becomes of the money.

The upstream is a process of its own with a log of arrivals; faults are asked for in the prompt. Each row is played in both
dialects, streamed and whole. Hanging calls have a class with a short deadline, by the policy of this file.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from daemon.stage import PATHS, WORDS, Asking, Played, Stage
from harness import daemon as daemons
from harness import upstream as upstreams
from harness.http import UnixConnection

UPSTREAM_WORDS = ("Rate limit exceeded", "Provider", "have been blocked", "Invalid header", "user_simulated", "flagged")
"""From the upstream's own errors: none of it may reach an agent."""

REFUSED = {
    "deny": {"chat": (400, "invalid_request_error"), "messages": (451, "invalid_request_error")},
    "invalid": {"chat": (400, "invalid_request_error"), "messages": (400, "invalid_request_error")},
    "limit": {"chat": (400, "invalid_request_error"), "messages": (402, "billing_error")},
    "wait": {"chat": (429, "rate_limit_error"), "messages": (429, "rate_limit_error")},
}
"""Status and error type by what the agent can do about it."""

STUCK = 40
NEVER = "1000000"
"""How often the upstream's accounting does not know a call yet: what is unsettled stays so while it is looked at."""

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EACH = pytest.mark.parametrize("dialect", PATHS)


@dataclass(frozen=True)
class Row:
    """A fault and what follows from it."""

    fault: str
    ends: str = "done"  # the outcome of each line, as the record names it
    refused: str = ""  # what the agent is told; "" for an answer
    code: str = ""
    cost: str = "reported"
    sent: int = 1  # calls at the upstream: 2 where another model was tried
    mid: bool = False  # a stream breaks after its first byte
    retry: int | None = None  # seconds


SHORT: dict[str, Any] = {"ends": "error", "refused": "wait", "cost": "nothing", "sent": 2}
ROWS = [
    *(Row(fault) for fault in ("", "split-utf8", "crlf", "comments", "byok", "unknown-fields", "blank-lines")),
    Row("usage-nonempty-choices"),
    Row("usage-missing", cost="unsettled"),
    Row("usage-null-cost", cost="computed"),
    Row("html429", **SHORT, code="upstream.rate_limited", retry=1),
    Row("html502", **SHORT, code="upstream.unavailable", retry=1),
    Row("once:503", **SHORT, code="upstream.overloaded", retry=1),
    Row("status:504", "timeout", "wait", "upstream.timeout", "unsettled", sent=2, retry=1),
    Row("html403", "error", "deny", "upstream.refused", "nothing"),
    Row("echo-key", "error", "invalid", "upstream.invalid", "nothing"),
    Row("moderation403", "error", "deny", "upstream.content_refused", "nothing"),
    Row("budget403", "error", "limit", "upstream.limit", "nothing"),
    Row("promptlimit402", "error", "limit", "upstream.limit", "nothing"),
    Row("availability:privacy_restricted", "error", "deny", "upstream.no_private_endpoint", "nothing", sent=2),
    *(
        Row(f"retry-after:{form}", **SHORT, code="upstream.rate_limited", retry=seconds)
        for form, seconds in (("int", 7), ("float", 2), ("date", 9), ("negative", 1), ("huge", 300), ("absent", 1))
    ),
]
CUT = ("cut", "wait", "upstream.cut", "unsettled")
FAILED = ("error", "wait", "upstream.error", "unsettled")
BROKEN = [
    *(Row(fault, *CUT, mid=True) for fault in ("cut-mid", "end-mid", "lying-length")),
    *(Row(f"error-mid:{form}", *FAILED, mid=True) for form in ("int", "string", "int-done", "string-done")),
]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[upstreams.Upstream]:
    made = upstreams.start(tmp_path_factory.mktemp("upstream"), "--late", NEVER)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def stage(upstream: upstreams.Upstream) -> Iterator[Stage]:
    policy = upstream.policy().replace("deadline: 60s", "deadline: 1s")
    made = daemons.start(policy, env=upstream.environment(), simulate=False)
    yield Stage(made, upstream)
    made.stop()
    sys.stderr.write(made.said())
    daemons.discard(made)


def check(stage: Stage, row: Row, dialect: str, stream: bool) -> None:
    """Play a row, look at everything, and see that the next call works."""
    before = stage.used()
    played = stage.call(dialect, stream, row.fault)
    check_lines(stage, played, row)
    assert stage.used() - before == sum(check_cost(stage, line, row) for line in played.lines)
    if row.refused:
        check_refused(played, row)
    else:
        check_answered(played)
    assert stage.call(dialect, stream).reply.status == 200


def check_lines(stage: Stage, played: Played, row: Row) -> None:
    """Each call at the upstream had a decision of its own, and says how it ended; the agent is told the last one."""
    assert len(played.arrivals) == len(played.lines) == row.sent <= 2
    assert [line["verdict"] for line in played.lines] == ["allow"] * row.sent
    assert [line["status"] for line in played.lines] == [row.ends] * row.sent
    if row.sent == 2:
        first, second = played.lines
        assert first["model"] != second["model"]
        assert second["detail"]["after"] == f"d-{first['seq']}"
    seen = 200 if (row.mid and played.stream) or not row.refused else 0
    assert stage.outcome(played.lines[-1])["detail"]["http"] == seen
    assert played.reply.headers["x-agentd-decision"] == f"d-{played.lines[-1]['seq']}"


def check_cost(stage: Stage, line: dict[str, Any], row: Row) -> int:
    """The cost on the line is what it has to be; answers what the budgets count for it."""
    reserved = int(line["reserved_nusd"])
    if row.cost == "unsettled":
        assert line["cost_nusd"] is None
        return reserved
    if row.cost == "nothing":
        assert line["cost_nusd"] == 0
        return 0
    detail = stage.outcome(line)["detail"]
    assert detail["cost_source"] == row.cost
    assert 0 < line["cost_nusd"] == stage.books()[detail["generation"]] <= reserved
    return int(line["cost_nusd"])


def check_answered(played: Played) -> None:
    """All the words, one end mark, and nothing that is for agentd alone."""
    assert played.reply.status == 200
    assert played.words() == WORDS
    assert played.ends() == (1 if played.stream else 0)
    assert upstreams.KEY.encode() not in played.reply.body


def check_refused(played: Played, row: Row) -> None:
    """An error in the dialect's own shape that names the decision, and nothing of the upstream's."""
    status, kind = REFUSED[row.refused][played.dialect]
    broken = row.mid and played.stream
    assert played.reply.status == (200 if broken else status)
    assert played.streamed is broken
    said_kind, sentence, told = played.error()
    assert said_kind == kind
    decision = played.reply.headers["x-agentd-decision"]
    assert sentence.endswith(f"Decision: {decision}")
    assert (told["decision"], told["code"]) == (decision, row.code)
    assert played.ends() == 0
    for secret in (*UPSTREAM_WORDS, upstreams.KEY):
        assert secret.encode() not in played.reply.body
    if row.retry is not None:
        early = row.fault == "retry-after:date"  # a second may have begun in between
        assert int(played.reply.headers["retry-after"]) in (row.retry, row.retry - early)


@BOTH
@EACH
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault or "good")
def test_a_fault_is_told_recorded_and_paid_for(stage: Stage, row: Row, dialect: str, stream: bool) -> None:
    check(stage, row, dialect, stream)


@EACH
@pytest.mark.parametrize("row", BROKEN, ids=lambda row: row.fault)
def test_a_stream_that_breaks_in_the_middle(stage: Stage, row: Row, dialect: str) -> None:
    check(stage, row, dialect, stream=True)


@EACH
@pytest.mark.parametrize("fault", [row.fault for row in BROKEN])
def test_a_body_that_breaks_in_the_middle(stage: Stage, fault: str, dialect: str) -> None:
    check(stage, Row(fault, *CUT), dialect, stream=False)


@BOTH
@EACH
def test_an_error_inside_a_200_is_another_models_turn(stage: Stage, dialect: str, stream: bool) -> None:
    """Also as the first event of a stream: no byte has gone out by then."""
    check(stage, Row("body200error", *FAILED, sent=2), dialect, stream)


@BOTH
@EACH
def test_an_error_inside_a_choice(stage: Stage, dialect: str, stream: bool) -> None:
    """Only a chat body says besides that the failed choice cost nothing."""
    free = (dialect, stream) == ("chat", False)
    row = Row("choice-error", *FAILED[:3], cost="nothing" if free else "unsettled", sent=1 if stream else 2, mid=stream)
    check(stage, row, dialect, stream)


def test_hanging_calls_end_at_their_deadline(stage: Stage) -> None:
    """All eight at once, so that their deadline is waited for once."""
    asked = [(dialect, stream, fault) for dialect in PATHS for stream in (False, True) for fault in ("before", "mid")]
    text = f"[[sim:say {WORDS}]] [[sim:fault hang-{{}}]]"
    before = stage.used()
    calls = [
        Asking(stage, dialect, text.format(fault), stream=stream, model="heartbeat") for dialect, stream, fault in asked
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join()
    rows = stage.rows(8)
    assert {(row["class"], row["status"], row["cost_nusd"]) for row in rows} == {("heartbeat", "timeout", None)}
    assert stage.used() - before == sum(row["reserved_nusd"] for row in rows)
    for call, (_dialect, stream, fault) in zip(calls, asked, strict=True):
        assert call.played is not None
        check_refused(call.played, Row(fault, "timeout", "wait", "upstream.timeout", mid=fault == "mid", retry=None))
        assert call.played.streamed is (stream and fault == "mid")
    assert stage.call("chat", stream=True).reply.status == 200


def test_others_are_answered_while_an_upstream_hangs(stage: Stage) -> None:
    """Forty calls hang, with a deadline minutes away; what others ask meanwhile is answered before one of them ends."""
    hanging = []
    for number in range(STUCK):
        connection = UnixConnection(stage.daemon.agent_socket)
        text = f"[[sim:fault {('hang-before', 'hang-mid')[number % 2]}]] [[sim:say {WORDS}]] {number}"
        body = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": text}]}
        connection.request("POST", PATHS["chat"], json.dumps(body))
        hanging.append(connection)
    for _ in range(10):
        assert stage.call("chat", stream=False).reply.status == 200
        assert stage.call("messages", stream=True).reply.status == 200
    stage.until(in_flight=STUCK)
    for connection in hanging:
        connection.close()
    stage.until(in_flight=0)
    gone = [row for row in stage.rows(100) if row["status"] == "client_gone"]
    assert len(gone) == STUCK
    assert {row["cost_nusd"] for row in gone} == {None}


@BOTH
@EACH
def test_another_model_answers_when_the_first_cannot(failover: Stage, dialect: str, stream: bool) -> None:
    """The second attempt is decided and recorded anew; the agent sees only its answer."""
    played = failover.call(dialect, stream)
    check_answered(played)
    first, second = played.lines
    assert (first["model"], first["status"], first["cost_nusd"]) == ("sim/status.503", "error", 0)
    assert (second["model"], second["status"]) == ("deepseek/deepseek-v4-flash", "done")
    assert second["detail"]["after"] == f"d-{first['seq']}"
    assert [json.loads(arrival["body"])["model"] for arrival in played.arrivals] == [first["model"], second["model"]]
    assert played.reply.headers["x-agentd-decision"] == f"d-{second['seq']}"


@pytest.fixture(scope="module")
def failover(upstream: upstreams.Upstream) -> Iterator[Stage]:
    """A daemon whose cheapest model never works."""
    policy = upstream.policy()
    broken = "{ id: sim/status.503, upstream: openrouter, price: { prompt: 1, completion: 2 } }"
    policy = policy.replace("{ id: google/gemini-2.5-flash-lite, upstream: openrouter }", broken)
    policy = policy.replace("{ prompt: 0.50, completion: 3.00 }", "{ prompt: 1.00, completion: 4.00 }")
    made = daemons.start(policy, env=upstream.environment(), simulate=False)
    yield Stage(made, upstream)
    daemons.discard(made)
