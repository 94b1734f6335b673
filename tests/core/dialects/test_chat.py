"""Chat completions: what is read of a body and what is sent."""

import pytest

from core.dialects.talk import PLAIN, PLUGINS, Json, anthropic, chat, sent, user


def test_a_chat_body_for_openrouter() -> None:
    assert sent(
        chat(user("q"), max_tokens=9000, user="me", session_id="mine", prompt_cache_key="mine", stream=True)
    ) == {
        "model": "acme/one",
        "messages": [user("q")],
        "stream": True,
        "user": "u-1",
        "session_id": "s-1",
        "prompt_cache_key": "s-1",
        "provider": {
            "allow_fallbacks": True,
            "require_parameters": True,
            "data_collection": "deny",
            "only": ["anthropic", "google-vertex"],
            "zdr": True,
            "max_price": {"prompt": 3, "completion": 15},
        },
        "plugins": PLUGINS,
        "max_completion_tokens": 500,
    }


def test_a_chat_body_for_a_plain_server() -> None:
    assert sent(chat(user("q"), max_completion_tokens=9000, stream=True), PLAIN) == {
        "model": "llama",
        "messages": [user("q")],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 500,
    }


WANTS: list[tuple[Json, bool]] = [
    ({}, False),
    ({"stream_options": {"include_usage": True}}, True),
    ({"stream_options": {"include_usage": False}}, False),
    ({"stream_options": None, "usage": {"include": True}}, True),
    ({"stream_options": "x", "usage": 7}, False),
]


@pytest.mark.parametrize(("fields", "wants"), WANTS)
def test_who_wants_usage(fields: Json, wants: bool) -> None:
    assert chat(user("q"), **fields).wants_usage is wants
    assert anthropic(user("q")).wants_usage
