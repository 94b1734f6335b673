"""YAML text as a tree with places: what is read, what is refused, and where it is said to be."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.documents import Mapping, Mark, Node, Scalar, Sequence
from agentd.core.types.errors import Fault
from agentd.document import MAX_CHARS, MAX_DEPTH, MAX_NODES, read_document, resolve


def read(text: str) -> tuple[Node | None, tuple[Fault, ...]]:
    return read_document(text, "f.yaml")


def tree(text: str) -> Node:
    root, faults = read(f"{text}\n...\n")
    assert faults == ()
    assert root is not None
    return root


def faults(text: str) -> list[tuple[int, int, str]]:
    return [(fault.line, fault.column, fault.message) for fault in read(text)[1]]


def test_a_tree_knows_where_everything_stood() -> None:
    root = tree("a: 1\nb:\n  - x\n  - { c: 'd' }")
    assert isinstance(root, Mapping)
    assert root.mark == Mark(1, 1)
    (a, one), (b, items) = root.entries
    assert (a, one) == (Scalar("a", "a", Mark(1, 1)), Scalar(1, "1", Mark(1, 4)))
    assert isinstance(items, Sequence)
    assert (b.mark, items.mark) == (Mark(2, 1), Mark(3, 3))
    x, inner = items.items
    assert x == Scalar("x", "x", Mark(3, 5))
    assert isinstance(inner, Mapping)
    assert inner.get("c") == Scalar("d", "d", Mark(4, 10))
    assert inner.get("e") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("+7", 7), ("010", 10), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0),
        ("true", True), ("True", True), ("false", False), ("null", None), ("~", None), ("", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        ("1:30", "1:30"), ("1_000", "1_000"), ("0b1", "0b1"), (".inf", ".inf"), (".nan", ".nan"), ("1e9999", "1e9999"),
        ("2027-06-30", date(2027, 6, 30)), ("2027-02-30", "2027-02-30"), ("2027-6-30", "2027-6-30"),
        ("2027-06-30 10:00:00", "2027-06-30 10:00:00"), ("9" * 40, "9" * 40),
        ("9" * 40 + ".0", "9" * 40 + ".0"), ("1e999", "1e999"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_values_are_what_they_look_like(text: str, value: object) -> None:
    found = resolve(text, plain=True)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("quoted", ["'1'", '"true"', "'2027-06-30'", "'~'", "''"])
def test_what_is_quoted_is_text(quoted: str) -> None:
    root = tree(f"a: {quoted}")
    assert isinstance(root, Mapping)
    value = root.get("a")
    assert isinstance(value, Scalar)
    assert value.value == quoted[1:-1]


def test_keys_are_words_whatever_they_look_like() -> None:
    root = tree("1: a\ntrue: b\n2027-06-30: c")
    assert isinstance(root, Mapping)
    assert [key.value for key, _ in root.entries] == ["1", "true", "2027-06-30"]


def test_comments_blanks_and_block_texts_are_fine() -> None:
    root = tree("# first\n\na: |\n  one\n  two\n# last")
    assert isinstance(root, Mapping)
    assert root.get("a") == Scalar("one\ntwo\n", "one\ntwo\n", Mark(3, 4))


def test_tabs_and_unicode_columns_count_characters() -> None:
    assert faults('größe: "ü" x\n...\n')[0][:2] == (1, 12)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\na: 2\n...\n", 2, 1, "this key stands in line 1 already"),
        ("x: { b: 1, b: 2 }\n...\n", 1, 12, "this key stands in line 1 already"),
        ("a: &x 1\n...\n", 1, 4, "anchors and aliases are not read"),
        ("a: !!str 1\n...\n", 1, 4, "tags (`!`) are not read"),
        ("a: !!python/object/apply:os.system [x]\n...\n", 1, 4, "tags (`!`) are not read"),
        ("a: 1\n---\nb: 2\n...\n", 2, 1, "a second document begins here"),
        ("? [a]\n: 1\n...\n", 1, 3, "a map or list cannot be a key"),
        ("a: 1\n", 1, 1, "the file does not end with a line `...`"),
        ("a: 1\n..", 2, 1, "the file does not end with a line `...`"),
        ("a: 1\n...\nmore: 1\n", 3, 1, None),
        ("a: [1, 2\n...\n", 2, 1, None),
        ("a: b: c\n...\n", 1, 5, None),
        ("\ta: 1\n...\n", 1, 1, None),
        ('a: "x\n...\n', 2, 1, None),
        ("a: 1\n b: 2\n...\n", 2, 3, None),
        ("...\n", 1, 1, None),
        ("# nothing\n...\n", 2, 1, None),
        ("", 1, 1, "the file is empty"),
    ],
)
def test_faults_with_their_places(text: str, line: int, column: int, message: str | None) -> None:
    found = faults(text)
    assert found[0][:2] == (line, column)
    assert message is None or found[0][2] == message
    assert all(fault.hint for fault in read(text)[1])


def test_an_end_mark_may_be_followed_by_blanks() -> None:
    assert faults("a: 1\n...\n\n \n") == []
    assert faults("a: 1\n... \n") == []
    assert faults("a: 1\n...") == []


def test_reading_goes_on_after_a_fault() -> None:
    root, found = read("a: &x 1\nb: *x\na: 2\nc: !t 3\n")
    assert [fault.line for fault in found] == [1, 2, 3, 4, 4]
    assert isinstance(root, Mapping)
    assert [(key.text, node) for key, node in root.entries] == [
        ("a", Scalar(1, "1", Mark(1, 4))),
        ("b", Scalar(None, "", Mark(2, 4))),
        ("c", Scalar("3", "3", Mark(4, 4))),
    ]


def test_a_bomb_of_aliases_is_not_expanded() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    root, found = read("\n".join(lines) + "\n...\n")
    assert root is not None
    assert {fault.message for fault in found} == {"anchors and aliases are not read"}


@pytest.mark.parametrize("char", ["\u202e", "\u200b", "\ufeff", "\x00", "\x1b", "\x85", "\u2028", "\ud800", "\u2066"])
def test_what_cannot_be_seen_is_refused(char: str) -> None:
    found = faults(f"a: 1\nb: x{char}y\n...\n")
    assert found == [(2, 5, f"an invisible character (U+{ord(char):04X}) stands here")]


def test_what_yaml_itself_cannot_read_is_a_fault() -> None:
    assert faults("a: \ufffe\n...\n") == [(1, 1, "this is no YAML: ReaderError")]


def test_a_secret_is_found_anywhere_and_not_repeated() -> None:
    secret = "sk-or-v1-" + "0" * 40
    text = f"a: 1 # {secret}\n...\n"
    (fault,) = read(text)[1]
    assert (fault.line, fault.column, fault.message) == (1, 8, "this looks like an OpenRouter key")
    assert secret not in repr(fault)
    assert "agentctl key set" in fault.hint


def test_size_depth_and_number_are_bounded() -> None:
    assert faults("x" * (MAX_CHARS + 1))[0][2] == f"the file has {MAX_CHARS + 1} characters"
    assert read("x" * (MAX_CHARS + 1))[0] is None
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    assert "nested too deeply" in faults(f"{deep}\n...\n")[0][2]
    fine = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert faults(f"{fine}\n...\n") == []
    assert "too many values" in faults(f"[{'1,' * (MAX_NODES + 1)}]\n...\n")[0][2]
    assert read("[" * 100_000)[0] is None


@given(st.text(max_size=300))
def test_any_text_gives_a_tree_or_a_fault(text: str) -> None:
    root, found = read(text)
    assert root is not None or found


@given(st.text(alphabet="ab:-[]{},&*!|>'\"#?%@`\n ~.0123", max_size=120))
def test_any_punctuation_gives_a_tree_or_a_fault(text: str) -> None:
    root, found = read(text)
    assert root is not None or found
    assert all(fault.line >= 1 and fault.column >= 1 for fault in found)


@given(
    st.recursive(
        st.integers(-99, 99) | st.booleans() | st.text(alphabet="abc :#'\"\\{}[],\n", max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(alphabet="abc", min_size=1, max_size=4), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_json_is_read_back_as_it_is(value: object) -> None:
    import json

    assert plain(tree(json.dumps(value))) == value


def plain(node: Node | None) -> object:
    match node:
        case Mapping():
            return {key.text: plain(child) for key, child in node.entries}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar(value=value):
            return value
    return None
