"""Every known field of every dialect, and what becomes of it: a row each."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import firewall, grammar
from agentd.core.dialects.firewall import RULES, Fate
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect, ModelCall, Smuggled
from core.dialects.talk import body_of, user

MARK = "5mu66led"
ALL = list(Dialect)
ROUTER = Rewrite("acme/one", 500, openrouter=True)
PLAIN = Rewrite("llama", 500, openrouter=False)


def read(dialect: Dialect, **fields: Any) -> ModelCall:
    return grammar(dialect).read(body_of(dialect, [user("hello")], **fields))


def sent(dialect: Dialect, rewrite: Rewrite = ROUTER, **fields: Any) -> dict[str, Any]:
    call = read(dialect, **fields)
    out: dict[str, Any] = json.loads(grammar(dialect).rewrite(call, rewrite))
    return out


# field, value, and how it is told: "" passes, "-" goes silently, "dropped", "removed" or "refused"
ROWS: list[tuple[str, str, Any, str]] = [
    # every dialect
    ("all", "temperature", 0.5, ""),
    ("all", "top_p", 0.5, ""),
    ("all", "top_k", 5, ""),
    ("all", "stream", True, ""),
    ("all", "cache_control", {"type": "ephemeral"}, ""),
    ("all", "provider", {"order": [MARK], "allow_fallbacks": True}, "removed"),
    ("all", "plugins", [{"id": MARK}], "removed"),
    ("all", "plugins", [], "-"),
    ("all", "models", [MARK], "removed"),
    ("all", "models", [], "-"),
    ("all", "models", None, "-"),
    ("all", "fallbacks", [{"model": MARK}], "removed"),
    ("all", "route", MARK, "removed"),
    ("all", "service_tier", MARK, "removed"),
    ("all", "speed", MARK, "removed"),
    ("all", "trace", {"id": MARK}, "removed"),
    ("all", "debug", {"echo_upstream_body": True}, "removed"),
    ("all", "stop_server_tools_when", [MARK], "removed"),
    ("all", "max_tool_calls", 30, "removed"),
    ("all", "web_search_options", {"x": MARK}, "removed"),
    ("all", "transforms", [MARK], "removed"),
    ("all", "session_id", MARK, "-"),
    ("all", "user", MARK, "-"),
    ("all", "preset", MARK, "refused"),
    ("all", "prompt", MARK, "refused"),
    ("all", "previous_response_id", MARK, "refused"),
    ("all", "previous_response_id", None, "-"),
    ("all", "background", True, "refused"),
    ("all", "background", False, "-"),
    ("all", "mcp_servers", [{"url": MARK}], "refused"),
    ("all", "unheard_of", {"a": MARK}, "dropped"),
    ("all", "Model", MARK, "dropped"),
    ("all", "provider ", {"a": MARK}, "dropped"),
    # chat completions
    ("chat", "stream_options", {"include_usage": True}, ""),
    ("chat", "min_p", 0.1, ""),
    ("chat", "top_a", 0.1, ""),
    ("chat", "frequency_penalty", 0.1, ""),
    ("chat", "presence_penalty", 0.1, ""),
    ("chat", "repetition_penalty", 0.1, ""),
    ("chat", "seed", 7, ""),
    ("chat", "stop", ["x"], ""),
    ("chat", "logit_bias", {"5": 1}, ""),
    ("chat", "logprobs", True, ""),
    ("chat", "top_logprobs", 3, ""),
    ("chat", "response_format", {"type": "json_object"}, ""),
    ("chat", "parallel_tool_calls", False, ""),
    ("chat", "prediction", {"type": "content"}, ""),
    ("chat", "reasoning", {"effort": "low"}, ""),
    ("chat", "reasoning_effort", "low", ""),
    ("chat", "verbosity", "low", ""),
    ("chat", "usage", {"include": True}, ""),
    ("chat", "prompt_cache_options", {"a": 1}, ""),
    ("chat", "prompt_cache_key", MARK, "-"),
    ("chat", "safety_identifier", MARK, "-"),
    ("chat", "metadata", {"a": MARK}, "removed"),
    ("chat", "metadata", {}, "-"),
    ("chat", "store", True, "removed"),
    ("chat", "store", False, "-"),
    ("chat", "n", 3, "removed"),
    ("chat", "n", 1, "-"),
    ("chat", "best_of", 3, "removed"),
    ("chat", "modalities", ["text", "image"], "refused"),
    ("chat", "modalities", ["text"], "-"),
    ("chat", "image_config", {"a": MARK}, "refused"),
    ("chat", "audio", {"voice": MARK}, "refused"),
    ("chat", "functions", [{"name": MARK}], "dropped"),
    ("chat", "system", MARK, "dropped"),
    # messages
    ("messages", "system", "be brief", ""),
    ("messages", "stop_sequences", ["x"], ""),
    ("messages", "thinking", {"type": "adaptive"}, ""),
    ("messages", "output_config", {"effort": "low"}, ""),
    ("messages", "context_management", {"edits": []}, "-"),
    ("messages", "metadata", {"user_id": MARK}, "-"),
    ("messages", "n", 3, "dropped"),
    ("messages", "container", MARK, "dropped"),
    ("messages", "store", True, "removed"),
    ("messages", "store", False, "-"),
    # responses
    ("responses", "store", True, "removed"),
    ("responses", "store", False, ""),
    ("responses", "instructions", "be brief", ""),
    ("responses", "include", ["reasoning.encrypted_content"], ""),
    ("responses", "text", {"verbosity": "low"}, ""),
    ("responses", "truncation", "auto", ""),
    ("responses", "top_logprobs", 3, ""),
    ("responses", "frequency_penalty", 0.1, ""),
    ("responses", "presence_penalty", 0.1, ""),
    ("responses", "parallel_tool_calls", False, ""),
    ("responses", "reasoning", {"effort": "low"}, ""),
    ("responses", "prompt_cache_options", {"a": 1}, ""),
    ("responses", "prompt_cache_key", MARK, "-"),
    ("responses", "safety_identifier", MARK, "-"),
    ("responses", "metadata", {"a": MARK}, "removed"),
    ("responses", "metadata", {}, "-"),
    ("responses", "conversation", MARK, "refused"),
    ("responses", "conversation", {"id": MARK}, "refused"),
    ("responses", "modalities", ["text", "image"], "refused"),
    ("responses", "modalities", ["text"], "-"),
    ("responses", "image_config", {"a": MARK}, "refused"),
    ("responses", "client_metadata", {"a": MARK}, "dropped"),
    ("responses", "system", MARK, "dropped"),
    ("responses", "max_tokens", 5, "dropped"),
    ("responses", "context_management", [{"type": MARK}], "dropped"),
]  # fmt: skip

CASES = [
    pytest.param(dialect, name, value, fate, id=f"{dialect.value} {name} {fate or 'passes'}")
    for scope, name, value, fate in ROWS
    for dialect in (ALL if scope == "all" else [Dialect(scope)])
]


@pytest.mark.parametrize(("dialect", "name", "value", "fate"), CASES)
def test_each_field(dialect: Dialect, name: str, value: Any, fate: str) -> None:
    call = read(dialect, **{name: value})
    told = {"removed": ((name, False),), "refused": ((name, True),)}.get(fate, ())
    assert tuple((one.where, one.refused) for one in call.smuggled) == told
    assert call.dropped == ((name,) if fate == "dropped" else ())
    out = sent(dialect, **{name: value})
    if fate == "":
        assert out[name] == value
    else:
        assert name not in out or out[name] != value
        assert MARK not in json.dumps(out)


def test_every_known_field_has_a_row() -> None:
    told = {(dialect, name) for scope, name, _, _ in ROWS for dialect in ALL if scope in ("all", dialect.value)}
    elsewhere = {"model", "messages", "input", "tools", "tool_choice"}
    elsewhere |= {"max_tokens", "max_completion_tokens", "max_output_tokens"}
    for dialect in ALL:
        assert [name for name in RULES[dialect] if name not in elsewhere and (dialect, name) not in told] == []


def test_values_are_told_only_where_they_are_words_of_the_api() -> None:
    call = read(
        Dialect.CHAT,
        service_tier="priority",
        n=4,
        store=True,
        trace={"who": "me"},
        models=["a", "b"],
        prompt="my diary",
    )
    assert {one.where: one.what for one in call.smuggled} == {
        "service_tier": "priority",
        "n": "4",
        "store": "True",
        "trace": "object of 1",
        "models": "list of 2",
        "prompt": "text of 8",
    }
    assert read(Dialect.CHAT, route="x" * 1000).smuggled[0].what == "x" * 63 + "…"
    assert [one.what for one in read(Dialect.CHAT, trace=7, debug=True, metadata=False).smuggled] == [
        "number",
        "true",
        "false",
    ]


MODELS = [
    ("acme/one", None),
    ("llama3:8b", None),
    ("chat-default", None),
    ("", None),
    ("acme/one:nitro", False),
    ("acme/one:online", False),
    ("acme/one:free", False),
    ("~acme/one-latest", False),
    ("openrouter/auto", False),
    ("@preset/mine", True),
    ("acme/one@preset/mine", True),
]


@pytest.mark.parametrize(("model", "refused"), MODELS)
@pytest.mark.parametrize("dialect", ALL)
def test_models_names_are_told_and_never_sent(dialect: Dialect, model: str, refused: bool | None) -> None:
    call = read(dialect, model=model)
    assert call.model_asked == model
    assert call.smuggled == (() if refused is None else (Smuggled("model", model, refused),))
    assert sent(dialect, model=model)["model"] == "acme/one"


def test_what_is_refused_is_never_lost_among_many() -> None:
    found = [Smuggled(f"a{place}", "", refused=False) for place in range(500)]
    told = firewall.told([*found, Smuggled("z", "", refused=True)])
    assert len(told) == firewall.MAX_TOLD
    assert told[0].where == "z"


def test_names_of_dropped_fields_are_bounded() -> None:
    call = read(Dialect.CHAT, **{f"x{place}": 1 for place in range(500)}, **{"y" * 500: 1})
    assert len(call.dropped) == firewall.MAX_TOLD
    assert read(Dialect.CHAT, **{"y" * 500: 1}).dropped == ("y" * 63 + "…",)


def test_a_plain_server_gets_nothing_that_only_openrouter_knows() -> None:
    client = {
        "reasoning": {"effort": "low"},
        "cache_control": {},
        "usage": {},
        "prompt_cache_key": "k",
        "user": "u",
        "session_id": "s",
        "top_a": 1,
    }
    out = sent(
        Dialect.CHAT, PLAIN, temperature=0.5, stream=True, provider={"zdr": True}, max_completion_tokens=9, **client
    )
    assert set(out) == {"model", "messages", "temperature", "stream", "stream_options", "max_tokens"}
    assert out["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(Dialect.CHAT, PLAIN)


@given(
    st.sampled_from(ALL),
    st.dictionaries(
        st.sampled_from(sorted({name for rules in RULES.values() for name in rules} | {"unheard_of", "N", "model "})),
        st.recursive(
            st.just(MARK),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.just("k"), inner),
            max_leaves=4,
        ),
    ),
    st.booleans(),
)
def test_no_smuggled_value_ever_reaches_the_wire(dialect: Dialect, fields: dict[str, Any], openrouter: bool) -> None:
    doors = {
        name: value
        for name, value in fields.items()
        if name not in RULES[dialect] or RULES[dialect][name].fate is not Fate.PASS
    }
    for name in ("model", "max_tokens", "max_completion_tokens", "max_output_tokens"):
        doors.pop(name, None)
    out = sent(dialect, Rewrite("acme/one", 500, openrouter=openrouter), **doors)
    assert MARK not in json.dumps(out)
    assert out["model"] == "acme/one"
