"""The responses dialect: what is read, what is sent."""

import pytest

from agentd.core.dialects import grammar
from agentd.core.types.calls import Dialect
from core.dialects.talk import BARE, FULL, PLAIN, PLUGINS, RESPONSES, Json, chat, items, named, responses, sent, user

CODEX: Json = {
    "stream": True,
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "thread",
    "client_metadata": {"session_id": "thread", "installation": "box"},
}
"""What a real client sends beside its input and tools."""


def test_a_clients_body() -> None:
    tools = [named("exec_command"), {"type": "web_search", "external_web_access": False}]
    call = responses(user("q"), tools=tools, store=False, safety_identifier="me", **CODEX)
    assert (call.dialect, call.model_asked, call.stream, call.wants_usage) == (Dialect.RESPONSES, "m", True, True)
    assert [(one.where, one.what, one.refused) for one in call.smuggled] == [("tools[1].type", "web_search", False)]
    assert call.dropped == ("client_metadata",)
    assert sent(call) == {
        "model": "acme/one",
        "input": [user("q")],
        "tools": [named("exec_command")],
        "store": False,
        "stream": True,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "s-1",
        "max_output_tokens": 500,
        "provider": sent(chat(user("q")))["provider"],
        "plugins": PLUGINS,
        "session_id": "s-1",
        "user": "u-1",
    }


def test_a_session_takes_the_place_of_the_clients_names_for_it() -> None:
    call = responses(prompt_cache_key="thread", session_id="thread", user="me")
    assert [sent(call)[name] for name in ("prompt_cache_key", "session_id", "user")] == ["s-1", "s-1", "u-1"]
    assert not {"prompt_cache_key", "session_id", "user"} & set(sent(call, BARE))
    assert "prompt_cache_key" not in sent(responses())


def test_a_plain_server_gets_what_it_knows() -> None:
    call = responses(user("q"), temperature=0.5, cache_control={"type": "ephemeral"}, prompt_cache_key="k")
    assert sent(call, PLAIN) == {
        "model": "llama",
        "input": [user("q")],
        "temperature": 0.5,
        "store": False,
        "max_output_tokens": 500,
    }


@pytest.mark.parametrize("store", [{}, {"store": None}, {"store": True}, {"store": False}, {"store": "yes"}])
def test_nothing_is_ever_stored(store: Json) -> None:
    assert sent(responses(**store))["store"] is False


def test_text_alone_is_an_input() -> None:
    call = RESPONSES.read(b'{ "input" : "bins?" , "instructions": "be brief" }')
    assert (call.shape.human_text, call.shape.turns, call.shape.system_chars) == ("bins?", 1, 8)
    assert b'"input":"bins?"' in RESPONSES.rewrite(call, FULL)


def test_nothing_is_kept_between_calls() -> None:
    call = responses()
    assert RESPONSES.rewrite(call, FULL) == RESPONSES.rewrite(call, FULL)
    assert grammar(Dialect.RESPONSES) is RESPONSES
    assert RESPONSES.dialect is Dialect.RESPONSES
    assert RESPONSES.read(items(stream=True)).stream
