"""What a name looks like to a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.shown import shown

TABLE = [
    ("plain name-1.txt", "plain name-1.txt"),
    ("héé", "héé"),
    ("a\nb", "a\\nb"),
    ("a\\nb", "a\\\\nb"),
    ("a\x1b[31mb", "a\\x1b[31mb"),
    ("a\u202egnp.exe", "a\\u202egnp.exe"),
    ("a\u200bb", "a\\u200bb"),
    ("a\u00a0b", "a\\xa0b"),
    ("\u3164", "\\u3164"),
    ("x\ufe0f", "x\\ufe0f"),
    ("\U000e0041", "\\U000e0041"),
    (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
]


@pytest.mark.parametrize(("name", "seen"), TABLE)
def test_names(name: str, seen: str) -> None:
    assert shown(name) == seen


@given(st.text(st.characters()))
def test_nothing_unseen_is_left(name: str) -> None:
    assert shown(name, 10**6).isprintable()


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_never_look_alike(first: str, second: str) -> None:
    assert (shown(first) == shown(second)) == (first == second)


def test_a_long_one_is_cut_in_the_middle() -> None:
    assert shown("a" * 50 + "z" * 50, 10) == "aaaaa … zzzzz"
