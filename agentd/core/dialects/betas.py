"""Which beta flags of a client travel to the upstream: those of clients that were looked at, by their beginnings.

A flag can switch on another price (a longer context, a faster model) or a tool that the provider runs, and new ones appear
without notice. So the list says what passes; the rest is left out, and the client goes on without it.
"""

import re
from typing import Final

PASSING: Final = (
    "claude-code-",
    "interleaved-thinking-",
    "fine-grained-tool-streaming-",
    "mid-conversation-tool-changes-",
    "thinking-token-count-",
    "advanced-tool-use-",
    "effort-",
    "prompt-caching-",
    "token-efficient-tools-",
)
"""Features of the conversation's form: they choose no price, no provider and no tool."""

FIRST_PARTY: Final = ("context-management-",)
"""Refused by every provider but Anthropic itself."""

DEFAULT_VERSION: Final = "2023-06-01"
_FLAG: Final = re.compile(r"[a-z0-9-]{1,64}")
_VERSION: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def passing(flags: tuple[str, ...], *, first_party: bool) -> tuple[str, ...]:
    """The flags that travel."""
    known = (*PASSING, *FIRST_PARTY) if first_party else PASSING
    return tuple(flag for flag in flags if _FLAG.fullmatch(flag) and flag.startswith(known))


def version(asked: str | None) -> str:
    """The API version that is sent: the client's if it has the form of one, else the usual."""
    return asked if asked is not None and _VERSION.fullmatch(asked) else DEFAULT_VERSION
