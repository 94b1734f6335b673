"""A local estimate of the tokens in a messages body, for clients that ask before they send.

It is an estimate: about four characters a token, which is near enough for what clients do with it (deciding when to compact) and
needs no model's tokenizer and no upstream. Images count what they cost on average, not the length of their encoding.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from agentd.core.dialects.reading import check_values
from agentd.core.types.errors import Unreadable

CHARS_PER_TOKEN = 4
TOKENS_PER_IMAGE = 1600  # of about one megapixel, the size to which clients scale
TOKENS_PER_PART = 3  # roles and marks around each message, block and tool
MAX_DEPTH = 200  # below Python's own limit; real bodies have some ten levels
COUNTED = ("system", "messages", "tools")


def estimate_tokens(body: bytes) -> int:
    """About how many input tokens a messages body has. Raises `ValueError` when it cannot be read."""
    try:
        check_values(body)
        whole = msgspec.json.decode(body)
    except Unreadable as error:
        raise ValueError(error.message) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"the body is no JSON: {error}") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("messages"), list):
        raise ValueError("the body has no list of messages")
    return max(1, -(-sum(_quarters(whole.get(name), 0) for name in COUNTED) // CHARS_PER_TOKEN))


def _quarters(value: Any, depth: int) -> int:  # noqa: ANN401 - any JSON
    """The size of a value in quarters of tokens, that is, in characters."""
    if depth > MAX_DEPTH:
        raise ValueError(f"the body is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        if value.get("type") == "base64" and isinstance(value.get("data"), str):
            return TOKENS_PER_IMAGE * CHARS_PER_TOKEN
        return TOKENS_PER_PART * CHARS_PER_TOKEN + sum(len(str(key)) + size for key, size in _sizes(value, depth))
    if isinstance(value, list):
        return sum(_quarters(item, depth + 1) for item in value)
    return len(value) if isinstance(value, str) else len(str(value)) if value is not None else 0


def _sizes(value: dict[str, Any], depth: int) -> Iterator[tuple[str, int]]:
    """Keys with the sizes of their values."""
    return ((key, _quarters(item, depth + 1)) for key, item in value.items())
