"""Programs whose paths no plain table tells: `find`, `dd`, `tar`, `git`, `sed`, `curl`, `jq`, compressors."""

from collections.abc import Callable
from dataclasses import dataclass, field

from agentd.core.policy.shell.marks import UNDER, UNKNOWN
from agentd.core.policy.shell.options import Arguments
from agentd.core.policy.shell.script import Simple, Word


@dataclass(frozen=True, slots=True)
class Touched:
    """The words that are paths, by what is done to them."""

    reads: list[Word] = field(default_factory=list)
    writes: list[Word] = field(default_factory=list)
    sure: bool = True
    tree: bool = False


HERE = Word(".")

_FIND_WRITES = frozenset({"-fprint", "-fprint0", "-fprintf", "-fls"})
_FIND_READS = frozenset({"-newer", "-anewer", "-cnewer", "-samefile", "-files0-from"})


def _starts(simple: Simple) -> list[Word]:
    """Where `find` begins to look."""
    found: list[Word] = []
    for word in simple.words[1:]:
        text = word.shape
        if text in ("-H", "-L", "-P") or text.startswith(("-O", "-D")):
            continue
        if text[:1] in ("-", "(", ")", "!", ","):
            break
        found.append(word)
    return found or [HERE]


def found_by(simple: Simple) -> Word:
    """What `find` puts in place of `{}`."""
    starts = _starts(simple)
    text = starts[0].shape
    if len(starts) == 1 and not starts[0].many and UNKNOWN not in text:
        return Word(f"{text}/{UNDER}")
    return Word(UNKNOWN)


def _find(simple: Simple, _arguments: Arguments) -> Touched:
    reads, writes = _starts(simple), []
    for word, following in zip(simple.words, [*simple.words[1:], Word("")], strict=True):
        if word.shape == "-delete":
            writes += [Word(f"{start.shape}/{UNDER}", start.many) for start in _starts(simple)]
        elif word.shape in _FIND_WRITES:
            writes.append(following)
        elif word.shape in _FIND_READS:
            reads.append(following)
    return Touched(reads, writes)


def _dd(simple: Simple, _arguments: Arguments) -> Touched:
    touched = Touched()
    for word in simple.words[1:]:
        name, equals, value = word.shape.partition("=")
        if equals and name in ("if", "of"):
            (touched.reads if name == "if" else touched.writes).append(Word(value))
    return Touched(touched.reads, touched.writes, sure=not any(word.many for word in simple.words))


def _tar(simple: Simple, arguments: Arguments) -> Touched:
    """The first word may hold the options without a dash: `tar czf out.tgz dir`."""
    words = list(arguments.operands)
    letters = "".join(each.name[1:] if len(each.name) == 2 else each.name for each in arguments.given)
    archive = arguments.value("--file")
    if len(simple.words) > 1 and not simple.words[1].shape.startswith("-") and words:
        letters += words.pop(0).shape
        if "f" in letters and words:
            archive = words.pop(0)
    target = arguments.value("--directory")
    # without a dash `-C dir` comes later and is an option like any other
    creates = (
        "c" in letters.replace("--exclude", "").replace("--directory", "")
        and "--extract" not in letters
        and "x" not in letters
    )
    archives = [] if archive is None or archive.shape == "-" else [archive]
    lists = arguments.has("--list") or (
        not creates and "t" in letters and "x" not in letters and "--extract" not in letters
    )
    creates = creates or arguments.has("--create", "--append", "--update")
    removes = words if arguments.has("--remove-files") else []
    if creates:
        return Touched([*words, *([target] if target else [])], [*archives, *removes], sure=not arguments.unsure)
    out = [] if lists or arguments.has("--to-stdout") else [target or HERE]
    return Touched(archives, out, sure=not arguments.has("--absolute-names"))


_GIT_PATHS = frozenset(
    {
        "add",
        "rm",
        "mv",
        "restore",
        "clean",
        "init",
        "clone",
        "worktree",
        "apply",
        "am",
        "bundle",
        "archive",
        "checkout-index",
    }
)
_GIT_VALUED = frozenset(
    {
        "-C",
        "--git-dir",
        "--work-tree",
        "--exec-path",
        "-o",
        "--output",
        "--output-directory",
        "--file",
        "-F",
        "--template",
        "--separate-git-dir",
        "--reference",
    }
)


