"""Programs that run others by rules of their own: shells, `find`, `git`, `awk`, `sed`, `ssh`, `make`, editors ...

Each reader takes a simple command and gives what it would run: words, shell text, or the reason why that cannot be told.
"""

import re
from collections.abc import Callable, Iterator

from agentd.core.policy.shell.git import git
from agentd.core.policy.shell.inner import Hides, Inner, Runs, Tells, joined
from agentd.core.policy.shell.marks import PIPE, UNKNOWN
from agentd.core.policy.shell.options import read, spec
from agentd.core.policy.shell.programs import PROGRAMS
from agentd.core.policy.shell.readers import found_by
from agentd.core.policy.shell.script import ANYTHING, Redirect, Simple, Unread, Word
from agentd.core.policy.shell.sed import read_sed


def shell(simple: Simple) -> Iterator[Inner]:
    """`sh -c text`, `sh script`, or a shell that reads what it is to do."""
    arguments = read(simple.words, PROGRAMS["bash"].options)
    if any(not given.known for given in arguments.given):
        yield Hides(Unread.OPTION, "an option of the shell that is not known here")
    if arguments.has("--version", "--help"):
        return
    first = simple.words[arguments.rest] if arguments.rest < len(simple.words) else None
    if arguments.has("-c"):
        yield Tells(first if first is not None else ANYTHING)
    elif first is None or arguments.has("-s") or first.shape == PIPE:
        yield from _told_by_input(simple)
    elif first.value is None:
        yield Hides(Unread.PROGRAM, "which script is run is known at run time alone")
    else:
        yield Runs((_script(first.shape), *simple.words[arguments.rest + 1 :]))


def _script(path: str) -> Word:
    """A script as the program that it is."""
    return Word(path if "/" in path else f"./{path}")


def _told_by_input(simple: Simple) -> Iterator[Inner]:
    texts = [each.text for each in simple.redirects if each.text is not None]
    if texts and not any(each.operator in ("<", "<>") for each in simple.redirects):
        yield Tells(texts[-1])
    else:
        yield Hides(Unread.STDIN, "a shell that reads its commands from its input")


def foreign_shell(_simple: Simple) -> Iterator[Inner]:
    """Shells with a grammar of their own."""
    yield Hides(Unread.SYNTAX, "a shell whose grammar is not read here")


def evaluate(simple: Simple) -> Iterator[Inner]:
    """`eval`: its words, joined, are a text."""
    yield Tells(joined(simple.words[1:]), same=True)


def coprocess(simple: Simple) -> Iterator[Inner]:
    """`coproc`: a keyword that the shell itself reads anew in substitutions; not read here, but looked into."""
    yield Hides(Unread.SYNTAX, "coproc is not read here")
    yield Runs(simple.words[1:])


def timed(simple: Simple) -> Iterator[Inner]:
    """`time` as a keyword knows `-p` alone: with another option the keyword runs that, and the program reads it."""
    if len(simple.words) > 1 and simple.words[1].shape.startswith("-") and simple.words[1].shape not in ("-p", "--"):
        yield Runs(simple.words[1:], same=True)


def trap(simple: Simple) -> Iterator[Inner]:
    """`trap text SIGNAL`."""
    words = [word for word in simple.words[1:] if word.shape not in ("-l", "-p", "-P", "--")]
    if len(words) > 1 and words[0].shape not in ("", "-") and not words[0].shape.isdigit():
        yield Tells(words[0], same=True)


def source(simple: Simple) -> Iterator[Inner]:
    """A script that is read into the same shell."""
    words = [word for word in simple.words[1:] if word.shape != "--"]
    if words and words[0].shape == PIPE:
        yield Hides(Unread.STDIN, "a shell that reads its commands from a pipe")
    elif words and words[0].value is None:
        yield Hides(Unread.PROGRAM, "which script is read is known at run time alone")
    elif words:
        yield Runs((_script(words[0].shape), *words[1:]), same=True)


