"""The official SDKs of OpenAI and Anthropic, unmodified, through agentd: their own types parse what comes back, and a refusal
becomes the error class that their users catch."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from harness.daemon import Daemon, discard, start

pytestmark = pytest.mark.clients

CHAT_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
MESSAGES_TOOL: Any = {
    "name": "weather",
    "description": "Weather of a city",
    "input_schema": CHAT_TOOL["function"]["parameters"],
}
CALL_WEATHER = '[[sim:tool weather {"city": "Bern"}]]'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One daemon for all; nothing here changes it for the others."""
    running = start()
    yield running
    discard(running)


def _http(daemon: Daemon) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.HTTPTransport(uds=str(daemon.agent_socket)))


@pytest.fixture
def chat(daemon: Daemon) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK; the key is worth nothing, the socket says who asks."""
    with openai.OpenAI(base_url="http://agentd/v1", api_key="local", http_client=_http(daemon)) as client:
        yield client


@pytest.fixture
def messages(daemon: Daemon) -> Iterator[anthropic.Anthropic]:
    """Anthropic's SDK."""
    with anthropic.Anthropic(base_url="http://agentd", api_key="local", http_client=_http(daemon)) as client:
        yield client


def _said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def _last(daemon: Daemon) -> dict[str, Any]:
    return [line for line in daemon.lines() if line["kind"] == "decision"][-1]


def test_chat_plain(chat: openai.OpenAI, daemon: Daemon) -> None:
    answer = chat.chat.completions.create(model="chat", messages=_said("[[sim:say fine, thanks]]"))
    assert answer.choices[0].message.content == "fine, thanks"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    line = _last(daemon)
    assert line["tokens"]["completion"] == answer.usage.completion_tokens
    assert (line["class"], line["tier"], line["status"]) == ("routine", "economy", "done")


def test_chat_names_its_decision(chat: openai.OpenAI, daemon: Daemon) -> None:
    raw = chat.chat.completions.with_raw_response.create(model="chat", messages=_said("[[sim:say ok]]"))
    assert raw.headers["x-agentd-decision"] == f"d-{_last(daemon)['seq']}"


@pytest.mark.parametrize("wanted", [True, False])
def test_chat_stream(chat: openai.OpenAI, daemon: Daemon, wanted: bool) -> None:
    """The usage chunk comes when it was asked for, and agentd meters either way."""
    options: Any = {"stream_options": {"include_usage": True}} if wanted else {}
    stream = chat.chat.completions.create(
        model="chat", messages=_said("[[sim:say one two three]]"), stream=True, **options
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert any(chunk.usage for chunk in chunks) == wanted
    line = _last(daemon)
    assert line["status"] == "done"
    assert line["tokens"]["completion"] > 0
    assert line["cost_nusd"] > 0


@pytest.mark.parametrize("streaming", [False, True])
def test_chat_tools(chat: openai.OpenAI, streaming: bool) -> None:
    asked: Any = {"model": "chat", "messages": _said(CALL_WEATHER), "tools": [CHAT_TOOL]}
    if streaming:
        with chat.chat.completions.stream(**asked) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = chat.chat.completions.create(**asked).choices[0].message
    (call,) = message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments.replace(" ", "")) == ("weather", '{"city":"Bern"}')


