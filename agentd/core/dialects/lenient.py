"""What an upstream says, read for facts: leniently, since the agent gets the bytes as they came, and within bounds.

The bounds are on values, not on bytes: a picture is one value of many megabytes and quickly read, while as many bytes of empty
lists would hold everybody up for seconds. No parser here can be interrupted, so a thread alone would not help. Characters are
counted, also within text, so the bounds are far above what an answer holds.
"""

import json
from typing import Any, Final

import msgspec

MAX_BRACKETS: Final = 200_000
"""Lists and objects of one event or body. The longest answers are lists of the likeliest tokens: this holds 4,700 times 20."""

MAX_COMMAS: Final = 500_000
"""Values of one event or body; at worst a tenth of a second."""

SLOW_BYTES: Final = 1 << 20
"""Above 1 MiB only what the fast parser takes is read: no NaN, no broken text."""

_DECODER: Final = msgspec.json.Decoder()


def too_many_values(data: bytes) -> bool:
    """Whether reading it would take too long."""
    if len(data) <= MAX_BRACKETS:  # it cannot hold so many
        return False
    return data.count(b"[") + data.count(b"{") > MAX_BRACKETS or data.count(b",") > MAX_COMMAS


def object_of(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None if it is none. Whoever calls has looked at `too_many_values`."""
    try:
        value = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        value = _slowly(data) if len(data) <= SLOW_BYTES else None
    return value if isinstance(value, dict) else None


def _slowly(data: bytes) -> object:
    """The same by the parser that takes more; None if it cannot be read at all."""
    try:
        return json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