def rebinding(simple: Simple) -> Iterator[Inner]:
    """`alias x=y`, `hash -p`, `enable -f`, `bind -x`: from here on words mean something else."""
    name = simple.words[0].shape
    wanted = {"alias": "=", "hash": "-p", "enable": "-f", "bind": "-x", "shopt": "expand_aliases"}[name]
    if any(wanted in word.shape or word.value is None for word in simple.words[1:]):
        yield Hides(Unread.REBIND, f"{name} changes what words mean")


def find(simple: Simple) -> Iterator[Inner]:
    """`-exec`, `-execdir`, `-ok`, `-okdir`, up to `;` or `{} +`."""
    given = found_by(simple)
    words = simple.words
    for index, word in enumerate(words):
        if word.value is None and word.many and index > 1 and word.shape == UNKNOWN:
            yield Hides(Unread.TEXT, "words that may hold -exec")
        if word.shape in ("-exec", "-execdir", "-ok", "-okdir"):
            inner: list[Word] = []
            for each in words[index + 1 :]:
                if each.shape == ";" or (each.shape == "+" and inner and inner[-1].shape == given.shape):
                    break
                inner.append(given if each.shape == "{}" else Word(each.shape.replace("{}", UNKNOWN), each.many))
            yield Runs(tuple(inner), elsewhere=word.shape.endswith("dir"))


_AWK_RUNS = re.compile(r"system\s*\(|\|\s*&?\s*(\"|getline)|\"\s*\||@load|@include|\|&")
_AWK_STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
_AWK_REGEX = re.compile(r"((?:^|[(,~!&|{;\n])\s*)/(?:\\.|[^/\\\n])*/")
_AWK_PIPE = re.compile(r"(?<!\|)\|(?!\|)")
_AWK_FILE = re.compile(r'>>?\s*"((?:\\.|[^"\\])*)"')
_AWK = spec(
    "F/field-separator= v/assign= f/file= e/source= i/include= l/load= E/exec= o O d D S P c t h V b n N r s", stop=True
)


def awk(simple: Simple) -> Iterator[Inner]:
    """`system()`, pipes, and files that are written."""
    arguments = read(simple.words, _AWK)
    programs = [each.value for each in arguments.given if each.name == "--source" and each.value]
    if arguments.has("--load", "--include"):
        yield Hides(Unread.TEXT, "awk loads something")
    if not programs and not arguments.has("--file", "--exec"):
        programs = list(simple.words[arguments.rest : arguments.rest + 1])
    for word in programs:
        text = word.shape
        bare = _AWK_REGEX.sub(r"\1//", _AWK_STRING.sub('""', text))
        if _AWK_RUNS.search(text) or _AWK_PIPE.search(bare):
            yield Hides(Unread.TEXT, "awk that runs commands")
        for found in _AWK_FILE.finditer(text):
            yield Runs((), (Redirect(">", Word(found[1])),))


def sed(simple: Simple) -> Iterator[Inner]:
    """`e`, `s///e`, and files that are written."""
    arguments = read(simple.words, PROGRAMS["sed"].options)
    scripts = [each.value for each in arguments.given if each.name == "--expression" and each.value]
    if not scripts and not arguments.has("--file"):
        scripts = list(arguments.operands[:1])
    for word in scripts:
        facts = read_sed(word.shape.replace(UNKNOWN, "x"))
        if facts.runs:
            yield Hides(Unread.TEXT, "a sed script that runs commands, or is not understood")
        for file in facts.files:
            if file not in ("/dev/stdout", "/dev/stderr"):
                yield Runs((), (Redirect(">", Word(file)),))


_SSH_RUNS = re.compile(
    r"\s*(proxycommand|localcommand|knownhostscommand|match|include|permitlocalcommand)[\s=]+(.*)",
    re.IGNORECASE | re.DOTALL,
)


