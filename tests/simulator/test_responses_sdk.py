"""OpenAI's SDK takes the simulator's responses for the real ones: answers, streams, tools, error classes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.responses import Response

from simulator.served import CHEAP, KEY, get, post

TOOLS: Any = [
    {
        "type": "function",
        "name": "bash",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
        "strict": False,
    },
    {"type": "custom", "name": "patch"},
]
PATIENCE_S = 5.0


@pytest.fixture
def client(simulator: Path) -> Iterator[openai.OpenAI]:
    http = httpx2.Client(transport=httpx2.HTTPTransport(uds=str(simulator)))
    with openai.OpenAI(
        base_url="http://sim/api/v1", api_key=KEY, http_client=http, max_retries=0, timeout=PATIENCE_S
    ) as made:
        yield made


def total(simulator: Path) -> int:
    found: int = get(simulator, "/__sim/books")[1]["total_nusd"]
    return found


def test_plain_and_cost(client: openai.OpenAI, simulator: Path) -> None:
    before = total(simulator)
    answer = client.responses.create(model=CHEAP, input="[[sim:say fine]]")
    assert answer.output_text == "fine"
    assert answer.usage is not None
    cost = answer.usage.model_extra["cost"]  # type: ignore[index]
    assert total(simulator) - before == round(cost * 10**9) > 0


@pytest.mark.parametrize("fault", ["comments", "crlf", "split-utf8", "slow", "unknown-fields", "done-extra"])
def test_stream(client: openai.OpenAI, fault: str) -> None:
    text = "Grüße aus 世界, in more than one piece."
    asked = f"[[sim:reasoning]] [[sim:say {text}]] [[sim:fault {fault}]]"
    with client.responses.stream(model=CHEAP, input=asked) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == text
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.usage is not None


@pytest.mark.parametrize("streaming", [False, True])
def test_tool_loop(client: openai.OpenAI, streaming: bool) -> None:
    talk: Any = [{"role": "user", "content": '[[sim:shell echo hi]] [[sim:tool patch {"input": "+x"}]]'}]
    if streaming:
        with client.responses.stream(model=CHEAP, input=talk, tools=TOOLS) as stream:
            said: Response = stream.get_final_response()
    else:
        said = client.responses.create(model=CHEAP, input=talk, tools=TOOLS)
    call, patch = said.output
    assert call.type == "function_call"
    assert patch.type == "custom_tool_call"
    assert (call.name, call.arguments, patch.input) == ("bash", '{"command": "echo hi"}', "+x")
    talk += [item.to_dict() for item in said.output]
    talk += [{"type": "function_call_output", "call_id": call.call_id, "output": "hi"}]
    talk += [{"type": "custom_tool_call_output", "call_id": patch.call_id, "output": "ok"}]
    assert client.responses.create(model=CHEAP, input=talk, tools=TOOLS).output_text == "(simulated) hi\nok"


def test_the_output_cap(client: openai.OpenAI) -> None:
    answer = client.responses.create(model=CHEAP, input="[[sim:long 100]]", max_output_tokens=10)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("status:400", openai.BadRequestError),
        ("status:401", openai.AuthenticationError),
        ("keylimit403", openai.PermissionDeniedError),
        ("availability:no_endpoints", openai.NotFoundError),
        ("html429", openai.RateLimitError),
        ("status:529", openai.InternalServerError),
    ],
)
def test_errors(client: openai.OpenAI, fault: str, error: type[openai.APIStatusError]) -> None:
    with pytest.raises(error):
        client.responses.create(model=CHEAP, input=f"[[sim:fault {fault}]]")


def test_an_error_in_a_stream(client: openai.OpenAI) -> None:
    found = list(client.responses.create(model=CHEAP, input="[[sim:fault error-mid:int]]", stream=True))
    last = found[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert "disconnected" in last.response.error.message


def test_no_state(client: openai.OpenAI) -> None:
    for more in ({"store": True}, {"previous_response_id": "resp_1"}, {"background": True}):
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model=CHEAP, input="hello", **more)


def test_a_body_that_is_none_is_refused_in_this_apis_shape(simulator: Path) -> None:
    nothing: Any = []
    status, _, body = post(simulator, "responses", nothing)
    assert (status, b'"invalid_request"' in body) == (400, True)
