"""Text on its way to a terminal: whatever it is, it cannot steer one."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.shown import UNSAFE
from agentd.ctl.text import EMPTY, bar, cell, clean, columns


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("größer 日本 🙂", "größer 日本 🙂"),
        ("a\nb", "a\\nb"),
        ("a\rb\tc", "a\\rb\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f\x00", "\\x7f\\x00"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("a\u2028b", "a\\u2028b"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud83d", "\\ud83d"),
        ("a\u00adb", "a\\xadb"),
        (41, "41"),
    ],
)
def test_clean(text: object, shown: str) -> None:
    assert clean(text) == shown


@given(st.text(st.characters(codec=None)))
def test_nothing_unsafe_is_left_and_harmless_text_is_left_alone(text: str) -> None:
    shown = clean(text)
    assert not any(unicodedata.category(char) in UNSAFE for char in shown)
    assert clean(shown) == shown
    shown.encode()


@pytest.mark.parametrize(("value", "shown"), [(None, EMPTY), ("", EMPTY), (0, "0"), ("a\tb", "a\\tb")])
def test_cell(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_columns_stand_under_each_other() -> None:
    assert columns([["a", "bb", "1"], ["aaa", "b", "22"]], right=frozenset({2})) == ["a    bb   1", "aaa  b   22"]
    assert columns([["a", "b"]], least=(4,)) == ["a     b"]
    assert columns([]) == []


def test_no_line_ends_in_blanks() -> None:
    assert columns([["a", ""], ["b", "c"]]) == ["a", "b  c"]


BARS = {
    (0, 10): "····   0 %",
    (5, 10): "██··  50 %",
    (10, 10): "████ 100 %",
    (25, 10): "████ 250 %",
    (1, 0): "████ 100 %",
    (-5, 10): "···· -50 %",
}


@pytest.mark.parametrize(("use", "shown"), BARS.items())
def test_bar(use: tuple[int, int], shown: str) -> None:
    assert bar(*use, width=4) == shown
