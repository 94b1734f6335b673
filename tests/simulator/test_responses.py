"""The responses API of the simulator: what is refused, what the answers look like, what goes wrong on request."""

import json
from typing import Any

import pytest
from openai.types.responses import Response

from agentd.simulator.wire import stream_pieces
from agentd.simulator.words import Answer
from simulator.served import CHEAP, DEAR, GRAMMARS, engine, events, serve, whole

GRAMMAR = GRAMMARS["responses"]
SHELL = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "name": "exec_command", "parameters": SHELL},
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "team", "description": "d", "tools": [{"type": "function", "name": "ask"}]},
]


def asked(text: str = "hello", model: str = CHEAP, **fields: Any) -> dict[str, Any]:
    said = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return {"model": model, "input": [said], **fields}


def answer(text: str, **fields: Any) -> dict[str, Any]:
    return whole(engine(), "responses", asked(text, **fields))


def served(text: str, **fields: Any) -> Answer:
    found = serve(engine(), "responses", asked(text, stream=True, **fields)).answer
    assert found is not None
    return found


def stream(text: str, *faults: str, **fields: Any) -> list[dict[str, Any]]:
    pieces = stream_pieces(GRAMMAR, served(text, **fields), faults, 0)
    return events([piece for piece in pieces if isinstance(piece, bytes)])


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [str(event["type"]).removeprefix("response.") for event in found]


