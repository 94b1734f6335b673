"""agentd's own fields in a body, and the client's bytes around them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import grammar, splice
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect, ModelCall
from agentd.core.types.errors import Unreadable
from core.dialects.talk import CHAT, MESSAGES, Json, anthropic, assistant, body, calls, chat, use, user

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


def sent(call: ModelCall, rewrite: Rewrite = FULL) -> Json:
    out: Json = json.loads(grammar(call.dialect).rewrite(call, rewrite))
    return out


def test_a_chat_body_for_openrouter() -> None:
    assert sent(
        chat(user("q"), max_tokens=9000, user="me", session_id="mine", prompt_cache_key="mine", stream=True)
    ) == {
        "model": "acme/one",
        "messages": [user("q")],
        "stream": True,
        "user": "u-1",
        "session_id": "s-1",
        "prompt_cache_key": "s-1",
        "provider": {
            "allow_fallbacks": True,
            "require_parameters": True,
            "data_collection": "deny",
            "only": ["anthropic", "google-vertex"],
            "zdr": True,
            "max_price": {"prompt": 3, "completion": 15},
        },
        "plugins": PLUGINS,
        "max_completion_tokens": 500,
    }


def test_a_chat_body_for_a_plain_server() -> None:
    assert sent(chat(user("q"), max_completion_tokens=9000, stream=True), PLAIN) == {
        "model": "llama",
        "messages": [user("q")],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 500,
    }


def test_a_messages_body() -> None:
    call = anthropic(
        user("q"), max_tokens=32000, metadata={"user_id": "device"}, context_management={"edits": []}, system="s"
    )
    assert sent(call) == {
        "model": "acme/one",
        "messages": [user("q")],
        "max_tokens": 500,
        "metadata": {"user_id": "u-1"},
        "system": "s",
        "provider": sent(chat(user("q")))["provider"],
        "plugins": PLUGINS,
        "session_id": "s-1",
    }
    assert sent(call, PLAIN) == {"model": "llama", "messages": [user("q")], "max_tokens": 500, "system": "s"}


def test_without_names_and_limits_none_are_sent() -> None:
    out = sent(chat(user("q"), user="me", prompt_cache_key="k"), BARE)
    assert out["provider"] == {"allow_fallbacks": True, "require_parameters": True, "data_collection": "deny"}
    assert not {"user", "session_id", "prompt_cache_key"} & set(out)
    assert "metadata" not in sent(anthropic(user("q"), metadata={"user_id": "me"}), BARE)


def test_context_management_stays_with_anthropic_itself() -> None:
    call = anthropic(user("q"), context_management={"edits": []})
    assert sent(call, Rewrite("m", 5, openrouter=True, first_party=True))["context_management"] == {"edits": []}
    assert "context_management" not in sent(call)


def test_the_clients_provider_object_can_only_tighten() -> None:
    client = {
        "zdr": True,
        "data_collection": "allow",
        "ignore": ["azure", 7],
        "only": ["x"],
        "order": ["x"],
        "max_price": {"prompt": 900},
    }
    out = sent(chat(user("q"), provider=client), BARE)["provider"]
    assert out == {
        "allow_fallbacks": True,
        "require_parameters": True,
        "data_collection": "deny",
        "ignore": ["azure"],
        "zdr": True,
    }
    assert sent(chat(user("q"), provider={"zdr": False}))["provider"]["zdr"] is True
    odds: list[Any] = [[], "x", {"ignore": "azure", "zdr": "true"}, None]
    for odd in odds:
        assert sent(chat(user("q"), provider=odd), BARE)["provider"].keys() == {
            "allow_fallbacks",
            "require_parameters",
            "data_collection",
        }
    many = sent(chat(user("q"), provider={"ignore": [str(place) for place in range(1000)]}), BARE)["provider"]["ignore"]
    assert len(many) == 64


def test_a_price_is_never_a_float() -> None:
    out = CHAT.rewrite(
        chat(user("q")), Rewrite("m", 5, openrouter=True, max_price=("0.1000000000000000000001", "1E+2"))
    )
    assert b'"max_price":{"prompt":0.1000000000000000000001,"completion":100}' in out


def test_documents_are_read_by_the_model_or_not_at_all() -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA"}}
    assert sent(chat(user("q", file)))["plugins"] == [*PLUGINS, {"id": "file-parser", "pdf": {"engine": "native"}}]


CAPS: list[tuple[Dialect, Json, int | None]] = [
    (Dialect.CHAT, {}, None),
    (Dialect.CHAT, {"max_tokens": 7}, 7),
    (Dialect.CHAT, {"max_completion_tokens": 7, "max_tokens": 9}, 7),
    (Dialect.CHAT, {"max_completion_tokens": None, "max_tokens": 9}, 9),
    (Dialect.MESSAGES, {"max_tokens": 7}, 7),
    (Dialect.MESSAGES, {}, None),
]


@pytest.mark.parametrize(("dialect", "fields", "cap"), CAPS)
def test_the_clients_cap_is_read_and_agentds_is_sent(dialect: Dialect, fields: Json, cap: int | None) -> None:
    call = grammar(dialect).read(body(**fields))
    assert call.max_output == cap
    out = sent(call)
    assert [out[name] for name in ("max_tokens", "max_completion_tokens") if name in out] == [500]


ODD: list[Json] = [
    {"model": 7},
    {"model": ["a"]},
    {"model": "m" * 257},
    {"stream": "yes"},
    {"stream": 1},
    {"max_tokens": 0},
    {"max_tokens": -5},
    {"max_tokens": True},
    {"max_tokens": "9"},
    {"max_tokens": 1.5},
]


@pytest.mark.parametrize("fields", ODD)
@pytest.mark.parametrize("dialect", list(Dialect))
def test_the_few_fields_that_are_read_must_have_their_form(dialect: Dialect, fields: Json) -> None:
    with pytest.raises(Unreadable) as caught:
        grammar(dialect).read(body(**fields))
    assert caught.value.code == "request.shape"
    assert caught.value.message.startswith(next(iter(fields)))


def test_a_missing_model_is_no_fault() -> None:
    call = CHAT.read(b'{"messages": [{"role": "user", "content": "q"}]}')
    assert (call.model_asked, call.stream, sent(call)["model"]) == ("", False, "acme/one")


WANTS: list[tuple[Json, bool]] = [
    ({}, False),
    ({"stream_options": {"include_usage": True}}, True),
    ({"stream_options": {"include_usage": False}}, False),
    ({"stream_options": None, "usage": {"include": True}}, True),
    ({"stream_options": "x", "usage": 7}, False),
]


@pytest.mark.parametrize(("fields", "wants"), WANTS)
def test_who_wants_usage(fields: Json, wants: bool) -> None:
    assert chat(user("q"), **fields).wants_usage is wants
    assert anthropic(user("q")).wants_usage


THINKING: list[tuple[int, int | None, int | None]] = [
    (5000, 4000, 4000),
    (4000, 4000, 2000),
    (4000, 9000, 2000),
    (2048, 9000, 1024),
    (2047, 9000, None),
    (4000, None, None),
]


@pytest.mark.parametrize(("cap", "budget", "left"), THINKING)
def test_thinking_fits_under_the_cap(cap: int, budget: int | None, left: int | None) -> None:
    rewrite = Rewrite("m", cap, openrouter=True)
    asked = {} if budget is None else {"thinking": {"type": "enabled", "budget_tokens": budget, "display": "full"}}
    assert sent(anthropic(user("q"), **asked), rewrite).get("thinking", {}).get("budget_tokens") == left
    asked = {} if budget is None else {"reasoning": {"max_tokens": budget, "exclude": True}}
    assert sent(chat(user("q"), **asked), rewrite).get("reasoning", {}).get("max_tokens") == left


@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "disabled"}, "x", None, {"budget_tokens": "9"}])
def test_other_thinking_is_left_alone(thinking: Any) -> None:
    assert sent(anthropic(user("q"), thinking=thinking), Rewrite("m", 5, openrouter=True))["thinking"] == thinking


def test_a_clamped_budget_for_a_plain_server_is_not_sent_at_all() -> None:
    assert "reasoning" not in sent(chat(user("q"), reasoning={"max_tokens": 9000}), PLAIN)


# -- what another model signed

SIGNED = {"type": "thinking", "thinking": "t", "signature": "s"}
HIDDEN = {"type": "redacted_thinking", "data": "x"}
FOREIGN = Rewrite("m", 5, openrouter=True, foreign_state=True)


def test_foreign_thinking_goes_and_nothing_else() -> None:
    call = anthropic(
        user("q"), assistant(SIGNED, "a", use("A"), HIDDEN), user("r"), assistant(SIGNED, HIDDEN), assistant("plain")
    )
    assert sent(call, FOREIGN)["messages"] == [user("q"), {**assistant("a", use("A"))}, user("r"), assistant("plain")]
    assert sent(call, BARE)["messages"] == json.loads(call.body)["messages"]


def test_foreign_reasoning_details_go_and_nothing_else() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    call = chat(user("q"), calls("A", reasoning_details=details, reasoning="because"), user("r"))
    assert sent(call, FOREIGN)["messages"] == [user("q"), calls("A", reasoning="because"), user("r")]
    assert sent(call, BARE)["messages"] == json.loads(call.body)["messages"]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_messages_without_foreign_state_keep_their_bytes(dialect: Dialect) -> None:
    kept = '{ "role" : "user", "content": [ {"type":"text", "text": "\\u0041"} ] }'
    bare = '{"content":null,"role":"assistant"}'
    gone = '{"role": "assistant", "reasoning_details": [], "content": [ {"type": "thinking"} , {"type":"text",  "text":"b"}]}'
    call = grammar(dialect).read(f'{{"messages": [{kept}, {gone}, {bare}, {kept}]}}'.encode())
    out = grammar(dialect).rewrite(call, FOREIGN)
    assert out.count(kept.encode()) == 2
    assert bare.encode() in out
    assert b'{"type":"text",  "text":"b"}' in out
    assert (b'"thinking"' in out) is (dialect is Dialect.CHAT)
    assert (b"reasoning_details" in out) is (dialect is Dialect.MESSAGES)


# -- the client's bytes

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEPT = [
    "temperature",
    "seed",
    "stop",
    "top_p",
    "logit_bias",
    "response_format",
    "prediction",
    "output_config",
    "stop_sequences",
]


@given(
    st.sampled_from(list(Dialect)),
    st.dictionaries(st.sampled_from(KEPT), VALUES),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.permutations(["model", "messages", "max_tokens", "user", "provider", "unheard_of"]),
    st.text(),
)
def test_values_that_agentd_does_not_own_keep_bytes_and_order(
    dialect: Dialect, kept: Json, indent: int | str | None, escaped: bool, own: list[str], words: str
) -> None:
    fields = {"model": "m", "messages": [user(words)], "max_tokens": 9, "user": "me", "provider": {}, "unheard_of": 1}
    value = {**kept, **{name: fields[name] for name in own}}
    raw = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    call = grammar(dialect).read(raw)
    before, after = splice.members(raw), splice.members(grammar(dialect).rewrite(call, FULL))
    for name in {"messages", *kept} & set(after):
        assert after[name] == before[name]
    assert [name for name in after if name in before] == [name for name in before if name in after]
    assert b"unheard_of" not in b"".join(name.encode() for name in after)
    assert json.loads(after["model"]) == "acme/one"


def test_nothing_is_kept_between_calls() -> None:
    call = anthropic(user("q"))
    assert MESSAGES.rewrite(call, FULL) == MESSAGES.rewrite(call, FULL)
    assert grammar(Dialect.MESSAGES) is MESSAGES
    assert (CHAT.dialect, MESSAGES.dialect) == (Dialect.CHAT, Dialect.MESSAGES)
