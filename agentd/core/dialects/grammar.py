"""What a grammar takes and gives: the contract between the way and the wire formats.

A grammar reads a body into a `ModelCall`, puts into it what agentd owns, follows the reply without holding it up, and
words refusals so that the clients of its dialect neither storm nor give up on the provider. All of it is bytes in, facts
and bytes out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentd.core.types.bounds import Clamp
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.receipts import Ending, Usage
from agentd.core.types.verdicts import Deny


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What agentd owns in a body. `openrouter` False is a plain OpenAI-compatible server, which gets no field that only
    OpenRouter knows: no provider, plugins, session or user."""

    model: str
    max_output: int  # tokens
    openrouter: bool
    providers: tuple[str, ...] = ()
    max_price: tuple[str, str] | None = None  # USD per million tokens: prompt, completion
    zdr: bool = False
    session: str = ""  # opaque, made by the caller
    user: str = ""  # opaque, made by the caller
    foreign: int = 0  # messages from the first on in which another model may have signed its thinking: that goes
    first_party: bool = False  # the provider is Anthropic itself: context_management may stay
    clamps: tuple[Clamp, ...] = ()  # what keeps effort and cache within the bounds of the verdict


@dataclass(frozen=True, slots=True)
class ReplyFacts:
    """What a reply said, as far as it was heard. `error` is the upstream's type or code, never its text.

    Until the end mark `ending` is CUT: that is what it would be if nothing more came.
    """

    usage: Usage = Usage()
    model: str | None = None
    provider: str | None = None
    generation: str | None = None
    tool_calls: tuple[str, ...] = ()  # names, in the order of the calls
    ending: Ending = Ending.CUT
    error: str | None = None
    finish: str | None = None  # the dialect's own word
    begun: str | None = None  # the id that the client was told of, whatever it is good for
    recipients: tuple[str, ...] = ()  # providers that saw the data
    unasked: tuple[str, ...] = ()  # tools that ran at the provider: "server_tool_use.web_search_requests = 2"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal in a dialect's own shape."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: at most `limit` entries, from the place `offset` on. Clients that page ask until a page is not full."""

    offset: int = 0
    limit: int = 500


WHOLE = Page()
"""What is meant where no part is asked for: OpenRouter's own pages, which are longer than any list of agentd."""


class ReplyMachine(Protocol):
    """Follows one reply with status 200. Where the bytes were split changes neither output nor facts."""

    @property
    def facts(self) -> ReplyFacts:
        """What was heard so far."""

    @property
    def failed(self) -> bool:
        """The reply told of an error, cannot be followed, or (after `finish`) was cut: nothing more of it is forwarded, and
        the agent is to be told in agentd's own words (`stream_error`, or `refusal` where no byte went out)."""

    @property
    def quiet(self) -> int:
        """Bytes of a stream so far that said nothing: comments, blank lines, events without data."""

    @property
    def held(self) -> int:
        """Bytes of a whole body so far, which `finish` reads at once; 0 for a stream."""

    def feed(self, data: bytes) -> bytes:
        """Bytes to forward now: whole events of a stream; nothing of a whole body, which is judged at its end."""

    def finish(self) -> bytes:
        """The upstream's bytes are over: what is left to forward. Of a stream that was cut, no half event."""


class Grammar(Protocol):
    """One dialect."""

    @property
    def dialect(self) -> Dialect:
        """Which one."""

    def read(self, body: bytes) -> ModelCall:
        """A request's body as facts. Raises `Unreadable`."""

    def rewrite(self, call: ModelCall, rewrite: Rewrite) -> bytes:
        """The body to send: agentd's own fields set, side doors removed, all else in the client's bytes and order."""

    def reader(self, call: ModelCall) -> ReplyMachine:
        """Follows the reply to this call: a stream if the call asked for one, else a whole body."""

    def refusal(self, deny: Deny, decision: str) -> Refusal:
        """A refusal before the first byte. `decision` "d-41", empty if none could be written."""

    def stream_error(self, deny: Deny, decision: str, begun: str = "") -> bytes:
        """A refusal after the first byte: the last event of the stream, without an end mark, since the answer is not whole.
        `begun` is the id under which the stream began, as `ReplyFacts` has it."""

    def models(self, entries: Sequence[Mapping[str, Any]], page: Page = WHOLE) -> bytes:
        """The list of models: entries have id and name, and may have created, context_length and max_output."""
