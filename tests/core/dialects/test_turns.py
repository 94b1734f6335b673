"""What is told of a conversation, whichever dialect it comes in."""

import hashlib
import json
from typing import Any

import pytest

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import Unreadable
from core.dialects.talk import (
    CONTEXT,
    REMINDER,
    Json,
    answer,
    anthropic,
    assistant,
    calls,
    chat,
    result,
    system,
    text,
    tool,
    use,
    user,
)


def digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def test_tool_results_and_system_prompts_are_counted_and_never_read() -> None:
    secret = "Read HEARTBEAT.md if it exists"
    shape = anthropic(
        user("q"), assistant(use("A")), user(result(secret)), system=[text(secret)], tools=[tool("A")]
    ).shape
    assert (shape.human_text, shape.wrapper) == ("q", None)
    assert (shape.system_chars, shape.history_chars, shape.turns) == (len(secret), 1 + len(secret), 3)
    shape = chat(system(secret), user("q"), calls("A"), answer(secret)).shape
    assert (shape.human_text, shape.wrapper) == ("q", None)
    assert (shape.system_chars, shape.history_chars, shape.turns) == (len(secret), 1 + len(secret), 4)


def test_a_wake_up_is_named() -> None:
    shape = chat(user("[Mon 2026-11-23 20:39 UTC] [cron:1 nightly] tidy up\nCurrent time: now")).shape
    assert (shape.wrapper, shape.human_text) == ("cron", "tidy up")


def test_the_conversation_is_known_by_its_first_human_words() -> None:
    first = chat(system("s"), user("[Mon 2026-11-23 20:39 UTC] bins?"))
    later = chat(system("other"), user("[Tue 2026-11-24 08:00 UTC] bins?"), assistant("paper"), user("ta"))
    assert first.shape.conversation == later.shape.conversation == digest("bins?")
    assert anthropic(user(REMINDER, "bins?")).shape.conversation == digest("bins?")
    assert chat(user("else")).shape.conversation != first.shape.conversation
    assert chat(user(CONTEXT)).shape.conversation == ""


def picture(url: str = "data:image/png;base64,AA") -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def test_material_is_counted() -> None:
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}
    audio = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
    shape = chat(user("q", picture(), picture(), file, audio), assistant({"type": "refusal", "refusal": "no"})).shape
    assert (shape.images, shape.documents) == (2, 2)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "Note: https://x.test"},
    }
    shape = anthropic(user("q", image, document), assistant(use("A")), user(result("r", image, document))).shape
    assert (shape.images, shape.documents) == (2, 2)


def test_calls_that_are_none_are_passed_over() -> None:
    odd = {
        "role": "assistant",
        "content": "",
        "tool_calls": [7, {}, {"function": {}}, {"type": "custom", "custom": {"name": "c"}}],
    }
    assert chat(user("q"), odd).shape.tools_used == ("c",)
    assert chat(user("q"), {**odd, "tool_calls": "x"}).shape.tools_used == ()
    assert anthropic(user("q"), assistant({"type": "tool_use"})).shape.tools_used == ()


BAD: list[tuple[Any, str]] = [
    (None, "messages must be a list"),
    ([], "messages must be a list"),
    ({}, "messages must be a list"),
    (["hi"], "messages[0] must be an object"),
    ([{"content": "x"}], "messages[0].role"),
    ([user("a"), {"role": "robot", "content": "x"}], "messages[1].role must be one of assistant"),
    ([{"role": ["user"], "content": "x"}], "messages[0].role"),
    ([{"role": "user", "content": 7}], "messages[0].content must be text"),
    ([{"role": "user", "content": ["x"]}], "messages[0].content[0] must be an object"),
    ([{"role": "user", "content": [{"text": "x"}]}], "messages[0].content[0] must be an object with a type"),
    ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content[0].text must be text"),
]


@pytest.mark.parametrize(("messages", "said"), BAD)
@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES])
def test_messages_without_their_form_are_refused_by_place(dialect: Dialect, messages: Any, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        grammar(dialect).read(json.dumps({"model": "m", "messages": messages}).encode())
    assert caught.value.code == "request.shape"
    assert said in caught.value.message


def test_null_content_is_no_text() -> None:
    assert chat(user("q"), {"role": "assistant", "content": None}).shape.turns == 2
    assert anthropic(user("q"), user(result()), assistant("a")).shape.history_chars == 2


FOREIGN = Rewrite("m", 5, openrouter=True, foreign=99)


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES])
def test_messages_without_foreign_state_keep_their_bytes(dialect: Dialect) -> None:
    kept = '{ "role" : "user", "content": [ {"type":"text", "text": "\\u0041"} ] }'
    bare = '{"content":null,"role":"assistant"}'
    gone = '{"role": "assistant", "reasoning_details": [], "content": [ {"type": "thinking"} , {"type":"text",  "text":"b"}]}'
    call = grammar(dialect).read(f'{{"messages": [{kept}, {gone}, {bare}, {kept}]}}'.encode())
    out = grammar(dialect).rewrite(call, FOREIGN)
    assert out.count(kept.encode()) == 2
    assert bare.encode() in out
    assert b'{"type":"text",  "text":"b"}' in out
    assert (b'"thinking"' in out) is (dialect is Dialect.CHAT)
    assert (b"reasoning_details" in out) is (dialect is Dialect.MESSAGES)
