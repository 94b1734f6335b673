"""How a prompt tells the simulator what to do. A directive stands anywhere in the text of a user message:

    [[sim:say TEXT]]            answer with exactly TEXT
    [[sim:tool NAME {JSON}]]    call the tool NAME with these arguments, offered or not
    [[sim:shell COMMAND]]       call the client's own shell tool (found by name or schema) with COMMAND
    [[sim:reasoning]]           think aloud first; [[sim:reasoning TEXT]] says what
    [[sim:long N]]              an answer of N tokens
    [[sim:slow MS]]             wait MS milliseconds before each piece of a stream
    [[sim:fault NAME]]          go wrong in a named way: see `agentd.simulator.faults`
    [[sim:next]]                what follows is for the next answer of the same tool loop

Several may stand together: `[[sim:say Listing.]] [[sim:shell ls]] [[sim:slow 20]]`. Only user text since the last assistant
message counts, so a directive in the history does nothing again. When tool results come back, the answer is their text,
unless `[[sim:next]]` prepared another step. Without any directive the answer repeats what was said. The model name
`sim/NAME` sets a fault without a directive, with `.` for `:` where a name has an argument: `sim/once.429`.

Brackets nest, so `[[sim:shell [[ -f x ]] && echo yes]]` and JSON with lists work. A directive that cannot be read is answered
with a sentence that says so: a mistake in a test must not look like a success.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

OPEN: Final = "[[sim:"
CLOSE: Final = "]]"
LONGEST: Final = 2_000_000
"""Tokens of `long`: what a test of limits needs, and no accident with memory."""

SLOWEST_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that is wanted. `name` None is "the shell, whatever it is called", with the command in `command`."""

    name: str | None
    arguments: str = "{}"
    command: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """The directives for one answer."""

    say: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    reasoning: str | None = None
    long: int | None = None
    slow_ms: int = 0
    faults: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()  # directives that could not be read


def parse_steps(text: str) -> tuple[Step, ...]:
    """The steps that a text prepares, in order. Empty if it holds no directive."""
    found = _find(text)
    if not found:
        return ()
    steps = [Step()]
    for inner, end in found:
        name, _, argument = text[inner:end].strip().partition(" ")
        if name == "next":
            steps.append(Step())
        else:
            steps[-1] = _apply(steps[-1], name, argument.strip())
    return tuple(steps)


def without_directives(text: str) -> str:
    """A text without its directives."""
    kept, done = "", 0
    for inner, end in _find(text):
        kept += text[done : inner - len(OPEN)]
        done = end + len(CLOSE)
    return kept + text[done:]


def _find(text: str) -> list[tuple[int, int]]:
    """Where the inside of each directive begins and ends."""
    found: list[tuple[int, int]] = []
    start = text.find(OPEN)
    while start >= 0:
        inner = start + len(OPEN)
        end = _end(text, inner)
        found.append((inner, end))
        start = text.find(OPEN, end)
    return found


def _end(text: str, inner: int) -> int:
    """Where a directive ends: before the `]]` that closes it, or at the end of the text."""
    if text.startswith("tool ", inner) and (brace := text.find("{", inner)) >= 0:
        try:
            _, after = json.JSONDecoder().raw_decode(text, brace)
        except ValueError:
            after = inner
        inner = max(inner, after)
    depth = 1
    place = inner
    while place < len(text):
        pair = text[place : place + 2]
        depth += (pair == "[[") - (pair == CLOSE)
        if depth == 0:
            return place
        place += 2 if pair in ("[[", CLOSE) else 1
    return len(text)


def _apply(step: Step, name: str, argument: str) -> Step:
    """A step with one more directive in it."""
    try:
        return _known(step, name, argument)
    except ValueError as error:
        return replace(step, wrong=(*step.wrong, f"{OPEN}{name}{CLOSE}: {error}"))


def _known(step: Step, name: str, argument: str) -> Step:
    """See `_apply`. Raises ValueError with the reason."""
    changes: dict[str, Any]
    match name:
        case "say":
            changes = {"say": (*step.say, argument)}
        case "tool":
            changes = {"calls": (*step.calls, _tool(argument))}
        case "shell":
            changes = {"calls": (*step.calls, Call(None, command=argument))}
        case "reasoning":
            changes = {"reasoning": argument or "(simulated) thinking it over"}
        case "long":
            changes = {"long": _number(argument, LONGEST)}
        case "slow":
            changes = {"slow_ms": _number(argument, SLOWEST_MS)}
        case "fault" if argument:
            changes = {"faults": (*step.faults, argument)}
        case _:
            raise ValueError("no such directive, or its argument is missing")
    return replace(step, **changes)


def _tool(argument: str) -> Call:
    """`NAME {json}`; no JSON means no arguments."""
    name, _, arguments = argument.partition(" ")
    if not name:
        raise ValueError("wants the name of a tool")
    if not isinstance(json.loads(arguments or "{}"), dict):
        raise ValueError("wants the arguments as a JSON object")
    return Call(name, arguments.strip() or "{}")


def _number(argument: str, most: int) -> int:
    """A whole number from 0 to `most`."""
    number = int(argument)
    if not 0 <= number <= most:
        raise ValueError(f"wants a number from 0 to {most}")
    return number
