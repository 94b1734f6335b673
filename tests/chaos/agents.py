"""Agents that call once, in any dialect, streamed or whole, and keep all that came back, however it ended."""

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from agentd.core.dialects import refusals
from agentd.core.types.verdicts import Answer
from harness.daemon import Daemon
from harness.http import Reply, UnixConnection

FORMS = {"chat": refusals.CHAT, "messages": refusals.MESSAGES, "responses": refusals.RESPONSES}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
END_MARKS = {"chat": b"data: [DONE]", "messages": b'"type":"message_stop"', "responses": b'"type":"response.completed"'}
"""What only the end of a good stream has."""

PATIENCE_S = 180.0
"""Longer than any clock of the daemon that is waited for here."""

KINDS = tuple((dialect, stream) for dialect in PATHS for stream in (True, False))


@dataclass(frozen=True, slots=True)
class Told:
    """A refusal: its type in the dialect's own place, and agentd's part."""

    type: str
    code: str
    decision: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What one agent saw. `broke`: how its connection failed, "" if it did not. Status 0: no answer at all."""

    dialect: str
    stream: bool
    reply: Reply
    broke: str = ""

    @property
    def status(self) -> int:
        return self.reply.status

    @property
    def whole(self) -> bool:
        """A good answer, with one end mark and no error."""
        if self.broke or self.status != 200:
            return False
        if self.stream:
            return self.reply.body.count(END_MARKS[self.dialect]) == 1 and self.told is None
        return isinstance(self.reply.json(), dict)

    @property
    def told(self) -> Told | None:
        """The error that the answer is or ends with; None for none."""
        if self.broke or not self.reply.body:
            return None
        said = self.reply.events()[-1] if "event-stream" in self.reply.headers["content-type"] else self.reply.json()
        return _told(said)


def _told(said: dict[str, Any]) -> Told | None:
    """Read an error body or event of any dialect."""
    if said.get("type") == "response.failed":
        response = said["response"]
        part = response["agentd"]
        return Told(response["error"]["code"], part["code"], part["decision"], response["error"]["message"])
    error = said.get("error")
    if not isinstance(error, dict):
        return None
    part = error.get("metadata") or said.get("agentd") or {"code": "", "decision": None}
    return Told(error["type"], part["code"], part["decision"], error["message"])


def body_of(dialect: str, text: str, *, stream: bool, tokens: int = 400, model: str = "chat") -> bytes:
    """A call with this text."""
    asked: dict[str, Any] = {"model": model, "stream": stream}
    if dialect == "responses":
        asked |= {"input": text, "max_output_tokens": tokens}
    else:
        asked |= {"messages": [{"role": "user", "content": text}], "max_tokens": tokens}
    return json.dumps(asked).encode()


class Agent(threading.Thread):
    """One call in a thread of its own. `began` is set at the first byte of the answer's body, or when there will be none;
    `seen` is there at the end. With `buffer` bytes of receive buffer it is one that takes little at a time."""

    def __init__(self, daemon: Daemon, kind: tuple[str, bool], text: str, **more: Any) -> None:
        super().__init__(daemon=True)
        self.dialect, self.stream = kind
        self.began = threading.Event()
        self.seen: Seen | None = None
        self._door: Path = daemon.agent_socket
        self._body = body_of(self.dialect, text, stream=self.stream, **more)

    def run(self) -> None:
        status, headers, got, broke = 0, {}, b"", ""
        connection = UnixConnection(self._door, PATIENCE_S)
        try:
            connection.request("POST", PATHS[self.dialect], self._body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            status, headers = answer.status, {name.lower(): value for name, value in answer.getheaders()}
            while piece := answer.read1(65536):
                got += piece
                self.began.set()
        except (OSError, HTTPException) as error:
            broke = type(error).__name__
        finally:
            connection.close()
        self.seen = Seen(self.dialect, self.stream, Reply(status, headers, got), broke)
        self.began.set()

    def ended(self) -> Seen:
        """Wait for the end; what was seen."""
        self.join(PATIENCE_S)
        assert self.seen is not None, f"an agent still waits: {self.dialect}, stream {self.stream}"
        return self.seen


def form_of(dialect: str, answer: Answer) -> tuple[int, str]:
    """Status and error type of a refusal."""
    form = FORMS[dialect][answer]
    return form.status, form.type


def begin(daemon: Daemon, size: int, text: str, kinds: Iterable[tuple[str, bool]] = KINDS, **more: Any) -> list[Agent]:
    """Start this many agents, of these kinds in turn; each text ends with a number of its own."""
    order = tuple(kinds)
    agents = [Agent(daemon, order[number % len(order)], f"{text} {number}.", **more) for number in range(size)]
    for agent in agents:
        agent.start()
    return agents


def ended(agents: Iterable[Agent]) -> list[Seen]:
    """What each saw, once all are at an end."""
    return [agent.ended() for agent in agents]


def all_began(agents: Iterable[Agent]) -> None:
    """Wait until each has its first bytes."""
    for agent in agents:
        assert agent.began.wait(PATIENCE_S), f"nothing came: {agent.dialect}, stream {agent.stream}"
        assert agent.seen is None or not agent.seen.broke, agent.seen


def ask(daemon: Daemon, dialect: str = "chat", text: str = "hello", *, stream: bool = False, **more: Any) -> Seen:
    """One call, here and now."""
    agent = Agent(daemon, (dialect, stream), text, **more)
    agent.start()
    return agent.ended()


def request_of(dialect: str, text: str, **more: Any) -> bytes:
    """A whole request as bytes, for a client that is none of ours; the connection ends with the answer."""
    body = body_of(dialect, text, **more)
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: agentd\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
