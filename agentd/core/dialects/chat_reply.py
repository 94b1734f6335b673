"""What a chat completion's reply says, chunk by chunk or whole.

Usage may stand on any chunk. An error may stand at the top, in a choice, or only in the word `error` as its finish.
"""

from typing import Any, Final

from agentd.core.dialects.replies import Notes, error_code, name_of
from agentd.core.dialects.usage import chat_usage
from agentd.core.types.receipts import Usage

ERROR_FINISH: Final = "error"


class ChatEar:
    """Fulfils `replies.Ear`. A chunk that only brings usage is not for clients that did not ask for it."""

    def __init__(self, wants_usage: bool) -> None:
        """`wants_usage` as the client asked."""
        self._wants_usage = wants_usage

    def event(self, name: str, said: dict[str, Any], notes: Notes) -> bool:
        """See `Ear`."""
        _hear(said, notes, "delta")
        only_usage = said.get("usage") is not None and not said.get("choices")
        return self._wants_usage or not only_usage

    def body(self, said: dict[str, Any], notes: Notes) -> None:
        """See `Ear`."""
        _hear(said, notes, "message")
        notes.ended = bool(_dicts(said.get("choices")))

    def end_mark(self, notes: Notes) -> None:
        """See `Ear`."""
        notes.ended = True

    def usage(self, said: dict[str, Any]) -> Usage:
        """See `Ear`."""
        return chat_usage(said)


def _dicts(value: object) -> list[dict[str, Any]]:
    """The objects of what should be a list of objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _hear(said: dict[str, Any], notes: Notes, where: str) -> None:
    notes.served(said)
    notes.metered(said.get("usage"))
    notes.routed(said.get("openrouter_metadata"))
    if said.get("error"):
        notes.failed(error_code(said["error"], said.get("error_type")))
    for choice in _dicts(said.get("choices")):
        _choice(choice, notes, where)


def _choice(choice: dict[str, Any], notes: Notes, where: str) -> None:
    notes.finish = name_of(choice.get("finish_reason")) or notes.finish
    if choice.get("error") or choice.get("finish_reason") == ERROR_FINISH:
        notes.failed(error_code(choice["error"]) if choice.get("error") else ERROR_FINISH)
    spoken = choice.get(where)
    calls = _dicts(spoken.get("tool_calls")) if isinstance(spoken, dict) else []
    for place, call in enumerate(calls):
        inner = call.get("function") or call.get("custom")
        name = inner.get("name") if isinstance(inner, dict) else None
        notes.called((_key(choice.get("index")), _key(call.get("index", call.get("id", place)))), name)


def _key(value: object) -> str | int | None:
    """What tells calls apart, as something that can be one."""
    return value if isinstance(value, (str, int)) else None
