"""Requests as an agent sends them, of a given size, the same bytes in every run.

A call of 35 KB is an early turn of an agent: 15 tools with their schemas and 20 KB of messages; 240 KB is a late one, 2 MB is
what a conversation with pasted files may reach. The model's name is one that all targets know.
"""

import json
from typing import Any

KB = 1024
CALL = 35 * KB
LATE = 240 * KB
HUGE = 2048 * KB

MODEL = "chat"
"""A lane of the shipped policy, and what the peers are told to serve."""

TOOLS = 15
TOOL_BYTES = KB
MESSAGE_BYTES = 2 * KB

_WORDS = (
    "the build of yesterday failed at step seven, so read the log first and then decide what to change;",
    'def settle(account: str) -> int:\n    """Add up what is open."""\n    return sum(open_items[account])\n',
    "| name | state | since |\n|---|---|---|\n| worker-3 | waiting | 14:02 |\n",
    "keep the notes short, name the files that were touched, and say what could not be checked.",
)


def chat_body(size: int, *, stream: bool = False) -> bytes:
    """A chat completions request of about `size` bytes that ends with a human turn."""
    tools = [_tool(number) for number in range(TOOLS)]
    messages: list[dict[str, Any]] = [{"role": "system", "content": _text(0, MESSAGE_BYTES)}]
    room = size - TOOLS * TOOL_BYTES - MESSAGE_BYTES
    while room > MESSAGE_BYTES:
        messages += _step(len(messages))
        room -= MESSAGE_BYTES
    messages.append({"role": "user", "content": "Thanks. What is left to do today?"})
    body = {"model": MODEL, "messages": messages, "tools": tools, "stream": stream, "max_tokens": 1024}
    return json.dumps(body).encode()


def _step(number: int) -> list[dict[str, Any]]:
    """One turn of a tool loop: the model asks, the tool answers."""
    call = {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "tool_1", "arguments": '{"path": "notes.md"}'},
    }
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": _text(number, MESSAGE_BYTES - 300)},
    ]


def _tool(number: int) -> dict[str, Any]:
    """A tool with a schema of about `TOOL_BYTES`."""
    field = {"type": "string", "description": _text(number, 180)}
    properties = dict.fromkeys(("path", "query", "pattern"), field)
    schema = {"type": "object", "properties": properties, "required": ["path"]}
    return {
        "type": "function",
        "function": {"name": f"tool_{number}", "description": _text(number + 1, 120), "parameters": schema},
    }


def _text(seed: int, size: int) -> str:
    """Prose, code and tables of a given length, different for each seed."""
    parts = [f"[{seed}] "]
    length = len(parts[0])
    while length < size:
        parts.append(_WORDS[(seed + len(parts)) % len(_WORDS)] + " ")
        length += len(parts[-1])
    return "".join(parts)[:size]
