"""What a responses reply says, event by event or whole.

The end is an event that carries the whole response with its usage: completed, incomplete (the output cap, or a filter: an
answer all the same) or failed. A failure may also come as an event of its own. The `[DONE]` behind it ends nothing by
itself. Of the provider only the routing metadata tells.
"""

from typing import Any, Final

from agentd.core.dialects.replies import Notes, error_code, name_of
from agentd.core.dialects.responses_turns import CALLS, call_name
from agentd.core.dialects.usage import chat_usage
from agentd.core.types.receipts import Usage

ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})
"""Events behind which nothing more is said."""

ERRORS: Final = frozenset({"error", "response.error"})

ANSWERS: Final = frozenset({"completed", "incomplete"})
"""A response's status when it is an answer."""

FAILURES: Final = frozenset({"failed", "cancelled"})

SETTLED_BY: Final = "gen-"
"""How an id begins by which the upstream's accounting can be asked; other ids are only the response's own."""

_COUNTS: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}
"""The counts mean what they mean in chat completions, under other names."""


class ResponsesEar:
    """Fulfils `replies.Ear`."""

    def event(self, name: str, said: dict[str, Any], notes: Notes) -> bool:
        """See `Ear`. The type inside counts; the event's name stands in where there is none."""
        kind = name_of(said.get("type")) or name
        response = _object(said.get("response"))
        _who(response, notes)
        _routed(said.get("openrouter_metadata"), notes)
        if kind in ("response.output_item.added", "response.output_item.done"):
            _item(said.get("output_index"), said.get("item"), notes)
        elif kind in ENDS:
            _end(kind, response, notes)
        if kind in ERRORS or said.get("error"):
            notes.failed(error_code(said.get("error") or {**said, "type": None}, said.get("error_type")))
        return True

    def body(self, said: dict[str, Any], notes: Notes) -> None:
        """See `Ear`."""
        _who(said, notes)
        _end("", said, notes)
        notes.ended = notes.ended and isinstance(said.get("output"), list)

    def end_mark(self, notes: Notes) -> None:
        """See `Ear`: it ends nothing here."""

    def usage(self, said: dict[str, Any]) -> Usage:
        """See `Ear`."""
        return chat_usage({_COUNTS.get(name, name): value for name, value in said.items()})


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _who(response: dict[str, Any], notes: Notes) -> None:
    """Who serves, and what is counted so far."""
    identity = name_of(response.get("id")) or ""
    notes.begun = notes.begun or identity or None
    notes.served({**response, "id": identity if identity.startswith(SETTLED_BY) else None})
    notes.metered(response.get("usage"))
    _routed(response.get("openrouter_metadata"), notes)


def _routed(metadata: object, notes: Notes) -> None:
    """The providers that were tried, and the one that served."""
    notes.routed(metadata)
    listed = _object(_object(metadata).get("endpoints")).get("available")
    for endpoint in listed if isinstance(listed, list) else []:
        if isinstance(endpoint, dict) and endpoint.get("selected") is True:
            notes.provider = notes.provider or name_of(endpoint.get("provider"))


def _end(kind: str, response: dict[str, Any], notes: Notes) -> None:
    """A whole response: its calls, how it ended, and whether it is an answer. `kind` is the event's, "" for a body."""
    output = response.get("output")
    for place, item in enumerate(output if isinstance(output, list) else []):
        _item(place, item, notes)
    status = name_of(response.get("status")) or kind.removeprefix("response.")
    reason = name_of(_object(response.get("incomplete_details")).get("reason"))
    if status in FAILURES or kind == "response.failed" or response.get("error"):
        notes.failed(error_code(response.get("error"), response.get("error_type")))
        notes.finish = notes.finish or status or None
    elif status in ANSWERS:
        notes.finish = reason or status
        notes.ended = True


def _item(place: object, item: object, notes: Notes) -> None:
    said = _object(item)
    if name_of(said.get("type")) in CALLS:
        notes.called(place if isinstance(place, int) else call_name(said), call_name(said))
