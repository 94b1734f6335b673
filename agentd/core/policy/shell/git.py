"""What a call of `git` runs besides git: by its settings, by options, by verbs, by aliases."""

import re
from collections.abc import Iterator

from agentd.core.policy.shell.inner import Hides, Inner, Runs, Tells, joined
from agentd.core.policy.shell.marks import UNKNOWN
from agentd.core.policy.shell.readers import git_verb
from agentd.core.policy.shell.script import Simple, Unread, Word

_GIT_RUNS = re.compile(
    r"(core\.(pager|editor|sshcommand|fsmonitor|hookspath|askpass|gitproxy|alternaterefscommand)|sequence\.editor|diff\.external|credential(\..+)?\.helper|"
    r"gpg\.(.+\.)?(program|defaultkeycommand)|pager\..+|.+\.(textconv|command|driver|clean|smudge|process|cmd|uploadpack|receivepack|packobjectshook|diffcommand|vcs)|"
    r"interactive\.difffilter|include(if\..+)?\.path|init\.templatedir|trailer\..+\.(command|cmd)|uploadpack\.packobjectshook|sendemail\..*(cmd|smtpserver)|"
    r"ssh\.variant|protocol\.(.+\.)?allow|core\.(worktree|attributesfile)|http\.proxy|remote\..+\.proxy|url\..+)",
    re.IGNORECASE,
)
_GIT_SWITCH = frozenset({"", "true", "false", "cat", "never", "0", "1", "yes", "no", "auto", "always"})
_GIT_OPTIONS = frozenset(
    {
        "--upload-pack",
        "-u",
        "--receive-pack",
        "--exec",
        "-x",
        "--extcmd",
        "--open-files-in-pager",
        "--show-current-command",
    }
)
GIT_VERBS = frozenset(
    "add am annotate apply archive bisect blame branch bundle cat-file check-attr check-ignore check-mailmap "
    "check-ref-format checkout checkout-index cherry cherry-pick clean clone "
    "column commit commit-graph commit-tree config count-objects credential daemon describe diff diff-files "
    "diff-index diff-tree difftool fast-export fast-import fetch fetch-pack "
    "filter-branch fmt-merge-msg for-each-ref for-each-repo format-patch fsck gc get-tar-commit-id gitk grep gui "
    "hash-object help http-backend index-pack init init-db instaweb "
    "interpret-trailers lfs log ls-files ls-remote ls-tree mailinfo mailsplit maintenance merge merge-base "
    "merge-file merge-index merge-tree mergetool mktag mktree multi-pack-index mv "
    "name-rev notes pack-objects pack-refs patch-id prune pull push quiltimport range-diff read-tree rebase "
    "receive-pack reflog remote repack replace request-pull rerere reset restore "
    "rev-list rev-parse revert rm send-email send-pack shortlog show show-branch show-index show-ref "
    "sparse-checkout stage stash status stripspace submodule subtree switch "
    "symbolic-ref tag unpack-objects update-index update-ref update-server-info upload-archive upload-pack var "
    "verify-commit verify-pack verify-tag version whatchanged worktree write-tree".split()
)


def git(simple: Simple) -> Iterator[Inner]:
    """Configuration, options and verbs that run programs; an unknown verb may be an alias."""
    words, verb = simple.words, git_verb(simple)
    for word, following in zip(words, [*words[1:], Word("")], strict=True):
        name, equals, value = word.shape.partition("=")
        if word.shape == "-c":
            yield from _git_setting(following)
        elif name == "--config-env" or (name == "--exec-path" and equals):
            yield Hides(Unread.TEXT, f"git {name} takes its programs from elsewhere")
        elif name in _GIT_OPTIONS and verb not in (
            "add",
            "push",
            "commit",
            "status",
            "stash",
            "branch",
            "cherry-pick",
            "log",
            "diff",
            "clean",
        ):
            yield Tells(Word(value) if equals else following)
        elif word.shape.startswith("ext::"):
            yield Tells(Word(word.shape[5:].replace("%", "\\%")))
    yield from _git_verb(simple, verb)


def _git_setting(word: Word) -> Iterator[Inner]:
    key, _, value = word.shape.partition("=")
    if word.many or UNKNOWN in key:
        yield Hides(Unread.TEXT, "a setting of git that is known at run time alone")
    elif key.lower().startswith("alias."):
        yield Tells(Word(value[1:])) if value.startswith("!") else Tells(Word("git " + value))
    elif _GIT_RUNS.fullmatch(key) and value not in _GIT_SWITCH:
        yield Tells(Word(value.lstrip("!")))


def _git_verb(simple: Simple, verb: str) -> Iterator[Inner]:
    words = [word for word in simple.words[1:] if not word.shape.startswith("-")]
    shapes = [word.shape for word in words]
    after = tuple(words[shapes.index(verb) + 1 :]) if verb in shapes else ()
    if verb and verb not in GIT_VERBS:
        yield Hides(Unread.PROGRAM, "a verb of git that may be an alias")
    elif verb == "config" and len(after) > 1:
        yield from _git_setting(Word(f"{after[-2].shape}={after[-1].shape}", after[-1].many))
    elif verb == "bisect" and shapes[-len(after) :][:1] == ["run"]:
        yield Runs(simple.words[[word.shape for word in simple.words].index("run") + 1 :])
    elif verb == "submodule" and "foreach" in shapes:
        yield Tells(joined(after[1:]))
    elif verb == "filter-branch":
        yield Hides(Unread.TEXT, "git filter-branch runs its filters")
