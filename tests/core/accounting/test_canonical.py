"""One line, one spelling: whatever can be written is read back the same, and what has no single spelling is refused."""

import json
from collections import UserString
from decimal import Decimal
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting import canonical as c
from agentd.core.types.records import LINE_FIELDS, Kind, Line

AT = "2026-11-25T10:00:00.000000Z"
PREV = "0" * 64

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(c.INT_MIN, c.INT_MAX) | TEXT
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
MAPS = st.dictionaries(TEXT, TREES, max_size=6)


class Word(StrEnum):
    YES = "yes"


@given(MAPS)
def test_what_is_written_is_read_back(record):
    assert json.loads(c.canonical(record)) == record


@given(MAPS, st.randoms())
def test_the_order_of_keys_does_not_matter(record, chance):
    names = list(record)
    chance.shuffle(names)
    assert c.canonical({name: record[name] for name in names}) == c.canonical(record)


@given(MAPS)
def test_reading_and_writing_again_changes_no_byte(record):
    body = c.canonical(record)
    assert c.canonical(json.loads(body)) == body


@given(MAPS)
def test_the_bytes_are_those_of_sorted_compact_json(record):
    plain = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert json.loads(c.canonical(record)) == json.loads(plain)
    assert len(c.canonical(record)) <= len(json.dumps(record, separators=(",", ":")).encode())


@given(st.text(st.characters(), max_size=20))
def test_any_text_has_bytes_even_with_halves_of_surrogate_pairs(text):
    body = c.canonical({"a": text})
    assert json.loads(body)["a"] == text.replace("\0", "\\u0000").encode("utf-8", "backslashreplace").decode()
    assert c.visible(c.visible(text)) == c.visible(text)


def test_nul_stays_visible():
    assert json.loads(c.canonical({"a": "x\0y"})) == {"a": "x\\u0000y"}


def test_half_a_surrogate_pair_stays_visible():
    assert json.loads(c.canonical({"a": {"k\udc01": "x\ud800y"}})) == {"a": {"k\\udc01": "x\\ud800y"}}


def test_subclasses_of_plain_types_are_written_plainly():
    assert c.canonical({"a": Word.YES, "b": (True, False)}) == b'{"a":"yes","b":[true,false]}'


def nested(depth):
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("value", "where", "words"),
    [
        (1.0, "a", "float"),
        (float("nan"), "a", "float"),
        ({"b": [0, 2.5]}, "a.b[1]", "float"),
        (Decimal(1), "a", "Decimal"),
        (b"x", "a", "bytes"),
        ({1, 2}, "a", "set"),
        (UserString("x"), "a", "UserString"),
        (object(), "a", "object"),
        ({1: "x"}, "a", "key of type int"),
        ({None: "x"}, "a", "key of type NoneType"),
        (1 << 63, "a", "64 bits"),
        (-(1 << 63) - 1, "a", "64 bits"),
        (nested(c.MAX_DEPTH + 1), "a" + "[0]" * c.MAX_DEPTH, "nested deeper"),
        ("x" * c.MAX_LINE_BYTES, "it", "bytes, more than"),
    ],
)
def test_what_has_no_single_spelling_is_refused_with_its_place(value, where, words):
    with pytest.raises(c.Uncanonical) as refused:
        c.canonical({"a": value})
    assert refused.value.code == "record.unwritable"
    assert f"{where} " in refused.value.message
    assert words in refused.value.message


def test_the_bounds_themselves_are_written():
    limits = {"a": [c.INT_MIN, c.INT_MAX], "b": nested(c.MAX_DEPTH)}
    assert json.loads(c.canonical(limits)) == limits


def test_a_line_has_every_field_but_its_own_digest():
    record = c.record_of(Line(kind=Kind.DECISION, at=AT, class_="routine"), 41, PREV)
    assert set(record) == set(LINE_FIELDS) - {"digest"}
    written = json.loads(c.canonical(record))
    assert (written["seq"], written["id"], written["prev"], written["class"]) == (41, "d-41", PREV, "routine")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_a_name_of_its_own(kind):
    names = {c.name_of(other, 7) for other in Kind}
    assert len(names) == len(Kind)
    assert c.name_of(kind, 7).endswith("-7")


def test_the_names_people_quote_are_short():
    assert [c.name_of(kind, 3) for kind in (Kind.DECISION, Kind.OUTCOME, Kind.ESCALATION)] == ["d-3", "o-3", "e-3"]
