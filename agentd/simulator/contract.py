"""What all APIs of the upstream hold in common when they read a body: the fields that are refused, marks for the cache,
the session, and how content becomes segments. Every function raises `Invalid` for what breaks the contract."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentd.simulator.words import IMAGE_TOKENS, Asked, Invalid, Json, Segment, Turn, count_tokens, utf8

MAX_FALLBACKS: Final = 3
MAX_STOPS: Final = 4
MAX_MARKS: Final = 4
MAX_SESSION_CHARS: Final = 256
MEDIA: Final = frozenset(
    {
        "image_url",
        "image",
        "file",
        "document",
        "input_audio",
        "audio",
        "video",
        "video_url",
        "input_image",
        "input_file",
    }
)
"""Kinds of content whose bytes are not text."""

TEXTS: Final = frozenset({"text", "input_text", "output_text"})
"""Kinds of content that are text and nothing else."""

OPTIONAL: Final = frozenset(
    {
        "tools",
        "tool_choice",
        "response_format",
        "reasoning",
        "thinking",
        "temperature",
        "top_p",
        "top_k",
        "stop",
        "seed",
    }
)
"""Parameters that a provider may lack."""


def check(body: Json) -> None:
    """Refuse what no API accepts."""
    fallbacks = body.get("fallbacks")
    if fallbacks is not None and body.get("models") is not None:
        raise Invalid("models and fallbacks cannot be used together")
    if isinstance(fallbacks, list) and len(fallbacks) > MAX_FALLBACKS:
        raise Invalid(f"fallbacks: at most {MAX_FALLBACKS} entries")
    if body.get("store") is True:
        raise Invalid("store: true is not supported")
    if body.get("previous_response_id") is not None:
        raise Invalid("previous_response_id is not supported")
    if isinstance(body.get("stop"), list) and len(body["stop"]) > MAX_STOPS:
        raise Invalid(f"stop: at most {MAX_STOPS} sequences")
    if not isinstance(body.get("model", ""), str):
        raise Invalid("model must be a string")
    if not isinstance(body.get("stream", False), bool):
        raise Invalid("stream must be a boolean")
    _check_effort(body)


def _check_effort(body: Json) -> None:
    """The two ways to set the reasoning effort must agree."""
    effort, reasoning = body.get("reasoning_effort"), body.get("reasoning")
    other = reasoning.get("effort") if isinstance(reasoning, dict) else None
    if effort is not None and other is not None and effort != other:
        raise Invalid("reasoning_effort conflicts with reasoning.effort")


def provider_of(body: Json) -> Json:
    """The routing preferences of a request."""
    value = body.get("provider")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid("provider must be an object")
    for name in ("order", "only", "ignore"):
        slugs = value.get(name)
        if slugs is not None and not (isinstance(slugs, list) and all(isinstance(slug, str) for slug in slugs)):
            raise Invalid(f"provider.{name} must be a list of strings")
    return value


def session_of(body: Json, headers: Mapping[str, str], turns: Iterable[Turn]) -> str:
    """What keeps a conversation together: its id, its cache key, else its first instruction and first message."""
    named = body.get("session_id") or headers.get("x-session-id") or body.get("prompt_cache_key")
    if named is not None:
        if not isinstance(named, str) or len(named) > MAX_SESSION_CHARS:
            raise Invalid(f"session_id must be a string of at most {MAX_SESSION_CHARS} characters")
        return named
    turns = tuple(turns)
    first = next((turn.text for turn in turns if turn.role in ("system", "developer")), "")
    other = next((turn.text for turn in turns if turn.role not in ("system", "developer")), "")
    return "first-" + hashlib.sha256(utf8(f"{first}\0{other}")).hexdigest()[:16]


def mark_of(holder: Mapping[str, Any]) -> str | None:
    """The lifetime that a cache mark asks for, or None without a mark."""
    mark = holder.get("cache_control")
    if mark is None:
        return None
    if not isinstance(mark, dict) or mark.get("type") != "ephemeral":
        raise Invalid("cache_control.type must be ephemeral")
    ttl = mark.get("ttl", "5m")
    if ttl not in ("5m", "1h"):
        raise Invalid("cache_control.ttl must be 5m or 1h")
    return str(ttl)


def check_marks(asked: Asked, whole: str | None) -> None:
    """At most four marks, the one for the whole request included."""
    count = sum(1 for segment in asked.segments if segment.mark) + (whole is not None)
    if count > MAX_MARKS:
        raise Invalid(f"A maximum of {MAX_MARKS} blocks with cache_control may be provided. Found {count}.")


def segment(kind: str, value: Json | str, extra: int = 0) -> Segment:
    """A stretch of the prompt, made of a string, a content part or a tool; `extra` tokens of overhead.

    A text part and a plain string of the same text are the same stretch, as they are to a cache.
    """
    if isinstance(value, str):
        return Segment(f"{kind}\0{value}", count_tokens(value) + extra)
    bare = {name: part for name, part in value.items() if name != "cache_control"}
    plain = bare.get("text") if bare.get("type") in TEXTS else None
    text = plain if isinstance(plain, str) else json.dumps(bare, ensure_ascii=False, separators=(",", ":"))
    tokens = IMAGE_TOKENS if value.get("type") in MEDIA else count_tokens(text)
    return Segment(f"{kind}\0{text}", tokens + extra, mark_of(value))


def parts_of(content: object, where: str) -> list[Json | str]:
    """Content as a list of parts; a string is one part, null none."""
    if content is None:
        return []
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise Invalid(f"{where} must be a string or a list of parts")
    return list(content)


def text_of(parts: Iterable[Json | str]) -> str:
    """The text in some parts, joined."""
    found = (part if isinstance(part, str) else part.get("text") for part in parts)
    return "\n".join(text for text in found if isinstance(text, str))
