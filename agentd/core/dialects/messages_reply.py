"""What a messages reply says, event by event or whole.

Counts come at the start and again, cumulative and partly null, near the end. The end mark is `message_stop`; the `[DONE]` of
another dialect may follow it and ends nothing by itself.
"""

from typing import Any

from agentd.core.dialects.messages_turns import CALLS
from agentd.core.dialects.replies import Notes, error_code, name_of
from agentd.core.dialects.usage import messages_usage
from agentd.core.types.receipts import Usage


class MessagesEar:
    """Fulfils `replies.Ear`."""

    def event(self, name: str, said: dict[str, Any], notes: Notes) -> bool:
        """See `Ear`. The type inside counts; the event's name stands in where there is none."""
        kind = said.get("type") or name
        notes.routed(said.get("openrouter_metadata"))
        notes.metered(said.get("usage"))
        if kind == "message_start":
            _message(_object(said.get("message")), notes)
        elif kind == "content_block_start":
            _block(said.get("index"), said.get("content_block"), notes)
        elif kind == "message_delta":
            notes.finish = name_of(_object(said.get("delta")).get("stop_reason")) or notes.finish
        elif kind == "message_stop":
            notes.ended = True
        if kind == "error" or said.get("error"):
            notes.failed(error_code(said.get("error"), said.get("error_type")))
        return True

    def body(self, said: dict[str, Any], notes: Notes) -> None:
        """See `Ear`."""
        _message(said, notes)
        if said.get("type") == "error" or said.get("error"):
            notes.failed(error_code(said.get("error"), said.get("error_type")))
        notes.ended = isinstance(said.get("content"), list)

    def end_mark(self, notes: Notes) -> None:
        """See `Ear`: it ends nothing here."""

    def usage(self, said: dict[str, Any]) -> Usage:
        """See `Ear`."""
        return messages_usage(said)


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _message(message: dict[str, Any], notes: Notes) -> None:
    notes.served(message)
    notes.metered(message.get("usage"))
    notes.routed(message.get("openrouter_metadata"))
    notes.finish = name_of(message.get("stop_reason")) or notes.finish
    content = message.get("content")
    for place, block in enumerate(content if isinstance(content, list) else []):
        _block(place, block, notes)


def _block(place: object, block: object, notes: Notes) -> None:
    part = _object(block)
    if name_of(part.get("type")) in CALLS:
        notes.called(place if isinstance(place, int) else part.get("name"), part.get("name"))
