"""Walking the tree: what is wrong is told where it stands, and the walk goes on."""

import pytest

from agentd.core.policy.kinds import MAX_LIST, Day, Flag, Key, ListOf, MapOf, Number, Record, Ref, Text
from agentd.core.policy.reading import Found, Reader, did_you_mean
from agentd.core.types.documents import Mark
from agentd.document import read_document
from policies import names

THING = Record(
    "things",
    (
        Key("name", Text("a word"), "", "name: x", required=True),
        Key("count", Number(1, 9), "", "count: 1"),
        Key("day", Day(), "", "day: 2026-01-01"),
        Key("big", Flag(), "", "big: true", default=False),
        Key("tags", ListOf(Text("a word")), "", "tags: [a]", default=("t",)),
        Key("friends", MapOf(Number(0, 9), ref="people"), "", "friends: {}", default={}),
        Key("of", Ref("people"), "", "of: ann"),
    ),
)
WHOLE = Record("file", (Key("things", MapOf(THING, low=1), "", "things: {}", required=True),))


def walk(text: str) -> tuple[Reader, Found | None]:
    root, faults = read_document(f"{text}\n...\n", "t.yaml")
    assert faults == ()
    assert root is not None
    reader = Reader(names())
    return reader, reader.read(WHOLE, root, "")


def said(text: str) -> list[tuple[int, int, str, str]]:
    reader, _ = walk(text)
    return [(fault.line, fault.column, fault.where, fault.message) for fault in reader.faults]


def test_values_come_with_their_places() -> None:
    reader, root = walk("things:\n  one: { name: n, count: 3, day: 2026-01-02, big: true, tags: [a, b], of: ann }")
    assert reader.faults == []
    assert root is not None
    one = root.entries("things")["one"]
    assert (one.text("name"), one.number("count"), one.flag("big")) == ("n", 3, True)
    assert (str(one.day("day")), one.texts("tags")) == ("2026-01-02", ("a", "b"))
    assert (one.mark, one.where) == (Mark(2, 3), "things.one")
    tag = one.items("tags")[1]
    assert (tag.word, tag.where, tag.mark) == ("b", "things.one.tags[1]", Mark(2, 67))
    assert [(section, found.word) for section, found in reader.refs] == [("people", "ann")]


def test_absent_values_are_nothing_or_their_default() -> None:
    _, root = walk("things:\n  one: { name: n }")
    assert root is not None
    one = root.entries("things")["one"]
    assert (one.number("count"), one.day("day"), one.text("of"), one.get("of")) == (None, None, "", None)
    assert (one.flag("big"), one.texts("tags"), one.entries("friends")) == (False, ("t",), {})
    assert (one.items("name"), one.entries("name"), one.number("name"), one.day("name")) == ((), {}, None, None)
    assert Found("leaf", Mark(1, 1), "x").get("y") is None


@pytest.mark.parametrize(
    ("text", "line", "column", "where", "message"),
    [
        ("things: {}", 1, 9, "things", "it has 0 entries"),
        ("other: 1\nthings: { a: { name: n } }", 1, 1, "other", '"other" is no key of file'),
        ("tools: 1\nthings: { a: { name: n } }", 1, 1, "tools", "`tools` is not enforced by this version"),
        ("things: { a: {} }", 1, 14, "things.a", "`name` is missing"),
        ("things: { a: }", 1, 14, "things.a", "nothing stands here"),
        ("things: { a: 3 }", 1, 14, "things.a", None),
        ("things: [a]", 1, 9, "things", "a list stands where a map of names belongs"),
        ("things: { a: { name: { x: 1 } } }", 1, 22, "things.a.name", "a map stands where a word belongs"),
        ("things: { a: { name: n, count: 10 } }", 1, 32, "things.a.count", "10 is outside 1 to 9"),
        ("things: { A: { name: n } }", 1, 11, "things.A", '"A" is no good name'),
        ("things: { a: { name: n, tags: [x, x] } }", 1, 35, "things.a.tags[1]", '"x" stands here twice'),
        ("things: { a: { name: n, tags: [x, ~] } }", 1, 35, "things.a.tags[1]", "nothing stands here"),
    ],
)
def test_faults(text: str, line: int, column: int, where: str, message: str | None) -> None:
    faults = said(text)
    assert [fault[:3] for fault in faults] == [(line, column, where)]
    assert message is None or faults[0][3] == message


def test_a_missing_section_is_told_at_the_top() -> None:
    assert said("{}") == [(1, 1, "", "`things` is missing")]


def test_lists_and_maps_are_bounded() -> None:
    tags = ", ".join(f"t{number}" for number in range(MAX_LIST + 1))
    assert said(f"things: {{ a: {{ name: n, tags: [{tags}] }} }}")[0][3] == f"it has {MAX_LIST + 1} entries"
    entries = ", ".join(f"t{number}: {{ name: n }}" for number in range(MAX_LIST + 1))
    assert said(f"things: {{ {entries} }}")[0][3] == f"it has {MAX_LIST + 1} entries"


def test_names_of_another_section_are_noted_not_judged() -> None:
    reader, _ = walk("things: { a: { name: n, friends: { Ann: 1 } } }")
    assert [(section, found.word, found.where) for section, found in reader.refs] == [
        ("people", "Ann", "things.a.friends.Ann")
    ]


def test_what_is_broken_is_not_absent() -> None:
    reader, root = walk("things: { a: { name: n, count: many }, ab: { name: n } }")
    assert root is not None
    assert reader.faulty(root.entries("things")["a"])
    assert not reader.faulty(root.entries("things")["ab"])


def test_hints_for_names() -> None:
    assert did_you_mean("lwo", ["low", "high"]) == "did you mean `low`?"
    assert did_you_mean("x", ["low", "high"]) == "known: low, high"
    assert did_you_mean("x", []) == "none is defined"
