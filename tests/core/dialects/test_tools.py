"""Tools that others run go or are refused; those of the agent keep their bytes."""

import json
from typing import Any

import pytest

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.dialects.tools import MAX_TOOLS
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import Unreadable
from core.dialects.talk import (
    CHAT,
    MESSAGES,
    Json,
    body,
    body_of,
    chat,
    function,
    named,
    namespace,
    own_tool,
    responses,
    sent,
    tool,
    user,
)

ROUTER = Rewrite("acme/one", 500, openrouter=True)


def own(dialect: Dialect, name: str = "mine") -> Json:
    return own_tool(dialect, name)


# dialect, tool, told as: None passes, False removed, True refused
KINDS: list[tuple[str, Json, bool | None]] = [
    ("chat", function("exec"), None),
    ("messages", tool("exec"), None),
    ("messages", {**tool("exec"), "type": "custom"}, None),
    ("messages", {**tool("exec"), "type": None}, None),
    ("messages", {**tool("exec"), "defer_loading": True}, None),
    ("chat", {"type": "custom", "custom": {"name": "exec"}}, False),
    ("messages", {"type": "function", "name": "exec"}, False),
    *[
        ("chat", {"type": kind}, False)
        for kind in ("web_search", "web_search_preview", "file_search", "code_interpreter")
    ],
    *[
        ("chat", {"type": kind}, False)
        for kind in ("computer_use_preview", "image_generation", "shell", "apply_patch", "local_shell")
    ],
    *[
        ("messages", {"type": kind, "name": "n"}, False)
        for kind in ("web_search_20250305", "advisor_20260301", "tool_search_tool_bm25")
    ],
    *[
        ("messages", {"type": kind, "name": "n"}, False)
        for kind in ("bash_20250124", "text_editor_20250728", "unheard_of_2030")
    ],
    *[
        (where, {"type": kind}, True)
        for where in ("chat", "messages", "responses")
        for kind in ("openrouter:advisor", "openrouter:web_search", "openrouter:bash")
    ],
    ("responses", named("exec"), None),
    ("responses", named("exec", "custom"), None),
    ("responses", {**named("exec"), "defer_loading": True}, None),
    *[
        ("responses", {"type": kind, "name": "n"}, False)
        for kind in (
            "web_search",
            "web_search_preview_2025_03_11",
            "file_search",
            "code_interpreter",
            "image_generation",
        )
    ],
    *[
        ("responses", {"type": kind}, False)
        for kind in ("computer_use_preview", "shell", "apply_patch", "tool_search", "programmatic_tool_calling", "")
    ],
    ("responses", {"type": "mcp", "server_url": "https://x.test"}, True),
    ("chat", {"type": "mcp", "server_url": "https://x.test"}, True),
    ("messages", {"type": "mcp_toolset", "mcp_server_name": "x"}, True),
]


@pytest.mark.parametrize(
    ("where", "entry", "refused"), KINDS, ids=[f"{where} {entry.get('type')}" for where, entry, _ in KINDS]
)
def test_kinds(where: str, entry: Json, refused: bool | None) -> None:
    dialect = Dialect(where)
    call = grammar(dialect).read(body_of(dialect, tools=[own(dialect), entry]))
    told = [] if refused is None else [("tools[1].type", str(entry["type"]), refused)]
    assert [(one.where, one.what, one.refused) for one in call.smuggled] == told
    assert call.shape.tools == (("mine", "exec") if refused is None else ("mine",))
    out = json.loads(grammar(dialect).rewrite(call, ROUTER))
    assert out["tools"] == [own(dialect), entry][: 2 if refused is None else 1]


def test_tools_that_stay_keep_their_bytes() -> None:
    mine = '{ "type":"function", "function" : {"name": "\\u0061", "parameters": {"maximum": 1.0e2}} }'
    said = '"messages": [{"role": "user", "content": "q"}]'
    raw = f'{{"model": "m", "tools": [ {{"type":"web_search"}}, {mine} ], {said}}}'.encode()
    assert f'"tools":[{mine}]'.encode() in CHAT.rewrite(CHAT.read(raw), ROUTER)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_with_the_last_tool_go_its_options(dialect: Dialect) -> None:
    choice = {"type": "auto"} if dialect is Dialect.MESSAGES else "auto"
    tools = [{"type": "web_search_20250305", "name": "w"}]
    call = grammar(dialect).read(body_of(dialect, tools=tools, tool_choice=choice))
    out = json.loads(grammar(dialect).rewrite(call, ROUTER))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & set(out)
    assert call.shape.tools == ()


