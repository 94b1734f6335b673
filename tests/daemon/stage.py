"""One daemon before one upstream with books and a log: calls, and all that they leave behind."""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from harness import daemon as daemons
from harness import upstream as upstreams
from harness.http import Reply

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages"}
WORDS = "grüße aus der ferne, 漢字 und noch mehr, damit es mehrere stücke werden"
NUSD = 10**9
NUMBERS = count(1)
"""Of the calls, over all stages: several may share an upstream."""
ASKS = 3000
"""How often a test asks whether something has come about before it gives up: some ten seconds of asking."""


@dataclass
class Played:
    """One call and all that it left behind."""

    dialect: str
    stream: bool
    reply: Reply
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)  # decisions with their outcomes, oldest first

    def error(self) -> tuple[str, str, dict[str, Any]]:
        """Type, sentence and agentd's part, of a refusal or of the last event of a stream."""
        said = self.reply.events()[-1] if self.streamed else self.reply.json()
        error = said["error"]
        if self.dialect == "chat":
            assert isinstance(error["code"], int)
            return error["type"], error["message"], error["metadata"]
        assert said["type"] == "error"
        return error["type"], error["message"], said["agentd"]

    @property
    def streamed(self) -> bool:
        """Whether the answer came as events."""
        return "event-stream" in self.reply.headers["content-type"]

    def ends(self) -> int:
        """How many end marks a stream has."""
        return self.reply.body.count(b"data: [DONE]" if self.dialect == "chat" else b'"type":"message_stop"')

    def words(self) -> str:
        """What a good answer says."""
        if not self.stream:
            said = self.reply.json()
            return str(
                said["choices"][0]["message"]["content"] if self.dialect == "chat" else said["content"][0]["text"]
            )
        events = self.reply.events()
        if self.dialect == "messages":
            return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
        return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


class Stage:
    """Plays calls. `call` may not be used by two threads at a time; `send` may."""

    def __init__(self, daemon: daemons.Daemon, upstream: upstreams.Upstream) -> None:
        self.daemon = daemon
        self._upstream = upstream

    def send(self, dialect: str, text: str, *, stream: bool = False, **more: Any) -> Played:
        """A call and its answer."""
        messages = [{"role": "user", "content": text}]
        body = {"model": "chat", "stream": stream, "max_tokens": 200, "messages": messages, **more}
        return Played(dialect, stream, self.daemon.ask("POST", PATHS[dialect], body))

    def call(self, dialect: str, stream: bool, fault: str = "") -> Played:
        """A call with what arrived at the upstream for it, and its lines."""
        mark = f"call {next(NUMBERS)}."
        ask = f"[[sim:fault {fault}]] " if fault else ""
        played = self.send(dialect, f"{ask}[[sim:say {WORDS}]] {mark}", stream=stream)
        played.arrivals = [arrival for arrival in self._upstream.arrivals() if mark in arrival["body"]]
        played.lines = self.rows(max(1, len(played.arrivals)))
        return played

    def rows(self, limit: int, **query: str) -> list[dict[str, Any]]:
        """The newest rows of the record, oldest first."""
        more = "".join(f"&{name}={value}" for name, value in query.items())
        found: list[dict[str, Any]] = self.daemon.operate("GET", f"/operator/v1/logs?limit={limit}{more}").json()[
            "rows"
        ]
        return found

    def outcome(self, row: dict[str, Any]) -> dict[str, Any]:
        """The outcome's own line."""
        found: dict[str, Any] = self.daemon.operate("GET", f"/operator/v1/explain/{row['seq']}").json()["outcome"]
        return found

    def books(self) -> dict[str, int]:
        """What the upstream's own books say that each generation cost in all, in nano-dollars."""
        connection = http.client.HTTPConnection(self._upstream.url.split("/")[2])
        connection.request("GET", "/__sim/books")
        entries = json.loads(connection.getresponse().read())["generations"]
        connection.close()
        return {entry["id"]: entry["cost_nusd"] + round(entry["upstream_inference_cost"] * NUSD) for entry in entries}

    def used(self, budget: str = "box-day") -> int:
        """What a budget counts as used, reservations included, in nano-dollars."""
        budgets = self.daemon.operate("GET", "/operator/v1/spend").json()["budgets"]
        return sum(int(row["spent"]) for row in budgets if row["name"] == budget)

    def in_flight(self) -> int:
        """How many calls are under way."""
        return int(self.daemon.operate("GET", "/operator/v1/status").json()["in_flight"])

    def until(self, in_flight: int) -> None:
        """Ask until so many calls are under way."""
        for _ in range(ASKS):
            if self.in_flight() == in_flight:
                return
        raise AssertionError(f"{self.in_flight()} calls are under way, not {in_flight}")


class Asking(threading.Thread):
    """A call in a thread of its own. `played` is there when it was answered."""

    def __init__(self, stage: Stage, dialect: str, text: str, **more: Any) -> None:
        super().__init__()
        self.played: Played | None = None
        self._ask = (stage, dialect, text, more)

    def run(self) -> None:
        stage, dialect, text, more = self._ask
        self.played = stage.send(dialect, text, **more)


def status_when(stage: Stage, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The status, once it is so."""
    for _ in range(ASKS):
        found: dict[str, Any] = stage.daemon.operate("GET", "/operator/v1/status").json()
        if ready(found):
            return found
    raise AssertionError(json.dumps(found))


def alarmed(code: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a status tells of an alarm."""
    return lambda found: code in [alarm["code"] for alarm in found["alarms"]]


def calls(upstream: upstreams.Upstream) -> int:
    """How many calls have come to an upstream; what is asked beside them is not counted."""
    return sum(arrival["method"] == "POST" for arrival in upstream.arrivals())
