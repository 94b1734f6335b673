"""The proof that a door lets this user in: one small, real call in the client's own dialect.

It is decided, recorded and billed like any other."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from agentd.ctl.clients.plan import Dialect, Door
from agentd.ctl.exits import CtlError, Exit

CLOCK_S = 120.0
"""Seconds of silence: a model may think first."""

HTTP_ERROR = 400

MAX_TOKENS = 64
"""Enough for a word after some thought, and a bound for what the proof may cost."""

TEXT = "Answer with the one word: ready"

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}


@dataclass(frozen=True, slots=True)
class Proof:
    """What came back: `decision` is the id of its line in the record; `error` is empty for an answer."""

    status: int
    decision: str
    model: str
    error: str = ""
    hint: str = ""
    code: str = ""


class _Connection(http.client.HTTPConnection):
    """HTTP through a door."""

    def __init__(self, door: Door) -> None:
        host, _, port = (door.tcp or "agentd:80").rpartition(":")
        super().__init__(host, int(port), timeout=CLOCK_S)
        self._unix = None if door.tcp else door.socket

    def connect(self) -> None:
        if self._unix is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._unix)


def call(door: Door, dialect: Dialect, model: str) -> Proof:
    """Make the call. Raises `CtlError` when nobody answers."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {door.token}"}
    if dialect == "messages":
        headers["anthropic-version"] = "2023-06-01"
    connection = _Connection(door)
    try:
        connection.request("POST", PATHS[dialect], json.dumps(_body(dialect, model)), headers)
        response = connection.getresponse()
        decision = response.getheader("X-Agentd-Decision", "")
        return _proof(response.status, decision, response.read())
    except PermissionError:
        hint = "Let the user in: usermod -aG agentd-agents USER, then log in again or restart its service."
        raise CtlError(Exit.REFUSED, f"This user may not connect to {door.socket}.", hint) from None
    except (OSError, http.client.HTTPException) as error:
        message = f"Nobody answers at {door.tcp or door.socket}: {str(error) or type(error).__name__}."
        raise CtlError(Exit.UNREACHABLE, message, "Start agentd: systemctl start agentd, or agentd serve.") from None
    finally:
        connection.close()


def _body(dialect: Dialect, model: str) -> dict[str, Any]:
    if dialect == "responses":
        return {"model": model, "max_output_tokens": MAX_TOKENS, "input": TEXT}
    return {"model": model, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": TEXT}]}


def _proof(status: int, decision: str, body: bytes) -> Proof:
    try:
        found = json.loads(body)
        error = found.get("error") or {}
        if status < HTTP_ERROR and not error:
            return Proof(status, decision, str(found.get("model", "")))
        # Each dialect has agentd's own words in another place: in the error, beside it, or in its metadata.
        ours = found.get("agentd") or error.get("metadata") or error
        code = str(ours.get("code", ""))
        return Proof(
            status, decision, "", str(error.get("message") or "no reason given"), str(ours.get("hint", "")), code
        )
    except (ValueError, AttributeError):
        return Proof(status, decision, "", "what answers there is not agentd")