def test_other_findings_leave_the_tools_alone() -> None:
    call = chat(user("q"), tools=[function("a")], service_tier="fast")
    assert json.loads(CHAT.rewrite(call, ROUTER))["tools"] == [function("a")]
    call = chat(user("q"), service_tier="fast")
    assert "tools" not in json.loads(CHAT.rewrite(call, ROUTER))


CHOICES: list[tuple[str, Any, str | None]] = [
    ("chat", None, None),
    ("chat", "auto", None),
    ("chat", "none", None),
    ("chat", "required", None),
    ("chat", {"type": "function", "function": {"name": "mine"}}, None),
    ("chat", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("mine")]}}, None),
    ("chat", {"type": "allowed_tools", "mode": "auto", "tools": [function("mine")]}, None),
    ("chat", "web_search", "web_search"),
    ("chat", {"type": "web_search"}, "web_search"),
    ("chat", {"type": "openrouter:advisor"}, "openrouter:advisor"),
    ("chat", {"type": "mcp", "server_label": "x"}, "mcp"),
    ("chat", {"type": "allowed_tools", "allowed_tools": {"tools": [function("mine"), {"type": "mcp"}]}}, "mcp"),
    ("responses", "required", None),
    ("responses", {"type": "function", "name": "mine"}, None),
    ("responses", {"type": "custom", "name": "mine"}, None),
    ("responses", {"type": "local_shell"}, None),
    ("responses", {"type": "allowed_tools", "mode": "auto", "tools": [named("mine")]}, None),
    ("responses", {"type": "allowed_tools", "mode": "auto", "tools": [named("mine"), {"type": "mcp"}]}, "mcp"),
    ("responses", {"type": "web_search_preview"}, "web_search_preview"),
    ("responses", {"type": "mcp", "server_label": "x"}, "mcp"),
    ("responses", {"type": "shell"}, "shell"),
    ("messages", {"type": "auto"}, None),
    ("messages", {"type": "any", "disable_parallel_tool_use": True}, None),
    ("messages", {"type": "none"}, None),
    ("messages", {"type": "tool", "name": "mine"}, None),
    ("messages", {"type": "tool", "name": "web_search"}, "web_search"),
    ("messages", {"type": "web_search_20250305"}, "web_search_20250305"),
]


@pytest.mark.parametrize(("where", "choice", "refused"), CHOICES)
def test_choices_cannot_force_what_may_not_be_offered(where: str, choice: Any, refused: str | None) -> None:
    dialect = Dialect(where)
    call = grammar(dialect).read(
        body_of(dialect, tools=[own(dialect), {"type": "web_search_2025", "name": "web_search"}], tool_choice=choice)
    )
    found = [(one.where, one.what, one.refused) for one in call.smuggled if one.where == "tool_choice"]
    assert found == ([("tool_choice", refused, True)] if refused else [])


def test_a_name_that_two_tools_share_may_be_chosen() -> None:
    both = [tool("web_search"), {"type": "web_search_2025", "name": "web_search"}]
    call = MESSAGES.read(body(tools=both, tool_choice={"type": "tool", "name": "web_search"}))
    assert [one.where for one in call.smuggled] == ["tools[1].type"]


