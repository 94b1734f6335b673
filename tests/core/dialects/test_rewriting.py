"""agentd's own fields in a body, and the client's bytes around them."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import grammar, splice
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect
from core.dialects.talk import BARE, CHAT, FULL, PLUGINS, Json, anthropic, chat, sent, user


def test_without_names_and_limits_none_are_sent() -> None:
    out = sent(chat(user("q"), user="me", prompt_cache_key="k"), BARE)
    assert out["provider"] == {"allow_fallbacks": True, "require_parameters": True, "data_collection": "deny"}
    assert not {"user", "session_id", "prompt_cache_key"} & set(out)
    assert "metadata" not in sent(anthropic(user("q"), metadata={"user_id": "me"}), BARE)


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
    st.permutations(["model", "messages", "input", "max_tokens", "user", "provider", "unheard_of"]),
    st.text(),
)
def test_values_that_agentd_does_not_own_keep_bytes_and_order(
    dialect: Dialect, kept: Json, indent: int | str | None, escaped: bool, own: list[str], words: str
) -> None:
    talk = [user(words)]
    fields = {
        "model": "m",
        "messages": talk,
        "input": talk,
        "max_tokens": 9,
        "user": "me",
        "provider": {},
        "unheard_of": 1,
    }
    value = {**kept, **{name: fields[name] for name in own}}
    raw = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
    call = grammar(dialect).read(raw)
    before, after = splice.members(raw), splice.members(grammar(dialect).rewrite(call, FULL))
    for name in {"messages", "input", *kept} & set(after):
        assert after[name] == before[name]
    assert [name for name in after if name in before] == [name for name in before if name in after]
    assert b"unheard_of" not in b"".join(name.encode() for name in after)
    assert json.loads(bytes(after["model"])) == "acme/one"
