"""The last human turn of conversations as real clients send them, in both dialects."""

import hashlib
import json
from typing import Any

import pytest

from agentd.core.dialects import grammar
from agentd.core.types.calls import Dialect, Shape
from agentd.core.types.errors import Unreadable
from core.dialects.talk import Json, answer, anthropic, assistant, calls, chat, result, system, text, tool, use, user

CONTEXT = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nplan, prove, refactor"
REMINDER = "<system-reminder>\nplan, prove, refactor\n</system-reminder>"


def digest(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def facts(shape: Shape) -> tuple[str, bool, tuple[str, ...]]:
    return shape.human_text, shape.continuation, shape.tools_used


CHATS: list[tuple[str, list[Json], tuple[str, bool, tuple[str, ...]]]] = [
    ("plain", [system("s"), user("hi")], ("hi", False, ())),
    ("parts", [user("a", "b")], ("a\n\nb", False, ())),
    ("second turn", [user("hi"), assistant("hello"), user("bins?")], ("bins?", False, ())),
    ("openclaw context behind the prompt", [system("s"), user("bins?"), user(CONTEXT)], ("bins?", False, ())),
    ("qwen reminders around it", [user(REMINDER, "bins?", REMINDER)], ("bins?", False, ())),
    ("two messages in a row", [user("one"), user("two")], ("one\n\ntwo", False, ())),
    ("open loop", [user("bins?"), calls("exec"), answer("paper")], ("bins?", True, ("exec",))),
    (
        "long open loop",
        [
            user("old"),
            calls("gone"),
            answer("x"),
            assistant("y"),
            user("bins?"),
            calls("a", "b"),
            answer("1"),
            calls("a"),
            answer("2"),
        ],
        ("bins?", True, ("a", "b")),
    ),
    (
        "context inside an open loop",
        [user("bins?"), calls("exec"), answer("paper"), user(CONTEXT)],
        ("bins?", True, ("exec",)),
    ),
    ("a person interrupts a loop", [user("bins?"), calls("exec"), answer("paper"), user("stop")], ("stop", False, ())),
    (
        "loop is over",
        [user("bins?"), calls("exec"), answer("paper"), assistant("paper"), user("ta")],
        ("ta", False, ()),
    ),
    ("the answer was begun", [user("bins?"), assistant("The")], ("bins?", False, ())),
    ("called without result", [user("bins?"), calls("exec")], ("bins?", False, ("exec",))),
    ("nobody spoke", [system("s"), user(CONTEXT)], ("", False, ())),
    ("results without a person", [system("s"), calls("exec"), answer("paper")], ("", True, ("exec",))),
    (
        "legacy function result",
        [user("q"), calls("f"), {"role": "function", "name": "f", "content": "r"}],
        ("q", True, ("f",)),
    ),
    ("developer is no person", [user("q"), {"role": "developer", "content": "prove it"}], ("q", False, ())),
]


@pytest.mark.parametrize(("messages", "expected"), [case[1:] for case in CHATS], ids=[case[0] for case in CHATS])
def test_chat(messages: list[Json], expected: tuple[str, bool, tuple[str, ...]]) -> None:
    assert facts(chat(*messages).shape) == expected


TALKS: list[tuple[str, list[Json], tuple[str, bool, tuple[str, ...]]]] = [
    ("plain", [user("hi")], ("hi", False, ())),
    ("claude code first turn", [user(REMINDER, REMINDER, "bins?"), system("prove")], ("bins?", False, ())),
    ("open loop", [user("bins?"), assistant(use("Bash")), user(result("paper"))], ("bins?", True, ("Bash",))),
    (
        "reminder beside a result",
        [user("bins?"), assistant(use("Bash")), user(result("paper"), REMINDER)],
        ("bins?", True, ("Bash",)),
    ),
    (
        "words beside a result",
        [user("bins?"), assistant(use("Bash")), user(result("paper"), "stop")],
        ("stop", False, ()),
    ),
    ("result behind words", [user("bins?"), assistant(use("Bash")), user("stop", result("paper"))], ("stop", True, ())),
    (
        "long open loop",
        [user("bins?"), assistant("let me", use("A")), user(result("1")), assistant(use("B")), user(result("2"))],
        ("bins?", True, ("A", "B")),
    ),
    (
        "server tool",
        [user("q"), assistant({**use("web_search"), "type": "server_tool_use"})],
        ("q", False, ("web_search",)),
    ),
    ("prefill", [user("bins?"), assistant("{")], ("bins?", False, ())),
]


@pytest.mark.parametrize(("messages", "expected"), [case[1:] for case in TALKS], ids=[case[0] for case in TALKS])
def test_messages(messages: list[Json], expected: tuple[str, bool, tuple[str, ...]]) -> None:
    assert facts(anthropic(*messages).shape) == expected


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


STATES: list[tuple[bool, Any]] = [
    (True, [{"type": "reasoning.encrypted", "data": "x"}]),
    (True, [{"type": "reasoning.text", "text": "t", "signature": "s"}]),
    (False, [{"type": "reasoning.text", "text": "t", "signature": None}]),
    (False, [7]),
    (False, None),
    (False, "text"),
]


@pytest.mark.parametrize(("state", "details"), STATES)
def test_chat_state_that_binds_to_a_model(state: bool, details: Any) -> None:
    assert chat(user("q"), {**assistant("a"), "reasoning_details": details}, user("r")).shape.provider_state is state


def test_messages_state_that_binds_to_a_model() -> None:
    signed = {"type": "thinking", "thinking": "t", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    bare = {"type": "thinking", "thinking": "t", "signature": ""}
    for block, state in ((signed, True), (hidden, True), (bare, False)):
        assert anthropic(user("q"), assistant(block, "a"), user("r")).shape.provider_state is state
    assert anthropic(user("q"), assistant(signed, bare, "a")).shape.provider_state


def test_calls_that_are_none_are_passed_over() -> None:
    odd = {
        "role": "assistant",
        "content": "",
        "tool_calls": [7, {}, {"function": {}}, {"type": "custom", "custom": {"name": "c"}}],
    }
    assert chat(user("q"), odd).shape.tools_used == ("c",)
    assert chat(user("q"), {**odd, "tool_calls": "x"}).shape.tools_used == ()
    assert anthropic(user("q"), assistant({"type": "tool_use"})).shape.tools_used == ()


def test_results_do_not_nest() -> None:
    shape = anthropic(user("q"), assistant(use("A")), user(result(result("hidden")))).shape
    assert (shape.history_chars, shape.continuation) == (1, True)


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
@pytest.mark.parametrize("dialect", list(Dialect))
def test_messages_without_their_form_are_refused_by_place(dialect: Dialect, messages: Any, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        grammar(dialect).read(json.dumps({"model": "m", "messages": messages}).encode())
    assert caught.value.code == "request.shape"
    assert said in caught.value.message


def test_null_content_is_no_text() -> None:
    assert chat(user("q"), {"role": "assistant", "content": None}).shape.turns == 2
    assert anthropic(user("q"), user(result()), assistant("a")).shape.history_chars == 2
