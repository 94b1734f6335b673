"""Everything wrong that a caller can send, through real sockets: each gets a typed error in its dialect's shape and a line in the
record; nothing is lost, nothing kept, and nobody else is delayed: after each, and meanwhile, a normal call is answered.
"""

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daemon.raw import first_of, head_of, line_to, talk
from daemon.stage import ASKS, PATHS
from harness import daemon as daemons
from harness.http import Reply, UnixConnection

MESSAGES = b'"messages":[{"role":"user","content":"hello"}]'
GOOD = b'{"model":"chat","max_tokens":50,' + MESSAGES + b"}"
MIB = 1 << 20
EACH = pytest.mark.parametrize("dialect", PATHS)

BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "json.malformed"),
    "half": (b'{"model":', "json.malformed"),
    "two": (GOOD + GOOD, "json.malformed"),
    "no object": (b"[1]", "json.not_object"),
    "null": (b"null", "json.not_object"),
    "duplicate key": (b'{"model":"a","model":"b",' + MESSAGES + b"}", "json.duplicate_key"),
    "NaN": (b'{"temperature":NaN,' + MESSAGES + b"}", "json.number"),
    "Infinity": (b'{"temperature":-Infinity,' + MESSAGES + b"}", "json.number"),
    "beyond floats": (b'{"temperature":1e999,' + MESSAGES + b"}", "json.number"),
    "huge number": (b'{"max_tokens":' + b"9" * 5000 + b"," + MESSAGES + b"}", "json.number"),
    "negative cap": (b'{"max_tokens":-5,' + MESSAGES + b"}", "request.shape"),
    "deep": (b'{"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json.too_deep"),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "json.too_deep"),
    "NUL": (b'{"a":"\0",' + MESSAGES + b"}", "json.nul"),
    "half a surrogate pair": (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "json.surrogate"),
    "no UTF-8": (b'{"messages":[{"role":"user","content":"\xff"}]}', "json.encoding"),
    "no messages": (b"{}", "request.shape"),
    "messages of null": (b'{"messages":[null]}', "request.shape"),
    "model of numbers": (b'{"model":5,' + MESSAGES + b"}", "request.shape"),
    "10,000 tools": (
        json.dumps({"tools": [{"name": f"t{n}"} for n in range(10_000)]}).encode()[:-1] + b"," + MESSAGES + b"}",
        "tools.too_many",
    ),
}

ROUTES = [
    ("GET", "/v1/nothing", 404),
    ("POST", "/v1/embeddings", 404),
    ("GET", "/../../etc/passwd", 404),
    ("GET", "/operator/v1/status", 404),
    ("POST", "/v1/models", 405),
    ("GET", "/v1/chat/completions", 405),
    ("PUT", "/v1/messages", 405),
    ("OPTIONS", "/v1/messages", 405),
    ("TRACE", "/", 405),
    ("GET", "//v1/models", 404),
    ("GET", "/v1%2fmodels", 404),
    ("GET", "/v1/models%00", 404),
    ("GET", "/v1/models/%0d%0aX-Agentd-Decision:d-1", 404),
    ("OPTIONS", "*", 404),
    ("CONNECT", "openrouter.ai:443", 404),
    ("GET", "http://openrouter.ai/api/v1/key", 404),
]

HEADS = 30
"""Connections with half a head: some of their bytes come before the daemon waits for any."""

VANISHING = 30
"""Clients that go; the daemon may open a few files of its own meanwhile."""

SECRET = b"sk-or-v1-do-not-keep-this"
UNREADABLE = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\n\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"FOO /v1/messages " + SECRET + b" HTTP/1.1\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "length and chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -6\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nAuthorization: Bearer " + SECRET * 1000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(5000)) + b"\r\n",
    "no chunk": b"POST /v1/messages HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
    "more after the end": b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" + SECRET + b"\r\n\r\n",
}


CHUNKED = b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)

