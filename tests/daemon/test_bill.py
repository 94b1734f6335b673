"""The bill: agentd's record against the books of the upstream, to the nano-dollar; limits under a crowd; money after a kill."""

import json
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from daemon.stage import ASKS, PATHS, Asking, Stage
from harness import daemon as daemons
from harness import upstream as upstreams
from harness.http import UnixConnection

Start = Callable[..., daemons.Daemon]
Json = dict[str, Any]

CALLS = 360
WORKERS = 12
CROWD = 200
LIMIT_USD = 0.005
NUSD = 10**9
LIMIT_REACHED = {"chat": (400, "invalid_request_error"), "messages": (402, "billing_error")}

TOOLS = {
    "chat": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    "messages": [{"name": "look", "input_schema": {"type": "object"}}],
}
KINDS = (
    "hello",
    "[[sim:long 120]] hello",
    '[[sim:tool look {"at":"it"}]] hello',
    "[[sim:reasoning]] hello",
    "[[sim:fault byok]] hello",
    "[[sim:fault usage-null-cost]] hello",
    "[[sim:fault usage-missing]] hello",
    "[[sim:fault cut-mid]] hello",
    "[[sim:fault error-mid:int]] hello",
    "[[sim:fault once:503]] hello",
    "[[sim:fault zero-usage]] hello",
    "LEAVE [[sim:slow 5]] [[sim:long 300]] hello",
)
"""What the calls ask for, in turn; the marked ones are streams whose client leaves after its first bytes."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[upstreams.Upstream]:
    made = upstreams.start(tmp_path_factory.mktemp("upstream"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def played(upstream: upstreams.Upstream) -> Iterator[tuple[Stage, list[Json]]]:
    """A daemon after several hundred calls of all kinds, and its record, whole."""
    made = daemons.start(upstream.policy(), env=upstream.environment(), simulate=False)
    stage = Stage(made, upstream)
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(lambda number: one(stage, number), range(CALLS)))
    stage.until(in_flight=0)
    until_settled(stage)
    yield stage, record_of(made)
    made.stop()
    sys.stderr.write(made.said())
    daemons.discard(made)


def until_settled(stage: Stage) -> None:
    """Ask until nothing is being asked for any more at the upstream's accounting."""
    for _ in range(2 * ASKS):
        if stage.daemon.operate("GET", "/operator/v1/status").json()["unsettled"]["waiting"] == 0:
            return
    raise AssertionError("calls stay without a cost")


def one(stage: Stage, number: int) -> None:
    """The call with this number."""
    dialect = tuple(PATHS)[number % 2]
    stream = number // 2 % 2 == 1
    text = f"{KINDS[number % len(KINDS)]} {number} " + "context " * (number % 7 * 50)
    model = "analysis" if number % 5 == 0 else "chat"
    if text.startswith("LEAVE"):
        leave(stage, dialect, text)
        return
    stage.send(dialect, text, stream=stream, model=model, tools=TOOLS[dialect])


def leave(stage: Stage, dialect: str, text: str) -> None:
    """Begin to read a stream and go."""
    connection = UnixConnection(stage.daemon.agent_socket)
    body = {"model": "chat", "stream": True, "max_tokens": 400, "messages": [{"role": "user", "content": text}]}
    connection.request("POST", PATHS[dialect], json.dumps(body))
    answer = connection.getresponse()
    assert answer.read1(64)
    answer.close()
    connection.close()


def record_of(daemon: daemons.Daemon) -> list[Json]:
    """Every line, as exported."""
    done = daemon.ctl("audit", "export")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcomes(lines: list[Json]) -> list[Json]:
    """How every call ended, with the cost that was learned of it later where the answer had said none."""
    later = {line["opens"]: line["cost_nusd"] for line in lines if line["kind"] == "settlement"}
    return [learned(line, later[line["opens"]]) if line["opens"] in later else line for line in closed(lines)]


def closed(lines: list[Json]) -> list[Json]:
    return [line for line in lines if line["kind"] == "outcome"]


def learned(outcome: Json, cost: int) -> Json:
    assert outcome["cost_nusd"] is None
    return {**outcome, "cost_nusd": cost, "detail": {**outcome["detail"], "cost_source": "settled"}}