def ssh(simple: Simple) -> Iterator[Inner]:
    """What runs here for the connection, and what runs there."""
    arguments = read(simple.words, PROGRAMS["ssh"].options)
    for each in arguments.given:
        found = _SSH_RUNS.match(each.value.shape) if each.name == "-o" and each.value else None
        if found and found[1].lower() not in ("permitlocalcommand", "include", "match"):
            yield Tells(Word(found[2].replace("%", "")))
        elif found:
            yield Hides(Unread.TEXT, "a setting of ssh that runs commands")
    remote = simple.words[arguments.rest + 1 :]
    if remote:
        yield Tells(joined(remote), elsewhere=True)


def make(simple: Simple) -> Iterator[Inner]:
    """`SHELL=`, `--eval`."""
    for word in simple.words[1:]:
        name, equals, value = word.shape.partition("=")
        if equals and name in ("SHELL", ".SHELLFLAGS", "MAKEFLAGS"):
            yield Tells(Word(value))
        elif name in ("--eval", "-E"):
            yield Hides(Unread.TEXT, "make is given a text to evaluate")


def tar(simple: Simple) -> Iterator[Inner]:
    """`--checkpoint-action=exec=`; the rest is in the table."""
    for word in simple.words[1:]:
        if word.shape.startswith("--checkpoint-a") and "exec=" in word.shape:
            yield Tells(Word(word.shape.partition("exec=")[2]))
    first = simple.words[1].shape if len(simple.words) > 1 else ""
    if first.isalpha() and set(first) & set("IF"):
        yield Hides(Unread.OPTION, "tar's options without a dash name a program")


def editor(simple: Simple) -> Iterator[Inner]:
    """Editors, debuggers and pagers that are given commands of their own."""
    for word in simple.words[1:]:
        if word.shape.startswith(
            ("-c", "--cmd", "+", "-S", "-s", "-ex", "-x", "--eval", "-es", "-l", "-f", "--batch", "-iex")
        ):
            yield Hides(Unread.TEXT, "commands of the program's own language")
            return


def gdb(simple: Simple) -> Iterator[Inner]:
    """`gdb --args prog ...`, and its commands."""
    shapes = [word.shape for word in simple.words]
    if "--args" in shapes:
        yield Runs(simple.words[shapes.index("--args") + 1 :])
    yield from editor(simple)


_VERBS = {
    "npm": ("exec", "x"),
    "pnpm": ("exec", "dlx"),
    "yarn": ("exec", "dlx"),
    "uv": ("run",),
    "conda": ("run",),
    "rye": ("run",),
    "hatch": ("run",),
    "mise": ("exec", "x"),
}
_VERB_OPTIONS = spec(
    "c/call= p/package= n/name= with= python= y/yes q/quiet no-sync frozen isolated no-project module m=", stop=True
)


def packaged(simple: Simple) -> Iterator[Inner]:
    """`npm exec -- tool`, `uv run tool`: behind one of some verbs stands a command."""
    words = simple.words
    if len(words) < 2 or words[1].shape not in _VERBS[words[0].shape.rpartition("/")[2]]:
        return
    arguments = read(words[1:], _VERB_OPTIONS)
    text = arguments.value("--call")
    if text is not None:
        yield Tells(text)
    if any(not each.known for each in arguments.given):
        yield Hides(Unread.OPTION, "an option that is not known here")
    elif not arguments.has("-m", "--module"):
        yield Runs(words[1:][arguments.rest :])


def parallel(simple: Simple) -> Iterator[Inner]:
    """GNU parallel: a text with placeholders."""
    arguments = read(
        simple.words,
        spec(
            "j/jobs= n/max-args= N= a/arg-file= k/keep-order colsep= delay= results= "
            "joblog= halt= timeout= C= d= I= X m v bar eta progress will-cite 0 q P=",
            stop=True,
        ),
    )
    if any(not each.known for each in arguments.given) or arguments.has("-I"):
        yield Hides(Unread.OPTION, "an option of parallel that is not known here")
        return
    inner: list[Word] = []
    for word in simple.words[arguments.rest :]:
        if word.shape.startswith(":::"):
            break
        inner.append(word)
    text = joined(tuple(inner))
    if len(inner) > 1 and any("'" in word.shape or " " in word.shape for word in inner):
        yield Hides(Unread.TEXT, "parallel joins words that hold blanks in ways of its own")
    yield Tells(Word(re.sub(r"\{[^{}]*\}", '"$1"', text.shape) + ' "$@"', text.many))


