"""The chat completions API: bodies read, answers written, whole and as events, in the upstream's own shapes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from agentd.simulator.books import BYOK_FEE, usd
from agentd.simulator.cache import mark_last
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

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
PIECE_CHARS: Final = 24
"""Characters of text in one event: about what providers send at a time."""

MAX_PIECES: Final = 400
"""Events of one text; longer texts come in longer pieces."""

NATIVE: Final = {"stop": "stop", "tool_calls": "tool_use", "length": "max_tokens", "error": "error"}


class Chat:
    """See `words.Grammar`."""

    name = "chat"

    def read(self, body: Json, headers: Mapping[str, str]) -> Asked:
        """Read a body. Raises `Invalid`."""
        check(body)
        messages = objects(body, "messages")
        if not messages:
            raise Invalid("messages must be a list with at least one message")
        turns = tuple(_turn(message) for message in messages)
        tools = objects(body, "tools")
        parts = [segment("tool", tool) for tool in tools]
        parts += [part for message in messages for part in _segments(message)]
        whole = mark_of(body)
        asked = Asked(
            model=body.get("model", ""),
            stream=body.get("stream", False),
            turns=turns,
            segments=tuple(parts),
            tools=tuple(_offer(tool) for tool in tools),
            cap=whole_number(body, "max_completion_tokens", "max_tokens"),
            provider=provider_of(body),
            parameters=OPTIONAL & body.keys(),
            session=session_of(body, headers, turns),
        )
        check_marks(asked, whole)
        return _marked(asked, whole)

    def whole(self, answer: Answer) -> Json:
        """The answer as one body."""
        message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.reasoning:
            message |= {"reasoning": answer.reasoning, "reasoning_details": [_thought(answer.reasoning)]}
        if answer.calls:
            message["tool_calls"] = [_call(call.id, call.name, call.arguments) for call in answer.calls]
        choice = {"index": 0, "message": message, "logprobs": None, **_finish(answer)}
        body = {**_head(answer, "chat.completion"), "system_fingerprint": None, "service_tier": "default"}
        body["choices"] = [choice]
        if "usage-missing" not in answer.quirks:
            body["usage"] = usage_of(answer)
        return _extended(body, answer)

    def frames(self, answer: Answer) -> list[bytes]:
        """The answer as events."""
        frames = [self._delta(answer, delta) for delta in _deltas(answer)]
        frames.append(self._delta(answer, {"content": ""}, _finish(answer)))
        if "usage-missing" not in answer.quirks:
            frames.append(self._usage(answer))
        return [*frames, b"data: [DONE]\n\n"]

    def error(self, problem: Problem, generation: str | None) -> Json:
        """The body of an error before the first byte."""
        error: Json = {"message": problem.message, "code": problem.status if problem.code is None else problem.code}
        if problem.availability is None:
            if problem.metadata:
                error["metadata"] = dict(problem.metadata)
        else:
            error |= {"error_type": problem.error_type, "http_status": problem.status}
            error["availability"] = dict(problem.availability)
        return {"error": error, "user_id": "user_simulated"}

    def error_frames(self, problem: Problem, answer: Answer) -> list[bytes]:
        """The one event of an error in the middle."""
        chunk = _head(answer, "chat.completion.chunk")
        chunk["error"] = {"code": problem.code, "message": problem.message, "metadata": dict(problem.metadata)}
        chunk["choices"] = [
            {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": None}
        ]
        return [event(chunk)]

    def choice_error(self, problem: Problem, answer: Answer) -> Json:
        """Half of the answer, and an error beside it."""
        body = self.whole(answer)
        choice = body["choices"][0]
        choice["message"]["content"] = answer.text[: len(answer.text) // 2]
        choice |= {"finish_reason": "error", "native_finish_reason": None}
        choice["error"] = {"code": problem.status, "message": problem.message, "metadata": dict(problem.metadata)}
        return body

    def _delta(self, answer: Answer, delta: Json, finish: Json | None = None) -> bytes:
        """One event with one choice."""
        chunk = _head(answer, "chat.completion.chunk")
        ending = finish or {"finish_reason": None, "native_finish_reason": None}
        chunk["choices"] = [{"index": 0, "delta": delta, **ending, "logprobs": None}]
        return event(_extended(chunk, answer))

    def _usage(self, answer: Answer) -> bytes:
        """The event that carries the usage, without a choice or, as was seen once, with an empty one."""
        chunk = _head(answer, "chat.completion.chunk")
        empty = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
        chunk["choices"] = [empty] if "usage-nonempty-choices" in answer.quirks else []
        chunk["usage"] = usage_of(answer)
        if answer.metadata is not None:
            chunk["openrouter_metadata"] = answer.metadata
        return event(chunk)


def event(data: Json) -> bytes:
    """One event of a stream."""
    return b"data: " + compact(data) + b"\n\n"


def compact(data: object) -> bytes:
    """JSON as it goes over the wire: no spaces, characters as they are."""
    return utf8(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def pieces_of(text: str) -> Iterator[str]:
    """A text in the pieces in which a stream brings it."""
    size = max(PIECE_CHARS, -(-len(text) // MAX_PIECES))
    return (text[start : start + size] for start in range(0, len(text), size))


def usage_of(answer: Answer) -> Json:
    """The usage object; BYOK shows the fee as the cost and the provider's own price beside it."""
    if "zero-usage" in answer.quirks:
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": 0, "is_byok": False}
    tally = answer.tally
    return {
        "prompt_tokens": tally.prompt,
        "completion_tokens": tally.completion,
        "total_tokens": tally.prompt + tally.completion,
        "prompt_tokens_details": {
            "cached_tokens": tally.cached,
            "cache_write_tokens": tally.written,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": tally.reasoning},
        **cost_of_answer(answer, "prompt", "completions"),
        **served(answer, "server_tool_use_details"),
    }


def served(answer: Answer, name: str) -> Json:
    """What says that a tool ran at the provider, under the name that an API has for it."""
    return {name: {"web_search_requests": 2}} if "server-tools" in answer.quirks else {}


def cost_of_answer(answer: Answer, prompt: str, completion: str) -> Json:
    """The fields about money, which all APIs share but for what they call the two parts: `prompt` and `completion`."""
    byok = "byok" in answer.quirks
    return {
        "cost": None
        if "usage-null-cost" in answer.quirks
        else usd(int(answer.cost * BYOK_FEE) if byok else answer.cost),
        "is_byok": byok,
        "cost_details": {
            "upstream_inference_cost": usd(answer.cost) if byok else None,
            f"upstream_inference_{prompt}_cost": usd(answer.prompt_cost),
            f"upstream_inference_{completion}_cost": usd(answer.cost - answer.prompt_cost),
        },
    }


def _head(answer: Answer, kind: str) -> Json:
    """What every body and chunk begins with."""
    return {
        "id": answer.generation,
        "object": kind,
        "created": answer.created,
        "model": answer.model,
        "provider": answer.provider,
    }


def _finish(answer: Answer) -> Json:
    """How the choice ends."""
    native = "evaporated" if "unknown-fields" in answer.quirks else NATIVE[answer.finish]
    return {"finish_reason": answer.finish, "native_finish_reason": native}


def _extended(body: Json, answer: Answer) -> Json:
    """A body with the routing metadata that was asked for, and with fields that no contract names."""
    if answer.metadata is not None and body["object"] == "chat.completion":
        body["openrouter_metadata"] = answer.metadata
    if "unknown-fields" in answer.quirks:
        body |= {"mood": {"sky": ["blue", None]}, "service_tier": "interstellar"}
        for choice in body["choices"]:
            (choice.get("delta") or choice.get("message"))["aroma"] = 7
    return body


def _deltas(answer: Answer) -> Iterator[Json]:
    """The deltas before the end: role, reasoning, text, calls."""
    yield {"role": "assistant", "content": ""}
    for piece in pieces_of(answer.reasoning):
        yield {"content": "", "reasoning": piece, "reasoning_details": [_thought(piece)]}
    for piece in pieces_of(answer.text):
        yield {"content": piece}
    for index, call in enumerate(answer.calls):
        yield {"tool_calls": [{"index": index, **_call(call.id, call.name, "")}]}
        for piece in pieces_of(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _call(identity: str, name: str, arguments: str) -> Json:
    """A tool call."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _thought(text: str) -> Json:
    """A piece of reasoning in the structured form."""
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def _turn(message: Json) -> Turn:
    """One message. Raises `Invalid`."""
    role = message.get("role")
    if role not in ROLES:
        raise Invalid(f"messages: unknown role {role!r}")
    text = text_of(parts_of(message.get("content"), "content"))
    return Turn(role, "", (text,)) if role in ("tool", "function") else Turn(role, text)


def _segments(message: Json) -> list[Segment]:
    """One message as stretches of the prompt."""
    role = str(message.get("role"))
    extra = MESSAGE_TOKENS
    found: list[Segment] = []
    calls = message.get("tool_calls")
    for part in [*parts_of(message.get("content"), "content"), *(calls if isinstance(calls, list) else [])]:
        found.append(segment(role, part, extra))
        extra = 0
    return found or [segment(role, "", extra)]


def _offer(tool: Json) -> ToolOffer:
    """A tool that is offered; those that the upstream runs itself have no function."""
    function = tool.get("function")
    if not isinstance(function, dict):
        return ToolOffer(str(tool.get("type", "")))
    schema = function.get("parameters")
    return ToolOffer(str(function.get("name", "")), schema if isinstance(schema, dict) else {})


def _marked(asked: Asked, whole: str | None) -> Asked:
    """The request with the mark for the whole of it at its end."""
    return replace(asked, segments=mark_last(asked.segments, whole))
