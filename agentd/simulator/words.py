"""The simulator's words: what was asked, what is answered, what goes wrong. Each API has a grammar that reads a body into
`Asked` and writes an `Answer` or a `Problem`; everything between knows no wire format, so a further API is one more grammar.

Tokens are counted roughly: four characters make one, every message costs a few more, an image a fixed number. What matters
is that counts are deterministic and that the books and the answers agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agentd.core.types.money import Nusd

Json = dict[str, Any]
"""An object of JSON."""

CHARS_PER_TOKEN: Final = 4
MESSAGE_TOKENS: Final = 4
"""Overhead of a message: role and separators."""

FUNCTION: Final = "function"
CUSTOM: Final = "custom"
LOCAL_SHELL: Final = "local_shell"
"""Kinds of tools: with a schema, with free text, and the client's own shell (the latter two in the responses API)."""

IMAGE_TOKENS: Final = 1000
"""Of an image or document, whatever its size: about what one costs at common sizes."""


def count_tokens(text: str) -> int:
    """Tokens of a text, rounded up."""
    return -(-len(text) // CHARS_PER_TOKEN)


def utf8(text: str) -> bytes:
    """A text as bytes. Half characters, which JSON can name and UTF-8 cannot write, become question marks."""
    return text.encode(errors="replace")


class Invalid(Exception):
    """A body that breaks the contract: `message` names the field, `error_type` is the upstream's word for it."""

    def __init__(self, message: str, error_type: str = "invalid_request") -> None:
        """Take both."""
        super().__init__(message)
        self.message = message
        self.error_type = error_type


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the prompt that a cache can end at: its text for comparison, its tokens, its mark ("5m" or "1h")."""

    text: str = field(repr=False)
    tokens: int
    mark: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its role, the text in it, and the tool results in it."""

    role: str
    text: str = ""
    results: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """A tool that the client offers: its name and the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    kind: str = FUNCTION
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read and found valid."""

    model: str
    stream: bool
    turns: tuple[Turn, ...]
    segments: tuple[Segment, ...]
    tools: tuple[ToolOffer, ...] = ()
    cap: int | None = None
    provider: Mapping[str, Any] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()  # optional parameters that a provider may lack
    session: str = ""
    context_management: bool = False

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt."""
        return sum(segment.tokens for segment in self.segments)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the simulated model makes; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str
    kind: str = FUNCTION
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Token counts of one call. `prompt` includes `cached` and `written`, `written` includes `written_1h`."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the simulated model says, with everything that a grammar needs to write it down."""

    generation: str
    created: int  # seconds since 1970
    model: str
    provider: str
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    finish: str = "stop"  # stop | tool_calls | length | error
    tally: Tally = Tally()
    cost: Nusd = 0
    prompt_cost: Nusd = 0  # the prompt's part of it
    quirks: frozenset[str] = frozenset()  # names of faults that change a good answer
    metadata: Json | None = None  # openrouter_metadata, where it was asked for


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal or failure. `raw` replaces the JSON body by other content: (content type, body)."""

    status: int
    error_type: str
    message: str
    headers: tuple[tuple[str, str], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    availability: Mapping[str, Any] | None = None
    raw: tuple[str, bytes] | None = None
    code: int | str | None = None  # what `error.code` says where it is not the status


class Grammar(Protocol):
    """One API of the upstream."""

    name: str

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        """Read a body. Raises `Invalid`."""

    def whole(self, answer: Answer) -> Json:
        """The answer as one body."""

    def frames(self, answer: Answer) -> list[bytes]:
        """The answer as events, each whole with its blank line."""

    def error(self, problem: Problem, generation: str | None) -> Json:
        """The body of an error before the first byte."""

    def error_frames(self, problem: Problem, answer: Answer) -> list[bytes]:
        """The events of an error after the first byte."""

    def choice_error(self, problem: Problem, answer: Answer) -> Json:
        """A body with status 200 that holds part of an answer and an error."""


def whole_number(body: Mapping[str, Any], *names: str) -> int | None:
    """The first of some fields that is there, as a positive whole number. Raises `Invalid`."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise Invalid(f"{name} must be a positive integer")
        return value
    return None


def objects(body: Mapping[str, Any], name: str) -> Sequence[Json]:
    """A field that is a list of objects, empty if absent. Raises `Invalid`."""
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Invalid(f"{name} must be a list of objects")
    return value
