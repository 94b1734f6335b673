"""The list of models that an agent may ask for, in each dialect's shape.

Strict clients validate every field, so all that OpenRouter's list has is there. Prices are 0: what a call costs is the
operator's business, and each reply tells its own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from agentd.core.dialects.grammar import Page

TAKEN: Final = ("max_tokens", "temperature", "tools", "tool_choice", "response_format", "reasoning", "stop")
"""Parameters that travel on."""


def chat(entries: Sequence[Mapping[str, Any]], page: Page) -> bytes:
    """A page of the list in OpenAI's shape with OpenRouter's fields."""
    after = page.offset + page.limit
    following = f"/api/v1/models?offset={after}&limit={page.limit}" if after < len(entries) else None
    body = {
        "object": "list",
        "data": [_chat_entry(entry) for entry in entries[page.offset : after]],
        "links": {"next": following},
        "total_count": len(entries),
    }
    return msgspec.json.encode(body)


def messages(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The list in Anthropic's shape."""
    data = [
        {
            "type": "model",
            "id": entry["id"],
            "display_name": entry["name"],
            "lifecycle": "active",
            "max_input_tokens": entry.get("context_length"),
            "max_tokens": entry.get("max_output"),
            "created_at": datetime.fromtimestamp(entry.get("created") or 0, UTC).isoformat().replace("+00:00", "Z"),
        }
        for entry in entries
    ]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return msgspec.json.encode({"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]})


def _chat_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    name = entry["id"]
    context = entry.get("context_length")
    return {
        "id": name,
        "object": "model",
        "created": entry.get("created") or 0,
        "owned_by": "agentd",
        "name": entry["name"],
        "canonical_slug": name,
        "description": entry["name"],
        "context_length": context,
        "architecture": {
            "modality": "text+image->text",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": "0", "completion": "0", "request": "0", "image": "0"},
        "top_provider": {
            "context_length": context,
            "max_completion_tokens": entry.get("max_output"),
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(TAKEN),
        "supported_voices": None,
        "default_parameters": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{name}/endpoints"},
    }
