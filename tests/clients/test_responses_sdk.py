"""OpenAI's SDK speaks responses through agentd: its own types parse what comes back, and a refusal is one clear error."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response

from harness.daemon import Daemon, discard, start

pytestmark = pytest.mark.clients

TOOLS: Any = [
    {
        "type": "function",
        "name": "weather",
        "description": "Weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": False,
    },
    {"type": "custom", "name": "note"},
]
CALLS = '[[sim:tool weather {"city": "Bern"}]] [[sim:tool note {"input": "rain?"}]]'


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """One daemon for all; nothing here changes it for the others."""
    running = start()
    yield running
    discard(running)


def speaker(daemon: Daemon) -> openai.OpenAI:
    """The SDK at the agents' socket; the key is worth nothing, the socket says who asks."""
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(daemon.agent_socket)))
    return openai.OpenAI(base_url="http://agentd/v1", api_key="local", http_client=http)


@pytest.fixture
def client(daemon: Daemon) -> Iterator[openai.OpenAI]:
    with speaker(daemon) as made:
        yield made


def last(daemon: Daemon) -> dict[str, Any]:
    return [line for line in daemon.lines() if line["kind"] == "decision"][-1]


def test_plain(client: openai.OpenAI, daemon: Daemon) -> None:
    raw = client.responses.with_raw_response.create(model="chat", input="[[sim:say fine, thanks]]")
    answer = raw.parse()
    assert (answer.output_text, answer.status) == ("fine, thanks", "completed")
    assert answer.usage is not None
    line = last(daemon)
    assert raw.headers["x-agentd-decision"] == f"d-{line['seq']}"
    assert line["tokens"]["completion"] == answer.usage.output_tokens
    assert line["cost_nusd"] == round(answer.usage.model_extra["cost"] * 10**9) > 0  # type: ignore[index]
    assert (line["class"], line["tier"], line["status"]) == ("routine", "economy", "done")


def test_stream(client: openai.OpenAI, daemon: Daemon) -> None:
    with client.responses.stream(model="chat", input="[[sim:reasoning]] [[sim:say one two three]]") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == final.output_text == "one two three"
    assert final.usage is not None
    line = last(daemon)
    assert (line["status"], line["tokens"]["completion"]) == ("done", final.usage.output_tokens)
    assert line["cost_nusd"] > 0


@pytest.mark.parametrize("streaming", [False, True])
def test_a_tool_loop(client: openai.OpenAI, daemon: Daemon, streaming: bool) -> None:
    talk: Any = [{"role": "user", "content": CALLS}]
    if streaming:
        with client.responses.stream(model="chat", input=talk, tools=TOOLS) as stream:
            said: Response = stream.get_final_response()
    else:
        said = client.responses.create(model="chat", input=talk, tools=TOOLS)
    call, note = said.output
    assert call.type == "function_call"
    assert note.type == "custom_tool_call"
    assert (call.name, call.arguments.replace(" ", ""), note.input) == ("weather", '{"city":"Bern"}', "rain?")
    talk += [item.to_dict() for item in said.output]
    talk += [{"type": "function_call_output", "call_id": call.call_id, "output": "rain at 7"}]
    talk += [{"type": "custom_tool_call_output", "call_id": note.call_id, "output": "noted"}]
    answer = client.responses.create(model="chat", input=talk, tools=TOOLS)
    assert "rain at 7" in answer.output_text
    assert last(daemon)["status"] == "done"


def test_the_output_cap_is_no_error(client: openai.OpenAI, daemon: Daemon) -> None:
    answer = client.responses.create(model="chat", input="[[sim:long 400]]", max_output_tokens=20)
    assert (answer.status, last(daemon)["status"]) == ("incomplete", "done")
    assert answer.usage is not None
    assert answer.usage.output_tokens == last(daemon)["tokens"]["completion"] == 20


@pytest.mark.parametrize("streaming", [False, True])
def test_a_refusal_is_one_clear_error(start_agentd: Callable[..., Daemon], streaming: bool) -> None:
    daemon = start_agentd()
    assert daemon.ctl("halt", "--reason", "the disk is being changed").returncode == 0
    with speaker(daemon) as client, pytest.raises(openai.BadRequestError, match="the disk is being") as caught:
        client.responses.create(model="chat", input="hello", stream=streaming)
    (line,) = [line for line in daemon.lines() if line["kind"] == "decision"]
    assert (line["verdict"], line["code"]) == ("deny", "operator.halt")
    assert f"d-{line['seq']}" in str(caught.value)
    assert caught.value.code == "400"


@pytest.mark.parametrize("field", [{"previous_response_id": "resp_1"}, {"background": True}, {"conversation": "c"}])
def test_state_at_the_upstream_is_refused(client: openai.OpenAI, daemon: Daemon, field: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.responses.create(model="chat", input="hello", **field)
    assert last(daemon)["code"] == "request.forbidden_field"


def test_what_would_be_stored_is_not(client: openai.OpenAI, daemon: Daemon) -> None:
    """The upstream refuses `store: true`, so an answer shows that it was not sent."""
    assert client.responses.create(model="chat", input="[[sim:say ok]]", store=True).output_text == "ok"
    assert last(daemon)["status"] == "done"


@pytest.mark.parametrize("fault", ["error-mid:int", "error-mid:string-done", "cut-mid", "end-mid"])
def test_an_answer_that_breaks_off_ends_in_our_words(client: openai.OpenAI, daemon: Daemon, fault: str) -> None:
    asked = f"[[sim:long 60]] [[sim:fault {fault}]]"
    events = list(client.responses.create(model="chat", input=asked, stream=True))
    end = events[-1]
    assert end.type == "response.failed"
    assert end.response.error is not None
    assert "disconnected" not in end.response.error.message
    line = last(daemon)
    assert line["status"] in ("error", "cut")
    assert f"d-{line['seq']}" in end.response.error.message


def test_unreadable_input_is_refused_in_the_dialects_own_shape(daemon: Daemon) -> None:
    for prefix in ("/v1", "/api/v1"):
        reply = daemon.ask("POST", f"{prefix}/responses", b'{"model": "chat", "model": "chat", "input": "q"}')
        assert (reply.status, reply.json()["error"]["code"]) == (400, 400)
        assert reply.headers["x-agentd-decision"]


@pytest.mark.parametrize(("streaming", "kind"), [(False, "application/json"), (True, "text/event-stream")])
def test_answers_say_what_they_are(daemon: Daemon, streaming: bool, kind: str) -> None:
    body = {"model": "chat", "input": "[[sim:say ok]]", "stream": streaming}
    assert daemon.ask("POST", "/v1/responses", body).headers["content-type"].startswith(kind)
