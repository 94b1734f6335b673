"""Leaves: what is taken, what is refused, in which words."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.kinds import Account, Choice, Day, Flag, Kind, ListOf, Money, Number, Rate, Ref, Span, Text
from agentd.core.policy.values import BadValue, read_value, shown
from agentd.core.types.documents import Mark, Scalar
from agentd.core.types.money import NUSD_PER_USD
from agentd.document import resolve
from policies import names

KEY = "sk-or-v1-" + "0" * 32


def scalar(text: str, *, plain: bool = True) -> Scalar:
    return Scalar(resolve(text, plain=plain), text, Mark(1, 1))


def read(kind: Kind, text: str, *, plain: bool = True) -> object:
    return read_value(kind, scalar(text, plain=plain), names())


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Text("a word"), "hello", "hello"),
        (Text("a word"), "12", "12"),
        (Text("a word", "[a-z]+"), "abc", "abc"),
        (Number(1, 10), "7", 7),
        (Number(1, 10), "0x0a", 10),
        (Money(), "10.00", 10 * NUSD_PER_USD),
        (Money(), "0.1", NUSD_PER_USD // 10),
        (Money(), "0.000000001", 1),
        (Money(), "0", 0),
        (Rate(), "0.50", "0.50"),
        (Rate(), "3", "3"),
        (Span(1, 3600), "60s", 60),
        (Span(1, 3600), "5m", 300),
        (Span(1, 9999), "1h", 3600),
        (Span(1, 90_000), "1d", 86_400),
        (Day(), "2027-06-30", date(2027, 6, 30)),
        (Flag(), "true", True),
        (Flag(), "false", False),
        (Choice(("a", "b")), "b", "b"),
        (Ref("tiers"), "low", "low"),
        (Account(), "0", 0),
        (Account(), "4294967294", 4294967294),
        (Account(), "self", 990),
        (Account(), "alice", 1001),
        (Account(group=True), "agents", 2001),
    ],
)
def test_good_values(kind: Kind, text: str, value: object) -> None:
    found = read(kind, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Text("a word"), "", "nothing stands here"),
        (Text("a word"), "~", "nothing stands here"),
        (Text("a word", "[a-z]+"), "ABC", '"ABC" is not a word'),
        (Text("a word", "[a-z]+"), "abc\n", '"abc\\x0a" is not a word'),
        (Text("a word", max_chars=3), "abcd", "it has 4 characters, 3 are the most"),
        (Number(1, 10), "11", "11 is outside 1 to 10"),
        (Number(1, 10), "1.5", '"1.5" is not a whole number'),
        (Number(1, 10), "true", '"true" is not a whole number'),
        (Number(1, 10), "1e1", '"1e1" is not a whole number'),
        (Money(), "-1", '"-1" is not an amount'),
        (Money(), "1e3", '"1e3" is not an amount'),
        (Money(), "$5", '"$5" is not an amount'),
        (Money(), "5 USD", '"5 USD" is not an amount'),
        (Money(), ".5", '".5" is not an amount'),
        (Money(), "5,00", '"5,00" is not an amount'),
        (Money(), "0.0000000001", '"0.0000000001" is not an amount'),
        (Money(), ".inf", '".inf" is not an amount'),
        (Money(), "1000000001", "1000000001 is more than 1,000,000,000"),
        (Rate(), "1000001", "1000001 is more than 1,000,000"),
        (Span(1, 3600), "60", '"60" is not a duration'),
        (Span(1, 3600), "1.5h", '"1.5h" is not a duration'),
        (Span(1, 3600), "2h", "2h is outside 1s to 3600s"),
        (Day(), "2027-02-30", '"2027-02-30" is not a date'),
        (Day(), "tomorrow", '"tomorrow" is not a date'),
        (Flag(), "yes", '"yes" is neither true nor false'),
        (Flag(), "1", '"1" is neither true nor false'),
        (Choice(("a", "b")), "c", '"c" is not known here'),
        (Account(), "bob", 'this machine has no user "bob"'),
        (Account(group=True), "self", 'this machine has no group "self"'),
        (Account(), "-1", "-1 is no id"),
        (Account(), "4294967295", "4294967295 is no id"),
        (Account(), "true", 'this machine has no user "true"'),
        (ListOf(Text("a word")), "abc", '"abc" stands where a list, each entry a word belongs'),
    ],
)
def test_bad_values(kind: Kind, text: str, message: str) -> None:
    with pytest.raises(BadValue) as bad:
        read(kind, text)
    assert bad.value.args[0] == message
    assert bad.value.hint


def test_a_quoted_blank_is_empty() -> None:
    with pytest.raises(BadValue, match="it is empty"):
        read(Text("a word"), "  ", plain=False)


def test_a_quoted_date_is_none_and_the_hint_says_so() -> None:
    with pytest.raises(BadValue) as bad:
        read(Day(), "2027-06-30", plain=False)
    assert "without quotes" in bad.value.hint


def test_a_fault_shows_no_secret_and_no_control_characters() -> None:
    assert shown(KEY) == '"[an OpenRouter key]"'
    assert shown("a\x1b[31m\u202e") == '"a\\x1b[31m\\x202e"'
    assert len(shown("x" * 500)) == 62


@given(st.integers(0, 10**18))
def test_money_is_exact(nano: int) -> None:
    text = f"{Decimal(nano) / NUSD_PER_USD:f}"
    assert read(Money(), text) == nano
