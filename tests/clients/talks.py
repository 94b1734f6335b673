"""Conversations that every SDK holds twice, with the simulator itself and through agentd, and what may differ between the two."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

MODEL = "google/gemini-2.5-flash-lite"
LANE = "chat"
"""What an agent asks for; the policy's first model for it is `MODEL`."""

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"type": "function", "function": {"name": "weather", "description": "Weather", "parameters": SCHEMA}}],
    "messages": [{"name": "weather", "description": "Weather", "input_schema": SCHEMA}],
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}],
}
WEATHER = '[[sim:tool weather {"city": "Bern"}]]'
LONG = "[[sim:long 60]]"


class Told(Enum):
    """What the SDK's user is to be told through agentd."""

    SAME = auto()  # the same as without it
    REFUSED = auto()  # an error with the status of `answer`, in agentd's words
    BROKEN = auto()  # an error in the middle of a stream, in agentd's words


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation. `results` are those of the tools that the model calls, one a step."""

    name: str
    api: str
    prompt: str = ""
    stream: bool = False
    results: tuple[str, ...] = ()
    cap: int | None = None
    model: str = LANE
    told: Told = Told.SAME
    answer: str = ""  # of those in STATUSES, for what is refused
    door: str = "good"

    def asked(self, *, directly: bool) -> dict[str, Any]:
        """For a driver. Who asks the simulator itself names the model that agentd would have chosen."""
        return {
            "name": self.name,
            "api": self.api,
            "model": MODEL if directly and self.model == LANE else self.model,
            "prompt": self.prompt,
            "stream": self.stream,
            "tools": TOOLS[self.api] if self.results else None,
            "results": self.results,
            "cap": self.cap,
        }


STATUSES = {
    "DENY": {"chat": 400, "messages": 451, "responses": 400},
    "BUDGET": {"chat": 400, "messages": 402, "responses": 400},
    "WAIT": {"chat": 429, "messages": 429, "responses": 429},
    "INVALID": {"chat": 400, "messages": 400, "responses": 400},
    "TOO_LARGE": {"chat": 413, "messages": 413, "responses": 400},
    "UNKNOWN": {"chat": 400, "messages": 451, "responses": 400},
    "UNIDENTIFIED": {"chat": 401, "messages": 401, "responses": 401},
    "UNAVAILABLE": {"chat": 503, "messages": 503, "responses": 429},
}
"""What each answer of agentd is in each API."""

GOOD = (
    ("plain", "[[sim:say Grüße aus 世界]]"),
    ("thinking", "[[sim:reasoning]] [[sim:say so]]"),
    ("unknown fields", f"{LONG} [[sim:fault unknown-fields]]"),
)
ODD_STREAMS = ("comments", "crlf", "split-utf8")
REFUSED = (
    ("INVALID", "status:400"),
    ("TOO_LARGE", "type:payload_too_large"),
    ("DENY", "status:401"),
    ("BUDGET", "keylimit403"),
    ("WAIT", "html429"),
    ("WAIT", "status:503"),
    ("WAIT", "body200error"),
)
"""Answers of agentd to faults of the upstream."""

BY_DOOR = (("DENY", "halted"), ("BUDGET", "spent"), ("UNAVAILABLE", "lost"))
"""Answers of agentd on its own account, by the daemon that gives them."""

LISTS = ("models", "model", "count")
"""What is not a call of a model, and differs: agentd lists what the agent may ask for."""

BY_TOKEN = (("UNIDENTIFIED", "revoked"), ("UNKNOWN", "elsewhere"))
"""Answers that only a token can get, over TCP."""

BROKEN = ("error-mid:int", "error-mid:string", "cut-mid", "end-mid", "choice-error")


def talks(api: str) -> Iterator[Talk]:
    """All about one API."""
    for stream in (False, True):
        how = f"{api}, {'stream' if stream else 'whole'}"
        for name, prompt in GOOD:
            yield Talk(f"{how}: {name}", api, prompt, stream)
        yield Talk(f"{how}: tools", api, WEATHER, stream, ("rain at 7",))
        yield Talk(f"{how}: output cap", api, "[[sim:long 400]]", stream, cap=20)
        for answer, fault in REFUSED:
            prompt = f"{LONG} [[sim:fault {fault}]]"
            yield Talk(f"{how}: {fault}", api, prompt, stream, told=Told.REFUSED, answer=answer)
        for answer, door in BY_DOOR:
            yield Talk(f"{how}: {door}", api, "hello", stream, told=Told.REFUSED, answer=answer, door=door)
    for fault in ODD_STREAMS:
        yield Talk(f"{api}: {fault}", api, f"[[sim:say Grüße aus 世界]] [[sim:fault {fault}]]", stream=True)
    for fault in BROKEN:
        yield Talk(f"{api}: {fault}", api, f"{LONG} [[sim:fault {fault}]]", stream=True, told=Told.BROKEN)
    for answer, door in BY_TOKEN:
        yield Talk(f"{api}: {door}", api, "hello", told=Told.REFUSED, answer=answer, door=door)


def yardsticks(api: str) -> Iterator[Talk]:
    """What the SDK makes of each status when it comes from the simulator."""
    for status in sorted({row[api] for row in STATUSES.values()}):
        yield Talk(f"{api}: status {status}", api, f"[[sim:fault status:{status}]]")
