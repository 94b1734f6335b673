"""Which evidence decides, in which order, and what is never evidence."""

from dataclasses import replace

import pytest

from agentd.core.policy.classify import WRAPPER_CLASSES, asked_class, classify, default_task, lane_matches
from agentd.core.policy.facts import Memory
from agentd.core.policy.schema import Agent
from agentd.core.types.calls import Hints, ModelCall, Shape
from agentd.core.types.classes import Classified, Stage
from builders import call, policy

POLICY = policy()
MAIN = POLICY.agents["main"]
CODING = Memory("implementation", "standard", "middle/one", "or")


def judge(made: ModelCall | None = None, memory: Memory | None = None, agent: Agent = MAIN, **hints: str) -> Classified:
    return classify(POLICY, agent, made or call(), Hints(**hints), memory)


def test_a_header_lane_decides_before_everything() -> None:
    found = judge(call("refactor the parser module"), CODING, lane="heartbeat")
    assert (found.name, found.stage) == ("heartbeat", Stage.LANE)


def test_a_model_alias_is_a_lane() -> None:
    assert judge(call("refactor the parser module", "claude-haiku-4-5")).name == "routine"
    assert judge(call("hi", "code")).name == "implementation"


def test_a_lane_outside_the_agents_classes_is_not_taken_and_recorded() -> None:
    small = replace(MAIN, classes=("routine",))
    found = judge(call("hello", "code"), agent=small, lane="analysis")
    assert (found.name, found.stage) == ("routine", Stage.TEXT)
    assert dict(found.evidence)["lane_header_not_allowed"] == "analysis"
    assert dict(found.evidence)["lane_model_not_allowed"] == "implementation"


def test_an_open_tool_loop_keeps_its_class_whatever_the_text() -> None:
    found = judge(call(shape=Shape(human_text="thanks", continuation=True)), CODING)
    assert (found.name, found.stage) == ("implementation", Stage.CONTINUATION)


def test_a_tool_loop_that_nobody_remembers_is_read_anew() -> None:
    assert judge(call(shape=Shape(human_text="thanks", continuation=True))).stage is Stage.TEXT


@pytest.mark.parametrize("wrapper", sorted(WRAPPER_CLASSES))
def test_machine_made_turns_have_their_class(wrapper: str) -> None:
    found = judge(call(shape=Shape(human_text="refactor the parser module", wrapper=wrapper)))
    assert (found.name, found.stage) == (WRAPPER_CLASSES[wrapper], Stage.SHAPE)


def test_a_subagents_task_is_read_as_text() -> None:
    assert (
        judge(call(shape=Shape(human_text="refactor the parser module", wrapper="subagent"))).name == "implementation"
    )


def test_a_shape_whose_class_the_agent_has_not_does_not_decide() -> None:
    small = replace(MAIN, classes=("routine",))
    assert judge(call(shape=Shape(human_text="hm", wrapper="heartbeat")), agent=small).stage is Stage.ABSTAINED


def test_yes_takes_the_sessions_class() -> None:
    assert judge(call("yes, option 2"), CODING).stage is Stage.SESSION
    assert (judge(call("option 2"), CODING).name, judge(call("option 2"), CODING).stage) == (
        "implementation",
        Stage.SESSION,
    )
    assert judge(call("option 2")).stage is Stage.ABSTAINED


def test_yes_after_a_heartbeat_means_the_turn_before_it() -> None:
    """They come in one conversation; so do the steps of the heartbeat's tool loop, which keep its class."""
    memory = replace(CODING, asked="implementation")
    for shape in (Shape(human_text="hm", wrapper="heartbeat"), Shape(wrapper="heartbeat", continuation=True)):
        found = judge(call(shape=shape), memory)
        assert found.name == "heartbeat"
        memory = replace(memory, class_name=found.name, asked=asked_class(found, memory))
    assert (judge(call("yes, go on"), memory).name, memory.inherited) == ("implementation", "implementation")


def test_a_session_that_only_a_machine_spoke_in_has_no_class_for_yes() -> None:
    found = judge(call(shape=Shape(human_text="hm", wrapper="heartbeat")))
    memory = replace(CODING, class_name=found.name, asked=asked_class(found, None))
    assert judge(call("yes, go on"), memory).stage is not Stage.SESSION


def test_abstaining_is_the_agents_default() -> None:
    found = judge(call("the blue one"))
    assert (found.name, found.stage) == (default_task(POLICY, MAIN).name, Stage.ABSTAINED)


def test_evidence_is_counts_and_names() -> None:
    found = judge(call("please refactor secret-project now, module and tests"))
    assert "secret-project" not in str(found.evidence)


@pytest.mark.parametrize(
    ("lane", "model", "yes"),
    [
        ("chat", "chat", True),
        ("chat", "chat2", False),
        ("claude-*", "claude-x", True),
        ("claude-*", "gpt", False),
        ("a/b", "a/b", True),
    ],
)
def test_lanes_match_names(lane: str, model: str, yes: bool) -> None:
    assert lane_matches(lane, model) is yes
