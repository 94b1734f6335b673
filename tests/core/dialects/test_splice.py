"""Values that agentd does not own keep their very bytes."""

import json

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects import splice

SPACED = b'{ "b" : [1, 2.50,\t"\\u0041"] ,"a":{"z" : 1,"y":-0.0}\n, "c": "\xd0\xb6\\n" }'


def test_members_are_cut_as_they_are_written_and_in_order() -> None:
    assert splice.members(SPACED) == {"b": b'[1, 2.50,\t"\\u0041"]', "a": b'{"z" : 1,"y":-0.0}', "c": b'"\xd0\xb6\\n"'}
    assert list(splice.members(SPACED)) == ["b", "a", "c"]


def test_own_values_take_the_clients_place_or_the_end() -> None:
    spliced = splice.overlay(splice.members(SPACED), {"a": b"1", "new": b"[]"})
    assert spliced == b'{"b":[1, 2.50,\t"\\u0041"],"a":1,"c":"\xd0\xb6\\n","new":[]}'


def test_items_go_by_their_place() -> None:
    assert splice.without(b'[ {"a": 1}, 2 ,[ 3 ] ]', frozenset({1})) == b'[{"a": 1},[ 3 ]]'
    assert splice.without(b"[1]", frozenset({0})) == b"[]"


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=6), st.booleans())
def test_cutting_and_joining_changes_no_value(value: dict[str, object], escaped: bool) -> None:
    body = json.dumps(value, ensure_ascii=escaped, indent=1).encode()
    assert json.loads(splice.object_of(splice.members(body))) == value
    assert list(splice.members(body)) == list(value)
