"""The messages of chat completions as real clients send them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agentd.core.dialects.grammar import Rewrite
from core.dialects.talk import (
    BARE,
    CONTEXT,
    REMINDER,
    Json,
    answer,
    assistant,
    calls,
    chat,
    facts,
    sent,
    system,
    user,
)

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
def test_last_human_turns(messages: list[Json], expected: tuple[str, bool, tuple[str, ...]]) -> None:
    assert facts(chat(*messages).shape) == expected


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


FOREIGN = Rewrite("m", 5, openrouter=True, foreign=99)


def test_foreign_reasoning_details_go_and_nothing_else() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    call = chat(user("q"), calls("A", reasoning_details=details, reasoning="because"), user("r"))
    assert sent(call, FOREIGN)["messages"] == [user("q"), calls("A", reasoning="because"), user("r")]
    assert sent(call, BARE)["messages"] == json.loads(call.body)["messages"]
    later = chat(user("q"), calls("A", reasoning_details=details), user("r"), calls("B", reasoning_details=details))
    assert sent(later, replace(FOREIGN, foreign=3))["messages"] == [
        user("q"), calls("A"), user("r"), calls("B", reasoning_details=details)
    ]  # fmt: skip
