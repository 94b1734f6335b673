"""What is asked. A call is bytes that were read once into facts; the bytes stay beside them and travel on unchanged
except for the fields that agentd owns."""

from dataclasses import dataclass, field
from enum import StrEnum

from agentd.core.types.bounds import Knob
from agentd.core.types.callers import Caller


class Dialect(StrEnum):
    """The wire grammars that agents speak."""

    CHAT = "chat"  # OpenAI chat completions
    MESSAGES = "messages"  # Anthropic messages
    RESPONSES = "responses"  # OpenAI responses, stateless


@dataclass(frozen=True, slots=True)
class Hints:
    """What the client says about its own call, in headers. Hints choose within what policy grants; they grant nothing."""

    lane: str | None = None  # X-Agentd-Class
    tier: str | None = None  # X-Agentd-Tier
    session: str | None = None  # correlation header of the client, as sent
    client: str | None = None  # user agent's first word


@dataclass(frozen=True, slots=True)
class Smuggled:
    """A field of the request that could escape tier, cost or data rules, and what becomes of it."""

    where: str  # path in the body: "tools[3].type"
    what: str  # its value, shortened
    refused: bool  # True: the call is denied; False: the field is removed and that is recorded


@dataclass(frozen=True, slots=True)
class Shape:
    """Facts of a request's structure, from which it is classified and its size estimated.

    `human_text` is the last human turn alone, client wrappers removed: user text since the last assistant message. System
    prompt, tool schemas and tool results are counted, never read.
    """

    human_text: str = ""
    wrapper: str | None = (
        None  # wake-up texts known from clients: heartbeat, cron, exec_event, compaction, title, subagent
    )
    continuation: bool = False  # tool results follow the last human turn
    provider_state: bool = False  # signatures or encrypted reasoning that another model refuses
    turns: int = 0  # messages in all
    system_chars: int = 0
    history_chars: int = 0  # all message text, tool results included
    tools: tuple[str, ...] = ()
    tools_used: tuple[str, ...] = ()  # names called since the last human turn
    images: int = 0
    documents: int = 0
    conversation: str = ""  # hex digest of the first human message: the session of clients that name none


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model, read."""

    dialect: Dialect
    body: bytes = field(repr=False)
    model_asked: str
    stream: bool
    wants_usage: bool  # the client asked for usage in the stream (chat); the other dialects always carry it
    max_output: int | None  # the client's own output cap in tokens
    shape: Shape
    smuggled: tuple[Smuggled, ...] = ()
    dropped: tuple[str, ...] = ()  # unknown top-level fields, not sent on
    knobs: tuple[Knob, ...] = ()  # what it says of effort and of how long a cache is kept
    long_marks: tuple[str, ...] = ()  # lifetimes above five minutes that its marks for the prompt cache ask for


@dataclass(frozen=True, slots=True)
class Request:
    """A call and who makes it, at a time: all that is known before a decision."""

    id: str  # "r-" and 16 hex digits
    at_ns: int  # wall clock, UTC
    caller: Caller
    call: ModelCall
    hints: Hints = Hints()
    session: str = ""  # opaque: digest of agent and correlation hint
