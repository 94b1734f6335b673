"""Shell text -> simple commands: a table by construct, and totality."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.core.policy.shell import commands, expanding, inner, tree
from agentd.core.policy.shell.marks import spoken
from agentd.core.policy.shell.reading import MAX_BYTES, MAX_DEPTH, from_argv, parse
from agentd.core.policy.shell.script import Unread
from agentd.core.policy.shell.unwrap import read_text

_ = (commands, expanding, inner, tree)  # parts of the reader that have no face of their own


def said(text: str) -> list[str]:
    """Each command as its words, each unreadable thing as its kind."""
    script = parse(text)
    return [
        f"!{item.kind}" if hasattr(item, "kind") else " ".join(spoken(word.shape) for word in item.words)
        for item in script.items
    ]


BY_CONSTRUCT = [
    ("ls -l", ["ls -l"]),
    ("a; b && c || d & e", ["a", "b", "c", "d", "e"]),
    ("a\nb # c\nd", ["a", "b", "d"]),
    ("a | b |& c", ["a", "b", "c"]),
    ("(a; b) && { c; }", ["a", "b", "c"]),
    ("! a", ["a"]),
    ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
    ("while a; do b; done; until c; do d; done", ["a", "b", "c", "d"]),
    ("for i in x y; do a $i; done", ["", "a …"]),
    ("for ((i=0; i<3; i++)); do a; done", ["a"]),
    ("case $x in y|z) a;; *) b;; esac", ["a", "b"]),
    ("f() { a; }; f", ["a", "f"]),
    ("function g { a; }", ["a"]),
    ("[ -f x ] && [[ -d y ]]", ["[ -f x ]", "[[ -d y ]]"]),
    ('echo "$(a "$(b)")" `c`', ["b", "a …", "c", "echo … …"]),
    ("diff <(a) >(b)", ["a", "b", "diff <(…) <(…)"]),
    ("x=$(a) y=1", ["a", ""]),
    ("export A=b", ["export A=b"]),
    ("a=(1 $(b))", ["b", ""]),
    ("echo $((1 + $(a)))", ["a", "echo …"]),
    ("((i++))", ["(("]),
    ("cat <<E\n$(a) $x\nE\nc", ["a", "cat", "c"]),
    ("cat <<'E'\n$(a)\nE", ["cat"]),
    ("cat <<E | a && b\nx\nE", ["cat", "a", "b"]),
    ("cat <<< $(a)", ["a", "cat"]),
    ("python3 - <<'E'\nx\nE", ["python3 -"]),
    ("a $(< f)", ["", "a …"]),
    ("time a", ["time a"]),
    ("time (a)", ["a", "time"]),
    ("${x:=a} b", ["", "… b"]),
    ("a x`b`y", ["b", "a x…y"]),
    ("a > f b", ["a b"]),
    ("echo \\\n b", ["echo b"]),
]


@pytest.mark.parametrize(("text", "commands_"), BY_CONSTRUCT, ids=[text for text, _ in BY_CONSTRUCT])
def test_a_construct(text: str, commands_: list[str]) -> None:
    assert said(text) == commands_


@pytest.mark.parametrize(
    "text",
    [
        "if a",
        "a )",
        "'",
        '"$(a',
        "for\\\nbid x",
        "cat <<E\nnever",
        "a <(",
        "if",
        "} b",
        "ls (x)",
        "cat <<A <<B\nx\nA\ny\nB",
        "exec 3<>f",
        "cat <<E\n`a`\nE",
        "((a); b)",
        "$((a) )",
        "a &&",
        "{fd}>x rm y",
        "echo ${x@P}",
        'echo `a "b \\"c\\""`',
    ],
)
def test_what_cannot_be_read_is_said(text: str) -> None:
    assert parse(text).opaques


@pytest.mark.parametrize("char", ["\0", "\r", "\x0b", "\x0c", "\u00a0", "\u2028", "\u3000", "\ud800", "\uf8f2", "\x1b"])
def test_a_character_that_readers_take_differently(char: str) -> None:
    (item,) = parse(f"ls{char}x").items
    assert item.kind is Unread.CONTROL


def test_too_long_and_too_deep() -> None:
    assert [item.kind for item in parse("a" * (MAX_BYTES + 1)).items] == [Unread.SIZE]
    assert [item.kind for item in parse("ä" * (MAX_BYTES // 2 + 1)).items] == [Unread.SIZE]
    deep = "( " * (MAX_DEPTH + 5) + "a" + " )" * (MAX_DEPTH + 5)
    assert Unread.DEPTH in [item.kind for item in parse(deep).opaques]
    nested = "a"
    for _ in range(MAX_DEPTH + 5):
        nested = f"$({nested})"
    assert parse(nested).opaques


def test_a_long_list_is_no_depth() -> None:
    script = parse(" && ".join(["true"] * 5000))
    assert len(script.simples) == 5000
    assert not script.opaques


@pytest.mark.parametrize(
    "text",
    [
        "echo " + "{" * 60_000,
        "echo " + "{a}" * 40_000,
        "echo " + "x{a,b}" * 20_000,
        "cat <<E\nx\nE\n" * 10_000,
        "x " * 60_000,
        "'" * 100_001,
        "[" * 100_000,
        "$(" * 60_000,
        "a " + "{b,c}" * 20,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_takes_for_ever(text: str) -> None:
    assert read_text(text).items


def test_argv_is_one_command() -> None:
    script = from_argv(["rm", "$x; ls", "*"])
    assert [word.value for word in script.simples[0].words] == ["rm", "$x; ls", "*"]
    assert from_argv([]).opaques
    assert from_argv(["a\0b"]).opaques
    assert from_argv(["\udcff"]).opaques


def test_a_function_that_is_surely_defined() -> None:
    sure = parse("f() { a; }; f").simples[-1]
    unsure = parse("x && f() { a; }; f").simples[-1]
    inside = parse("(f() { a; }); f").simples[-1]
    assert (sure.function, unsure.function, inside.function) == (True, False, False)


def test_arithmetic_runs_what_quotes_hide() -> None:
    assert parse("x='a[$(id)]'; echo $((x))").opaques
    assert not parse("x=1; echo $((x))").opaques


def test_redirections_and_assignments() -> None:
    (command,) = parse("A=1 B=~/x a <in >out 2>>err 2>&1 &>all").items
    assert [(each.name, spoken(each.value.shape)) for each in command.assigns] == [("A", "1"), ("B", "~/x")]
    assert [(each.operator, each.target.shape) for each in command.redirects] == [
        ("<", "in"),
        (">", "out"),
        (">>", "err"),
        ("&>", "all"),
    ]


def test_spans_are_bytes() -> None:
    script = parse("echo ä; rm b")
    start, end = script.simples[1].where.span.start, script.simples[1].where.span.end
    assert "echo ä; rm b".encode()[start:end] == b"rm b"


PIECES = st.sampled_from(
    "a b ' \" ` $ $( ) ( { } ; & | && || < > << <<< <<- \n \\ # = [ ] [[ ]] (( )) if then fi for in do done case "
    "esac while x=1 ${ EOF * ? ~ ! - $x $' 2> &> <( >( $(( function time".split(" ")
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join)
    )
)
def test_every_text_has_an_answer(text: str) -> None:
    script = parse(text)
    assert script.items or not text.strip() or text.strip().startswith("#") or not text.strip(" \t\n;&\\")
