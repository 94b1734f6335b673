"""The official SDKs of OpenAI and Anthropic take the simulator for the real thing: answers, streams, tools, error classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from simulator.served import CATALOGUE, CHEAP, DEAR, KEY, get

TOOL = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
CHAT_TOOLS: Any = [{"type": "function", "function": {"name": "bash", "parameters": TOOL}}]
MESSAGES_TOOLS: Any = [{"name": "bash", "input_schema": TOOL}]
PATIENCE_S = 5.0


def http(path: Path) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(path)))


@pytest.fixture
def chat(simulator: Path) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url="http://sim/api/v1", api_key=KEY, http_client=http(simulator), max_retries=0, timeout=PATIENCE_S
    ) as client:
        yield client


@pytest.fixture
def messages(simulator: Path) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url="http://sim/api", auth_token=KEY, http_client=http(simulator), max_retries=0, timeout=PATIENCE_S
    ) as client:
        yield client


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def total(simulator: Path) -> int:
    found: int = get(simulator, "/__sim/books")[1]["total_nusd"]
    return found


def test_openai_plain_and_cost(chat: openai.OpenAI, simulator: Path) -> None:
    before = total(simulator)
    answer = chat.chat.completions.create(model=CHEAP, messages=said("[[sim:say fine]]"))
    assert answer.choices[0].message.content == "fine"
    assert answer.usage is not None
    cost = answer.usage.model_extra["cost"]  # type: ignore[index]
    assert total(simulator) - before == round(cost * 10**9) > 0


@pytest.mark.parametrize(
    "fault", ["comments", "crlf", "split-utf8", "slow", "usage-nonempty-choices", "unknown-fields"]
)
def test_openai_stream(chat: openai.OpenAI, fault: str) -> None:
    text = "Grüße aus 世界, in more than one piece."
    stream = chat.chat.completions.create(
        model=CHEAP, messages=said(f"[[sim:say {text}]] [[sim:fault {fault}]]"), stream=True
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage is not None


def test_openai_tool_loop(chat: openai.OpenAI) -> None:
    talk = said("[[sim:shell echo hi]]")
    first = chat.chat.completions.create(model=CHEAP, messages=talk, tools=CHAT_TOOLS)
    call = first.choices[0].message.tool_calls[0]  # type: ignore[index]
    assert call.function.arguments == '{"command": "echo hi"}'  # type: ignore[union-attr]
    talk += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "hi"}]
    second = chat.chat.completions.create(model=CHEAP, messages=talk, tools=CHAT_TOOLS)
    assert second.choices[0].message.content == "(simulated) hi"


def test_openai_streamed_tool_call(chat: openai.OpenAI) -> None:
    with chat.chat.completions.stream(model=CHEAP, messages=said("[[sim:shell ls]]"), tools=CHAT_TOOLS) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"command": "ls"}'  # type: ignore[index]
    assert final.choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status:400", openai.BadRequestError),
        ("status:401", openai.AuthenticationError),
        ("keylimit403", openai.PermissionDeniedError),
        ("availability:no_endpoints", openai.NotFoundError),
        ("status:422", openai.UnprocessableEntityError),
        ("status:429", openai.RateLimitError),
        ("html429", openai.RateLimitError),
        ("status:500", openai.InternalServerError),
        ("status:529", openai.InternalServerError),
        ("empty402", openai.APIStatusError),
    ],
)
def test_openai_errors(chat: openai.OpenAI, fault: str, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error):
        chat.chat.completions.create(model=CHEAP, messages=said(f"[[sim:fault {fault}]]"))


def test_openai_wrong_key(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        chat.with_options(api_key="wrong").models.list()


def test_openai_error_in_a_stream(chat: openai.OpenAI) -> None:
    stream = chat.chat.completions.create(model=CHEAP, messages=said("[[sim:fault error-mid:int]]"), stream=True)
    with pytest.raises(openai.APIError, match="disconnected"):
        list(stream)


def test_openai_models(chat: openai.OpenAI) -> None:
    assert {model.id for model in chat.models.list()} == CATALOGUE.entries.keys() | {"openrouter/auto"}


def test_openai_retries_after_a_wait(chat: openai.OpenAI) -> None:
    patient = chat.with_options(max_retries=1)
    answer = patient.chat.completions.create(model=CHEAP, messages=said("[[sim:fault once:429]] [[sim:say back]]"))
    assert answer.choices[0].message.content == "back"


def test_anthropic_plain_and_cost(messages: anthropic.Anthropic, simulator: Path) -> None:
    before = total(simulator)
    answer = messages.messages.create(model=DEAR, max_tokens=100, messages=said("[[sim:say fine]]"))
    assert answer.content[0].text == "fine"  # type: ignore[union-attr]
    assert answer.stop_reason == "end_turn"
    cost = answer.usage.model_extra["cost"]  # type: ignore[index]
    assert total(simulator) - before == round(cost * 10**9) > 0


@pytest.mark.parametrize("fault", ["comments", "crlf", "split-utf8", "slow", "unknown-fields", "done-extra"])
def test_anthropic_stream(messages: anthropic.Anthropic, fault: str) -> None:
    text = "Grüße aus 世界, in more than one piece."
    talk = said(f"[[sim:reasoning]] [[sim:say {text}]] [[sim:fault {fault}]]")
    with messages.messages.stream(model=DEAR, max_tokens=200, messages=talk) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.content[1].text == text  # type: ignore[union-attr]
    assert final.usage.output_tokens > 10


def test_anthropic_tool_loop(messages: anthropic.Anthropic) -> None:
    talk = said("[[sim:shell echo hi]]")
    with messages.messages.stream(model=DEAR, max_tokens=200, messages=talk, tools=MESSAGES_TOOLS) as stream:
        first = stream.get_final_message()
    call = first.content[0]
    assert call.type == "tool_use"
    assert call.input == {"command": "echo hi"}
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "hi"}]}
    talk += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = messages.messages.create(model=DEAR, max_tokens=200, messages=talk, tools=MESSAGES_TOOLS)
    assert second.content[0].text == "(simulated) hi"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status:400", anthropic.BadRequestError),
        ("status:401", anthropic.AuthenticationError),
        ("guardrail403", anthropic.PermissionDeniedError),
        ("status:404", anthropic.NotFoundError),
        ("status:413", anthropic.APIStatusError),
        ("retry-after:float", anthropic.RateLimitError),
        ("status:500", anthropic.InternalServerError),
        ("status:529", anthropic.OverloadedError),
    ],
)
def test_anthropic_errors(messages: anthropic.Anthropic, fault: str, error: type[anthropic.APIStatusError]) -> None:
    with pytest.raises(error):
        messages.messages.create(model=DEAR, max_tokens=10, messages=said(f"[[sim:fault {fault}]]"))


def test_anthropic_error_in_a_stream(messages: anthropic.Anthropic) -> None:
    talk = said("[[sim:long 60]] [[sim:fault error-mid:string]]")
    with (
        pytest.raises(anthropic.APIStatusError, match="disconnected"),
        messages.messages.stream(model=DEAR, max_tokens=100, messages=talk) as stream,
    ):
        stream.get_final_message()


def test_anthropic_counts_the_cache(messages: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": "rule " * 5000, "cache_control": {"type": "ephemeral"}}]
    usages = [
        messages.messages.create(model=DEAR, max_tokens=50, system=system, messages=said("one")).usage for _ in range(2)
    ]
    assert [usage.cache_creation_input_tokens for usage in usages] == [6250, 0]
    assert [usage.cache_read_input_tokens for usage in usages] == [0, 6250]
