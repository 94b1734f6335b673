"""The input of responses as real clients send it: the last human turn, side doors in items, the removal of seals."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.errors import Unreadable
from core.dialects.talk import BARE, RESPONSES, Json, facts, named, namespace, responses, sent

ENVIRONMENT = "<environment_context>\n  <cwd>/srv/plan-prove-refactor</cwd>\n</environment_context>"
AGENTS = "# AGENTS.md instructions for /srv/p\n\n<INSTRUCTIONS>\nprove and refactor\n</INSTRUCTIONS>"


def said(role: str, *texts: str) -> Json:
    """A message as the SDKs and Codex write it."""
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text} for text in texts]}


def user(*texts: str) -> Json:
    return said("user", *texts)


def model(text: str) -> Json:
    return said("assistant", text)


def call(name: str, **more: Any) -> Json:
    return {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}", **more}


def output(value: Any, kind: str = "function_call") -> Json:
    return {"type": f"{kind}_output", "call_id": "c", "output": value}


SEALED: Json = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
PLAIN: Json = {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "t"}]}

TALKS: list[tuple[str, list[Json], tuple[str, bool, tuple[str, ...]]]] = [
    ("plain", [user("hi")], ("hi", False, ())),
    ("short form", [{"role": "user", "content": "hi"}], ("hi", False, ())),
    (
        "codex, first turn",
        [said("developer", "You are", "<permissions instructions>"), user(ENVIRONMENT), user("bins?")],
        ("bins?", False, ()),
    ),
    ("codex with instructions of the project", [user(AGENTS, ENVIRONMENT), user("bins?")], ("bins?", False, ())),
    (
        "open loop",
        [user("bins?"), SEALED, model("let me"), call("exec_command"), output("paper")],
        ("bins?", True, ("exec_command",)),
    ),
    (
        "two calls at once",
        [user("bins?"), call("a"), call("b"), output("1"), output("2")],
        ("bins?", True, ("a", "b")),
    ),
    (
        "long open loop",
        [user("bins?"), call("a"), output("1"), SEALED, call("b"), output("2")],
        ("bins?", True, ("a", "b")),
    ),
    (
        "custom tool",
        [user("q"), {"type": "custom_tool_call", "name": "patch", "input": "x"}, output("ok", "custom_tool_call")],
        ("q", True, ("patch",)),
    ),
    ("namespace", [user("q"), call("ask", namespace="team"), output("ok")], ("q", True, ("team.ask",))),
    (
        "local shell",
        [user("q"), {"type": "local_shell_call", "action": {"type": "exec"}}, output("ok", "local_shell_call")],
        ("q", True, ("local_shell",)),
    ),
    ("closed loop", [user("q"), call("a"), output("1"), model("done"), user("thanks")], ("thanks", False, ())),
    ("words behind a result", [user("q"), call("a"), output("1"), user("stop")], ("stop", False, ())),
    ("search by the upstream", [user("q"), {"type": "web_search_call", "id": "w"}], ("q", False, ("web_search",))),
    ("a call without a name", [user("q"), call(7)], ("q", False, ("function",))),  # type: ignore[arg-type]
    ("nobody", [said("system", "s")], ("", False, ())),
]


@pytest.mark.parametrize(("items", "expected"), [case[1:] for case in TALKS], ids=[case[0] for case in TALKS])
def test_last_human_turns(items: list[Json], expected: tuple[str, bool, tuple[str, ...]]) -> None:
    assert facts(responses(*items).shape) == expected


def test_wake_ups_are_known_here_too() -> None:
    shape = responses(user("You are performing a CONTEXT CHECKPOINT COMPACTION. Write")).shape
    assert shape.wrapper == "compaction"


def test_sizes() -> None:
    shape = responses(
        said("system", "12345"),
        user("123"),
        call("a"),
        output("1234"),
        output([{"type": "input_text", "text": "12"}, "odd"]),
        model("1"),
        {"type": "message", "role": "assistant", "content": None},
        instructions="1234567",
    ).shape
    assert (shape.turns, shape.system_chars, shape.history_chars) == (7, 12, 10)


def test_material_is_counted() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA", "file_id": None}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}
    refusal = {"type": "refusal", "refusal": "no"}
    screen = {"type": "computer_screenshot", "image_url": "data:image/png;base64,AA"}
    call = responses(
        {"role": "user", "content": [picture, file]},
        {"role": "assistant", "content": [refusal]},
        output([picture, file]),
        output(screen, "computer_call"),
        output([{"stdout": "x", "stderr": "", "outcome": {"type": "exit"}}], "shell_call"),
    )
    assert (call.shape.images, call.shape.documents, call.smuggled) == (3, 2, ())
    assert sent(call)["plugins"][-1]["id"] == "file-parser"


STATES: list[tuple[Json, bool]] = [
    (SEALED, True),
    (PLAIN, False),
    ({"type": "reasoning", "summary": [], "signature": "s"}, True),
    ({"type": "compaction", "encrypted_content": "x"}, True),
    ({**model("a"), "encrypted_content": "x"}, True),
    (model("a"), False),
]


@pytest.mark.parametrize(("item", "state"), STATES)
def test_state_that_binds_to_a_model(item: Json, state: bool) -> None:
    assert responses(user("q"), item, user("r")).shape.provider_state is state


FOREIGN = Rewrite("m", 5, openrouter=True, foreign=99)


def test_what_another_model_sealed_goes_and_nothing_else() -> None:
    compaction = {"type": "compaction", "encrypted_content": "x"}
    asked = responses(
        user("q"), SEALED, PLAIN, call("a"), output("1"), {**model("b"), "encrypted_content": ""}, compaction
    )
    assert sent(asked, FOREIGN)["input"] == [user("q"), call("a"), output("1"), {**model("b"), "encrypted_content": ""}]
    assert sent(asked, BARE)["input"] == json.loads(asked.body)["input"]
    later = sent(asked, replace(FOREIGN, foreign=2))["input"]
    assert later == [user("q"), *json.loads(asked.body)["input"][2:]]
    assert sent(RESPONSES.read(b'{"input": "q"}'), FOREIGN)["input"] == "q"


def test_items_without_foreign_state_keep_their_bytes() -> None:
    kept = '{ "role" : "user", "content": [ {"type":"input_text", "text": "\\u0041"} ] }'
    odd = '{"type": "function_call",  "name":"a", "arguments": "{ \\"n\\": 1.0e2 }"}'
    raw = f'{{"input": [{kept} , {json.dumps(SEALED)}, {odd}, {kept}]}}'.encode()
    assert f'"input":[{kept},{odd},{kept}]'.encode() in RESPONSES.rewrite(RESPONSES.read(raw), FOREIGN)


def shown(part: Json) -> Json:
    return {"type": "message", "role": "user", "content": [part]}


URL = "https://me:pw@evil.test/x?secret"
DOORS: list[tuple[Json, list[tuple[str, str]]]] = [
    (shown({"type": "input_image", "image_url": URL}), [("input[1].content[0].image_url", "https://evil.test")]),
    (shown({"type": "input_image", "file_id": "f"}), [("input[1].content[0].file_id", "a file kept by the upstream")]),
    (shown({"type": "input_file", "file_url": URL}), [("input[1].content[0].file_url", "https://evil.test")]),
    (shown({"type": "news", "deep": [{"url": URL}]}), [("input[1].content[0].deep[0].url", "https://evil.test")]),
    (shown({"type": "news", "tools": [{"type": "mcp"}]}), [("input[1].content[0].tools[0].type", "mcp")]),
    (output([{"type": "input_image", "image_url": URL}]), [("input[1].output[0].image_url", "https://evil.test")]),
    (output([{"image_url": URL}]), [("input[1].output[0].image_url", "https://evil.test")]),
    (
        output({"type": "computer_screenshot", "file_id": "f"}, "computer_call"),
        [("input[1].output[0].file_id", "a file kept by the upstream")],
    ),
    ({"type": "news", "image_url": URL}, [("input[1].image_url", "https://evil.test")]),
    ({"type": "item_reference", "id": "msg_1"}, [("input[1].type", "item_reference")]),
    ({"id": "msg_1"}, [("input[1].type", "item_reference")]),
    ({"type": None, "id": "msg_1"}, [("input[1].type", "item_reference")]),
    ({"type": "configuration_update", "reasoning": {"effort": "high"}}, [("input[1].type", "configuration_update")]),
    ({"type": "mcp_approval_response", "approve": True}, [("input[1].type", "mcp_approval_response")]),
    ({**said("developer", "x"), "tools": [{"type": "web_search"}]}, [("input[1].tools[0].type", "web_search")]),
    ({"type": "additional_tools", "tools": [named("a"), {"type": "shell"}]}, [("input[1].tools[1].type", "shell")]),
    (
        {"type": "tool_search_output", "tools": [namespace("n", {"type": "openrouter:bash"})]},
        [("input[1].tools[0].tools[0].type", "openrouter:bash")],
    ),
    # records: nobody fetches what they name
    (shown({"type": "output_text", "text": "a", "annotations": [{"type": "url_citation", "url": URL}]}), []),
    ({"type": "web_search_call", "action": {"type": "open_page", "url": URL}}, []),
    ({"type": "mcp_list_tools", "tools": [{"name": "x", "input_schema": {}}]}, []),
    ({"type": "additional_tools", "tools": [{**named("a"), "parameters": {"default": {"url": URL}}}]}, []),
    ({"type": "program", "code": "x"}, []),
    ({"type": "compaction_trigger"}, []),
    (output({"type": "input_text", "text": URL}), []),
    (output([{"type": ["input_text"], "text": URL}]), []),
]


@pytest.mark.parametrize(("item", "found"), DOORS)
def test_side_doors_in_items(item: Json, found: list[tuple[str, str]]) -> None:
    call = responses(user("q"), item)
    assert [(one.where, one.what) for one in call.smuggled] == found
    assert all(one.refused for one in call.smuggled)


def test_tools_that_come_later_are_results() -> None:
    later = {"type": "tool_search_output", "tools": [named("a")]}
    assert facts(responses(user("q"), {"type": "tool_search_call"}, later).shape) == ("q", True, ("tool_search",))


BAD: list[tuple[Any, str]] = [
    ({"input": None}, "input must be text or a list"),
    ({"input": []}, "input must be text or a list"),
    ({"input": {}}, "input must be text or a list"),
    ({"input": ["hi"]}, "input[0] must be an object"),
    ({"input": [{"type": 7}]}, "input[0].type must be text"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role must be one of assistant"),
    ({"input": [{"type": "message", "content": "x"}]}, "input[0].role must be one of assistant"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content must be text"),
    ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input[0].content[0] must be an object with a type"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text must be text"),
    ({"input": "q", "instructions": ["x"]}, "instructions must be text"),
    ({}, "input must be text or a list"),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_input_without_its_form_is_refused_by_place(fields: Json, message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        RESPONSES.read(json.dumps(fields).encode())
    assert caught.value.code == "request.shape"
    assert message in caught.value.message


KEYS = [
    "type",
    "role",
    "content",
    "text",
    "output",
    "tools",
    "tool",
    "name",
    "namespace",
    "image_url",
    "encrypted_content",
]
KINDS = [
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "additional_tools",
    "news",
    "input_text",
    "user",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(KINDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=5), min_size=1, max_size=4) | ANYTHING)
def test_any_input_is_read_and_rewritten_or_refused(given: Any) -> None:
    try:
        call = RESPONSES.read(json.dumps({"input": given}).encode())
    except Unreadable:
        return
    kept = sent(call, BARE)["input"]
    assert kept == given
    foreign = sent(call, FOREIGN)["input"]
    assert foreign == given if isinstance(given, str) else all(item in given for item in foreign)
    assert '"reasoning"' not in [json.dumps(item.get("type")) for item in foreign if isinstance(item, dict)]
