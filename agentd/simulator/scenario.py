"""What the simulated model says. In: what was asked. Out: text, tool calls, reasoning, pace and faults, the same for the
same request every time. The text is plainly synthetic: it begins with "(simulated)" unless a directive dictates it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agentd.simulator.directives import Call, Step, parse_steps, without_directives
from agentd.simulator.words import CHARS_PER_TOKEN, Asked, ToolCall, ToolOffer, Turn, count_tokens, utf8

ECHO_CHARS: Final = 400
"""How much of the human's text an answer repeats."""

SHELL_NAMES: Final = (
    "bash", "exec_command", "exec", "shell", "run_shell_command", "shell_command", "local_shell", "execute_command",
    "run_command", "run_terminal_cmd", "terminal",
)  # fmt: skip
"""Names by which agents offer a shell, compared without case."""

COMMAND_ARGUMENTS: Final = ("command", "cmd", "script")
FILLERS: Final[Mapping[str, Any]] = {"string": "simulated", "boolean": False, "array": [], "object": {}}
"""Values for other arguments that a schema requires; numbers get 1."""

FILLER_WORDS: Final = "(simulated) words that say nothing at all, "


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer, before it is priced."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    finish: str = "stop"
    slow_ms: int = 0
    faults: tuple[str, ...] = ()

    @property
    def completion_tokens(self) -> int:
        """Tokens of all that the model says, at least one."""
        said = sum(count_tokens(call.name + call.arguments) for call in self.calls)
        return max(1, count_tokens(self.text) + count_tokens(self.reasoning) + said)


def compose(asked: Asked, cap: int) -> Plan:
    """The answer to a request, within `cap` tokens of text and reasoning."""
    step = _step(asked.turns)
    if step is None:
        return _within(Plan(text=_echo(asked.turns), faults=_slug_faults(asked.model)), cap)
    wrong = [*step.wrong]
    calls = [_tool_call(call, index, asked, wrong) for index, call in enumerate(step.calls)]
    made = tuple(call for call in calls if call is not None)
    plan = Plan(
        text=_say(step, wrong, bool(made), asked),
        calls=made,
        reasoning=step.reasoning or "",
        finish="tool_calls" if made else "stop",
        slow_ms=step.slow_ms,
        faults=(*_slug_faults(asked.model), *step.faults),
    )
    return _within(plan, cap)


def digest_of(turns: tuple[Turn, ...]) -> str:
    """A short digest of the last thing that a human said: what makes answers differ."""
    return hashlib.sha256(utf8(_last_human(turns))).hexdigest()[:12]


def _slug_faults(model: str) -> tuple[str, ...]:
    """The fault that a model name of the form `sim/NAME` sets; `sim/ok` sets none."""
    author, _, name = model.partition("/")
    return (name,) if author == "sim" and name != "ok" else ()


def _step(turns: tuple[Turn, ...]) -> Step | None:
    """The step that this answer is to follow, or None if no directive asks for anything now."""
    scripted = max(
        (index for index, turn in enumerate(turns) if turn.role == "user" and "[[sim:" in turn.text), default=None
    )
    if scripted is None:
        return None
    steps = parse_steps(turns[scripted].text)
    answered = sum(1 for turn in turns[scripted:] if turn.role == "assistant")
    if answered and not any(turn.results for turn in _tail(turns)):
        return None  # a new human turn without directives
    return steps[answered] if answered < len(steps) else None


def _tail(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """What came since the last assistant message."""
    last = max((index for index, turn in enumerate(turns) if turn.role == "assistant"), default=-1)
    return turns[last + 1 :]


def _last_human(turns: tuple[Turn, ...]) -> str:
    """The text of the last user message that has any."""
    return next((turn.text for turn in reversed(turns) if turn.role == "user" and turn.text), "")


def _echo(turns: tuple[Turn, ...]) -> str:
    """The answer without directives: the tool results that just came, else what was said."""
    results = [result for turn in _tail(turns) for result in turn.results]
    if results:
        return "(simulated) " + "\n".join(results)
    said = " ".join(without_directives(_last_human(turns)).split())
    short = said if len(said) <= ECHO_CHARS else said[:ECHO_CHARS] + "…"
    return f"(simulated) You said: {short} [{digest_of(turns)}]"


def _say(step: Step, wrong: list[str], calls: bool, asked: Asked) -> str:
    """The text of a step."""
    if wrong:
        return "(simulated) cannot follow " + "; ".join(wrong)
    if step.long is not None:
        chars = step.long * CHARS_PER_TOKEN
        return (FILLER_WORDS * (chars // len(FILLER_WORDS) + 1))[:chars]
    if step.say:
        return "\n".join(step.say)
    return "" if calls else _echo(asked.turns)


def _tool_call(call: Call, index: int, asked: Asked, wrong: list[str]) -> ToolCall | None:
    """A call in the client's terms; None, with the reason in `wrong`, if it offers no shell."""
    arguments = call.arguments
    if call.name is None:
        tool = find_shell(asked.tools)
        if tool is None:
            wrong.append("[[sim:shell]]: the request offers no shell tool")
            return None
        arguments = json.dumps(_shell_arguments(tool, call.command), ensure_ascii=False)
    else:
        tool = next((offer for offer in asked.tools if offer.name == call.name), ToolOffer(call.name))
    seed = f"{digest_of(asked.turns)}{len(asked.turns)}{index}{tool.name}{arguments}"
    identity = "call_" + hashlib.sha256(utf8(seed)).hexdigest()[:20]
    return ToolCall(identity, tool.name, arguments, tool.kind, tool.namespace)


def find_shell(tools: tuple[ToolOffer, ...]) -> ToolOffer | None:
    """The tool that runs commands: by a known name, else by an argument that is named like a command."""
    by_name = {tool.name.lower(): tool for tool in reversed(tools)}
    known = next((by_name[name] for name in SHELL_NAMES if name in by_name), None)
    return known or next((tool for tool in tools if _command_argument(tool)), None)


def _command_argument(tool: ToolOffer) -> str | None:
    """The argument that takes the command, or None."""
    properties = tool.schema.get("properties") or {}
    return next((name for name in COMMAND_ARGUMENTS if name in properties), None)


def _shell_arguments(tool: ToolOffer, command: str) -> dict[str, Any]:
    """Arguments for a shell tool; what else its schema requires is filled in."""
    properties = tool.schema.get("properties") or {}
    name = _command_argument(tool) or COMMAND_ARGUMENTS[0]
    listed = properties.get(name, {}).get("type") == "array"
    arguments: dict[str, Any] = {name: ["bash", "-lc", command] if listed else command}
    for other in tool.schema.get("required") or ():
        arguments.setdefault(other, FILLERS.get(properties.get(other, {}).get("type", "string"), 1))
    return arguments


def _within(plan: Plan, cap: int) -> Plan:
    """The plan, its text cut where the cap of output tokens ends it. Tool calls are made whole or, past the cap, not at all."""
    if plan.completion_tokens <= cap:
        return plan
    reasoning = plan.reasoning[: cap * CHARS_PER_TOKEN]
    rest = cap - count_tokens(reasoning)
    return Plan(plan.text[: rest * CHARS_PER_TOKEN], (), reasoning, "length", plan.slow_ms, plan.faults)
