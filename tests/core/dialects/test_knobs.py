"""The settings of a body as they are read, and one member of a field changed while the others keep their bytes."""

import json
from typing import Any

import pytest

from agentd.core.dialects import grammar, knobs, splice
from agentd.core.dialects.firewall import RULES, Fate
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.bounds import Clamp, Knob
from agentd.core.types.calls import Dialect
from core.dialects.talk import anthropic, chat, responses, user


def test_what_is_read() -> None:
    reasoning = {"effort": "high", "max_tokens": 9, "enabled": True, "summary": "auto"}
    said = (
        Knob("reasoning", "", True),
        Knob("reasoning", "effort", "high"),
        Knob("reasoning", "max_tokens", 9),
        Knob("reasoning", "enabled", True),
    )
    more = {"reasoning_effort": "low", "verbosity": "max", "prompt_cache_options": {"ttl": "30m"}}
    assert chat(user("q"), reasoning=reasoning, **more).knobs == (
        *said,
        Knob("reasoning_effort", "", "low"),
        Knob("verbosity", "", "max"),
        Knob("prompt_cache_options", "", True),
        Knob("prompt_cache_options", "ttl", "30m"),
    )
    assert responses(reasoning=reasoning, text={"verbosity": "low"}).knobs == (
        *said,
        Knob("text", "", True),
        Knob("text", "verbosity", "low"),
    )
    thinking = {"type": "enabled", "budget_tokens": 9, "display": "full"}
    assert anthropic(user("q"), thinking=thinking, output_config={"effort": "max"}).knobs == (
        Knob("thinking", "", True),
        Knob("thinking", "type", "enabled"),
        Knob("thinking", "budget_tokens", 9),
        Knob("output_config", "", True),
        Knob("output_config", "effort", "max"),
    )


@pytest.mark.parametrize("value", [["high"], {"a": 1}, 1.5])
def test_what_is_no_value_is_none(value: Any) -> None:
    assert chat(user("q"), verbosity=value).knobs == (Knob("verbosity", "", None),)
    assert chat(user("q"), reasoning={"effort": value}).knobs[1:] == (Knob("reasoning", "effort", None),)
    assert chat(user("q"), reasoning=[value]).knobs == (Knob("reasoning", "", None),)


def test_null_is_not_there() -> None:
    assert chat(user("q"), verbosity=None, reasoning=None).knobs == ()
    assert chat(user("q"), reasoning={"effort": None}).knobs == (Knob("reasoning", "", True),)


def test_every_place_is_a_field_that_passes() -> None:
    for dialect, places in knobs.PLACES.items():
        assert all(RULES[dialect][field].fate is Fate.PASS for field in places)


TURNS: list[tuple[str, str, str | int | bool | None, bytes, bytes]] = [
    ("reasoning", "effort", "low", b'{ "summary" : "auto","effort":"high"}', b'{"summary":"auto","effort":"low"}'),
    ("reasoning", "effort", "low", b"{ }", b'{"effort":"low"}'),
    ("reasoning", "effort", "low", b"null", b'{"effort":"low"}'),
    ("reasoning", "effort", "low", b'"high"', b'{"effort":"low"}'),
    ("reasoning", "effort", None, b'{"effort":"high", "k":[1 ,2]}', b'{"k":[1 ,2]}'),
    ("reasoning", "enabled", False, b'{"enabled":true}', b'{"enabled":false}'),
    ("reasoning_effort", "", "low", b'"high"', b'"low"'),
]


@pytest.mark.parametrize(("field", "key", "given", "before", "after"), TURNS)
def test_one_member_is_changed(field: str, key: str, given: Any, before: bytes, after: bytes) -> None:
    clamp = Clamp(field, key, "x", given, "test")
    raw = b'{"model":"m","messages":[{"role":"user","content": "q"}],"%s":%s,"seed": 7}' % (field.encode(), before)
    speaks = grammar(Dialect.CHAT)
    out = splice.members(speaks.rewrite(speaks.read(raw), Rewrite("m", 5, openrouter=True, clamps=(clamp,))))
    assert bytes(out[field]) == after
    assert bytes(out["messages"]) == b'[{"role":"user","content": "q"}]'
    assert list(out)[:4] == ["model", "messages", field, "seed"]


def test_a_field_can_be_left_out_and_written() -> None:
    gone = Clamp("reasoning", "", "x", None, "test")
    new = Clamp("reasoning", "effort", "nothing", "low", "test")
    client = splice.members(b'{"reasoning":{"max_tokens":9}}')
    assert knobs.turned(client, (gone,)) == {}
    assert {name: bytes(raw) for name, raw in knobs.turned(client, (gone, new)).items()} == {
        "reasoning": b'{"effort":"low"}'
    }
    assert {name: bytes(raw) for name, raw in knobs.turned({}, (new,)).items()} == {"reasoning": b'{"effort":"low"}'}


def test_a_plain_server_is_not_told_by_a_change_either() -> None:
    speaks = grammar(Dialect.CHAT)
    call = chat(user("q"), reasoning={"max_tokens": 9_000})
    change = (Clamp("reasoning", "max_tokens", "9000", 5_000, "test"),)
    out = json.loads(speaks.rewrite(call, Rewrite("llama", 10_000, openrouter=False, clamps=change)))
    assert "reasoning" not in out