BAD: list[tuple[str, Json, str]] = [
    ("chat", {"tools": {}}, "tools must be a list"),
    ("chat", {"tools": ["exec"]}, "tools[0] must be an object"),
    ("chat", {"tools": [function("a"), {"function": {"name": "b"}}]}, "tools[1].type must be text"),
    ("chat", {"tools": [{"type": 7}]}, "tools[0].type must be text"),
    ("chat", {"tools": [{"type": "function"}]}, "tools[0].name must be text"),
    ("chat", {"tools": [{"type": "function", "function": "x"}]}, "tools[0].name must be text"),
    ("messages", {"tools": [{"input_schema": {}}]}, "tools[0].name must be text"),
    ("messages", {"tools": [{"type": 7}]}, "tools[0].type must be text"),
    ("responses", {"tools": [{"name": "x"}]}, "tools[0].type must be text"),
    ("responses", {"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0].name must be text"),
    ("responses", {"tools": [{"type": "namespace", "tools": []}]}, "tools[0].name must be text"),
    ("responses", {"tools": [{"type": "local_shell", "name": 7}]}, "tools[0].name must be text"),
    ("chat", {"tool_choice": 7}, "tool_choice must be"),
    ("chat", {"tool_choice": {"name": "x"}}, "tool_choice must be"),
    ("chat", {"tool_choice": {"type": "allowed_tools", "tools": [7]}}, "tool_choice must be"),
]


@pytest.mark.parametrize(("where", "fields", "said"), BAD)
def test_tools_without_their_form_are_refused_by_place(where: str, fields: Json, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        grammar(Dialect(where)).read(body_of(Dialect(where), **fields))
    assert caught.value.code == "request.shape"
    assert said in caught.value.message


@pytest.mark.parametrize("dialect", list(Dialect))
def test_thousands_of_tools_are_too_many(dialect: Dialect) -> None:
    assert len(grammar(dialect).read(body_of(dialect, tools=[own(dialect)] * MAX_TOOLS)).shape.tools) == MAX_TOOLS
    with pytest.raises(Unreadable) as caught:
        grammar(dialect).read(body_of(dialect, tools=[own(dialect)] * 10_000))
    assert caught.value.code == "tools.too_many"
    assert "10000 tools, more than 2048" in caught.value.message
    assert caught.value.hint


def test_the_agents_own_shell_needs_no_name() -> None:
    call = responses(tools=[{"type": "local_shell"}, {"type": "web_search"}])
    assert (call.shape.tools, [one.where for one in call.smuggled]) == (("local_shell",), ["tools[1].type"])
    assert sent(call)["tools"] == [{"type": "local_shell"}]


SPACES: list[tuple[Json, tuple[str, ...], list[str]]] = [
    (namespace("team", named("ask"), named("tell", "custom")), ("team.ask", "team.tell"), []),
    (namespace("team", named("ask"), {"type": "web_search"}), ("team.ask",), ["tools[1].tools[1].type"]),
    (namespace("team", {"type": "mcp", "name": "x"}), ("team.x",), ["tools[1].tools[0].type"]),
    (namespace("a", namespace("b", {"type": "openrouter:bash"})), ("a.b",), ["tools[1].tools[0].tools[0].type"]),
    ({"type": "namespace", "name": "team", "tools": [7, {"type": "function"}, named("")]}, ("team.",), []),
    ({"type": "namespace", "name": "team", "tools": "x"}, (), []),
    ({"type": "namespace", "name": "team"}, (), []),
]


@pytest.mark.parametrize(("entry", "names", "found"), SPACES)
def test_tools_of_a_namespace_are_judged_and_told_behind_its_name(
    entry: Json, names: tuple[str, ...], found: list[str]
) -> None:
    call = responses(tools=[named("mine"), entry])
    assert call.shape.tools == ("mine", *names)
    assert [one.where for one in call.smuggled] == found
    assert all(one.refused for one in call.smuggled)
    assert sent(call)["tools"][1] == entry


INSIDE: list[tuple[str, Json, list[str]]] = [
    (
        "chat",
        {"role": "system", "content": "s", "tools": [function("a"), {"type": "openrouter:bash"}]},
        ["messages[1].tools[1].type"],
    ),
    (
        "messages",
        {"role": "system", "content": "s", "tools": [tool("a"), {"type": "web_search_2025"}]},
        ["messages[1].tools[1].type"],
    ),
    (
        "messages",
        user({"type": "tool_addition", "tool": {"type": "mcp_toolset"}}),
        ["messages[1].content[0].tool[0].type"],
    ),
    (
        "responses",
        {"type": "additional_tools", "role": "developer", "tools": [named("a"), namespace("b", {"type": "shell"})]},
        ["input[1].tools[1].tools[0].type"],
    ),
    ("messages", user({"type": "tool_addition", "tools": [tool("later")]}), []),
    ("messages", user({"type": "tool_addition", "tools": "later", "tool": 7}), []),
]


@pytest.mark.parametrize(("where", "message", "found"), INSIDE)
def test_definitions_inside_messages_are_refused(where: str, message: Json, found: list[str]) -> None:
    call = grammar(Dialect(where)).read(body_of(Dialect(where), [user("q"), message]))
    assert [one.where for one in call.smuggled] == found
    assert all(one.refused for one in call.smuggled)
