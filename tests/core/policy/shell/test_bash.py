"""Bash itself as the judge of the reading: whatever it runs stands in the list, or the list says that something could not be
read.

Every program is unknown to this bash, so that it calls its own `command_not_found_handle`, which notes the arguments and runs
nothing; what a redirection writes lands in a directory of the test.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.core.policy.shell.marks import ANY_MARK, GLOBS, HERE, HOME
from agentd.core.policy.shell.reading import parse
from agentd.core.policy.shell.script import Script, Simple, Word
from agentd.core.policy.shell.unwrap import read_text
from agentd.core.policy.shell.words import read_word

BASH = shutil.which("bash") or ""
pytestmark = pytest.mark.skipif(not BASH, reason="bash is not installed")

NOTE = r"""command_not_found_handle() { printf '%s\0' "$@" $'\x01' >&7; return 0; }"""
ENVIRONMENT = {"PATH": "/nowhere", "HOME": "/home/x", "LC_ALL": "C.UTF-8"}


def ran(text: str, cwd: Path) -> list[list[str]]:
    """The arguments of every program that bash would have run."""
    noted_read, noted_write = os.pipe()
    try:
        subprocess.run(
            [BASH, "--norc", "-c", f"{NOTE}\n{text}"],
            cwd=cwd,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            preexec_fn=lambda: os.dup2(noted_write, 7),
            close_fds=False,
        )
    finally:
        os.close(noted_write)
    with os.fdopen(noted_read, "rb") as noted:
        raw = noted.read().decode(errors="replace")
    return [call.split("\0")[:-1] for call in raw.split("\x01\0") if call]


def covers(simple: Simple, argv: list[str]) -> bool:
    """Whether a command as it was read may become these arguments."""
    pattern = "\0".join(map(_pattern, simple.words))
    return re.fullmatch(pattern.replace("\0(?:.*)", "(?:\0.*)?"), "\0".join(argv), re.DOTALL) is not None


def _pattern(word: Word) -> str:
    if word.many:
        return "(?:.*)"
    known = word.shape.replace(HOME, "/home/x").replace(HERE, os.curdir)
    return "".join(".*" if ANY_MARK.match(char) else re.escape(char) for char in known)


def missed(script: Script, calls: list[list[str]]) -> list[list[str]]:
    return [argv for argv in calls if not any(covers(simple, argv) for simple in script.simples if simple.words)]


WORDS = st.sampled_from(
    [
        "p",
        "q",
        "evil",
        "'a b'",
        '"c d"',
        "e\\ f",
        "$v",
        '"$v"',
        "${v}",
        "$(evil)",
        '"$(p q)"',
        "`q`",
        "{p,q}",
        "x{1,2}y",
        "a=b",
        "-f",
        "$'\\x65vil'",
        '""',
        "'$(evil)'",
        '"\\$(evil)"',
        "\\$v",
        "#c",
        "a#b",
        "*",
        "[z]",
        "~",
        "<(q)",
        "$((1+1))",
        "$((1+$(q)))",
        "e'v'il",
        '"a`q`b"',
        "{p",
        "p}",
        "!",
        "1",
        "2",
        "a\\\nb",
        "-",
        "--",
        "%",
        "@",
        "+",
        "=",
        "^",
        ":",
        ",",
        "a,b",
        "{a,'b c'}",
        "{}",
        "$",
        "a$",
        "${v:-$(evil)}",
        "${v:-evil}",
        "if",
        "done",
        "in",
    ]
)
REDIRECTS = st.sampled_from(
    [
        "2>&1",
        "</dev/null",
        "<<<x",
        "<<< $(q)",
        "2</dev/null p",
        "<<E\n$(q) x\nE\n",
        "<<'E'\n$(evil)\nE\n",
        "<<-E p\n\ta\n\tE\n",
        ">&2",
        "3<&0",
    ]
)
SIMPLE = st.builds(
    lambda words, redirect: " ".join([*words, *redirect]),
    st.lists(WORDS, min_size=1, max_size=4),
    st.lists(REDIRECTS, max_size=1),
)
FORMS = st.sampled_from(
    [
        "{0}; {1}",
        "{0} && {1}",
        "{0} || {1}",
        "{0} | {1}",
        "({0}; {1})",
        "{{ {0}; {1}; }}",
        "if {0}; then {1}; fi",
        "for v in {0}; do {1}; done",
        "case x in y) {0};; *) {1};; esac",
        "! {0}",
        "f() {{ {0}; }}; f",
        "{0} &\n{1}",
        "{0}\n{1}",
        "eval '{0}'",
        'echo $({0}) "$({1})"',
        "echo `{0}`",
        "{0} #{1}",
        "while {0}; do {1}; break; done",
        "time {0}",
        "[[ -n $({0}) ]] && {1}",
        "(({0}))",
        "v=$({0}) {1}",
        "v={0} {1}",
        "cat <<E\n$({0})\nE\n{1}",
        "\\\n{0}",
        "{0};{1}",
        "{0}&&{1}",
        "{0}|{1}",
        "coproc {0}",
        "{0} \\\n{1}",
        "select v in a; do {0}; break; done",
        "[ {0} ] || {1}",
        "exec {0}",
        "command {0}",
        "v[0]={0} {1}",
        "v=({0}) {1}",
        "{0} >&2{1}",
        "2>&1{0}",
    ]
)
TEXTS = st.recursive(
    SIMPLE, lambda inner: st.builds(lambda form, a, b: form.format(a, b), FORMS, inner, inner), max_leaves=6
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(TEXTS)
def test_what_bash_runs_was_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    script = read_text(text)
    if script.opaques:
        return
    calls = ran(text, tmp_path_factory.getbasetemp())
    assert missed(script, calls) == []


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab\\'\"{},~ $#!*?[]-=:/\n", min_size=1, max_size=10))
def test_static_words_are_what_bash_makes_of_them(text: str) -> None:
    script = parse(f"printf {text}")
    if script.opaques or len(script.items) != 1 or any(word.value is None for word in script.simples[0].words):
        return
    words = [word.value for word in script.simples[0].words]
    done = subprocess.run(
        [BASH, "-f", "-c", f"set -- {text}\nprintf '%s\\0' printf \"$@\""],
        env=ENVIRONMENT,
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode().split("\0")[:-1] == words


@settings(max_examples=150, deadline=None)
@given(st.one_of(TEXTS, st.text(alphabet="ab;|&(){}<>$'\"`\n #!=[]", max_size=12)))
def test_what_bash_cannot_parse_is_not_read(text: str) -> None:
    done = subprocess.run([BASH, "-n", "-c", text], env=ENVIRONMENT, capture_output=True, check=False)
    if done.returncode != 0 and b"syntax error" in done.stderr:
        assert parse(text).opaques


def test_the_oracle_notes_what_runs(tmp_path: Path) -> None:
    assert ran("p 'a b' $(q)", tmp_path) == [["q"], ["p", "a b"]]
    assert missed(parse("p x"), [["p", "y"]]) == [["p", "y"]]


def test_a_word_alone() -> None:
    assert [word.value for word in read_word("a{b,c}d")] == ["abd", "acd"]
    assert read_word("*")[0].shape == GLOBS[0]
