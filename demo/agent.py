"""An agent as the demo needs one: it speaks to agentd's socket the way real agents do, large system prompt and all."""

import http.client
import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SYSTEM_CHARS = 24_000
"""Always-on agents send about this much of their own instructions with every call."""

TOOLS = (
    "read",
    "write",
    "edit",
    "exec",
    "process",
    "browser",
    "message",
    "cron",
    "web_fetch",
    "memory_search",
    "session_status",
)

_RULES = (
    "You are a home assistant that is always on. Plan before you act, analyse risks, keep notes, prove your results. "
    "Refactor what you touch, secure what you deploy, and ask before anything that cannot be undone. "
)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("agentd")
        self._path = path

    def connect(self) -> None:
        """Open the socket file instead of a host and port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Reply:
    """What came back: status, the decision's name, the body as text."""

    status: int
    decision: str
    text: str

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.text)


@dataclass
class Agent:
    """Keeps one conversation per session and sends it whole each time, as agents do."""

    door: Path
    sessions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Reply:
        """One request."""
        connection = _UnixConnection(self.door)
        named = {"Content-Type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        connection.request("POST", path, json.dumps(body), named)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.getheader("X-Agentd-Decision", ""), answer.read().decode())
        connection.close()
        return reply

    def chat(self, session: str, text: str, model: str = "agentd", **more: Any) -> Reply:
        """A human turn in chat completions; the answer is remembered."""
        turns = self.sessions.setdefault(session, [{"role": "system", "content": _system()}])
        turns.append({"role": "user", "content": text})
        body = {"model": model, "messages": turns, "tools": _functions(), **more}
        reply = self.post("/v1/chat/completions", body, x_session_id=session)
        if reply.status == 200:
            turns.append(reply.json()["choices"][0]["message"])
        else:
            turns.pop()
        return reply

    def code(self, session: str, text: str, steps: int) -> list[Reply]:
        """A coding turn in the messages dialect: streamed, with a loop of tool calls and results."""
        turns = self.sessions.setdefault(session, [])
        turns.append({"role": "user", "content": text})
        replies = [self._message(session, turns)]
        for step in range(steps):
            use = {
                "type": "tool_use",
                "id": f"toolu_{session}_{len(turns)}",
                "name": "exec",
                "input": {"command": f"make check-{step}"},
            }
            result = {
                "type": "tool_result",
                "tool_use_id": use["id"],
                "content": f"step {step}: 41 passed, 0 failed\n" * 40,
            }
            turns += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
            replies.append(self._message(session, turns))
        turns.append({"role": "assistant", "content": "Done."})
        return replies

    def _message(self, session: str, turns: list[dict[str, Any]]) -> Reply:
        marked = [{"type": "text", "text": _system(), "cache_control": {"type": "ephemeral"}}]
        body = {
            "model": "code",
            "max_tokens": 4000,
            "stream": True,
            "system": marked,
            "tools": _tools(),
            "messages": turns,
        }
        return self.post("/v1/messages", body, x_session_id=session, anthropic_version="2023-06-01")


def _system() -> str:
    return (_RULES * (SYSTEM_CHARS // len(_RULES) + 1))[:SYSTEM_CHARS]


def _schema(name: str) -> dict[str, Any]:
    words = f"What the tool {name} is to do, in full. " * 8
    return {"type": "object", "properties": {"command": {"type": "string", "description": words}}}


def _functions() -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": name, "description": name, "parameters": _schema(name)}}
        for name in TOOLS
    ]


def _tools() -> list[dict[str, Any]]:
    return [{"name": name, "description": name, "input_schema": _schema(name)} for name in TOOLS]
