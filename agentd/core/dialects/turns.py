"""A conversation as its dialect-free outline, and what can be told from it.

The last human turn is the user text since the last assistant message, wrappers removed. It is not the last message:
clients put context behind the prompt, and tool results travel as user messages or in roles of their own. In an open tool
loop no such text stands behind the last assistant message; then the turn that began the loop is the last human one, and
`continuation` says that results follow it.

The conversation's digest is taken from the first human text, which stays the same while the conversation grows.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from agentd.core.dialects import wrappers
from agentd.core.types.calls import Shape, Smuggled
from agentd.core.types.errors import Unreadable

DIGEST_HEX: Final = 32
"""128 bits: enough to tell the conversations of one box apart."""

NAME_CHARS: Final = 128
"""What is kept of a tool's name; no API takes longer ones."""


class Role(StrEnum):
    """Who speaks, for the outline."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(slots=True)
class Turn:
    """One message, outlined while it is read. `texts` of a tool's results are counted in `chars` and not kept."""

    role: Role
    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)  # names of tools called
    results: bool = False  # holds tool results
    results_last: bool = False  # and no text of a person behind them
    chars: int = 0
    images: int = 0
    documents: int = 0
    state: bool = False  # signatures or encrypted reasoning

    def say(self, text: str) -> None:
        """Add text of the speaker."""
        self.texts.append(text)
        self.chars += len(text)


@dataclass(slots=True)
class Outline:
    """A request's conversation, and the side doors found inside its messages."""

    turns: list[Turn] = field(default_factory=list)
    system_chars: int = 0  # of a system prompt that stands beside the messages
    found: list[Smuggled] = field(default_factory=list)


def unreadable(where: str, what: str) -> Unreadable:
    """The error for a part that does not have the dialect's form."""
    return Unreadable("request.shape", f"{where} {what}.", "See the API reference of this endpoint for its form.")


def shape_of(outline: Outline, tools: tuple[str, ...]) -> Shape:
    """The facts of a conversation."""
    turns = outline.turns
    text, wake, place = _last_human(turns)
    later = turns[place:]
    counted = _Counted(system_chars=outline.system_chars)
    for turn in turns:
        counted.count(turn)
    return Shape(
        human_text=text,
        wrapper=wake,
        continuation=any(turn.results for turn in later),
        provider_state=counted.state,
        turns=len(turns),
        system_chars=counted.system_chars,
        history_chars=counted.history_chars,
        tools=tools,
        tools_used=tuple(dict.fromkeys(name[:NAME_CHARS] for turn in later for name in turn.calls)),
        images=counted.images,
        documents=counted.documents,
        conversation=_conversation(turns),
    )


@dataclass(slots=True)
class _Counted:
    """Sums over a conversation, taken in one pass: a late one has hundreds of turns."""

    system_chars: int = 0
    history_chars: int = 0
    images: int = 0
    documents: int = 0
    state: bool = False

    def count(self, turn: Turn) -> None:
        """Add a turn."""
        if turn.role is Role.SYSTEM:
            self.system_chars += turn.chars
        else:
            self.history_chars += turn.chars
        self.images += turn.images
        self.documents += turn.documents
        self.state = self.state or turn.state


def _last_human(turns: Sequence[Turn]) -> tuple[str, str | None, int]:
    """The last human text, its wake-up kind, and the place of the first turn behind it (all turns if there is none)."""
    end = len(turns)
    for start in range(len(turns) - 1, -1, -1):
        if start and turns[start - 1].role is not Role.ASSISTANT:
            continue
        spoken = [(place, words) for place in range(start, end) if (words := _words(turns[place]))]
        if spoken:
            wake, text = wrappers.wake_of("\n\n".join(words for _, words in spoken))
            return text, wake, _behind(turns, spoken[-1][0])
        end = start
    return "", None, 0


def _behind(turns: Sequence[Turn], place: int) -> int:
    """Where what follows a human text begins: in the same message, when its tool results stand behind the text."""
    return place if turns[place].results_last else place + 1


def _words(turn: Turn) -> str:
    """What a person wrote in a turn."""
    if turn.role is not Role.USER:
        return ""
    return "\n\n".join(words for text in turn.texts if (words := wrappers.peel(text)))


def _conversation(turns: Sequence[Turn]) -> str:
    first = next((words for turn in turns if (words := _words(turn))), "")
    return hashlib.sha256(first.encode()).hexdigest()[:DIGEST_HEX] if first else ""


def messages_of(fields: dict[str, Any], roles: frozenset[str]) -> list[dict[str, Any]]:
    """The messages, each an object with a role of the dialect. Raises `Unreadable`."""
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        raise unreadable("messages", "must be a list with at least one message")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise unreadable(f"messages[{place}]", "must be an object")
        role = message.get("role")
        if not isinstance(role, str) or role not in roles:
            raise unreadable(f"messages[{place}].role", f"must be one of {', '.join(sorted(roles))}")
    return messages


def parts_of(content: object, where: str) -> list[dict[str, Any]]:
    """Content as a list of typed parts: text alone counts as one text part, null as none. Raises `Unreadable`."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise unreadable(where, "must be text or a list of parts")
    for place, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise unreadable(f"{where}[{place}]", "must be an object with a type")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise unreadable(f"{where}[{place}].text", "must be text")
    return content
