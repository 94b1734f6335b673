"""The verdict on a file act."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.files.judge import components, judge
from agentd.core.policy.files.rules import ACCESSES, DELETE, READ, WRITE, FileRules, Root
from agentd.core.types.files import FileAllow, FileOp, Place
from agentd.core.types.verdicts import Answer, Ask, Deny

WORK = Root("work", "/w/ws", "o@example.org", ACCESSES, label="internal")
DOCS = Root("docs", "/w/docs", "o@example.org", frozenset({READ}), label="public")
VENDOR = Root("vendor", "/w/ws/third/vendor", "o@example.org", frozenset({READ}), label="internal")
NEXT = Root("next", "/w/next", "o@example.org", frozenset({READ, WRITE}), frozenset({DELETE}), label="internal")
PUBLIC = Root("public", "/w/public", "o@example.org", ACCESSES, label="public")
RULES = FileRules((WORK, DOCS, VENDOR, NEXT, PUBLIC), "/w/ws")

ALLOWED = [
    ("read", "a.txt", "", Place("work", ("a.txt",))),
    ("read", "/w/ws//sub/./../a.txt", "", Place("work", ("a.txt",))),
    ("read", "../docs/x", "", Place("docs", ("x",))),
    ("read", "third/vendor/x", "", Place("vendor", ("x",))),
    ("list", ".", "", Place("work")),
    ("stat", "/w/docs", "", Place("docs")),
    ("write", "new\nname", "", Place("work", ("new\nname",))),
    ("write", "\udce9", "", Place("work", ("\udce9",))),
    ("delete", "sub/a", "", Place("work", ("sub", "a"))),
    ("move", "a", "b/c", Place("work", ("a",))),
    ("read", ".git/HEAD", "", Place("work", (".git", "HEAD"))),
    ("list", ".git", "", Place("work", (".git",))),
    ("read", "n" * 255, "", Place("work", ("n" * 255,))),
]
DENIED = [
    ("read", "/etc/passwd", "", "files.outside"),
    ("read", "../../etc/passwd", "", "files.outside"),
    ("read", "/w/ws-private/notes", "", "files.outside"),
    ("read", "/w", "", "files.outside"),
    ("list", "..", "", "files.outside"),
    ("write", "../docs/x", "", "files.access"),
    ("write", "third/vendor/x", "", "files.access"),
    ("delete", "third", "", "files.directory"),
    ("move", "third", "fourth", "files.directory"),
    ("read", "", "", "files.path"),
    ("read", "a\0b", "", "files.path"),
    ("read", "\ud800", "", "files.path"),
    ("read", "n" * 256, "", "files.path"),
    ("read", "é" * 128, "", "files.path"),
    ("read", "a/" * 5000, "", "files.path"),
    ("read", "a", "b", "files.to"),
    ("move", "a", "", "files.path"),
    ("move", "a", "/etc/a", "files.outside"),
    ("move", "a", "../public/a", "files.label"),
    ("write", ".", "", "files.directory"),
    ("delete", "/w/ws", "", "files.directory"),
    ("read", ".//.env", "", "files.protected"),
    ("read", ".ENV", "", "files.protected"),
    ("read", "certs/../certs/server.pem/", "", "files.protected"),
    ("stat", ".env", "", "files.protected"),
    ("move", ".env", "env.txt", "files.protected"),
    ("write", ".claude/settings.json", "", "files.protected"),
    ("write", ".claude", "", "files.protected"),
    ("append", ".mcp.json", "", "files.protected"),
    ("move", "a", ".mcp.json", "files.protected"),
    ("move", ".git", "git", "files.protected"),
    ("move", "made", ".git", "files.protected"),
    ("write", ".git", "", "files.protected"),
    ("write", "sub/.git/hooks/pre-commit", "", "files.protected"),
]


@pytest.mark.parametrize(("op", "path", "to", "at"), ALLOWED)
def test_allowed(op: str, path: str, to: str, at: Place) -> None:
    verdict = judge(RULES, FileOp(op), path, to)
    assert isinstance(verdict, FileAllow)
    assert verdict.at == at


@pytest.mark.parametrize(("op", "path", "to", "code"), DENIED)
def test_denied(op: str, path: str, to: str, code: str) -> None:
    verdict = judge(RULES, FileOp(op), path, to)
    assert isinstance(verdict, Deny)
    assert verdict.reason.code == code
    assert verdict.reason.hint
    assert verdict.reason.message.isprintable()


def test_an_unreadable_request_is_told_from_a_refused_one() -> None:
    unread, refused = judge(RULES, FileOp.READ, ""), judge(RULES, FileOp.READ, "/etc")
    assert isinstance(unread, Deny)
    assert isinstance(refused, Deny)
    assert (unread.answer, refused.answer) == (Answer.INVALID, Answer.DENY)


def test_what_an_operator_must_grant_is_asked() -> None:
    verdict = judge(RULES, FileOp.DELETE, "/w/next/a\u202eb")
    assert isinstance(verdict, Ask)
    assert verdict.question == "delete a\\u202eb in next?"


def test_a_protected_name_is_refused_also_where_one_could_ask() -> None:
    assert isinstance(judge(RULES, FileOp.DELETE, "/w/next/.env"), Deny)


def test_an_allow_carries_label_and_limits() -> None:
    verdict = judge(RULES, FileOp.READ, "/w/docs/a")
    assert isinstance(verdict, FileAllow)
    assert (verdict.label, verdict.limits) == ("public", DOCS.limits)


def test_without_roots_all_is_denied() -> None:
    assert isinstance(judge(FileRules((), "/w"), FileOp.READ, "a"), Deny)


PARTS = st.sampled_from(
    ["..", ".", "", "a", "w", "ws", "docs", "ws-private", ".env", "third", "vendor", "\n", "\u202e", "é"]
)
BELOW = st.lists(PARTS, max_size=9).map("/".join)
PATHS = st.one_of(st.text(), BELOW, BELOW.map("/{}".format))


@given(st.sampled_from(FileOp), PATHS, PATHS)
def test_total_and_never_outside(op: FileOp, path: str, to: str) -> None:
    verdict = judge(RULES, op, path, to if op is FileOp.MOVE else "")
    if isinstance(verdict, FileAllow):
        for place in filter(None, (verdict.at, verdict.to)):
            assert not {"", ".", ".."} & set(place.parts)
            assert not any("/" in part or "\0" in part for part in place.parts)
            root = next(root for root in RULES.roots if root.name == place.root)
            whole = (*components(root.path), *place.parts)
            holding = [top for top in (components(other.path) for other in RULES.roots) if whole[: len(top)] == top]
            assert max(holding, key=len) == components(root.path)
    else:
        assert verdict.reason.code
