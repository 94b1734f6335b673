"""The responses API: answers written, whole and as events, in the upstream's own shapes. Bodies are read by `responses_input`."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.simulator.chat import Chat, compact, cost_of_answer, pieces_of, served
from agentd.simulator.responses_input import read
from agentd.simulator.words import CUSTOM, LOCAL_SHELL, Answer, Asked, Json, Problem, ToolCall, utf8

STATUS: Final = {"stop": "completed", "tool_calls": "completed", "length": "incomplete", "error": "failed"}
DONE: Final = b"data: [DONE]\n\n"
LAST: Final = 1_000_000
"""Number of an error's event: behind every other, wherever the stream broke off."""

_ERRORS: Final = Chat()
"""Errors before the first byte have the same body as in chat completions."""


class Responses:
    """See `words.Grammar`."""

    name = "responses"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        """Read a body. Raises `Invalid`."""
        return read(body, headers)

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
            return [_event({"type": "error", "code": problem.code, "message": problem.message, "param": None}, LAST)]
        return [_event({"type": "response.failed", "response": _failed(problem, answer)}, LAST)]

    def choice_error(self, problem: Problem, answer: Answer) -> Json:
        """A response that failed, with half of the answer in it."""
        half = replace(answer, text=answer.text[: len(answer.text) // 2], calls=())
        return {**_failed(problem, answer), "output": _output(half)}


def usage_of(answer: Answer) -> Json:
    """The usage object. Here `input_tokens` includes what was read from the cache."""
    tally = answer.tally
    zero = "zero-usage" in answer.quirks
    cost: Json = {"cost": 0, "is_byok": False} if zero else cost_of_answer(answer, "input", "output")
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
        **served(answer, "server_tool_use_details"),
    }


def _response(answer: Answer, status: str) -> Json:
    """The response object; one that is in progress has neither output nor usage yet."""
    begun = status == "in_progress"
    body: Json = {
        "id": answer.generation,
        "object": "response",
        "created_at": answer.created,
        "completed_at": answer.created if status == "completed" else None,
        "status": status,
        "model": answer.model,
        "output": [] if begun else _output(answer),
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "frequency_penalty": None,
        "presence_penalty": None,
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
