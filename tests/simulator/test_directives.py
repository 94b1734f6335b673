"""What a prompt can tell the simulator, and how its answers follow."""

import json
from typing import Any

import pytest

from agentd.simulator.directives import Call, Step, parse_steps, without_directives
from agentd.simulator.scenario import compose, find_shell
from agentd.simulator.words import Asked, Segment, ToolOffer, Turn

COMMAND = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("[[sim:say Hello, you]]", Step(say=("Hello, you",))),
        ("a [[sim:say one]] b [[sim:say two]] c", Step(say=("one", "two"))),
        ('[[sim:tool exec {"cmd": "ls"}]]', Step(calls=(Call("exec", '{"cmd": "ls"}'),))),
        ('[[sim:tool f {"a": [[1], [2, [3]]]}]] tail', Step(calls=(Call("f", '{"a": [[1], [2, [3]]]}'),))),
        ("[[sim:tool f]]", Step(calls=(Call("f"),))),
        ("[[sim:shell ls -l | wc]]", Step(calls=(Call(None, command="ls -l | wc"),))),
        ("[[sim:shell [[ -f x ]] && echo yes]] .", Step(calls=(Call(None, command="[[ -f x ]] && echo yes"),))),
        ("[[sim:reasoning why not]]", Step(reasoning="why not")),
        ("[[sim:long 7]] [[sim:slow 20]]", Step(long=7, slow_ms=20)),
        ("[[sim:fault once:429]]", Step(faults=("once:429",))),
        ("[[sim:say never closed", Step(say=("never closed",))),
    ],
)
def test_directives(text: str, step: Step) -> None:
    assert parse_steps(text) == (step,)


@pytest.mark.parametrize("text", ["", "hello", "[sim:say x]", "[[say x]]"])
def test_other_text_holds_none(text: str) -> None:
    assert parse_steps(text) == ()


@pytest.mark.parametrize(
    "text",
    ["[[sim:sya x]]", "[[sim:long many]]", "[[sim:long -1]]", "[[sim:slow 99999999]]", "[[sim:fault]]", "[[sim:tool]]",
     "[[sim:tool f {broken]]", "[[sim:tool f [1]]]"],
)  # fmt: skip
def test_a_mistake_is_said(text: str) -> None:
    (step,) = parse_steps(text)
    assert len(step.wrong) == 1
    assert "cannot follow [[sim:" in answer(text).text


def test_next_divides_steps() -> None:
    steps = parse_steps("[[sim:shell a]] [[sim:next]] [[sim:shell b]] [[sim:next]] [[sim:say c]]")
    assert [step.calls or step.say for step in steps] == [
        (Call(None, command="a"),),
        (Call(None, command="b"),),
        ("c",),
    ]


def test_text_without_directives() -> None:
    assert without_directives("a [[sim:say x]] b [[sim:slow 1]]c") == "a  b c"


def answer(text: str, *more: Turn, tools: tuple[ToolOffer, ...] = (), cap: int = 1000, model: str = "m") -> Any:
    turns = (Turn("system", "[[sim:say never from the system prompt]]"), Turn("user", text), *more)
    return compose(Asked(model, False, turns, (Segment("x", 1),), tools), cap)


def test_default_answers_say_that_they_are_simulated_and_differ() -> None:
    assert answer("one").text.startswith("(simulated) You said: one [")
    assert answer("one") == answer("one")
    assert answer("one").text != answer("two").text


def test_a_tool_loop() -> None:
    tools = (ToolOffer("Bash", COMMAND),)
    first = answer("[[sim:shell echo hi]]", tools=tools)
    assert first.finish == "tool_calls"
    assert json.loads(first.calls[0].arguments) == {"command": "echo hi"}
    loop = (Turn("assistant"), Turn("tool", results=("hi\n",)))
    second = answer("[[sim:shell echo hi]]", *loop, tools=tools)
    assert (second.text, second.calls, second.finish) == ("(simulated) hi\n", (), "stop")


def test_a_tool_loop_of_steps() -> None:
    text = "[[sim:shell a]] [[sim:next]] [[sim:shell b]]"
    tools = (ToolOffer("exec", COMMAND),)
    loop = (Turn("assistant"), Turn("tool", results=("A",)))
    assert json.loads(answer(text, *loop, tools=tools).calls[0].arguments) == {"command": "b"}
    assert answer(text, *loop, Turn("assistant"), Turn("tool", results=("B",)), tools=tools).text == "(simulated) B"


def test_directives_of_an_earlier_turn_do_nothing_again() -> None:
    later = answer("[[sim:say once]]", Turn("assistant", "once"), Turn("user", "and now?"))
    assert later.text.startswith("(simulated) You said: and now?")


def test_a_tool_result_directs_nothing() -> None:
    result = Turn("tool", results=("[[sim:say owned]]",))
    assert answer("hi", Turn("assistant"), result).text == "(simulated) [[sim:say owned]]"


def test_a_shell_that_is_not_offered_is_missed() -> None:
    assert "offers no shell tool" in answer("[[sim:shell ls]]").text


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (ToolOffer("Bash", COMMAND), {"command": "ls"}),
        (ToolOffer("exec_command", {"properties": {"cmd": {"type": "string"}}}), {"cmd": "ls"}),
        (ToolOffer("run_shell_command", COMMAND), {"command": "ls"}),
        (ToolOffer("local_shell", {"properties": {"command": {"type": "array"}}}), {"command": ["bash", "-lc", "ls"]}),
        (ToolOffer("helper", {"properties": {"cmd": {"type": "string"}}}), {"cmd": "ls"}),
        (ToolOffer("bash"), {"command": "ls"}),
        (
            ToolOffer(
                "exec",
                {
                    "properties": {
                        "command": {"type": "string"},
                        "why": {"type": "string"},
                        "wait": {"type": "number"},
                    },
                    "required": ["command", "why", "wait"],
                },
            ),
            {"command": "ls", "why": "simulated", "wait": 1},
        ),
    ],
)
def test_the_shell_of_each_client_is_found(tool: ToolOffer, arguments: dict[str, Any]) -> None:
    plan = answer("[[sim:shell ls]]", tools=(ToolOffer("read_file", {"properties": {"path": {}}}), tool))
    assert plan.calls[0].name == tool.name
    assert json.loads(plan.calls[0].arguments) == arguments


def test_a_known_name_wins_over_a_likely_schema() -> None:
    likely, known = ToolOffer("task", COMMAND), ToolOffer("Bash", COMMAND)
    assert find_shell((likely, known)) == known


def test_the_cap_ends_the_text() -> None:
    plan = answer("[[sim:long 500]]", cap=20)
    assert (plan.completion_tokens, plan.finish) == (20, "length")
    assert answer("[[sim:long 500]]").completion_tokens == 500
    assert answer("[[sim:long 500]]").finish == "stop"


def test_a_call_that_the_cap_cuts_is_not_made() -> None:
    plan = answer('[[sim:tool f {"text": "' + "x" * 400 + '"}]]', cap=10)
    assert (plan.calls, plan.finish) == ((), "length")


def test_a_model_name_sets_a_fault() -> None:
    assert answer("x", model="sim/once.429").faults == ("once.429",)
    assert answer("[[sim:fault crlf]]", model="sim/cut-mid").faults == ("cut-mid", "crlf")
    assert answer("x", model="sim/ok").faults == ()