@pytest.mark.parametrize(
    "fields",
    [
        {"input": []},
        {"input": None},
        {"input": 7},
        {"input": ["hello"]},
        {"input": [{"role": "boss", "content": "x"}]},
        {"input": [{"role": "user", "content": 5}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"store": True},
        {"previous_response_id": "r-1"},
        {"background": True},
        {"prompt": {"id": "p"}},
        {"conversation": "c"},
        {"max_output_tokens": 0},
        {"tools": {}},
        {"tools": [{"type": "namespace", "name": "n", "tools": {}}]},
        {"session_id": "x" * 257},
        {"cache_control": {"type": "eternal"}},
    ],
    ids=str,
)
def test_what_breaks_the_contract_is_a_400(fields: dict[str, Any]) -> None:
    served = serve(engine(), "responses", {**asked(), **fields})
    assert served.problem is not None
    assert (served.problem.status, served.problem.error_type) == (400, "invalid_request")
    assert GRAMMAR.error(served.problem, served.generation)["error"]["code"] == 400


def test_an_answer() -> None:
    said = answer("[[sim:reasoning hm]] [[sim:say hello]]", instructions="be brief", store=False, background=False)
    assert Response.model_validate(said, strict=True).output_text == "hello"
    assert [item["type"] for item in said["output"]] == ["reasoning", "message"]
    assert said["output"][0]["encrypted_content"].startswith("sim")
    assert (said["status"], said["error"], said["incomplete_details"]) == ("completed", None, None)
    assert said["usage"]["total_tokens"] == said["usage"]["input_tokens"] + said["usage"]["output_tokens"]
    assert said["usage"]["cost"] > 0


def test_text_alone_is_a_message_of_the_user() -> None:
    said = whole(engine(), "responses", {"model": CHEAP, "input": "[[sim:say hello]]"})
    assert Response.model_validate(said).output_text == "hello"


CALLS: list[tuple[str, dict[str, Any]]] = [
    (
        "[[sim:shell ls]]",
        {"type": "function_call", "name": "exec_command", "arguments": '{"cmd": "ls"}', "status": "completed"},
    ),
    (
        '[[sim:tool other {"a": 1}]]',
        {"type": "function_call", "name": "other", "arguments": '{"a": 1}', "status": "completed"},
    ),
    ('[[sim:tool patch {"input": "*** Begin"}]]', {"type": "custom_tool_call", "name": "patch", "input": "*** Begin"}),
    ('[[sim:tool patch {"a": 1}]]', {"type": "custom_tool_call", "name": "patch", "input": '{"a": 1}'}),
    (
        "[[sim:tool ask]]",
        {"type": "function_call", "name": "ask", "namespace": "team", "arguments": "{}", "status": "completed"},
    ),
]


@pytest.mark.parametrize(("text", "call"), CALLS)
def test_tool_calls(text: str, call: dict[str, Any]) -> None:
    said = answer(text, tools=TOOLS)
    (found,) = said["output"]
    assert found["call_id"].startswith("call_")
    assert {name: value for name, value in found.items() if name not in ("id", "call_id")} == call
    Response.model_validate(said)
    heard = stream(text, tools=TOOLS)
    assert heard[-1]["response"]["output"][0]["type"] == call["type"]
    written = "".join(event["delta"] for event in heard if event["type"].endswith(".delta"))
    assert written == call.get("arguments", call.get("input"))
    assert heard[2]["item"].get("arguments", "") == heard[2]["item"].get("input", "") == ""


def test_the_clients_own_shell() -> None:
    tools = [{"type": "local_shell"}]
    (call,) = answer("[[sim:shell ls -l]]", tools=tools)["output"]
    assert (call["type"], call["action"]["command"]) == ("local_shell_call", ["bash", "-lc", "ls -l"])
    assert kinds(stream("[[sim:shell ls -l]]", tools=tools))[2:4] == ["output_item.added", "output_item.done"]


def test_a_stream() -> None:
    found = stream("[[sim:reasoning hm]] [[sim:say hello]]")
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert (found[0]["response"]["output"], found[0]["response"]["usage"]) == ([], None)
    assert found[-1]["response"] == GRAMMAR.whole(served("[[sim:reasoning hm]] [[sim:say hello]]"))


def test_several_items_of_one_answer_are_one_turn() -> None:
    made = engine()
    text = "[[sim:say looking]] [[sim:shell a]] [[sim:tool patch]] [[sim:next]] [[sim:say both done]]"
    first = whole(made, "responses", asked(text, tools=TOOLS))["output"]
    assert [item["type"] for item in first] == ["message", "function_call", "custom_tool_call"]
    results = [
        {"type": "function_call_output", "call_id": first[1]["call_id"], "output": "one"},
        {
            "type": "custom_tool_call_output",
            "call_id": first[2]["call_id"],
            "output": [{"type": "input_text", "text": "2"}],
        },
    ]
    loop = {**asked(text, tools=TOOLS), "input": [*asked(text)["input"], *first, *results]}
    assert whole(made, "responses", loop)["output"][0]["content"][0]["text"] == "both done"
    unscripted = {**loop, "input": [{"role": "user", "content": "go"}, *first, *results]}
    assert whole(made, "responses", unscripted)["output"][0]["content"][0]["text"] == "(simulated) one\n2"


def test_the_output_cap() -> None:
    said = answer("[[sim:long 100]]", max_output_tokens=10)
    assert (said["status"], said["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (said["output"][0]["status"], said["usage"]["output_tokens"]) == ("incomplete", 10)
    assert kinds(stream("[[sim:long 100]]", max_output_tokens=10))[-1] == "incomplete"


@pytest.mark.parametrize(
    "kind", ["context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"]
)
def test_a_token_limit_is_an_answer_here(kind: str) -> None:
    assert answer(f"[[sim:fault type:{kind}]]")["status"] == "incomplete"
    chat = serve(
        engine(), "chat", {"model": CHEAP, "messages": [{"role": "user", "content": f"[[sim:fault type:{kind}]]"}]}
    )
    assert chat.problem is not None


def test_other_errors_are_errors() -> None:
    problem = serve(engine(), "responses", asked("[[sim:fault type:provider_overloaded]]")).problem
    assert problem is not None
    assert problem.status == 503


def test_usage_that_is_odd() -> None:
    assert answer("[[sim:fault usage-missing]]")["usage"] is None
    assert answer("[[sim:fault usage-null-cost]]")["usage"]["cost"] is None
    zero = answer("[[sim:fault zero-usage]]")["usage"]
    assert (zero["input_tokens"], zero["output_tokens"], zero["total_tokens"], zero["cost"]) == (0, 0, 0, 0)
    byok = answer("[[sim:fault byok]]")["usage"]
    assert (byok["is_byok"], byok["cost_details"]["upstream_inference_cost"] > byok["cost"]) == (True, True)


def test_unknown_fields_and_events() -> None:
    found = stream("[[sim:fault unknown-fields]]")
    assert "sparkle" in kinds(found)
    assert (found[-1]["response"]["mood"], found[-1]["response"]["service_tier"]) == (
        {"sky": ["blue", None]},
        "interstellar",
    )


@pytest.mark.parametrize(
    ("form", "kind", "done"),
    [
        ("int", "failed", False),
        ("int-done", "failed", True),
        ("string", "error", False),
        ("string-done", "error", True),
    ],
)
def test_an_error_in_the_middle(form: str, kind: str, done: bool) -> None:
    pieces = stream_pieces(GRAMMAR, served("[[sim:long 60]]"), (f"error-mid:{form}",), 0)
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    last = events([data])[-1]
    assert kinds([last]) == [kind]
    assert (last.get("response", {}).get("error") or last)["code"] == "server_error"
    assert data.endswith(b"[DONE]\n\n") == done


def test_an_answer_that_is_no_success() -> None:
    problem = serve(engine(), "responses", asked("[[sim:fault status:502]]")).problem
    assert problem is not None
    half = GRAMMAR.choice_error(problem, served("[[sim:say 12345678]]"))
    assert (half["status"], half["error"]["code"]) == ("failed", "server_error")
    assert half["output"][0]["content"][0]["text"] == "1234"


def test_the_cache_and_the_books() -> None:
    made = engine()
    long = "word " * 5000
    bodies = [asked("hello", instructions=long), asked("hello", instructions=long)]
    first, second = (whole(made, "responses", body)["usage"] for body in bodies)
    assert (first["input_tokens_details"]["cached_tokens"], second["input_tokens_details"]["cached_tokens"] > 6000) == (
        0,
        True,
    )
    assert [entry.api for entry in made.books.entries] == ["responses", "responses"]
    marked = whole(made, "responses", asked(long, DEAR, cache_control={"type": "ephemeral"}))["usage"]
    assert marked["input_tokens_details"]["cache_write_tokens"] > 6000


def test_every_part_of_an_input_costs_tokens() -> None:
    items: list[dict[str, Any]] = [
        {"role": "developer", "content": "x" * 40},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
        {"role": "user", "content": []},
        {"type": "reasoning", "summary": [], "encrypted_content": "x" * 400},
        {"type": "function_call_output", "call_id": "c", "output": "x" * 40},
        {"role": "user", "content": "q"},
    ]
    counts = []
    for count in range(1, len(items) + 1):
        said = whole(engine(), "responses", {"model": CHEAP, "input": items[-count:]})
        counts.append(said["usage"]["input_tokens"])
    assert counts == sorted(set(counts))
    offered = whole(engine(), "responses", {"model": CHEAP, "input": items, "tools": TOOLS})["usage"]["input_tokens"]
    assert offered > counts[-1] + 20


def test_metadata_for_those_who_ask() -> None:
    found = serve(engine(), "responses", asked(), x_openrouter_metadata="enabled").answer
    assert found is not None
    assert json.loads(json.dumps(GRAMMAR.whole(found)))["openrouter_metadata"]["attempts"][0]["status"] == 200
    last = events(GRAMMAR.frames(found))
    assert "openrouter_metadata" not in last[0]["response"]
    assert "openrouter_metadata" in last[-1]["response"]
