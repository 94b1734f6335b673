"""The messages of the messages dialect as real clients send them."""

import json
from dataclasses import replace

import pytest

from agentd.core.dialects.grammar import Rewrite
from core.dialects.talk import (
    BARE,
    REMINDER,
    Json,
    anthropic,
    assistant,
    facts,
    result,
    sent,
    system,
    use,
    user,
)

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
def test_last_human_turns(messages: list[Json], expected: tuple[str, bool, tuple[str, ...]]) -> None:
    assert facts(anthropic(*messages).shape) == expected


def test_messages_state_that_binds_to_a_model() -> None:
    signed = {"type": "thinking", "thinking": "t", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    bare = {"type": "thinking", "thinking": "t", "signature": ""}
    for block, state in ((signed, True), (hidden, True), (bare, False)):
        assert anthropic(user("q"), assistant(block, "a"), user("r")).shape.provider_state is state
    assert anthropic(user("q"), assistant(signed, bare, "a")).shape.provider_state


def test_results_do_not_nest() -> None:
    shape = anthropic(user("q"), assistant(use("A")), user(result(result("hidden")))).shape
    assert (shape.history_chars, shape.continuation) == (1, True)


SIGNED = {"type": "thinking", "thinking": "t", "signature": "s"}
HIDDEN = {"type": "redacted_thinking", "data": "x"}
FOREIGN = Rewrite("m", 5, openrouter=True, foreign=99)


def test_foreign_thinking_goes_and_nothing_else() -> None:
    call = anthropic(
        user("q"), assistant(SIGNED, "a", use("A"), HIDDEN), user("r"), assistant(SIGNED, HIDDEN), assistant("plain")
    )
    assert sent(call, FOREIGN)["messages"] == [user("q"), {**assistant("a", use("A"))}, user("r"), assistant("plain")]
    assert sent(call, BARE)["messages"] == json.loads(call.body)["messages"]
    assert sent(call, replace(FOREIGN, foreign=2))["messages"] == [
        user("q"), assistant("a", use("A")), user("r"), assistant(SIGNED, HIDDEN), assistant("plain")
    ]  # fmt: skip
