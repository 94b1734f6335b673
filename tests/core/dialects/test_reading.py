"""What parsers could read differently is refused, each kind with its own code and place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import reading
from agentd.core.types.errors import Unreadable
from agentd.core.types.verdicts import Answer

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refused(body: bytes) -> Unreadable:
    with pytest.raises(Unreadable) as caught:
        reading.load(body)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


BAD = [
    (b"", "json.malformed", "line 1 column 1"),
    (b"{", "json.malformed", "line 1 column 2"),
    (b'{"a": 1,\n "b": }', "json.malformed", "line 2 column 7"),
    (b'{"a": 1} x', "json.malformed", "line 1 column 10"),
    (b'\xef\xbb\xbf{"a": 1}', "json.malformed", "line 1 column 1"),
    (b'{"a": "\x01"}', "json.malformed", "line 1 column 8"),
    (b"{'a': 1}", "json.malformed", "line 1 column 2"),
    (b'{"a": 01}', "json.malformed", "column"),
    (b"[]", "json.not_object", "list"),
    (b'"x"', "json.not_object", "string"),
    (b"null", "json.not_object", "null"),
    (b"true", "json.not_object", "boolean"),
    (b"3", "json.not_object", "number"),
    (b"3.5", "json.not_object", "number"),
    (b'{"a": "x\0y"}', "json.nul", "byte 8"),
    (b'{"a": "\xff"}', "json.encoding", "byte 7"),
    (b'{"a": "\xed\xa0\x80"}', "json.encoding", "byte 7"),  # a surrogate as raw bytes
    (b'{"a": NaN}', "json.number", "NaN"),
    (b'{"a": [Infinity]}', "json.number", "Infinity"),
    (b'{"a": -Infinity}', "json.number", "-Infinity"),
    (b'{"a": 1e999}', "json.number", "1e999"),
    (b'{"a": ' + b"9" * 41 + b"}", "json.number", "41 digits"),
    (b'{"a": ' + b"9" * 100_000 + b"}", "json.number", "100000 digits"),
    (b'{"a": "\\ud83d"}', "json.surrogate", "character 7"),
    (b'{"a": "\\uDE00 x"}', "json.surrogate", "character 7"),
    (b'{"a": "\\ud83d\\ud83d\\ude00"}', "json.surrogate", "character 7"),
    (b'{"a": "\\\\ud83d\\ude00"}', "json.surrogate", "character 14"),  # an escaped backslash is no half of a pair
    (b'{"a": {"\\ud800": 1}}', "json.surrogate", "character 8"),
    (b'{"a": ' + b"[" * 128 + b"]" * 128 + b"}", "json.too_deep", "128"),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "json.too_deep", "128"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "json.too_deep", "128"),
    (b'{"a": 1, "a": 1}', "json.duplicate_key", '"a" occurs twice in one object, which ends at line 1 column 16'),
    (
        b'{"x": "}",\n "b": {"c": {}, "c": 2}}',
        "json.duplicate_key",
        '"c" occurs twice in one object, which ends at line 2 column 23',
    ),
    (b'{"model": "a", "m\\u006fdel": "b"}', "json.duplicate_key", '"model"'),
    (b'{"\\ud800": 1, "\\ud800": 2}', "json.duplicate_key", '"\\ud800"'),
]


@pytest.mark.parametrize(("body", "code", "said"), BAD)
def test_refusals_name_code_and_place(body: bytes, code: str, said: str) -> None:
    error = refused(body)
    assert error.code == code
    assert said in error.message
    assert error.answer is Answer.INVALID


def test_a_body_that_is_too_large_is_not_parsed() -> None:
    error = refused(b" " * (reading.MAX_BODY_BYTES + 1))
    assert (error.code, error.answer) == ("body.too_large", Answer.TOO_LARGE)


def test_a_large_body_with_a_duplicate_is_refused_without_a_search() -> None:
    error = refused(b'{"pad": "' + b"x" * (1 << 20) + b'", "a": 1, "a": 2}')
    assert error.code == "json.duplicate_key"
    assert "line" not in error.message


def test_messages_do_not_repeat_a_long_key() -> None:
    key = "k" * 10_000
    assert len(refused(json.dumps({"x": 1})[:-1].encode() + f', "{key}": 1, "{key}": 2}}'.encode()).message) < 300


GOOD = [
    b"{}",
    b' \n{"a": 1}\r\n ',
    b'{"a": "\\ud83d\\ude00", "b": "\\uD83D\\uDE00"}',
    b'{"a": "\\\\ud83d"}',  # the text backslash-u-d-8-3-d
    b'{"a": "\\u0000"}',
    b'{"a": 18446744073709551615, "b": -1.5e308}',
    b'{"a": ' + b"9" * 40 + b"}",
    b'{"a": ' + b"[" * 127 + b"]" * 127 + b"}",
    '{"ключ": "值 😀"}'.encode(),
]


@pytest.mark.parametrize("body", GOOD)
def test_what_every_parser_shares_is_read(body: bytes) -> None:
    assert reading.load(body) == json.loads(body)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans())
def test_every_plain_object_reads_as_itself(value: dict[str, object], escaped: bool) -> None:
    assert reading.load(json.dumps(value, ensure_ascii=escaped).encode("utf-8")) == value


@given(st.binary(max_size=60))
def test_any_bytes_give_an_object_or_a_refusal(body: bytes) -> None:
    try:
        assert isinstance(reading.load(body), dict)
    except Unreadable:
        pass


@given(st.dictionaries(st.text(min_size=1), st.integers(), min_size=1, max_size=5), st.data())
def test_a_key_that_is_sent_twice_is_always_found(value: dict[str, int], data: st.DataObject) -> None:
    twice = data.draw(st.sampled_from(sorted(value)))
    body = json.dumps(value)[:-1] + f", {json.dumps(twice)}: 0}}"
    assert refused(f'{{"outer": [{body}]}}'.encode()).code == "json.duplicate_key"


def test_hostile_bodies_are_refused_in_one_pass() -> None:
    keys = ", ".join(f'"{place}": 0' for place in range(100_000))
    assert refused(f'{{{keys}, "7": 1}}'.encode()).code == "json.duplicate_key"
    assert refused(b'{"a": "' + b"\\n" * 500_000 + b'\\ud800"}').code == "json.surrogate"
    assert reading.load(b'{"a": "' + b"\\n" * 500_000 + b'\\ud83d\\ude00"}')["a"].endswith("😀")


@pytest.mark.parametrize("filling", [b"[],", b"1,"], ids=["lists", "numbers"])
def test_a_body_made_of_values_is_refused_before_it_is_parsed(filling: bytes) -> None:
    body = b'{"x":[' + filling * (reading.MAX_COMMAS + 1) + b"1]}"
    with pytest.raises(Unreadable) as refused:
        reading.load(body)
    assert (refused.value.code, refused.value.answer) == ("json.too_many_values", Answer.TOO_LARGE)


def test_a_long_text_full_of_commas_and_brackets_is_read() -> None:
    assert reading.load(b'{"x":"' + b"[a, b]" * 100_000 + b'"}')["x"].startswith("[a, b]")
