"""The messages API: bodies read, answers written, whole and as events, in the upstream's own shapes."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.simulator.cache import mark_last
from agentd.simulator.chat import compact, cost_of_answer, pieces_of, served
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
from agentd.simulator.problems import ERROR_TYPES
from agentd.simulator.words import (
    MESSAGE_TOKENS,
    Answer,
    Asked,
    Invalid,
    Json,
    Problem,
    Segment,
    ToolOffer,
    Turn,
    objects,
    utf8,
    whole_number,
)

ROLES: Final = frozenset({"user", "assistant", "system"})
STOP: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "error": None}


class Messages:
    """See `words.Grammar`."""

    name = "messages"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        """Read a body. Raises `Invalid`."""
        check(body)
        messages = objects(body, "messages")
        if not messages:
            raise Invalid("messages: at least one message is required")
        system = parts_of(body.get("system"), "system")
        turns = (*([Turn("system", text_of(system))] if system else []), *(_turn(message) for message in messages))
        tools = objects(body, "tools")
        parts = [segment("tool", tool) for tool in tools] + [segment("system", part) for part in system]
        parts += [part for message in messages for part in _segments(message)]
        whole = mark_of(body)
        asked = Asked(
            model=body.get("model", ""),
            stream=body.get("stream", False),
            turns=turns,
            segments=tuple(parts),
            tools=tuple(_offer(tool) for tool in tools),
            cap=whole_number(body, "max_tokens"),
            provider=provider_of(body),
            parameters=OPTIONAL & body.keys(),
            session=session_of(body, headers, turns),
            context_management=body.get("context_management") is not None,
        )
        check_marks(asked, whole)
        return replace(asked, segments=mark_last(asked.segments, whole))

    def whole(self, answer: Answer) -> Json:
        """The answer as one body."""
        body = {**_head(answer), "content": [block for block, _ in _blocks(answer)], "stop_reason": STOP[answer.finish]}
        if "usage-missing" not in answer.quirks:
            body["usage"] = usage_of(answer)
        if answer.metadata is not None:
            body["openrouter_metadata"] = answer.metadata
        return _extended(body, answer)

    def frames(self, answer: Answer) -> list[bytes]:
        """The answer as events."""
        start = _extended({**_head(answer), "content": [], "stop_reason": None}, answer)
        missing = "usage-missing" in answer.quirks
        if not missing:
            start["usage"] = {**usage_of(answer), "output_tokens": 1, "cost": None}
        frames = [_event("message_start", message=start), _event("ping")]
        if "unknown-fields" in answer.quirks:
            frames.append(_event("sparkle", glitter=[1, None]))
        for index, (block, deltas) in enumerate(_blocks(answer)):
            frames.extend(_block_frames(index, block, deltas))
        ending: Json = {"delta": {"stop_reason": STOP[answer.finish], "stop_sequence": None}}
        if not missing:
            ending["usage"] = {**usage_of(answer), **_unsaid(answer)}
        extra = {} if answer.metadata is None else {"openrouter_metadata": answer.metadata}
        return [*frames, _event("message_delta", **ending), _event("message_stop", **extra)]

    def error(self, problem: Problem, generation: str | None) -> Json:
        """The body of an error before the first byte."""
        body: Json = {"type": "error", "error": _error(problem), "request_id": generation}
        if problem.availability is not None:
            body["error"] |= {"http_status": problem.status, "availability": dict(problem.availability)}
        elif problem.metadata:
            body["error"]["metadata"] = dict(problem.metadata)
        return body

    def error_frames(self, problem: Problem, answer: Answer) -> list[bytes]:
        """The one event of an error in the middle."""
        return [_event("error", error=_error(problem), request_id=answer.generation)]

    def choice_error(self, problem: Problem, answer: Answer) -> Json:
        """This API knows no error inside an answer: the body is an error, with status 200."""
        return self.error(problem, answer.generation)


def usage_of(answer: Answer) -> Json:
    """The usage object. Here `input_tokens` leaves out what was read from or written to the cache."""
    if "zero-usage" in answer.quirks:
        return {"input_tokens": 0, "output_tokens": 0, "cost": 0, "is_byok": False}
    tally = answer.tally
    return {
        "input_tokens": tally.prompt - tally.cached - tally.written,
        "cache_read_input_tokens": tally.cached,
        "cache_creation_input_tokens": tally.written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tally.written - tally.written_1h,
            "ephemeral_1h_input_tokens": tally.written_1h,
        },
        "output_tokens": tally.completion,
        "service_tier": "standard",
        "speed": "standard",
        **cost_of_answer(answer, "prompt", "completions"),
        **served(answer, "server_tool_use"),
    }


def _unsaid(answer: Answer) -> Json:
    """Fields that the closing usage leaves null, as it may: the reader has to keep the ones from the start."""
    if "zero-usage" in answer.quirks:
        return {}
    return {"input_tokens": None, "cache_read_input_tokens": None, "cache_creation_input_tokens": None}


def _head(answer: Answer) -> Json:
    """What a message begins with."""
    return {
        "id": answer.generation,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "provider": answer.provider,
        "stop_sequence": None,
    }


def _extended(body: Json, answer: Answer) -> Json:
    """A body with fields that no contract names, where that was asked for."""
    return body | {"mood": {"sky": ["blue", None]}} if "unknown-fields" in answer.quirks else body


def _blocks(answer: Answer) -> Iterator[tuple[Json, list[Json]]]:
    """The content blocks, each whole and as the deltas that build it."""
    if answer.reasoning:
        signature = "sim" + hashlib.sha256(utf8(answer.reasoning)).hexdigest()
        thoughts: list[Json] = [{"type": "thinking_delta", "thinking": piece} for piece in pieces_of(answer.reasoning)]
        yield (
            {"type": "thinking", "thinking": answer.reasoning, "signature": signature},
            [*thoughts, {"type": "signature_delta", "signature": signature}],
        )
    if answer.text or not answer.calls:
        yield (
            {"type": "text", "text": answer.text},
            [{"type": "text_delta", "text": piece} for piece in pieces_of(answer.text)],
        )
    for call in answer.calls:
        identity = "toolu_" + call.id.removeprefix("call_")
        yield (
            {"type": "tool_use", "id": identity, "name": call.name, "input": json.loads(call.arguments)},
            [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces_of(call.arguments))],
        )


def _block_frames(index: int, block: Json, deltas: list[Json]) -> Iterator[bytes]:
    """The events of one block, which starts empty."""
    empty = {"thinking": "", "text": "", "signature": "", "input": {}}
    start = {name: empty.get(name, value) for name, value in block.items()}
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def _event(kind: str, **data: object) -> bytes:
    """One event of a stream."""
    return b"event: " + kind.encode() + b"\ndata: " + compact({"type": kind, **data}) + b"\n\n"


def _error(problem: Problem) -> Json:
    """The error object; a foreign code takes the place of the upstream's own type."""
    kind = ERROR_TYPES[problem.error_type].messages_type
    error_type = problem.code if isinstance(problem.code, str) else problem.error_type
    return {"type": kind, "message": problem.message, "error_type": error_type}


def _turn(message: Json) -> Turn:
    """One message. Raises `Invalid`."""
    role = message.get("role")
    if role not in ROLES:
        raise Invalid(f"messages: unknown role {role!r}")
    parts = parts_of(message.get("content"), "content")
    results = tuple(
        text_of(parts_of(part.get("content"), "tool_result"))
        for part in parts
        if isinstance(part, dict) and part.get("type") == "tool_result"
    )
    return Turn(role, text_of(part for part in parts if _is_text(part)), results)


def _is_text(part: Json | str) -> bool:
    """Whether a part is plain text of its author."""
    return isinstance(part, str) or part.get("type") == "text"


def _segments(message: Json) -> list[Segment]:
    """One message as stretches of the prompt."""
    parts = parts_of(message.get("content"), "content")
    role = str(message.get("role"))
    found = [segment(role, part, 0 if index else MESSAGE_TOKENS) for index, part in enumerate(parts)]
    return found or [segment(role, "", MESSAGE_TOKENS)]


def _offer(tool: Json) -> ToolOffer:
    """A tool that is offered."""
    schema = tool.get("input_schema")
    return ToolOffer(str(tool.get("name", "")), schema if isinstance(schema, dict) else {})
