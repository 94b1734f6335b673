"""The mark for the prompt cache: once, where it pays, and never beside one of the client's own."""

import json
from typing import Any

import pytest

from agentd.core.dialects import grammar
from agentd.core.dialects.caching import BYTES_PER_TOKEN, LEAST_TOKENS
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect

LONG = "words " * (LEAST_TOKENS * BYTES_PER_TOKEN // 6)
MODEL = "anthropic/claude-opus-4.6"
FUNCTION: dict[str, Any] = {"name": "look", "parameters": {"type": "object"}}
TOOLS: dict[Dialect, list[dict[str, Any]]] = {
    Dialect.CHAT: [{"type": "function", "function": FUNCTION}],
    Dialect.MESSAGES: [{"name": "look", "input_schema": {"type": "object"}}],
    Dialect.RESPONSES: [{"type": "function", **FUNCTION}],
}


def asked(dialect: Dialect, text: str = LONG, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": text}]
    said = {"input": turns} if dialect is Dialect.RESPONSES else {"messages": turns}
    return {"model": "agentd", "max_tokens": 100, "tools": TOOLS[dialect], **said, **more}


def sent(dialect: Dialect, body: dict[str, Any], model: str = MODEL, *, openrouter: bool = True) -> dict[str, Any]:
    speaks = grammar(dialect)
    call = speaks.read(json.dumps(body).encode())
    found: dict[str, Any] = json.loads(speaks.rewrite(call, Rewrite(model, 100, openrouter=openrouter)))
    return found


@pytest.mark.parametrize("dialect", Dialect)
def test_a_long_prompt_that_goes_on_is_marked_once_at_the_top(dialect: Dialect) -> None:
    body = sent(dialect, asked(dialect))
    assert body["cache_control"] == {"type": "ephemeral"}  # five minutes: within the bounds of every class
    assert json.dumps(body).count("cache_control") == 1


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("model", ["openai/gpt-5", "google/gemini-2.5-flash-lite", "notanthropic/x"])
def test_models_that_cache_by_themselves_get_none(dialect: Dialect, model: str) -> None:
    assert "cache_control" not in sent(dialect, asked(dialect), model)


def test_a_short_prompt_or_one_that_ends_with_its_answer_gets_none() -> None:
    assert "cache_control" not in sent(Dialect.CHAT, asked(Dialect.CHAT, "hello"))
    once = {name: value for name, value in asked(Dialect.CHAT).items() if name != "tools"}
    assert "cache_control" not in sent(Dialect.CHAT, once)
    answered = [*once["messages"], {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and?"}]
    assert "cache_control" in sent(Dialect.CHAT, {**once, "messages": answered})


def test_a_plain_server_gets_none() -> None:
    assert "cache_control" not in sent(Dialect.CHAT, asked(Dialect.CHAT), openrouter=False)


def test_a_mark_of_the_clients_own_is_the_only_one() -> None:
    part = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = sent(Dialect.MESSAGES, {**asked(Dialect.MESSAGES), "messages": [{"role": "user", "content": [part]}]})
    assert json.dumps(body).count("cache_control") == 1
    assert body["messages"][0]["content"][0] == part
    tool = {**TOOLS[Dialect.MESSAGES][0], "cache_control": {"type": "ephemeral"}}
    assert "cache_control" not in sent(Dialect.MESSAGES, asked(Dialect.MESSAGES, tools=[tool]))


def test_a_text_that_speaks_of_marks_is_no_mark() -> None:
    body = sent(Dialect.CHAT, asked(Dialect.CHAT, LONG + ' {"cache_control": 1}'))
    assert body["cache_control"] == {"type": "ephemeral"}


def test_a_side_job_gets_none() -> None:
    beat = "Read HEARTBEAT.md if it exists (workspace context). Follow it strictly. " + LONG
    call = grammar(Dialect.CHAT).read(json.dumps(asked(Dialect.CHAT, beat)).encode())
    assert call.shape.wrapper == "heartbeat"
    assert "cache_control" not in sent(Dialect.CHAT, asked(Dialect.CHAT, beat))
