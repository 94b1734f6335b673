"""Following a reply: two machines for the two ways in which it comes, and the notes that both keep.

The dialects differ only in their ear: what an event or a body says. The machines own the framing: a stream is forwarded
event by event as it comes, a whole body is judged at its end, since a status of 200 may carry an error. An upstream's own
error text is never forwarded: it can name accounts and prompts. After an error the rest of a stream is still heard, for
the usage it may bring.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agentd.core.dialects.grammar import ReplyFacts
from agentd.core.dialects.lenient import object_of, too_many_values
from agentd.core.dialects.sse import Blocks, event_of, is_quiet, is_whole, too_many_lines
from agentd.core.dialects.usage import merge, unasked
from agentd.core.types.receipts import Ending, Usage

MAX_BODY_BYTES: Final = 32 << 20
"""32 MiB of a whole reply: far more than any model writes; an endless one would fill the memory."""

MAX_NOTED: Final = 256
"""Tool calls and recipients that are kept of one reply."""

NAME_CHARS: Final = 128
"""What is kept of a name, since a model may write anything into one."""

DONE: Final = b"[DONE]"
"""End mark of chat, tolerated in messages."""

EMPTY: Final = b"{}"
"""Data that say nothing."""

_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(slots=True)
class Notes:
    """What was heard so far."""

    usage: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    provider: str | None = None
    generation: str | None = None
    calls: dict[Any, str] = field(default_factory=dict)  # by whatever identifies a call in its dialect
    finish: str | None = None
    error: str | None = None
    ended: bool = False
    recipients: dict[str, None] = field(default_factory=dict)
    begun: str | None = None

    def served(self, said: dict[str, Any]) -> None:
        """Who serves: the first answer to each question stands."""
        self.generation = self.generation or name_of(said.get("id"))
        self.model = self.model or name_of(said.get("model"))
        self.provider = self.provider or name_of(said.get("provider"))

    def metered(self, usage: object) -> None:
        """Counts, from wherever they stand."""
        merge(self.usage, usage)

    def routed(self, metadata: object) -> None:
        """The providers that a router tried: each saw the data."""
        attempts = metadata.get("attempts") if isinstance(metadata, dict) else None
        for attempt in attempts if isinstance(attempts, list) else []:
            name = name_of(attempt.get("provider")) if isinstance(attempt, dict) else None
            if name and len(self.recipients) < MAX_NOTED:
                self.recipients[name] = None

    def called(self, key: object, name: object) -> None:
        """A tool call; its first name stands."""
        known = name_of(name)
        if known and key not in self.calls and len(self.calls) < MAX_NOTED:
            self.calls[key] = known

    def failed(self, code: object) -> None:
        """An error by type or code; the first one stands."""
        self.error = self.error or code_of(code)


class Ear(Protocol):
    """How one dialect is understood."""

    def event(self, name: str, said: dict[str, Any], notes: Notes) -> bool:
        """Note what an event says. False: it is for agentd alone, and not forwarded."""

    def body(self, said: dict[str, Any], notes: Notes) -> None:
        """Note what a whole body says; `notes.ended` if it is a whole answer."""

    def end_mark(self, notes: Notes) -> None:
        """`[DONE]` was read."""

    def usage(self, said: dict[str, Any]) -> Usage:
        """The dialect's counts in common words."""


def name_of(value: object) -> str | None:
    """A name as the record may hold it, None if there is none."""
    return value[:NAME_CHARS] if isinstance(value, str) and value else None


