"""Protected names, and how they are dressed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.files.names import fold, leads_to, pattern, protects

HELD = [
    ("**/.env", ".env"),
    ("**/.env", "a/b/.env"),
    ("**/.env", ".env/below"),
    (".env", "a/.ENV"),
    (".env", ".env."),
    (".env", ".env "),
    (".env", ".e\u200bnv"),
    (".env", "．ｅｎｖ"),
    (".env", ".ENV\u0301"),
    ("**/*.pem", "certs/server.PEM"),
    (".git/hooks/**", ".git/hooks"),
    (".git/hooks/**", "sub/.GIT/hooks/pre-commit"),
    (".git/hooks/**", ".g\u200cit/hooks/x"),
    ("/top/*.key", "top/a.key"),
    ("a/**/z", "a/z"),
    ("a/**/z", "x/a/b/c/z"),
    ("straße", "STRASSE"),
    (".vscode", ".vſcode"),
]
FREE = [
    ("**/.env", "env"),
    ("**/.env", ".environment"),
    ("**/*.pem", "pem"),
    (".git/hooks/**", ".git/config"),
    (".git/hooks/**", ".github/hooks/x"),
    ("/top/*.key", "sub/top/a.key"),
    ("/top/*.key", "top/sub/a.key"),
    ("a/**/z", "a/b"),
]


@pytest.mark.parametrize(("text", "path"), HELD)
def test_held(text: str, path: str) -> None:
    assert protects(pattern(text), tuple(path.split("/")))


@pytest.mark.parametrize(("text", "path"), FREE)
def test_free(text: str, path: str) -> None:
    assert not protects(pattern(text), tuple(path.split("/")))


@pytest.mark.parametrize("path", [".git", "sub/.git", ".GIT"])
def test_a_directory_on_the_way_to_a_protected_name(path: str) -> None:
    assert leads_to(pattern(".git/hooks/**"), tuple(path.split("/")))


@pytest.mark.parametrize("path", ["src", ".git/objects", ".github"])
def test_a_directory_that_leads_elsewhere(path: str) -> None:
    assert not leads_to(pattern(".git/hooks/**"), tuple(path.split("/")))


@pytest.mark.parametrize("text", ["", "/", "**", "*", "**/*", "a/../b", "./a"])
def test_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match="protects nothing in particular"):
        pattern(text)


@given(st.text(min_size=1))
def test_folding_twice_changes_nothing_more_for_plain_names(name: str) -> None:
    once = fold(name)
    assert fold(fold(once)) == fold(once)


@given(
    st.lists(st.sampled_from(["a", ".git", "hooks", "x"]), max_size=5),
    st.lists(st.sampled_from(["hooks", "x"]), max_size=4),
)
def test_no_move_makes_a_protected_path_of_free_ones(target: list[str], below: list[str]) -> None:
    wanted = pattern(".git/hooks/**")
    whole = protects(wanted, (*target, *below))
    assert (
        not whole
        or protects(wanted, tuple(target))
        or leads_to(wanted, tuple(target))
        or protects(wanted, tuple(below))
    )
