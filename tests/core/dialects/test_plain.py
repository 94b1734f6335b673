"""The quick reading takes nothing that the strict one would refuse or read otherwise, and does take what clients send."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.core.dialects import plain, reading
from agentd.core.types.errors import Unreadable
from core.dialects.test_reading import BAD, GOOD

TALK = {
    "model": "m",
    "messages": [
        {"role": "user", "content": 'Say "x": y, or "z" : \\, é 😀\n\x1b'},
        {"role": "assistant", "tool_calls": [{"function": {"arguments": json.dumps({"a": json.dumps({"b": "\\"})})}}]},
    ],
    "temperature": 0.7,
    "seed": -3,
    "stream": True,
    "stop": None,
    "odd\\": {"key:": [], '":': {}, "": [[]]},
}


def strict(body: bytes) -> object:
    """What the strict reading says: the value, or a refusal's code."""
    try:
        return reading._strict(body)
    except Unreadable as error:
        return error.code


WAYS: list[dict[str, Any]] = [
    {"separators": (",", ":"), "ensure_ascii": False},
    {"ensure_ascii": False},
    {},
    {"indent": 2},
    {"indent": "\t", "separators": (" ,", " : ")},
]


@pytest.mark.parametrize("way", WAYS)
def test_what_clients_write_is_read_quickly(way: dict[str, Any]) -> None:
    body = json.dumps(TALK, **way).encode()
    assert plain.read(body) == TALK == strict(body)


LEFT = [
    b'{"a":1,"a":1}',
    b'{"a":1,"\\u0061":2}',
    b'{"a":{"x":[{"b":1,"b":2}]}}',
    b'{"a":1,"a":2,"b" :3}',  # white space in front of a colon hides no key
    b'{"a":1,"a":2,"b"\t\n\r :3}',
    b'{"a":1,"a":2,"b":"\\u003ax"}',  # nor does an escaped colon make one
    b'{"a":1,"a":2,"b\\\\":3}',  # nor does a backslash at a key's end pass for an escaped quote
    b'{"a":1,"a":2,"b":"\\":"}',
    b'{"a":1,"a":2,"b' + b"\\\\" * 6 + b'":3}',
    b'{"a":1,"a":2,"b' + b"\\" * 13 + b'":3","c":1}',
    b'{"a":' + b"[" * 128 + b"]" * 128 + b"}",
    b'{"a":' + b"9" * 41 + b"}",
    b'{"a":-' + b"9" * 40 + b"}",
    b'{"a":' + b"9" * 5_000 + b"}",
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b"[]",
]


@pytest.mark.parametrize("body", [*LEFT, *(body for body, _, _ in BAD)])
def test_what_is_in_doubt_is_left_to_the_strict_reading(body: bytes) -> None:
    assert plain.read(body) is None
    assert isinstance(strict(body), str)


@pytest.mark.parametrize("body", [*GOOD, b'{"a":' + b"9" * 40 + b',"b":-' + b"9" * 39 + b',"c":-0,"d":-0.0,"e":1E5}'])
def test_what_every_parser_shares_is_read_quickly_and_alike(body: bytes) -> None:
    assert repr(plain.read(body)) == repr(strict(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ":-)", "b": "\\u003a"}',  # a text that begins with a colon may be a key, to a count
        b'{"a": "\\u0041' + b"\\\\" * 5 + b'\\":"}',
    ],
)
def test_a_body_that_only_looks_odd_is_still_read(body: bytes) -> None:
    assert plain.read(body) is None
    assert reading.load(body) == json.loads(body)


def test_a_row_of_backslashes_is_searched_once() -> None:
    body = b'{"\\u0061":"' + b"\\" * 2_000_000 + b'"}'
    assert plain.read(body) == {"a": "\\" * 1_000_000}


SPACE = st.sampled_from(["", "", "", " ", "\n", "\t", "  \r\n"])
LETTER = st.sampled_from(
    ["a", "b", ":", ",", "{", "}", " ", "é", "😀", "/", '\\"', "\\\\", "\\/", "\\n", "\\t", "\\u0061", "\\u003A"]
    + ["\\u0022", "\\u005c", "\\u00e9", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\x", "\x01", "\x7f", '"', "\\"]
)
NICE = st.sampled_from(["a", "b", ":", " ", "é", '\\"', "\\\\", "\\u0061", "\\u003a", "\\u0022"])
TEXT = st.lists(NICE, max_size=4).map(lambda letters: '"' + "".join(letters) + '"')
ANY_TEXT = st.lists(LETTER, max_size=4).map(lambda letters: '"' + "".join(letters) + '"')
NUMBER = st.sampled_from(
    [
        "0",
        "-0",
        "-0.0",
        "1",
        "01",
        "1.",
        "1e5",
        "1E+5",
        "1e-400",
        "1e400",
        "-1e999",
        "0.1",
        "NaN",
        "Infinity",
        "-",
        "+1",
    ]
    + [str(2**63), str(2**64), str(-(2**63) - 1), "9" * 40, "9" * 41, "-" + "9" * 39, "-" + "9" * 40, "1" + "0" * 40]
)
SOUND = st.sampled_from(["0", "-7", "1.5", "true", "null", "1e3", str(2**64)])


def wrapped(inner: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Lists and objects as text: any spacing, keys that may occur twice."""
    item = st.tuples(SPACE, inner, SPACE).map("".join)
    pair = st.tuples(SPACE, keys, SPACE, st.just(":"), SPACE, inner, SPACE).map("".join)
    return st.lists(item, max_size=3).map(lambda items: f"[{','.join(items)}]") | objects(pair)


def objects(pair: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(pair, max_size=4).map(lambda pairs: "{" + ",".join(pairs) + "}")


def documents(leaf: st.SearchStrategy[str], keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    tree = st.recursive(leaf, lambda inner: wrapped(inner, keys), max_leaves=8)
    return objects(st.tuples(SPACE, keys, SPACE, st.just(":"), SPACE, tree).map("".join))


@given(documents(TEXT | SOUND, TEXT) | documents(ANY_TEXT | NUMBER, ANY_TEXT))
@example('{"a":1,"a":2,"b" :3}')
@example('{"a":1,"a":2,"b\\\\":3}')
def test_both_readings_agree_on_whatever_is_sent(text: str) -> None:
    body = text.encode()
    quick = plain.read(body)
    assert quick is None or repr(quick) == repr(strict(body))


@given(documents(TEXT | SOUND, st.integers(0, 9).map('"k{}"'.format)), st.integers(0, 10**6), st.binary(max_size=2))
def test_both_readings_agree_on_damaged_bodies(text: str, place: int, bytes_: bytes) -> None:
    raw = text.encode()
    cut = place % (len(raw) + 1)
    body = raw[:cut] + bytes_ + raw[cut + len(bytes_) :]
    quick = plain.read(body)
    assert quick is None or repr(quick) == repr(strict(body))