_HYPERFINE = spec(
    "w/warmup= r/runs= m/min-runs= M/max-runs= p/prepare= c/cleanup= s/setup= n/command-name= S/shell= N i style= u/time-unit= "
    "export-json= export-csv= export-markdown= L/parameter-list= P/parameter-scan="
)


def benchmark(simple: Simple) -> Iterator[Inner]:
    """`hyperfine`: each operand is a text, and so are some options."""
    arguments = read(simple.words, _HYPERFINE)
    if any(not each.known for each in arguments.given):
        yield Hides(Unread.OPTION, "an option of hyperfine that is not known here")
    texts = [each.value for each in arguments.given if each.name in ("--prepare", "--cleanup", "--setup", "--shell")]
    yield from (Tells(each) for each in (*texts, *arguments.operands) if each is not None)


def split_string(simple: Simple) -> Iterator[Inner]:
    """`env -S 'words'`: split by rules of its own, the quotes of which the shell's cover."""
    words = simple.words
    for index, word in enumerate(words[1:], 1):
        text, rest = None, words[index + 1 :]
        if word.shape in ("-S", "--split-string") or re.fullmatch(r"-[iv0]+S", word.shape):
            text, rest = (rest[0] if rest else ANYTHING), rest[1:]
        elif re.match(r"-[iv0]*S", word.shape) or word.shape.startswith("--split-string="):
            text = Word(re.sub(r"^(-[iv0]*S|--split-string=)", "", word.shape), word.many)
        if text is not None:
            if text.value is None or "\\" in text.shape or "$" in text.shape:
                yield Hides(Unread.TEXT, "env -S with a text that is not plain")
            else:
                yield Tells(
                    Word(
                        "env " + text.shape + "".join(" '" + each.shape.replace("'", "'\\''") + "'" for each in rest),
                        any(each.value is None for each in rest),
                    )
                )
            return
        if not word.shape.startswith("-"):
            return


def input_text(simple: Simple) -> Iterator[Inner]:
    """`at`, `batch`, `crontab`: run later what they are told."""
    if not any(word.shape in ("-l", "-c", "-r", "-d") for word in simple.words[1:]):
        yield Hides(Unread.STDIN, "runs later what it reads now")


def terminal(simple: Simple) -> Iterator[Inner]:
    """`tmux`: what is typed into a terminal is run there."""
    if len(simple.words) > 1 and simple.words[1].shape not in (
        "ls",
        "list-sessions",
        "kill-session",
        "kill-server",
        "-V",
        "capture-pane",
    ):
        yield Hides(Unread.TEXT, "commands for a terminal of their own")


HELPERS: dict[str, Callable[[Simple], Iterator[Inner]]] = {
    "eval": evaluate,
    "coproc": coprocess,
    "time": timed,
    "trap": trap,
    "source": source,
    ".": source,
    "find": find,
    "git": git,
    "sed": sed,
    "gsed": sed,
    "ssh": ssh,
    "tar": tar,
    "gdb": gdb,
    "parallel": parallel,
    "hyperfine": benchmark,
    "env": split_string,
    "tmux": terminal,
    **dict.fromkeys(("alias", "hash", "enable", "bind", "shopt"), rebinding),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), awk),
    **dict.fromkeys(("make", "gmake"), make),
    **dict.fromkeys(("vim", "vi", "nvim", "ex", "view", "emacs", "ed", "less", "lldb"), editor),
    **dict.fromkeys(_VERBS, packaged),
    **dict.fromkeys(("at", "batch", "crontab"), input_text),
}
"""By base name."""
