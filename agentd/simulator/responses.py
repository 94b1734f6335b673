"""The responses API: bodies read, answers written, whole and as events, in the upstream's own shapes. It keeps no state: what
would refer to an earlier response is refused.

The items of the model that stand together in an input are one turn, since one answer is several items.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.simulator.cache import mark_last
from agentd.simulator.chat import Chat, compact, cost_of_answer, pieces_of
from agentd.simulator.contract import (
    OPTIONAL,
    check,
    check_marks,
    mark_of,
    parts_of,
    provider_of,
    segment,
    session_of,
    text_of,
)
from agentd.simulator.words import (
    CUSTOM,
    LOCAL_SHELL,
    MESSAGE_TOKENS,
    Answer,
    Asked,
    Invalid,
    Json,
    Problem,
    Segment,
    ToolCall,
    ToolOffer,
    Turn,
    objects,
    utf8,
    whole_number,
)

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
NAMED: Final = frozenset({"function", "custom"})
"""Kinds of tools that have a name."""

STATUS: Final = {"stop": "completed", "tool_calls": "completed", "length": "incomplete", "error": "failed"}
DONE: Final = b"data: [DONE]\n\n"
_ERRORS: Final = Chat()
"""Errors before the first byte have the same body as in chat completions."""


class Responses:
    """See `words.Grammar`."""

    name = "responses"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        """Read a body. Raises `Invalid`."""
        check(body)
        _check_stateless(body)
        instructions = parts_of(body.get("instructions"), "instructions")
        items = _items(body.get("input"))
        turns = (*([Turn("system", text_of(instructions))] if instructions else []), *_turns(items))
        tools = objects(body, "tools")
        parts = [segment("tool", tool) for tool in tools] + [segment("system", part) for part in instructions]
        parts += [part for item in items for part in _segments(item)]
        whole = mark_of(body)
        asked = Asked(
            model=body.get("model", ""),
            stream=body.get("stream", False),
            turns=turns,
            segments=tuple(parts),
            tools=tuple(offer for tool in tools for offer in _offers(tool)),
            cap=whole_number(body, "max_output_tokens"),
            provider=provider_of(body),
            parameters=OPTIONAL & body.keys(),
            session=session_of(body, headers, turns),
        )
        check_marks(asked, whole)
        return replace(asked, segments=mark_last(asked.segments, whole))

    def whole(self, answer: Answer) -> Json:
        """The answer as one body."""
        return _response(answer, STATUS[answer.finish])

    def frames(self, answer: Answer) -> list[bytes]:
        """The answer as events, numbered in their order."""
        begun = _response(answer, "in_progress")
        said: list[Json] = [{"type": f"response.{kind}", "response": begun} for kind in ("created", "in_progress")]
        if "unknown-fields" in answer.quirks:
            said.append({"type": "response.sparkle", "glitter": [1, None]})
        for place, item in enumerate(_output(answer)):
            said.extend(_item_events(place, item))
        status = STATUS[answer.finish]
        said.append({"type": f"response.{status}", "response": _response(answer, status)})
        return [*(_event(event, number) for number, event in enumerate(said)), DONE]

    def error(self, problem: Problem, generation: str | None) -> Json:
        """The body of an error before the first byte."""
        return _ERRORS.error(problem, generation)

    def error_frames(self, problem: Problem, answer: Answer) -> list[bytes]:
        """The one event of an error in the middle: with a code in words it stands alone, else in a response that failed."""
        if isinstance(problem.code, str):
            return [_event({"type": "error", "code": problem.code, "message": problem.message, "param": None}, 99)]
        return [_event({"type": "response.failed", "response": _failed(problem, answer)}, 99)]

    def choice_error(self, problem: Problem, answer: Answer) -> Json:
        """A response that failed, with half of the answer in it."""
        half = replace(answer, text=answer.text[: len(answer.text) // 2], calls=())
        return {**_failed(problem, answer), "output": _output(half)}


def usage_of(answer: Answer) -> Json:
    """The usage object. Here `input_tokens` includes what was read from the cache."""
    tally = answer.tally
    zero = "zero-usage" in answer.quirks
    cost: Json = {"cost": 0, "is_byok": False} if zero else cost_of_answer(answer)
    return {
        "input_tokens": 0 if zero else tally.prompt,
        "input_tokens_details": {
            "cached_tokens": 0 if zero else tally.cached,
            "cache_write_tokens": 0 if zero else tally.written,
        },
        "output_tokens": 0 if zero else tally.completion,
        "output_tokens_details": {"reasoning_tokens": 0 if zero else tally.reasoning},
        "total_tokens": 0 if zero else tally.prompt + tally.completion,
        **cost,
    }


def _check_stateless(body: Json) -> None:
    """Refuse what wants state at the upstream. Raises `Invalid`."""
    for name in ("background", "prompt", "conversation"):
        if body.get(name) not in (None, False):
            raise Invalid(f"{name} is not supported")


def _response(answer: Answer, status: str) -> Json:
    """The response object; one that is in progress has neither output nor usage yet."""
    begun = status == "in_progress"
    body: Json = {
        "id": answer.generation,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "model": answer.model,
        "output": [] if begun else _output(answer),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "service_tier": "interstellar" if "unknown-fields" in answer.quirks else "default",
        "store": False,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None if begun or "usage-missing" in answer.quirks else usage_of(answer),
    }
    if answer.metadata is not None and not begun:
        body["openrouter_metadata"] = answer.metadata
    return body | {"mood": {"sky": ["blue", None]}} if "unknown-fields" in answer.quirks else body


def _failed(problem: Problem, answer: Answer) -> Json:
    """The response object of a failure."""
    error = {"code": "server_error", "message": problem.message}
    return {**_response(answer, "failed"), "output": [], "error": error, "error_type": problem.error_type}


def _output(answer: Answer) -> list[Json]:
    """The items of an answer, whole."""
    items: list[Json] = []
    if answer.reasoning:
        seal = "sim" + hashlib.sha256(utf8(answer.reasoning)).hexdigest()
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"type": "reasoning", "id": _id("rs", answer, 0), "summary": summary, "encrypted_content": seal})
    if answer.text or not answer.calls:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        status = "incomplete" if answer.finish == "length" else "completed"
        message = {"type": "message", "id": _id("msg", answer, 0), "role": "assistant", "status": status}
        items.append({**message, "content": content})
    items.extend(_call(call, _id("fc", answer, place)) for place, call in enumerate(answer.calls))
    return items


def _id(kind: str, answer: Answer, place: int) -> str:
    return f"{kind}_{hashlib.sha256(utf8(answer.generation)).hexdigest()[:20]}{place}"


def _call(call: ToolCall, identity: str) -> Json:
    """The item of a tool call; text for a custom tool is the argument `input`, or else all of the arguments."""
    named: Json = {"id": identity, "call_id": call.id, "name": call.name}
    if call.namespace:
        named["namespace"] = call.namespace
    arguments = json.loads(call.arguments)
    if call.kind == LOCAL_SHELL:
        action = {"type": "exec", "command": ["bash", "-lc", str(arguments.get("command", ""))], "env": {}}
        return {"type": "local_shell_call", "id": identity, "call_id": call.id, "action": action, "status": "completed"}
    if call.kind == CUSTOM:
        return {"type": "custom_tool_call", **named, "input": str(arguments.get("input", call.arguments))}
    return {"type": "function_call", **named, "arguments": call.arguments, "status": "completed"}


def _item_events(place: int, item: Json) -> Iterator[Json]:
    """The events of one item, which starts empty."""
    empty: Json = {"content": [], "summary": [], "arguments": "", "input": "", "status": "in_progress"}
    start = {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}
    yield {"type": "response.output_item.added", "output_index": place, "item": start}
    at = {"item_id": item["id"], "output_index": place}
    if item["type"] == "message":
        yield from _text_events(item["content"][0], {**at, "content_index": 0})
    elif item["type"] == "reasoning":
        yield from _summary_events(item["summary"][0], {**at, "summary_index": 0})
    elif item["type"] == "function_call":
        yield from _deltas("response.function_call_arguments", item["arguments"], "arguments", at)
    elif item["type"] == "custom_tool_call":
        yield from _deltas("response.custom_tool_call_input", item["input"], "input", at)
    yield {"type": "response.output_item.done", "output_index": place, "item": item}


def _text_events(part: Json, at: Json) -> Iterator[Json]:
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    yield from _deltas("response.output_text", part["text"], "text", {**at, "logprobs": []})
    yield {"type": "response.content_part.done", **at, "part": part}


def _summary_events(part: Json, at: Json) -> Iterator[Json]:
    yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
    yield from _deltas("response.reasoning_summary_text", part["text"], "text", at)
    yield {"type": "response.reasoning_summary_part.done", **at, "part": part}


def _deltas(kind: str, text: str, whole: str, at: Json) -> Iterator[Json]:
    """The pieces of a text, then all of it under its own name."""
    for piece in pieces_of(text):
        yield {"type": f"{kind}.delta", **at, "delta": piece}
    yield {"type": f"{kind}.done", **at, whole: text}


def _event(said: Json, number: int) -> bytes:
    """One event of a stream."""
    kind = str(said["type"])
    return (
        b"event: " + kind.encode() + b"\ndata: " + compact({"type": kind, "sequence_number": number, **said}) + b"\n\n"
    )


def _items(said: object) -> list[Json]:
    """The items of an input; text alone is one message of the user. Raises `Invalid`."""
    if isinstance(said, str):
        return [{"role": "user", "content": said}]
    if not isinstance(said, list) or not said or not all(isinstance(item, dict) for item in said):
        raise Invalid("input must be a string or a list of items")
    return said


def _turns(items: list[Json]) -> Iterator[Turn]:
    """The items as turns. Raises `Invalid`."""
    turns: list[Turn] = []
    for item in items:
        turn = _turn(item)
        if turns and turn.role == turns[-1].role == "assistant":
            last = turns.pop()
            turn = Turn("assistant", "\n".join(text for text in (last.text, turn.text) if text))
        turns.append(turn)
    return iter(turns)


def _turn(item: Json) -> Turn:
    """One item. Raises `Invalid`."""
    kind = item.get("type") or "message"
    if kind == "item_reference":
        raise Invalid("item_reference is not supported: nothing is stored")
    if kind == "message":
        role = item.get("role")
        if role not in ROLES:
            raise Invalid(f"input: unknown role {role!r}")
        return Turn(role, text_of(parts_of(item.get("content"), "content")))
    if str(kind).endswith("_output"):
        return Turn("tool", "", (text_of(parts_of(item.get("output"), "output")),))
    return Turn("assistant")


def _segments(item: Json) -> list[Segment]:
    """One item as stretches of the prompt."""
    if item.get("type") not in (None, "message"):
        return [segment("item", item, MESSAGE_TOKENS)]
    role = str(item.get("role"))
    parts = parts_of(item.get("content"), "content")
    found = [segment(role, part, 0 if index else MESSAGE_TOKENS) for index, part in enumerate(parts)]
    return found or [segment(role, "", MESSAGE_TOKENS)]


def _offers(tool: Json, namespace: str = "") -> Iterator[ToolOffer]:
    """The tools that an entry offers: itself, or those in its namespace."""
    kind = str(tool.get("type", ""))
    if kind == "namespace":
        for inner in objects(tool, "tools"):
            yield from _offers(inner, str(tool.get("name", "")))
        return
    schema = tool.get("parameters")
    name = str(tool.get("name", "")) if kind in NAMED else kind
    yield ToolOffer(name, schema if isinstance(schema, dict) else {}, kind, namespace)
