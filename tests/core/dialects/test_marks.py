"""How long marks for the prompt cache keep a prompt: found wherever they stand, shortened there, and nothing else touched."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import grammar, marks
from agentd.core.dialects.grammar import Rewrite
from agentd.core.types.bounds import ANOTHER, MARK, CacheTtl, Clamp
from agentd.core.types.calls import Dialect
from core.dialects.talk import MESSAGES, Json, assistant, body, result, tool, user

HOUR: Json = {"type": "ephemeral", "ttl": "1h"}
SHORT: Json = {"type": "ephemeral", "ttl": "5m"}
PLACES = 9
"""So many marks `everywhere` sets."""


def marked(mark: Any, words: str = "hello") -> Json:
    return {"type": "text", "text": words, "cache_control": mark}


def everywhere(mark: Any) -> bytes:
    """A body with marks in every place that clients are known to put them, and in one that nobody documents."""
    messages = [
        {**user(marked(mark)), "cache_control": mark},
        assistant({"type": "thinking", "thinking": "so", "cache_control": mark}),
        user(result(marked(mark), result(marked(mark)))),
        user({"type": "document", "source": {"type": "content", "content": [marked(mark)]}}),
    ]
    return body(messages, system=[marked(mark)], tools=[{**tool("look"), "cache_control": mark}], cache_control=mark)


def sent(raw: bytes, dialect: Dialect = Dialect.MESSAGES, ttl: str = "5m") -> bytes:
    speaks = grammar(dialect)
    changes = (Clamp(MARK, "ttl", "1h", ttl, "test"),)
    return speaks.rewrite(speaks.read(raw), Rewrite("m", 500, openrouter=True, clamps=changes))


def test_they_are_found_and_shortened_everywhere() -> None:
    assert MESSAGES.read(everywhere(HOUR)).long_marks == ("1h",)
    assert MESSAGES.read(everywhere(SHORT)).long_marks == ()
    out = sent(everywhere(HOUR))
    assert json.loads(out) == json.loads(sent(everywhere(SHORT)))
    assert (out.count(b'"1h"'), out.count(b'"5m"')) == (0, PLACES)


@pytest.mark.parametrize("ttl", ["24h", "1H", "", 3600, 1.5, True, [], {}, ["1h"], "5m ", "my diary"])
def test_a_lifetime_that_is_no_word_of_the_api_is_too_long_for_all(ttl: Any) -> None:
    raw = everywhere({"type": "ephemeral", "ttl": ttl})
    assert MESSAGES.read(raw).long_marks == (ANOTHER,)
    assert json.loads(sent(raw)) == json.loads(sent(everywhere(SHORT)))
    assert json.loads(sent(raw, ttl="1h")) == json.loads(sent(everywhere(HOUR), ttl="1h"))


@pytest.mark.parametrize(
    "mark", [{"type": "ephemeral"}, {"type": "ephemeral", "ttl": None}, SHORT, None, "1h", [HOUR], 5]
)
def test_other_marks_are_left_alone(mark: Any) -> None:
    assert MESSAGES.read(everywhere(mark)).long_marks == ()
    assert sent(everywhere(mark)).count(b'"cache_control": ' + json.dumps(mark).encode()) == PLACES - 1


def test_an_escaped_name_hides_nothing() -> None:
    raw = json.dumps({"model": "m", "messages": [user(marked(HOUR))]})
    for name in ('"ttl"', '"cache_control"', '"1h"', '"type"', '"content"', '"messages"'):
        hidden = raw.replace(name, '"' + "".join(f"\\u{ord(letter):04x}" for letter in name[1:-1]) + '"', 1).encode()
        assert hidden != raw.encode()
        assert MESSAGES.read(hidden).long_marks == ("1h",)
        out = json.loads(sent(hidden))
        assert out["messages"][0]["content"][0]["cache_control"] == SHORT


def test_a_body_cannot_pass_for_a_call_of_a_tool() -> None:
    raw = json.dumps({"model": "m", "type": "tool_use", "input": [user(marked(HOUR))]}).encode()
    assert grammar(Dialect.RESPONSES).read(raw).long_marks == ("1h",)
    assert json.loads(sent(raw, Dialect.RESPONSES))["input"][0]["content"][0]["cache_control"] == SHORT


def test_what_is_only_data_keeps_its_bytes() -> None:
    held = {"cache_control": HOUR, "ttl": 3600}
    called = {"type": "tool_use", "id": "t", "name": "dns", "input": held}
    schema = {"type": "object", "properties": {"cache_control": {"type": "string", "ttl": "1h"}}}
    raw = body([user("x"), assistant(called)], tools=[{"name": "dns", "input_schema": schema}])
    assert MESSAGES.read(raw).long_marks == ()
    out = json.loads(sent(raw))
    assert out["messages"][1]["content"][0] == called
    assert out["tools"][0]["input_schema"] == schema


def test_the_bytes_around_a_mark_stay() -> None:
    before = b'{"model": "m", "messages": [ {"role":"user","content":[{"type":"text", "text":"\\u00e9  x", '
    after = b' "n":1.0e2}, {"type" : "text","text":"y"}]} ]}'
    out = sent(before + b'"cache_control":{"type":"ephemeral", "ttl" : "1h"},' + after)
    assert b'{"type":"text","text":"\\u00e9  x","cache_control":{"type":"ephemeral","ttl":"5m"},"n":1.0e2}' in out
    assert b'{"type" : "text","text":"y"}' in out


def test_without_a_mark_a_value_is_the_very_same() -> None:
    raw = json.dumps([user("x", {"type": "text", "text": "the ttl", "ttl": "1h"})]).encode()
    assert marks.shortened(raw, CacheTtl.SHORT) is raw


def test_depth_is_no_way_out() -> None:
    inner: Any = [marked(HOUR)]
    for _ in range(20):
        inner = [{"type": "tool_result", "tool_use_id": "t", "content": inner}]
    raw = body([{"role": "user", "content": inner}])
    assert MESSAGES.read(raw).long_marks == ("1h",)
    assert b"1h" not in sent(raw)


def test_a_mark_within_a_mark_is_one() -> None:
    raw = body([user(marked({"type": "ephemeral", "cache_control": HOUR}))])
    assert MESSAGES.read(raw).long_marks == ("1h",)
    assert b"1h" not in sent(raw)


JSON = st.recursive(
    st.sampled_from(["1h", "5m", "24h", "x", 1, None, HOUR, SHORT, {"ttl": "24h"}]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["cache_control", "content", "ttl", "source", "k"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def marks_in(value: Any) -> list[Any]:
    """Every lifetime that a mark holds."""
    if isinstance(value, list):
        return [ttl for item in value for ttl in marks_in(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("cache_control")
    mine = [own["ttl"]] if isinstance(own, dict) and "ttl" in own else []
    return [*mine, *(ttl for item in value.values() for ttl in marks_in(item))]


@given(JSON, st.sampled_from(list(CacheTtl)))
def test_no_mark_is_longer_than_allowed_and_nothing_else_changes(value: Any, most: CacheTtl) -> None:
    raw = json.dumps({"messages": value}).encode()
    out = json.loads(bytes(marks.shortened(raw, most)))
    assert set(map(str, marks_in(out))) <= {"5m", most.value, "None"}

    def without(found: Any) -> Any:
        if isinstance(found, list):
            return [without(item) for item in found]
        if not isinstance(found, dict):
            return found
        return {
            name: {**{key: without(item) for key, item in inner.items()}, "ttl": "*"}
            if name == "cache_control" and isinstance(inner, dict) and inner.get("ttl") is not None
            else without(inner)
            for name, inner in found.items()
        }

    assert without(out) == without({"messages": value})
    assert marks.long(out) == () or most is CacheTtl.HOUR
