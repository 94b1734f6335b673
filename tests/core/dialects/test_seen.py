"""No body, whatever its fields, makes an upstream see another model, provider rule, plugin, price, data rule, cap or tool than
the verdict's: in all three dialects, by the code that serves, however the fields are written."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.core.dialects import grammar
from agentd.core.dialects.firewall import RULES
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import Unreadable
from harness.seen import NEVER, Verdict, differences

EVIL = "evil/model"
SAYING = {"messages": [{"role": "user", "content": "hello"}], "input": "hello"}
NAMES = sorted(
    {name for rules in RULES.values() for name in rules}
    | NEVER
    | {"unheard_of", "Model", "model ", "provider\u0000", "usage", "extra_body", "openrouter", "preferences", "allow"}
)
"""Every field that is known in any dialect, those of the contract that may never travel, and some that nobody knows."""

PROVIDER: dict[str, Any] = {
    "order": ["evil"], "only": ["evil"], "ignore": ["anthropic", 7], "allow_fallbacks": False, "sort": "price",
    "data_collection": "allow", "zdr": False, "require_parameters": False, "max_price": {"prompt": 1e9},
    "quantizations": ["int4"], "experimental": {"a": 1}, "preferred_max_latency": 1, "enforce_distillable_text": True,
}  # fmt: skip
TOOLS = [
    {"type": "function", "name": "f", "function": {"name": "f", "parameters": {}}, "parameters": {}},
    {"name": "f", "input_schema": {}},
    {"type": "openrouter:fusion", "models": [EVIL]},
    {"type": "web_search_20250305", "name": "web_search"},
    {"type": "mcp", "server_url": "https://evil.test"},
    {"type": "image_generation"},
]
words = st.sampled_from(
    [EVIL, "openrouter/auto", "~acme/one-latest", "@preset/x", "acme/one:online", "high", "allow", ""]
)
plain = st.none() | st.booleans() | st.integers(-1, 10**6) | words
nested = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
    max_leaves=5,
)
values: dict[str, st.SearchStrategy[Any]] = {
    "provider": st.fixed_dictionaries({}, optional={name: st.just(value) | nested for name, value in PROVIDER.items()}),
    "plugins": st.lists(
        st.sampled_from([{"id": "web"}, {"id": "fusion", "models": [EVIL]}, {"id": "web", "enabled": True}])
    ),
    "models": st.just([EVIL]),
    "fallbacks": st.just([{"model": EVIL}]),
    "tools": st.lists(st.sampled_from(TOOLS), max_size=4),
    "tool_choice": st.sampled_from(
        ["auto", {"type": "function", "function": {"name": "f"}}, {"type": "image_generation"}]
    ),
    "stream": st.booleans(),
    "metadata": st.dictionaries(st.sampled_from(["user_id", "a"]), words),
}


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An object of fields in any order, some of their names written with escapes, some written twice."""
    names = draw(st.lists(st.sampled_from(NAMES), max_size=9, unique=draw(st.integers(0, 9)) > 0))
    fields = [(name, draw(values.get(name, nested) | nested)) for name in names if name not in SAYING]
    fields += draw(st.permutations(list(SAYING.items())))
    members = (f"{_name(draw, name)}:{json.dumps(value)}" for name, value in draw(st.permutations(fields)))
    return ("{" + ",".join(members) + "}").encode()


def _name(draw: st.DrawFn, name: str) -> str:
    written = json.dumps(name)
    if not draw(st.booleans()) or not name.isascii() or not name.isalpha():
        return written
    place = draw(st.integers(0, len(name) - 1))
    return f'"{name[:place]}\\u{ord(name[place]):04x}{name[place + 1 :]}"'


verdicts = st.builds(
    Verdict,
    model=st.just("acme/one"),
    max_output=st.just(500),
    providers=st.sampled_from([(), ("anthropic",), ("anthropic", "google-vertex")]),
    max_price=st.none() | st.just((3.0, 15.0)),
    zdr=st.booleans(),
    openrouter=st.booleans(),
)


def sent(dialect: Dialect, body: bytes, verdict: Verdict) -> bytes | None:
    """What goes to the upstream; None for a call that is refused."""
    speech = grammar(dialect)
    try:
        call = speech.read(body)
    except Unreadable:
        return None
    if any(item.refused for item in call.smuggled):
        return None
    price = None if verdict.max_price is None else (str(verdict.max_price[0]), str(verdict.max_price[1]))
    rewrite = Rewrite(
        model=verdict.model,
        max_output=verdict.max_output,
        openrouter=verdict.openrouter,
        providers=verdict.providers,
        max_price=price,
        zdr=verdict.zdr,
        session="s-hidden",
        user="u-hidden",
    )
    return speech.rewrite(call, rewrite)


@given(st.sampled_from(list(Dialect)), bodies(), verdicts)
@example(
    Dialect.CHAT, b'{"messages":[{"role":"user","content":"x"}],"mod\\u0065l":"evil/model"}', Verdict("acme/one", 500)
)
@example(Dialect.MESSAGES, b'{"messages":[{"role":"user","content":"x"}],"provider":null}', Verdict("acme/one", 500))
def test_the_upstream_sees_the_verdicts_choices_and_no_others(dialect: Dialect, body: bytes, verdict: Verdict) -> None:
    out = sent(dialect, body, verdict)
    if out is None:
        return
    assert differences(dialect.value, out, verdict) == []
    seen = json.loads(out)
    assert seen.keys() <= RULES[dialect].keys() | {"plugins", "cache_control", "stream_options"}
    for name in ("session_id", "prompt_cache_key"):
        assert seen.get(name, "s-hidden") == "s-hidden"
    assert seen.get("user", "u-hidden") == "u-hidden"


@pytest.mark.parametrize("dialect", list(Dialect))
def test_most_such_bodies_are_sent_and_not_only_refused(dialect: Dialect) -> None:
    """Else the property would say little."""
    asked = {
        **SAYING,
        "model": EVIL,
        "models": [EVIL],
        "provider": PROVIDER,
        "service_tier": "priority",
        "unheard_of": 1,
    }
    out = sent(dialect, json.dumps(asked).encode(), Verdict("acme/one", 500))
    assert out is not None
    assert differences(dialect.value, out, Verdict("acme/one", 500)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"model": EVIL}, {"models": [EVIL]}, {"provider": PROVIDER}, {"plugins": []}, {"plugins": [{"id": "web"}]},
        {"max_completion_tokens": 501}, {"max_tokens": 500}, {"service_tier": "flex"}, {"metadata": {"a": "b"}},
        {"tools": [{"type": "web_search"}]}, {"provider": {"zdr": False}}, {"route": "fallback"},
    ],
)  # fmt: skip
def test_what_is_not_the_verdicts_is_found(change: dict[str, Any]) -> None:
    verdict = Verdict("acme/one", 500)
    out = sent(Dialect.CHAT, json.dumps(SAYING).encode(), verdict)
    assert out is not None
    assert differences("chat", json.dumps({**json.loads(out), **change}).encode(), verdict)