def test_chat_tool_result(chat: openai.OpenAI) -> None:
    first = (
        chat.chat.completions.create(model="chat", messages=_said(CALL_WEATHER), tools=[CHAT_TOOL]).choices[0].message
    )
    (call,) = first.tool_calls or []
    history = [*_said(CALL_WEATHER), first.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain at 7"}]
    answer = chat.chat.completions.create(model="chat", messages=history, tools=[CHAT_TOOL])
    assert "rain at 7" in (answer.choices[0].message.content or "")


def test_messages_plain(messages: anthropic.Anthropic, daemon: Daemon) -> None:
    answer = messages.messages.create(model="chat", max_tokens=200, messages=_said("[[sim:say fine, thanks]]"))
    (block,) = answer.content
    assert block.type == "text"
    assert (block.text, answer.stop_reason) == ("fine, thanks", "end_turn")
    assert _last(daemon)["tokens"]["completion"] == answer.usage.output_tokens


def test_messages_stream(messages: anthropic.Anthropic, daemon: Daemon) -> None:
    with messages.messages.stream(model="chat", max_tokens=200, messages=_said("[[sim:say one two three]]")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == "one two three"
    line = _last(daemon)
    assert (line["status"], line["tokens"]["completion"]) == ("done", final.usage.output_tokens)


@pytest.mark.parametrize("streaming", [False, True])
def test_messages_tools(messages: anthropic.Anthropic, streaming: bool) -> None:
    asked: Any = {"model": "chat", "max_tokens": 200, "messages": _said(CALL_WEATHER), "tools": [MESSAGES_TOOL]}
    if streaming:
        with messages.messages.stream(**asked) as stream:
            answer = stream.get_final_message()
    else:
        answer = messages.messages.create(**asked)
    (block,) = [block for block in answer.content if block.type == "tool_use"]
    assert (block.name, block.input, answer.stop_reason) == ("weather", {"city": "Bern"}, "tool_use")


def test_messages_counts_tokens(messages: anthropic.Anthropic) -> None:
    assert messages.messages.count_tokens(model="chat", messages=_said("how long is this?")).input_tokens > 0


def test_both_list_the_models_that_the_agent_may_ask_for(chat: openai.OpenAI, messages: anthropic.Anthropic) -> None:
    for listed in ({model.id for model in chat.models.list()}, {model.id for model in messages.models.list()}):
        assert {"chat", "code", "anthropic/claude-opus-4.6"} <= listed


@pytest.mark.parametrize("streaming", [False, True])
def test_chat_refusal(start_agentd: Callable[..., Daemon], streaming: bool) -> None:
    """Over budget: the SDK raises once, with the decision's name and a hint, and does not try again."""
    daemon = start_agentd()
    assert daemon.ctl("halt", "--reason", "the disk is being changed").returncode == 0
    client = openai.OpenAI(base_url="http://agentd/v1", api_key="local", http_client=_http(daemon))
    with client, pytest.raises(openai.BadRequestError, match="the disk is being changed") as caught:
        client.chat.completions.create(model="chat", messages=_said("hello"), stream=streaming)
    (line,) = [line for line in daemon.lines() if line["kind"] == "decision"]
    assert (line["verdict"], line["code"]) == ("deny", "operator.halt")
    assert f"d-{line['seq']}" in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_messages_refusal(start_agentd: Callable[..., Daemon], streaming: bool) -> None:
    daemon = start_agentd()
    assert daemon.ctl("halt", "--reason", "the disk is being changed").returncode == 0
    client = anthropic.Anthropic(base_url="http://agentd", api_key="local", http_client=_http(daemon))
    with client, pytest.raises(anthropic.APIStatusError, match="the disk is being changed") as caught:
        client.messages.create(model="chat", max_tokens=20, messages=_said("hello"), stream=streaming)
    (line,) = [line for line in daemon.lines() if line["kind"] == "decision"]
    assert (line["verdict"], line["code"]) == ("deny", "operator.halt")
    assert caught.value.response.headers["x-agentd-decision"] == f"d-{line['seq']}"
    assert caught.value.status_code == 451


def test_a_field_that_escapes_the_rules_is_refused_or_never_sent(chat: openai.OpenAI, daemon: Daemon) -> None:
    """A preset at the upstream could set model, price and providers: no rule grants it."""
    with pytest.raises(openai.BadRequestError):
        chat.chat.completions.create(model="@preset/mine", messages=_said("hello"), extra_body={"preset": "mine"})
    assert _last(daemon)["code"] == "request.forbidden_field"


def test_unreadable_input_is_refused_in_the_dialects_own_shape(daemon: Daemon) -> None:
    for target in ("/v1/chat/completions", "/v1/messages"):
        reply = daemon.ask("POST", target, b'{"model": "chat", "model": "chat", "messages": []}')
        assert 400 <= reply.status < 500
        assert reply.json()["error"]["message"]
        assert reply.headers["x-agentd-decision"] == f"d-{_last(daemon)['seq']}"


@pytest.mark.parametrize(("streaming", "kind"), [(False, "application/json"), (True, "text/event-stream")])
def test_answers_say_what_they_are(daemon: Daemon, streaming: bool, kind: str) -> None:
    for target in ("/v1/chat/completions", "/v1/messages"):
        body = {"model": "chat", "max_tokens": 20, "messages": _said("[[sim:say ok]]"), "stream": streaming}
        assert daemon.ask("POST", target, body).headers["content-type"].startswith(kind)
