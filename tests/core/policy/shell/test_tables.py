"""The tables hang together: options read, names known, families matched."""

import pytest

from agentd.core.policy.shell import facts, git, helpers, judge, marks, paths, places, readers, rules, script, words
from agentd.core.policy.shell.environment import dangerous
from agentd.core.policy.shell.options import canonical, read, spec
from agentd.core.policy.shell.programs import PROGRAMS, SAME, program_of
from agentd.core.policy.shell.script import Word
from agentd.core.policy.shell.sed import read_sed
from agentd.core.policy.shell.wrappers import WRAPPERS

_ = (facts, git, helpers, judge, marks, paths, places, readers, rules, script, words)


@pytest.mark.parametrize(
    "spelling", ["-rf", "-r -f", "-fr", "--recursive --force", "--recurs --fo", "-Rf", "-r --force", "-f x -r", "-rvf"]
)
def test_flags_in_any_spelling(spelling: str) -> None:
    given = read([Word("rm"), *map(Word, spelling.split())], PROGRAMS["rm"].options).given
    assert {"--recursive", "--force"} <= {each.name for each in given}


def test_two_dashes_end_options() -> None:
    arguments = read([Word("rm"), Word("--"), Word("-rf")], PROGRAMS["rm"].options)
    assert (arguments.given, [word.shape for word in arguments.operands]) == ((), ["-rf"])


@pytest.mark.parametrize("text", ["-ofile", "-o file", "--output=file", "--output file", "--out file", "-no file"])
def test_values_in_any_spelling(text: str) -> None:
    arguments = read([Word("x"), *map(Word, text.split())], spec("o/output= n"))
    value = arguments.value("--output")
    assert value is not None
    assert value.shape == "file"


def test_a_prefix_that_fits_two_is_none() -> None:
    options = spec("color= colour= f/force")
    assert canonical(options, "--col") == "--col"
    assert canonical(options, "--fo") == "--force"


def test_every_other_name_has_its_program() -> None:
    assert {name for name in SAME.values() if name not in PROGRAMS} == set()
    assert program_of("python3.11") is PROGRAMS["python"]
    assert set(WRAPPERS) >= {"env", "xargs", "sudo", "timeout", "flock", "docker"}


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "ld_audit", "BASH_ENV", "GIT_SSH_COMMAND", "PYTHONPATH", "https_proxy"]
)
def test_a_dangerous_variable(name: str) -> None:
    assert dangerous(name)


@pytest.mark.parametrize("name", ["A", "DEMO", "LANG", "GIT_AUTHOR_NAME", "IFS"])
def test_a_harmless_variable(name: str) -> None:
    assert not dangerous(name)


@pytest.mark.parametrize(
    ("program", "runs", "files"),
    [
        ("s/a/b/g", False, ()),
        ("1,10p;$!d", False, ()),
        ("/a/,/b/{s|x|y|;p}", False, ()),
        (":a;N;$!ba;s/\\n/,/g", False, ()),
        ("s/a/b/e", True, ()),
        ("1e id", True, ()),
        ("e", True, ()),
        ("s/x/y/w out", False, ("out",)),
        ("w /etc/x", False, ("/etc/x",)),
        ("a e text", False, ()),
        ("s/a", True, ()),
        ("\\,a,d", False, ()),
        ("y/abc/xyz/", False, ()),
        ("#e\np", False, ()),
        ("s/e;e/b/", False, ()),
    ],
)
def test_sed(program: str, runs: bool, files: tuple[str, ...]) -> None:
    facts_ = read_sed(program)
    assert (facts_.runs, facts_.files) == (runs, files)
