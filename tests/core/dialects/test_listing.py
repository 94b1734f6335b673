"""The list of models satisfies the strict clients of each dialect."""

import json

from anthropic.types import ModelInfo
from openai.types import Model

from agentd.core.dialects.grammar import Page
from core.dialects.talk import CHAT, MESSAGES, RESPONSES, Json

ENTRIES: list[Json] = [
    {"id": "acme/one", "name": "One", "created": 1_785_500_000, "context_length": 400_000, "max_output": 64_000},
    {"id": "cheap", "name": "cheap (class chat)"},
]
STRICT = {
    "canonical_slug", "default_parameters", "links", "per_request_limits", "supported_voices", "top_provider", "pricing",
    "architecture", "supported_parameters", "context_length",
}  # fmt: skip


def test_the_chat_list() -> None:
    said = json.loads(CHAT.models(ENTRIES))
    assert (said["object"], said["total_count"], said["links"]) == ("list", 2, {"next": None})
    assert [Model.model_validate(entry, strict=True).id for entry in said["data"]] == ["acme/one", "cheap"]
    first, second = said["data"]
    assert set(first) >= STRICT
    assert set(second) >= STRICT
    assert (first["created"], first["context_length"], first["top_provider"]["max_completion_tokens"]) == (
        1_785_500_000,
        400_000,
        64_000,
    )
    assert (second["created"], second["top_provider"]["max_completion_tokens"]) == (0, None)
    assert second["context_length"] is None


def test_the_chat_list_comes_in_pages() -> None:
    entries = [{**ENTRIES[0], "id": str(number)} for number in range(5)]
    pages = [json.loads(CHAT.models(entries, Page(offset, 2))) for offset in (0, 2, 4, 6)]
    assert [[entry["id"] for entry in page["data"]] for page in pages] == [["0", "1"], ["2", "3"], ["4"], []]
    assert {page["total_count"] for page in pages} == {5}
    assert [page["links"]["next"] for page in pages] == [
        "/api/v1/models?offset=2&limit=2",
        "/api/v1/models?offset=4&limit=2",
        None,
        None,
    ]


def test_the_messages_list() -> None:
    said = json.loads(MESSAGES.models(ENTRIES))
    assert [ModelInfo.model_validate(entry).id for entry in said["data"]] == ["acme/one", "cheap"]
    assert said["data"][0] == {
        "type": "model",
        "id": "acme/one",
        "display_name": "One",
        "lifecycle": "active",
        "max_input_tokens": 400_000,
        "max_tokens": 64_000,
        "created_at": "2026-07-31T12:13:20Z",
    }
    assert (said["has_more"], said["first_id"], said["last_id"]) == (False, "acme/one", "cheap")


def test_the_responses_list_is_the_chat_list() -> None:
    assert RESPONSES.models(ENTRIES) == CHAT.models(ENTRIES)


def test_empty_lists() -> None:
    assert json.loads(CHAT.models([])) == {"object": "list", "data": [], "links": {"next": None}, "total_count": 0}
    assert json.loads(MESSAGES.models([])) == {"data": [], "has_more": False, "first_id": None, "last_id": None}
