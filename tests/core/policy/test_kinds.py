"""The kinds of values: what they ask for, in words that stand in faults."""

import pytest

from agentd.core.policy.kinds import (
    Account,
    Choice,
    Day,
    Flag,
    Key,
    Kind,
    ListOf,
    MapOf,
    Money,
    Number,
    Rate,
    Record,
    Ref,
    Span,
    Text,
)

WORD = Text("a word")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (WORD, "a word"),
        (Number(1, 2), "a whole number"),
        (Money(), "an amount in US dollars, like 2.50"),
        (Rate(), "US dollars per million tokens, like 0.25"),
        (Span(1, 2), "a duration like 60s, 5m, 2h or 7d"),
        (Day(), "a date like 2027-06-30"),
        (Flag(), "true or false"),
        (Choice(("a", "b")), "one of a, b"),
        (Ref("tiers"), "the name of an entry of `tiers`"),
        (Account(), "a user id, a user name, or `self` (whoever runs agentd)"),
        (Account(group=True), "a group id or group name"),
        (ListOf(WORD), "a list, each entry a word"),
        (MapOf(WORD), "a map of names"),
        (Record("x", (Key("a", WORD, "", ""), Key("b", WORD, "", ""))), "a map with keys of a, b"),
    ],
)
def test_words(kind: Kind, words: str) -> None:
    assert kind.words == words


def test_a_record_knows_its_keys() -> None:
    key = Key("a", WORD, "", "")
    record = Record("x", (key,))
    assert record.key("a") is key
    assert record.key("b") is None