def held(outcome: Json) -> int:
    """What an outcome leaves to be counted besides its cost."""
    return int(outcome["reserved_nusd"]) if outcome["cost_nusd"] is None else 0


def test_every_call_was_decided_and_closed(played: tuple[Stage, list[Json]]) -> None:
    _, lines = played
    allowed = [line["seq"] for line in lines if line["kind"] == "decision" and line["verdict"] == "allow"]
    assert sorted(line["opens"] for line in outcomes(lines)) == allowed
    assert len(allowed) > CALLS  # some had a second attempt
    found = Counter(line["status"] for line in outcomes(lines))
    assert found.keys() == {"done", "cut", "error", "client_gone"}
    assert found["client_gone"] == CALLS // len(KINDS)


def test_each_generation_costs_what_the_upstreams_books_say(played: tuple[Stage, list[Json]]) -> None:
    stage, lines = played
    books = stage.books()
    sources: Counter[str] = Counter()
    for line in outcomes(lines):
        source, booked = line["detail"]["cost_source"], books.get(line["detail"]["generation"])
        sources[source] += 1
        if booked is None:
            assert (line["cost_nusd"], line["status"]) == (0, "error")  # refused before it worked
        else:
            assert line["cost_nusd"] == booked <= line["reserved_nusd"]
    assert sources.keys() == {"reported", "computed", "settled"}
    assert all(count >= CALLS // len(KINDS) for count in sources.values())
    assert sum(line["cost_nusd"] for line in outcomes(lines)) == sum(books.values())


def test_no_generation_is_missing_and_none_is_counted_twice(played: tuple[Stage, list[Json]]) -> None:
    stage, lines = played
    known = Counter(line["detail"]["generation"] for line in outcomes(lines) if line["detail"]["generation"])
    assert set(stage.books()) <= known.keys()
    assert set(known.values()) == {1}


def test_what_is_unsettled_keeps_its_reservation_and_is_listed(played: tuple[Stage, list[Json]]) -> None:
    stage, lines = played
    unsettled = {line["opens"]: line["reserved_nusd"] for line in outcomes(lines) if line["cost_nusd"] is None}
    rows = [row for row in stage.daemon.lines("-n", "10000", "--verdict", "allow") if row["cost_nusd"] is None]
    assert {row["seq"]: row["reserved_nusd"] for row in rows} == unsettled


@pytest.mark.parametrize("by", ["class", "tier", "model", "agent", "day"])
def test_spend_is_the_sum_of_the_lines(played: tuple[Stage, list[Json]], by: str) -> None:
    stage, lines = played
    found = json.loads(stage.daemon.ctl("spend", "--json", "--by", by).stdout)
    closed = outcomes(lines)
    cost = sum(line["cost_nusd"] or 0 for line in closed)
    reserved = sum(held(line) for line in closed)
    assert (found["total"]["cost_nusd"], found["total"]["reserved_nusd"]) == (cost, reserved)
    assert sum(row["cost_nusd"] for row in found["rows"]) == cost
    assert sum(row["reserved_nusd"] for row in found["rows"]) == reserved
    assert found["total"]["calls"] == len(closed)
    if by in ("tier", "model"):
        named = Counter[str]()
        decided = {line["seq"]: line for line in lines}
        for line in closed:
            named[decided[line["opens"]][by]] += line["cost_nusd"] or 0
        assert {row["name"]: row["cost_nusd"] for row in found["rows"]} == dict(named)


def test_the_budgets_count_the_same(played: tuple[Stage, list[Json]]) -> None:
    stage, lines = played
    used = sum((line["cost_nusd"] or 0) + held(line) for line in outcomes(lines))
    assert stage.used("box-day") == stage.used("box-month") == used


def small(upstream: upstreams.Upstream) -> str:
    """The policy with a limit of half a cent a day for the box, and without the cases that want more."""
    return upstream.policy().partition("\ntests:")[0].replace("limit: 10.00", f"limit: {LIMIT_USD}") + "\n...\n"


def test_a_crowd_never_goes_over_a_limit(start_agentd: Start, upstream: upstreams.Upstream) -> None:
    """All at once, while the upstream is slow: what is spent and what is held stay within the limit, line by line."""
    stage = Stage(start_agentd(small(upstream), env=upstream.environment(), simulate=False), upstream)
    asked = [
        Asking(stage, tuple(PATHS)[number % 2], f"[[sim:slow 40]] crowd {number}", stream=number % 4 > 1)
        for number in range(CROWD)
    ]
    for asking in asked:
        asking.start()
    for asking in asked:
        asking.join()
    lines = record_of(stage.daemon)
    check_within(lines, round(LIMIT_USD * NUSD))
    statuses = Counter(asking.played.reply.status for asking in asked if asking.played)
    assert statuses.keys() == {200, *(status for status, _ in LIMIT_REACHED.values())}
    assert statuses.total() == CROWD
    for asking in asked:
        if asking.played is not None and asking.played.reply.status != 200:
            kind, sentence, told = asking.played.error()
            assert (asking.played.reply.status, kind) == LIMIT_REACHED[asking.played.dialect]
            assert (told["code"], sentence.rpartition(" ")[2]) == ("budget.exhausted", told["decision"])
    arrived = [arrival for arrival in upstream.arrivals() if "crowd " in arrival["body"]]
    assert len(arrived) == statuses[200] > 0


def check_within(lines: list[Json], limit: int) -> None:
    """After no line are costs and reservations above the limit; and the limit was really reached."""
    used = peak = 0
    for line in lines:
        if line["kind"] == "decision" and line["verdict"] == "allow":
            used += line["reserved_nusd"]
        elif line["kind"] == "outcome" and line["cost_nusd"] is not None:
            used += line["cost_nusd"] - line["reserved_nusd"]
        peak = max(peak, used)
        assert used <= limit
    assert peak > limit // 2


def test_money_in_flight_survives_a_kill(start_agentd: Start, upstream: upstreams.Upstream) -> None:
    """Two calls hang at the upstream when the daemon is killed: nobody knows what they cost, so all of it counts."""
    policy, environment = small(upstream), upstream.environment()
    first = Stage(start_agentd(policy, env=environment, simulate=False), upstream)
    hanging = hang(first, upstream)
    before = {row["seq"]: row["reserved_nusd"] for row in first.rows(2)}
    assert first.used() == sum(before.values())
    assert refused(first)
    first.daemon.stop(signal.SIGKILL)
    for connection in hanging:
        connection.close()
    again = Stage(start_agentd(policy, env=environment, simulate=False, home=first.daemon.home), upstream)
    rows = [row for row in again.rows(10) if (row["kind"], row["verdict"]) == ("decision", "allow")]
    assert {row["seq"]: row["reserved_nusd"] for row in rows} == before
    assert [(row["status"], row["cost_nusd"]) for row in rows] == [("unknown", None)] * 2
    assert again.used() == sum(before.values())
    total = json.loads(again.daemon.ctl("spend", "--json").stdout)["total"]
    assert (total["reserved_nusd"], total["cost_nusd"]) == (sum(before.values()), 0)
    assert refused(again)


def hang(stage: Stage, upstream: upstreams.Upstream) -> list[UnixConnection]:
    """Two calls that are at the upstream and stay there for as long as their connections are kept."""
    kept = []
    for number, fault in enumerate(("hang-before", "hang-mid")):
        text = f"[[sim:fault {fault}]] to be killed {number}"
        body = {"model": "chat", "stream": True, "max_tokens": 4000, "messages": [{"role": "user", "content": text}]}
        kept.append(UnixConnection(stage.daemon.agent_socket))
        kept[-1].request("POST", PATHS["chat"], json.dumps(body))
    for _ in range(ASKS):
        stage.in_flight()
        if sum("to be killed" in arrival["body"] for arrival in upstream.arrivals()) == len(kept):
            return kept
    raise AssertionError("the calls did not reach the upstream")


def refused(stage: Stage) -> bool:
    """Whether a third such call finds the limit used up."""
    reply = stage.send("chat", "one more", max_tokens=4000).reply
    return reply.status == 400 and reply.json()["error"]["metadata"]["code"] == "budget.exhausted"
