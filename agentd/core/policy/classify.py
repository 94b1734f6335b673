"""Which class of work a request is: the first kind of evidence that decides, in a fixed order, and what it saw.

declared lane -> open tool loop -> structure -> text of the last human turn -> session -> the agent's default class.

A session's class is that of its last turn that no machine made: an agent's heartbeat comes in the conversation of its user, who
may answer the turn before it with a mere "yes".

Never read: system prompt, tool schemas, tool results, earlier turns. What a client declares or a person writes chooses among
the classes that policy gives this agent; a class outside that set is not taken, and that is part of the evidence.
"""

from agentd.core.policy.facts import Memory
from agentd.core.policy.schema import OPEN_LANES, Agent, Policy, TaskClass
from agentd.core.policy.text import inherits, read_text
from agentd.core.types.calls import Hints, ModelCall
from agentd.core.types.classes import Classified, Fact, Stage

Evidence = tuple[tuple[str, Fact], ...]

WRAPPER_CLASSES: dict[str, str] = {
    "heartbeat": "heartbeat",
    "cron": "routine",
    "exec_event": "routine",
    "compaction": "routine",
    "memory_flush": "routine",
    "title": "routine",
}
"""Which class the known machine-made turns are, by the name that a policy gives it. A sub-agent's task is read as text."""


def classify(policy: Policy, agent: Agent, call: ModelCall, hints: Hints, memory: Memory | None) -> Classified:
    """Class and evidence for a call of `agent`. Total: the agent's default class when nothing else decides."""
    shape = call.shape
    base: Evidence = (
        ("human_chars", len(shape.human_text)),
        ("tools", len(shape.tools)),
        ("turns", shape.turns),
    )
    lane, declared = _lane(policy, agent, call, hints)
    base += declared
    if lane is not None:
        return Classified(lane, Stage.LANE, f"the client declared it as {lane}", base)
    if shape.continuation and memory is not None and memory.class_name in agent.classes:
        facts: Evidence = (("tools_used", len(shape.tools_used)), ("loop_model", memory.model))
        return Classified(memory.class_name, Stage.CONTINUATION, "a tool loop goes on", base + facts)
    return _by_shape(agent, call, base) or _by_text(agent, call, memory, base)


def _lane(policy: Policy, agent: Agent, call: ModelCall, hints: Hints) -> tuple[str | None, Evidence]:
    """The declared class, if this agent may use it, and what was declared."""
    found: list[tuple[str, Fact]] = []
    if hints.lane is not None:
        if hints.lane in agent.classes:
            return hints.lane, (("lane_header", hints.lane),)
        found.append(("lane_header_not_allowed", hints.lane))
    for task in policy.index.lanes.at((call.model_asked, OPEN_LANES)):
        if any(lane_matches(lane, call.model_asked) for lane in task.lanes):
            if task.name in agent.classes:
                return task.name, (*found, ("lane_model", call.model_asked))
            found.append(("lane_model_not_allowed", task.name))
    return None, tuple(found)


def lane_matches(lane: str, model: str) -> bool:
    """Whether a model name declares a lane: the same name, or the same beginning where the lane ends in `*`."""
    return model.startswith(lane[:-1]) if lane.endswith("*") else model == lane


def _by_shape(agent: Agent, call: ModelCall, base: Evidence) -> Classified | None:
    wrapper = call.shape.wrapper
    name = WRAPPER_CLASSES.get(wrapper or "")
    if name is None or name not in agent.classes:
        return None
    return Classified(name, Stage.SHAPE, f"it has the shape of a {wrapper} turn", (*base, ("wrapper", wrapper or "")))


def _by_text(agent: Agent, call: ModelCall, memory: Memory | None, base: Evidence) -> Classified:
    text = call.shape.human_text
    if inherits(text) and memory is not None and memory.inherited in agent.classes:
        return Classified(memory.inherited, Stage.SESSION, "a reply without a class of its own: its session's", base)
    reading = read_text(text)
    facts: Evidence = (*base, ("points", reading.points), ("signals", " ".join(reading.signals)))
    if reading.kind is not None and reading.kind.value in agent.classes:
        return Classified(reading.kind.value, Stage.TEXT, f"the words read as {reading.kind.value}", facts)
    return Classified(agent.default_class, Stage.ABSTAINED, "nothing decided: the agent's default class", facts)


def asked_class(classified: Classified, memory: Memory | None) -> str:
    """The class that a session is to keep for a mere "yes": a turn that a machine made, and its tool loop, leave it as it was."""
    if classified.stage not in (Stage.SHAPE, Stage.CONTINUATION):
        return classified.name
    return memory.inherited if memory is not None else ""


def default_task(policy: Policy, agent: Agent) -> TaskClass:
    """The class that an agent's work is when nothing says otherwise."""
    return policy.classes[agent.default_class]