def _git(simple: Simple, _arguments: Arguments) -> Touched:
    """The work tree it stands in counts as read and written; paths that are named count besides."""
    named: list[Word] = []
    words = simple.words[1:]
    verb = git_verb(simple)
    for index, word in enumerate(words):
        text = word.shape
        name, equals, value = text.partition("=")
        if name in _GIT_VALUED and name.startswith("-"):
            named += [Word(value)] if equals else words[index + 1 : index + 2]
        elif (
            not text.startswith("-") and "://" not in text and (_outside(text) or (verb in _GIT_PATHS and text != verb))
        ):
            named.append(word)
    verbs = frozenset(
        {"status", "log", "diff", "show", "grep", "blame", "ls-files", "rev-parse", "describe", "shortlog"}
    )
    writes = [] if verb in verbs else named
    outputs = (
        [word for word in named if word not in writes] if any(w.shape.startswith("--output") for w in words) else []
    )
    return Touched(named or [HERE], [*writes, *outputs])


def git_verb(simple: Simple) -> str:
    """The sub-command of a `git` call."""
    skip = False
    for word in simple.words[1:]:
        if skip:
            skip = False
        elif word.shape in ("-c", "-C", "--git-dir", "--work-tree", "--namespace", "--config-env", "--exec-path"):
            skip = True
        elif not word.shape.startswith("-"):
            return word.shape
    return ""


def _outside(text: str) -> bool:
    return text.startswith(("/", "~", "../", "\uf8f3")) or text == ".."


def _sed(_simple: Simple, arguments: Arguments) -> Touched:
    scripted = arguments.has("--expression", "--file")
    files = list(arguments.operands if scripted else arguments.operands[1:])
    if arguments.operands and arguments.operands[0].many:
        files = list(arguments.operands)
    script = arguments.value("--file")
    return Touched([*files, *([script] if script else [])], files if arguments.has("--in-place") else [])


def _curl(_simple: Simple, arguments: Arguments) -> Touched:
    """Options whose value is a file, or `@file`."""
    reads = [each.value for each in arguments.given if each.name in _CURL_READS and each.value is not None]
    writes = [each.value for each in arguments.given if each.name in _CURL_WRITES and each.value is not None]
    for each in arguments.given:
        value = each.value.shape if each.value is not None else ""
        _, sign, file = value.rpartition("@") if each.name in _CURL_DATA else value.partition("=@")
        if sign and (each.name in _CURL_DATA or each.name == "--form"):
            reads.append(Word(file.partition(";")[0]))
    if arguments.has("--remote-name"):
        writes.append(arguments.value("--output-dir") or HERE)
    reads += [Word(word.shape[7:]) for word in arguments.operands if word.shape.startswith("file://")]
    known = all(given.known for given in arguments.given)
    return Touched(
        [word for word in reads if word.shape != "-"], [word for word in writes if word.shape != "-"], sure=known
    )


_CURL_DATA = frozenset(
    {"--data", "--data-binary", "--data-ascii", "--data-urlencode", "--json", "--header", "--cookie", "--write-out"}
)
_CURL_READS = frozenset(
    "--config --upload-file --netrc-file --cacert --cert --key --unix-socket --capath --etag-compare".split()
)
_CURL_WRITES = frozenset(
    "--output --cookie-jar --dump-header --trace --trace-ascii --stderr --output-dir --etag-save --hsts --alt-svc".split()
)


def _jq(simple: Simple, arguments: Arguments) -> Touched:
    """The first operand is the program; `--slurpfile name file` and the like name files."""
    files = list(arguments.operands if arguments.has("--from-file") else arguments.operands[1:])
    for index, word in enumerate(simple.words):
        if word.shape in ("--slurpfile", "--rawfile"):
            files += simple.words[index + 2 : index + 3]
    script = arguments.value("--from-file")
    return Touched([*files, *([script] if script else [])])


def _compress(_simple: Simple, arguments: Arguments) -> Touched:
    """Written are the files themselves, unless the result goes to standard output or is thrown away."""
    files = [word for word in arguments.operands if word.shape != "-"]
    silent = arguments.has("--stdout", "--list", "--test", "-t", "-l")
    return Touched(files, [] if silent else files)


READERS: dict[str, Callable[[Simple, Arguments], Touched]] = {
    "find": _find,
    "dd": _dd,
    "tar": _tar,
    "git": _git,
    "sed": _sed,
    "curl": _curl,
    "jq": _jq,
    "gzip": _compress,
    "gunzip": _compress,
    "bzip2": _compress,
    "xz": _compress,
    "test": lambda _simple, _arguments: Touched(),
    "[": lambda _simple, _arguments: Touched(),
    "[[": lambda _simple, _arguments: Touched(),
    "((": lambda _simple, _arguments: Touched(),
}
"""By base name."""
