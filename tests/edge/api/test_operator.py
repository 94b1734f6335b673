"""The operator's door: routes, errors in one shape, streams that end with their reader."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.edge.api.operator import PREFIX, STATUS
from agentd.gate.ports_operator import MAX_ROWS, OperatorRefused
from ctl.office import Office
from harness.http import Reply, UnixConnection, call


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.open()
    yield made
    made.destroy()


@pytest.fixture(scope="module")
def quiet_office() -> Iterator[Office]:
    """One for all the tests that change nothing."""
    made = Office()
    made.open()
    yield made
    made.destroy()


def ask(office: Office, method: str, route: str, body: Any = None) -> Reply:
    return call(office.socket, method, PREFIX + route, body)


GETS = [
    "/status",
    "/logs",
    "/spend",
    "/keys",
    "/agents",
    "/policy",
    "/policy/history",
    "/anchor",
    "/sums",
    "/halts",
    "/doctor",
    "/raw",
]


@pytest.mark.parametrize("route", GETS)
def test_each_question_has_an_answer(quiet_office: Office, route: str) -> None:
    reply = ask(quiet_office, "GET", route)
    assert reply.status == 200
    assert all(isinstance(json.loads(line), dict) for line in reply.body.splitlines())


def test_health_needs_no_admission(quiet_office: Office) -> None:
    assert call(quiet_office.socket, "GET", "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "route", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "request.invalid"),
        ("POST", "/status", {}, 405, "request.invalid"),
        ("GET", "/explain/abc", None, 400, "request.field"),
        ("GET", "/explain/-1", None, 400, "request.field"),
        ("GET", "/explain/99999999999999999999", None, 400, "request.field"),
        ("GET", "/explain/999", None, 404, "line.none"),
        ("GET", "/logs?limit=many", None, 400, "request.field"),
        ("GET", "/logs?since_ns=1.5", None, 400, "request.field"),
        ("GET", "/logs?ago_s=x", None, 400, "request.field"),
        ("GET", "/raw?first=", None, 400, "request.field"),
        ("GET", "/spend?by=shoe", None, 400, "spend.by"),
        ("GET", "/policy/version/ffff", None, 404, "policy.unknown"),
        ("PUT", "/keys/spare", {}, 400, "request.field"),
        ("PUT", "/keys/spare", {"value": 7}, 400, "request.field"),
        ("PUT", "/keys/spare", [1], 400, "request.json"),
        ("PUT", "/keys/Sp%20are", {"value": "v"}, 400, "key.name"),
        ("DELETE", "/keys/spare", None, 404, "key.none"),
        ("POST", "/halt", {"scope": "box"}, 400, "request.field"),
        ("POST", "/halt", {"scope": "box", "reason": ""}, 400, "halt.reason"),
        ("POST", "/halt", {"scope": "agent", "name": "x", "reason": "r"}, 404, "halt.unknown"),
        ("POST", "/resume", {"scope": "box", "reason": "r"}, 404, "halt.none"),
        ("POST", "/policy/test", {"text": 1}, 400, "request.field"),
    ],
)
def test_each_refusal_has_its_words(
    quiet_office: Office, method: str, route: str, body: Any, status: int, code: str
) -> None:
    reply = ask(quiet_office, method, route, body)
    assert (reply.status, reply.json()["error"]["code"]) == (status, code)
    assert reply.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"value": "v"'])
def test_a_body_that_is_no_json_is_refused_without_being_repeated(quiet_office: Office, body: bytes) -> None:
    reply = _raw_put(quiet_office, body)
    assert b" 400 " in reply
    assert b'"value"' not in reply


def _raw_put(office: Office, body: bytes) -> bytes:
    head = f"PUT {PREFIX}/keys/spare HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(office.socket))
        client.sendall(head.encode() + body)
        data = b""
        while chunk := client.recv(65536):
            data += chunk
    return data


def test_a_body_beyond_the_bound_is_refused(quiet_office: Office) -> None:
    reply = ask(quiet_office, "POST", "/policy/test", {"text": "x" * (3 * 2**20)})
    assert reply.status == 413
    assert reply.json()["error"]["code"] == "request.invalid"


def test_every_kind_of_refusal_has_a_status() -> None:
    assert set(STATUS) == {Answer.INVALID, Answer.DENY, Answer.NOT_FOUND, Answer.UNAVAILABLE}


def test_an_agent_is_turned_away_before_its_request_is_looked_at(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_peer: object) -> None:
        raise OperatorRefused("operator.agent", "You are an agent.", "", Answer.DENY)

    monkeypatch.setattr(office.desk, "admit", refuse)
    for method, route in (("GET", "/status"), ("PUT", "/keys/spare"), ("GET", "/nothing")):
        reply = ask(office, method, route, {"value": "v"} if method == "PUT" else None)
        assert (reply.status, reply.json()["error"]["code"]) == (403, "operator.agent")
    assert "spare" not in office.keys.values


def test_the_operator_is_who_the_kernel_says(office: Office) -> None:
    import os

    ask(office, "POST", "/halt", {"scope": "box", "reason": "smoke", "caller": {"uid": 0}})
    (line,) = [row for row in ask(office, "GET", "/logs").json()["rows"] if row["kind"] == "halt"]
    assert (line["caller"]["uid"], line["caller"]["pid"]) == (os.getuid(), os.getpid())
    assert line["caller"]["door"] == "operator"


def test_no_record_no_act(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_line: object) -> None:
        raise RecordUnavailable("record.disk_full", "The disk is full.", "Make room.")

    monkeypatch.setattr(office.ledger, "append", full)
    reply = ask(office, "POST", "/halt", {"scope": "box", "reason": "smoke"})
    assert (reply.status, reply.json()["error"]["code"]) == (503, "record.disk_full")
    assert ask(office, "GET", "/halts").json() == {"halts": []}


def test_an_unforeseen_fault_tells_nothing_of_itself(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(office.desk, "status", broken)
    reply = ask(office, "GET", "/status")
    assert (reply.status, reply.json()["error"]["code"]) == (500, "operator.failed")
    assert b"secret detail" not in reply.body
    assert "secret detail" in caplog.text


def test_filters_and_bounds_reach_the_record(office: Office) -> None:
    office.call(text="thanks!")
    office.call(lane="implementation")
    rows = ask(office, "GET", "/logs?class=implementation&limit=99999999").json()["rows"]
    assert [row["class"] for row in rows] == ["implementation"]
    assert MAX_ROWS < 99999999
    assert ask(office, "GET", "/logs?limit=0").json()["rows"] == []
    assert len(ask(office, "GET", "/logs?limit=1").json()["rows"]) == 1


def test_two_hours_ago_is_counted_on_the_daemons_clock(office: Office) -> None:
    office.call(text="thanks!")
    office.clock.now += 3 * 3600 * 10**9
    office.call(lane="implementation")
    rows = ask(office, "GET", "/logs?ago_s=7200&agent=main").json()["rows"]
    assert [row["class"] for row in rows] == ["implementation"]
    spent = ask(office, "GET", "/spend?ago_s=7200").json()["rows"]
    assert [row["name"] for row in spent] == ["implementation"]


def test_raw_lines_are_the_bytes_that_were_digested(office: Office) -> None:
    import base64
    import hashlib

    office.call(text="thanks!")
    rows = [json.loads(line) for line in ask(office, "GET", "/raw?first=2").body.splitlines()]
    assert [row["seq"] for row in rows] == [2, 3, 4]
    assert all(hashlib.sha256(base64.b64decode(row["body"])).hexdigest() == row["digest"] for row in rows)


def test_followers_get_rows_at_once_and_leave_nothing_behind(office: Office) -> None:
    with contextlib.closing(UnixConnection(office.socket)) as client:
        client.request("GET", PREFIX + "/logs?follow=1&limit=1")
        reply = client.getresponse()
        assert reply.getheader("Content-Type") == "application/x-ndjson"
        assert json.loads(reply.readline())["kind"] == "policy"
        seq = office.call(text="thanks!")
        row = json.loads(reply.readline())
        assert (row["seq"], row["outcome"]) == (seq, seq + 1)
        assert len(office.ledger._listeners) == 1
    office.do(_until(lambda: not office.ledger._listeners))


async def _until(holds: Any) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.005)


def test_two_followers_do_not_disturb_each_other(office: Office) -> None:
    with (
        contextlib.closing(UnixConnection(office.socket)) as one,
        contextlib.closing(UnixConnection(office.socket)) as two,
    ):
        replies = []
        for client, filters in ((one, "&class=routine"), (two, "&class=implementation")):
            client.request("GET", PREFIX + "/logs?follow=1&limit=0" + filters)
            replies.append(client.getresponse())
        first, second = office.call(lane="implementation"), office.call(text="thanks!")
        assert json.loads(replies[0].readline())["seq"] == second
        assert json.loads(replies[1].readline())["seq"] == first


def test_nothing_that_a_key_is_made_of_is_ever_answered_or_recorded(office: Office, canary: str) -> None:
    replies = [
        ask(office, "PUT", "/keys/spare", {"value": canary}),
        ask(office, "PUT", f"/keys/{canary}", {"value": canary}),
        ask(office, "PUT", "/keys/spare", {"wrong": canary}),
        *(ask(office, "GET", route) for route in GETS),
    ]
    office.keys.broken = True
    replies.append(ask(office, "PUT", "/keys/spare", {"value": canary}))
    assert not any(canary.encode() in reply.body for reply in replies)
    assert office.keys.values["spare"] == canary
    kinds = [row["kind"] for row in ask(office, "GET", "/logs").json()["rows"]]
    assert kinds.count(Kind.KEY.value) == 3
