"""Bodies to test with: short words for the messages of every dialect."""

import json
from typing import Any

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect, ModelCall, Shape

CHAT = grammar(Dialect.CHAT)
MESSAGES = grammar(Dialect.MESSAGES)
RESPONSES = grammar(Dialect.RESPONSES)

Json = dict[str, Any]

CONTEXT = "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nplan, prove, refactor"
REMINDER = "<system-reminder>\nplan, prove, refactor\n</system-reminder>"
"""What clients put around the words of a person."""

FULL = Rewrite(
    "acme/one",
    500,
    openrouter=True,
    providers=("anthropic", "google-vertex"),
    max_price=("3.00", "15"),
    zdr=True,
    session="s-1",
    user="u-1",
)
BARE = Rewrite("acme/one", 500, openrouter=True)
PLAIN = Rewrite("llama", 500, openrouter=False)
PLUGINS = [{"id": "web", "enabled": False}, {"id": "context-compression", "enabled": False}]


def body(messages: list[Json] | None = None, **fields: Any) -> bytes:
    """A body with these messages, or one that says hello."""
    return json.dumps({"model": "m", "messages": messages or [user("hello")], **fields}).encode()


def body_of(dialect: Dialect, messages: list[Json] | None = None, **fields: Any) -> bytes:
    """The same in a dialect: the conversation stands under its own name."""
    return body(messages, **fields) if dialect is not Dialect.RESPONSES else items(*(messages or []), **fields)


def items(*said: Json, **fields: Any) -> bytes:
    """A responses body with these items, or one that says hello."""
    return json.dumps({"model": "m", "input": list(said) or [user("hello")], **fields}).encode()


def responses(*said: Json, **fields: Any) -> ModelCall:
    return RESPONSES.read(items(*said, **fields))


def chat(*messages: Json, **fields: Any) -> ModelCall:
    return CHAT.read(body(list(messages), **fields))


def anthropic(*messages: Json, **fields: Any) -> ModelCall:
    return MESSAGES.read(body(list(messages), **fields))


def user(*content: str | Json) -> Json:
    """A user message: text alone, or parts."""
    if len(content) == 1 and isinstance(content[0], str):
        return {"role": "user", "content": content[0]}
    return {"role": "user", "content": [text(part) if isinstance(part, str) else part for part in content]}


def assistant(*content: str | Json) -> Json:
    return {**user(*content), "role": "assistant"}


def system(content: str) -> Json:
    return {"role": "system", "content": content}


def text(words: str) -> Json:
    return {"type": "text", "text": words}


def calls(*names: str, **more: Any) -> Json:
    """A chat assistant message that calls tools."""
    listed = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for place, name in enumerate(names)
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed, **more}


def answer(words: str) -> Json:
    """A chat tool result."""
    return {"role": "tool", "tool_call_id": "c0", "content": words}


def use(name: str) -> Json:
    """A messages block that calls a tool."""
    return {"type": "tool_use", "id": "t", "name": name, "input": {"url": "https://example.org"}}


def result(*content: str | Json) -> Json:
    """A messages block with a tool's result."""
    return {"type": "tool_result", "tool_use_id": "t", "content": user(*content)["content"]}


def function(name: str) -> Json:
    """A chat tool."""
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def tool(name: str) -> Json:
    """A messages tool."""
    return {"name": name, "input_schema": {"type": "object"}}


def named(name: str, kind: str = "function") -> Json:
    """A responses tool."""
    return {"type": kind, "name": name}


def namespace(name: str, *tools: Json) -> Json:
    """Responses tools under a name of their own."""
    return {"type": "namespace", "name": name, "description": "d", "tools": list(tools)}


def own_tool(dialect: Dialect, name: str) -> Json:
    """A tool that the agent runs, in a dialect's form."""
    return {Dialect.CHAT: function, Dialect.MESSAGES: tool, Dialect.RESPONSES: named}[dialect](name)


def sent(call: ModelCall, rewrite: Rewrite = FULL) -> Json:
    """The body that goes out."""
    out: Json = json.loads(grammar(call.dialect).rewrite(call, rewrite))
    return out


def facts(shape: Shape) -> tuple[str, bool, tuple[str, ...]]:
    """What is told of the last human turn."""
    return shape.human_text, shape.continuation, shape.tools_used