AMBIGUOUS = {
    "the same length twice": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "a length in another alphabet": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \u0660\r\n\r\n".encode(),
    "a length beyond all": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "chunks twice": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n" + CHUNK,
    "chunks and then something": CHUNKED.replace(b"chunked", b"chunked, identity") + b"\r\n" + CHUNK,
    "nearly chunks": CHUNKED.replace(b"chunked", b"xchunked") + b"\r\n" + CHUNK,
    "chunks behind a control character": CHUNKED.replace(b"chunked", b"\x0bchunked") + b"\r\n" + CHUNK,
    "a blank before the colon": CHUNKED.replace(b"Encoding:", b"Encoding :") + b"\r\n" + CHUNK,
    "chunks in 1.0": CHUNKED.replace(b"1.1", b"1.0") + b"\r\n" + CHUNK,
    "a chunk's size with a sign": CHUNKED + b"\r\n+" + CHUNK,
    "a chunk's size with a prefix": CHUNKED + b"\r\n0x" + CHUNK,
    "a chunk's size with a bar": CHUNKED + b"\r\n0_" + CHUNK,
    "a chunk's size beyond all": CHUNKED + b"\r\n" + b"F" * 40 + b"\r\n" + GOOD,
    "a chunk with more than it says": CHUNKED + b"\r\n" + CHUNK.replace(b"}\r\n0", b"}}\r\n0"),
    "chunks that end in a line feed": CHUNKED + b"\r\n" + CHUNK.replace(b"\r\n", b"\n"),
    "an extension with a line feed": CHUNKED + b"\r\n" + CHUNK.replace(b"\r\n", b";a\n", 1),
    "trailers that say who": CHUNKED + b"\r\n" + CHUNK[:-2] + b"Host: b\r\nContent-Length: 1\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n Content-Length: 5\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rContent-Length: 5\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: a\n\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n",
    "NUL in a path": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
}
"""Requests of which two readers could see different ends."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[daemons.Daemon]:
    """One for all; when they are through, its log tells of no fault of its own and no call is left open."""
    made = daemons.start()
    yield made
    until_idle(made)
    said = made.said()
    made.stop()
    sys.stderr.write(said)
    daemons.discard(made)
    assert "Traceback" not in said
    assert "ERROR" not in said


@pytest.fixture
def others(daemon: daemons.Daemon) -> Iterator[None]:
    """Somebody else's call is answered afterwards."""
    yield
    assert daemon.ask("POST", PATHS["chat"], GOOD).status == 200


pytestmark = pytest.mark.usefixtures("others")


def until_idle(daemon: daemons.Daemon) -> None:
    """Ask until no call is under way."""
    for _ in range(ASKS):
        if daemon.operate("GET", "/operator/v1/status").json()["in_flight"] == 0:
            return
    raise AssertionError("calls are still under way")


def newest(daemon: daemons.Daemon) -> dict[str, Any]:
    """The newest row of the record."""
    row: dict[str, Any] = daemon.operate("GET", "/operator/v1/logs?limit=1").json()["rows"][-1]
    return row


def told(dialect: str, reply: Reply) -> dict[str, Any]:
    """agentd's part of a refusal in the dialect's own shape, whose text and header name the decision."""
    said = reply.json()
    part: dict[str, Any] = said["error"]["metadata"] if dialect == "chat" else said["agentd"]
    assert said["error"]["message"].endswith(f"Decision: {part['decision']}")
    assert reply.headers["x-agentd-decision"] == part["decision"]
    if dialect == "chat":
        assert said["error"]["code"] == reply.status or reply.status == 405
    else:
        assert said["type"] == "error"
    return part


def check(daemon: daemons.Daemon, dialect: str, reply: Reply, status: int, code: str) -> None:
    """A refusal is in shape, and the newest line says the same."""
    part = told(dialect, reply)
    row = newest(daemon)
    assert (reply.status, part["code"]) == (status, code)
    assert (f"d-{row['seq']}", row["verdict"], row["code"]) == (part["decision"], "deny", code)
    assert row["caller"]["pid"] > 0