def code_of(value: object) -> str:
    """An error's type or code as the record may hold it: never a sentence."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    return text if _CODE.fullmatch(text) else "unmapped"


def error_code(error: object, beside: object = None) -> str:
    """The most telling of the places in which an error names its kind; `beside` is an `error_type` next to it."""
    told = error if isinstance(error, dict) else {}
    metadata = told.get("metadata")
    inner = metadata.get("error_type") if isinstance(metadata, dict) else None
    places = (inner, told.get("error_type"), beside, told.get("code"), told.get("type"), told.get("http_status"))
    return code_of(next((place for place in places if place), None))


def _facts(ear: Ear, notes: Notes) -> ReplyFacts:
    ending = Ending.ERROR if notes.error else Ending.DONE if notes.ended else Ending.CUT
    recipients = tuple(notes.recipients)
    if notes.provider and notes.provider not in notes.recipients:
        recipients = (*recipients, notes.provider)
    return ReplyFacts(
        usage=ear.usage(notes.usage),
        model=notes.model,
        provider=notes.provider,
        generation=notes.generation,
        tool_calls=tuple(notes.calls.values()),
        ending=ending,
        error=notes.error,
        finish=notes.finish,
        recipients=recipients,
        unasked=unasked(notes.usage),
        begun=notes.begun,
    )


class _Machine:
    """What both machines keep, and say of it. `quiet`, `held`: see `ReplyMachine`."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._notes = Notes()
        self._over = False
        self._said: ReplyFacts | None = None
        self.quiet = 0
        self.held = 0

    @property
    def facts(self) -> ReplyFacts:
        """See `ReplyMachine`. What was said when the bytes are over is worked out once."""
        if self._said is not None:
            return self._said
        said = _facts(self._ear, self._notes)
        if self._over:
            self._said = said
        return said

    @property
    def failed(self) -> bool:
        """An error was told, or the bytes are over without an end mark."""
        return self._notes.error is not None or (self._over and not self._notes.ended)


class StreamMachine(_Machine):
    """Fulfils `ReplyMachine` for server-sent events."""

    def __init__(self, ear: Ear) -> None:
        """Understand with the dialect's ear."""
        super().__init__(ear)
        self._blocks = Blocks()

    def feed(self, data: bytes) -> bytes:
        """See `ReplyMachine`."""
        blocks = self._blocks.feed(data)
        forward = b"".join([block for block in blocks if self._heard(block)])
        if self._blocks.overflow:
            self._notes.failed("event_too_large")
        return forward

    def finish(self) -> bytes:
        """See `ReplyMachine`. A last event that only lacks its blank line is completed; half an event is not forwarded."""
        self._over = True
        rest = self._blocks.rest()
        if is_whole(rest):
            return rest if self._heard(rest) else b""
        if too_many_lines(rest):
            return b""
        data = event_of(rest).data
        if data is None or too_many_values(data) or (data != DONE and object_of(data) is None):
            return b""
        return rest.rstrip(b"\r\n") + b"\n\n" if self._heard(rest) else b""

    def _heard(self, block: bytes) -> bool:
        """Note what a block says; whether to forward it."""
        notes = self._notes
        if is_quiet(block):
            self.quiet += len(block)
            return notes.error is None
        if too_many_lines(block):
            notes.failed("event_too_large")
            return False
        event = event_of(block)
        forward = True
        if event.data == DONE:
            self._ear.end_mark(notes)
        elif event.data:
            forward = self._told(event.name, event.data)
        if not event.data or event.data == EMPTY:
            self.quiet += len(block)
        return forward and notes.error is None

    def _told(self, name: str, data: bytes) -> bool:
        """Note what an event's data say; whether they are for the agent too."""
        if too_many_values(data):
            self._notes.failed("too_many_values")
            return False
        said = object_of(data)
        if said is None:
            self._notes.failed("unreadable_event")
            return False
        return self._ear.event(name, said, self._notes)


class WholeMachine(_Machine):
    """Fulfils `ReplyMachine` for one JSON body, which may have blank lines in front."""

    def __init__(self, ear: Ear) -> None:
        """Understand with the dialect's ear."""
        super().__init__(ear)
        self._body = bytearray()

    def feed(self, data: bytes) -> bytes:
        """See `ReplyMachine`."""
        if not self._notes.error:
            self._body += data
        self.held = len(self._body)
        if len(self._body) > MAX_BODY_BYTES:
            self._body.clear()
            self._notes.failed("body_too_large")
        return b""

    def finish(self) -> bytes:
        """See `ReplyMachine`. Nothing of a body that is cut, in error or no answer of the dialect."""
        self._over = True
        if self._notes.error:
            return b""
        body = bytes(self._body)
        if too_many_values(body):
            self._notes.failed("too_many_values")
            return b""
        said = object_of(body)
        if said is not None:
            self._ear.body(said, self._notes)
            if not self._notes.ended:
                self._notes.failed("no_answer")
        return body if said is not None and not self.failed else b""
