"""A mark for the prompt cache where the client set none and the model wants one.

Most models cache prompts by themselves; Anthropic's do so only for requests that are marked, and many agents mark nothing when
they speak another API. One mark at the top level lets the provider cache as far as the conversation reaches. Writing a cache
costs a quarter more than reading a prompt, and reading it a tenth: so it is set only where a next call is likely that reads it,
for prompts above the size from which those models cache at all. It keeps the prompt for five minutes, which every class of work
allows; an hour is for clients to ask and for the class to grant. A request with any mark of its own is left alone: its client
knows better, and a mark too many is an error.
"""

from typing import Final

from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import ModelCall

FAMILIES: Final = ("anthropic/",)
"""Whose models cache only what is marked, and take a mark at the top level in all three APIs."""

LEAST_TOKENS: Final = 4_096
"""Below it the newest of them cache nothing; older ones begin at 1,024."""

BYTES_PER_TOKEN: Final = 4
"""Of a body, JSON and all: an estimate, which need not be exact."""

ONE_SHOT: Final = frozenset({"title", "heartbeat", "compaction", "cron", "exec_event"})
"""Wake-ups and side jobs of clients: nobody reads their prefix again soon."""

MARK: Final = b'{"type":"ephemeral"}'

_SET: Final = b'"cache_control"'
"""How a mark of the client's shows anywhere in the body; within a text its quotation marks would be escaped."""


def mark(call: ModelCall, rewrite: Rewrite) -> dict[str, bytes]:
    """The field to add, or nothing."""
    shape = call.shape
    goes_on = bool(shape.tools) or shape.turns > 1
    large = len(call.body) >= LEAST_TOKENS * BYTES_PER_TOKEN
    if not (rewrite.model.startswith(FAMILIES) and goes_on and large) or shape.wrapper in ONE_SHOT or _SET in call.body:
        return {}
    return {"cache_control": MARK}