@EACH
@pytest.mark.parametrize(("body", "code"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_cannot_be_read(daemon: daemons.Daemon, dialect: str, body: bytes, code: str) -> None:
    reply = daemon.ask("POST", PATHS[dialect], body)
    check(daemon, dialect, reply, 400, code)


@EACH
@pytest.mark.parametrize("text", [b"a\\u0000b", b"\\ud83d\\ude00", b"  ", b"\\u202e"])
def test_odd_text_that_can_be_read_is_answered(daemon: daemons.Daemon, dialect: str, text: bytes) -> None:
    body = b'{"max_tokens":99999999999999999999999999,"messages":[{"role":"user","content":"x%b"}]}' % text
    assert daemon.ask("POST", PATHS[dialect], body).status == 200


@pytest.mark.parametrize(("method", "target", "status"), ROUTES)
def test_what_is_not_served(daemon: daemons.Daemon, method: str, target: str, status: int) -> None:
    dialect = "messages" if "messages" in target else "chat"
    reply = daemon.ask(method, target, b"{}" if method == "POST" else None)
    check(daemon, dialect, reply, status, "request.unknown_route")
    assert ("allow" in reply.headers) is (status == 405)


@pytest.mark.parametrize("said", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_bytes_that_are_no_request(daemon: daemons.Daemon, said: bytes) -> None:
    (reply,) = talk(daemon, said)
    check(daemon, "chat", reply, 400, "request.bad_http")
    assert SECRET not in reply.body
    assert SECRET.decode() not in json.dumps(newest(daemon))


@pytest.mark.parametrize("said", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_request_that_two_readers_could_cut_differently(daemon: daemons.Daemon, said: bytes) -> None:
    """Refused, and what stands behind it is not taken for a request: the connection ends."""
    (reply,) = talk(daemon, said + SMUGGLED)
    check(daemon, "chat", reply, 400, "request.bad_http")


def test_chunks_with_extensions_are_read(daemon: daemons.Daemon) -> None:
    last = CHUNKED + b"Connection: close\r\n\r\n" + CHUNK.replace(b"\r\n", b';a="b";c\r\n', 1)
    assert [reply.status for reply in talk(daemon, CHUNKED + b"\r\n" + CHUNK + last)] == [200, 200]


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0"])
def test_nobody_is_upgraded(daemon: daemons.Daemon, protocol: str) -> None:
    head = head_of("messages", len(GOOD), "Connection: Upgrade", f"Upgrade: {protocol}")
    for reply in talk(daemon, head + GOOD + SMUGGLED, hang_up=True):
        assert (reply.status, "upgrade" in reply.headers) == (200, False)


def test_an_encoded_body(daemon: daemons.Daemon) -> None:
    (reply,) = talk(daemon, head_of("messages", 8, "Content-Encoding: gzip") + b"\x1f\x8b345678")
    check(daemon, "messages", reply, 400, "request.encoding")


def peak_kib(daemon: daemons.Daemon) -> int:
    """The most memory that the daemon ever had."""
    rows = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("VmHWM:"))


@EACH
def test_a_body_announced_as_too_large_is_not_read(daemon: daemons.Daemon, dialect: str) -> None:
    before = peak_kib(daemon)
    (reply,) = talk(daemon, head_of(dialect, 50 * MIB) + b"x" * 50 * MIB)
    check(daemon, dialect, reply, 413, "request.too_large")
    assert peak_kib(daemon) - before < 16 * 1024


@EACH
def test_a_body_that_grows_too_large_is_held_once(daemon: daemons.Daemon, dialect: str) -> None:
    before = peak_kib(daemon)
    head = head_of(dialect, 0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    piece = b"100000\r\n" + b"x" * MIB + b"\r\n"
    (reply,) = talk(daemon, head + piece * 50 + b"0\r\n\r\n")
    check(daemon, dialect, reply, 413, "request.too_large")
    assert peak_kib(daemon) - before < 64 * 1024


def test_others_are_served_while_large_bodies_arrive(daemon: daemons.Daemon) -> None:
    """Three clients are in the middle of large bodies; normal calls are answered before these are whole."""
    with line_to(daemon) as one, line_to(daemon) as two, line_to(daemon) as three:
        for raw in (one, two, three):
            raw.sendall(head_of("chat", 20 * MIB) + b'{"a":"' + b"x" * 15 * MIB)
        for dialect in PATHS:
            assert daemon.ask("POST", PATHS[dialect], GOOD).status == 200


def test_half_a_body_and_then_silence_from_a_half_closed_socket(daemon: daemons.Daemon) -> None:
    (reply,) = talk(daemon, head_of("messages", 1000) + b'{"model"', hang_up=True)
    check(daemon, "messages", reply, 400, "request.incomplete")


@EACH
def test_a_half_closed_socket_still_gets_its_answer(daemon: daemons.Daemon, dialect: str) -> None:
    (reply,) = talk(daemon, head_of(dialect, len(GOOD), "Connection: close") + GOOD, hang_up=True)
    assert reply.status == 200


def test_pipelined_requests_are_answered_in_their_order(daemon: daemons.Daemon) -> None:
    bad = head_of("chat", 1) + b"{"
    good = head_of("chat", len(GOOD)) + GOOD
    last = head_of("messages", len(GOOD), "Connection: close") + GOOD
    replies = talk(daemon, good * 20 + bad + good * 20 + last)
    assert [reply.status for reply in replies] == [200] * 20 + [400] + [200] * 21
    decisions = [int(reply.headers["x-agentd-decision"].removeprefix("d-")) for reply in replies]
    assert decisions == sorted(decisions)


def count_of(daemon: daemons.Daemon, **wanted: Any) -> int:
    """How many rows there are of a kind."""
    rows = daemon.operate("GET", "/operator/v1/logs?limit=5000").json()["rows"]
    return sum(all(row.get(name) == value for name, value in wanted.items()) for row in rows)


def until(condition: Callable[[], bool]) -> None:
    """Ask until something has come about."""
    for _ in range(ASKS):
        if condition():
            return
    raise AssertionError("it did not come about")


def descriptors(daemon: daemons.Daemon) -> int:
    """How many files and sockets the daemon has open."""
    return sum(1 for _ in Path(f"/proc/{daemon.process.pid}/fd").iterdir())


def test_clients_that_vanish_in_the_middle_of_their_bodies(daemon: daemons.Daemon) -> None:
    """Nobody is left to be told, and the record takes no line for a caller that has gone; nothing is allowed or left open. They
    ask first whether they may send, so that they are known to have been heard when they go."""
    before, held = count_of(daemon, verdict="allow"), descriptors(daemon)
    for _ in range(VANISHING):
        with line_to(daemon) as raw:
            raw.sendall(head_of("chat", 5000, "Expect: 100-continue"))
            assert raw.recv(100).startswith(b"HTTP/1.1 100 ")
            raw.sendall(b'{"model"')
    until(lambda: count_of(daemon, verdict="allow") == before and descriptors(daemon) < held + VANISHING // 2)
    until_idle(daemon)


@EACH
def test_a_client_that_vanishes_in_the_middle_of_a_stream(daemon: daemons.Daemon, dialect: str) -> None:
    before = count_of(daemon, status="client_gone")
    text = "[[sim:slow 50]] [[sim:long 400]] a long story"
    body = {"model": "chat", "stream": True, "max_tokens": 500, "messages": [{"role": "user", "content": text}]}
    connection = UnixConnection(daemon.agent_socket)
    connection.request("POST", PATHS[dialect], json.dumps(body))
    answer = connection.getresponse()
    assert answer.read1(100)
    seq = int(answer.headers["x-agentd-decision"].removeprefix("d-"))
    connection.close()
    answer.close()
    until(lambda: count_of(daemon, status="client_gone") == before + 1)
    outcome = daemon.operate("GET", f"/operator/v1/explain/{seq}").json()["outcome"]
    assert (outcome["status"], outcome["cost_nusd"]) == ("client_gone", None)


def test_three_hundred_connections_at_once(daemon: daemons.Daemon) -> None:
    """All open before the first asks; a third asks nonsense, a third leaves without its answer."""
    connections = [UnixConnection(daemon.agent_socket) for _ in range(300)]
    for connection in connections:
        connection.connect()

    def ask(number: int) -> int:
        connection = connections[number]
        body = b"{" if number % 3 == 1 else GOOD.replace(b"hello", b"hello %d" % number)
        connection.request("POST", PATHS[("chat", "messages")[number % 2]], body)
        status = 0 if number % 3 == 2 else connection.getresponse().status
        connection.close()
        return status

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(ask, range(300)))
    assert statuses == [(200, 400, 0)[number % 3] for number in range(300)]
    until_idle(daemon)


def test_slow_clients_are_told_so_and_keep_nobody_waiting(daemon: daemons.Daemon) -> None:
    """The door's own clocks are ten seconds; all slow ones wait for them together."""
    with ExitStack() as stack:
        heads = [stack.enter_context(line_to(daemon)) for _ in range(HEADS)]
        body, drip = stack.enter_context(line_to(daemon)), stack.enter_context(line_to(daemon))
        for head in heads:
            head.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: ag")
        body.sendall(head_of("messages", 1000) + b'{"model"')
        drip.sendall(b"GET / HTTP/1.1\r\nX-Long: ")
        stop = threading.Event()
        dripping = threading.Thread(target=drip_into, args=(drip, stop))
        dripping.start()
        for dialect in PATHS:
            assert daemon.ask("POST", PATHS[dialect], GOOD).status == 200
        for raw, dialect in ((body, "messages"), (drip, "chat"), *((head, "chat") for head in heads)):
            reply = first_of(raw)
            assert (reply.status, told(dialect, reply)["code"]) == (400, "request.too_slow")
        stop.set()
        dripping.join()
    assert count_of(daemon, code="request.too_slow") == HEADS + 2


def drip_into(raw: socket.socket, stop: threading.Event) -> None:
    """A byte now and then, so that there is never a long silence."""
    while not stop.wait(0.5):
        try:
            raw.sendall(b"x")
        except OSError:
            return


STRANGER = [
    ("POST", "/v1/chat/completions", GOOD),
    ("POST", "/v1/messages", GOOD),
    ("POST", "/v1/messages", b"{"),
    ("POST", "/v1/messages/count_tokens", GOOD),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/chat", None),
    ("POST", "/agentd/v1/escalations", b'{"class":"implementation","tier":"frontier","reason":"please"}'),
    ("POST", "/agentd/v1/escalations", b"{"),
    ("GET", "/v1/nothing", None),
    ("PUT", "/v1/messages", None),
]


@pytest.fixture(scope="module")
def strange() -> Iterator[daemons.Daemon]:
    """A daemon whose policy knows nobody of this uid."""
    lines = daemons.SHIPPED_POLICY.read_text().splitlines(keepends=True)
    made = daemons.start("".join(line for line in lines if "uid: self" not in line))
    yield made
    daemons.discard(made)


@pytest.mark.parametrize(("method", "target", "body"), STRANGER)
def test_a_stranger_gets_one_answer_to_everything(
    strange: daemons.Daemon, method: str, target: str, body: bytes | None
) -> None:
    dialect = "messages" if "messages" in target else "chat"
    reply = strange.ask(method, target, body, {"X-Agentd-Agent": "main", "Authorization": "Bearer sk-main"})
    check(strange, dialect, reply, 451 if dialect == "messages" else 400, "caller.unknown")
    row = newest(strange)
    assert (row["agent"], row["model"], row["tier"]) == (None, None, None)
    for told_of in (b"gemini", b"economy", b"frontier", b"implementation"):
        assert told_of not in reply.body


def test_every_refusal_is_in_the_operators_log(daemon: daemons.Daemon) -> None:
    codes = {line["code"] for line in daemon.lines("-n", "10000", "--verdict", "deny")}
    assert {code for _, code in BODIES.values()} | {
        "request.bad_http",
        "request.too_large",
        "request.too_slow",
    } <= codes
    done = daemon.ctl("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
