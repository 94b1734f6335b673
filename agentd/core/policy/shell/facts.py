"""What one simple command does, as far as its text tells: program, flags, paths read and written, network, environment.

The tables say what a program's arguments are; here they are applied. Where a table does not reach, the facts say so (`sure`
is false), and what looks like a path counts as read and as written: so a deny finds it, and an allow that bounds paths
does not hold.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentd.core.policy.shell.environment import dangerous
from agentd.core.policy.shell.marks import MARKS, PIPE
from agentd.core.policy.shell.options import GENERIC, Arguments, read
from agentd.core.policy.shell.paths import NETWORK as NETWORK_FILE
from agentd.core.policy.shell.paths import Place, resolve
from agentd.core.policy.shell.places import Places
from agentd.core.policy.shell.programs import NETWORK, NETWORK_VERBS, PRINTS, SAME, Program, Which, program_of
from agentd.core.policy.shell.readers import READERS, Touched
from agentd.core.policy.shell.script import Simple, Word
from agentd.core.policy.shell.wrappers import WRAPPERS

INTERPRETERS = frozenset(
    "python perl ruby node php lua deno bun Rscript julia osascript tclsh wish guile expect".split()
)
"""Programs whose text, where it stands in the command, is not read here."""

_INLINE = frozenset({"-c", "-e", "-E", "--eval", "-p", "--print", "-r", "--run"})
_LOOKS = re.compile(f"[~./{MARKS}]|[^=:]*[=:@][~./{MARKS}]|.*/")
_INSTALLS = frozenset(("read", "getopts", "mapfile", "readarray", "printf"))
_ASSIGNS = frozenset("export declare typeset readonly local read getopts mapfile readarray printf env".split())
_SPEAKS = NETWORK | frozenset(NETWORK_VERBS) | frozenset(SAME)
_TAKES_NAME = frozenset({"export", "declare", "typeset", "readonly", "local"})


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one simple command. Places are absolute; a command that may run in several directories has those of each."""

    simple: Simple
    name: str  # as written, "" for a command without words
    base: str  # behind the last slash
    programs: tuple[Place, ...]  # its path, where it is named by one
    given: Arguments
    reads: tuple[Place, ...]
    writes: tuple[Place, ...]
    sure: bool  # its paths are all among them
    tree: bool  # works on what is below the paths as well
    network: bool
    environment: tuple[str, ...]  # assigned variables that are dangerous
    foreign: str  # "inline" or "stdin": program text of another language

    @property
    def arguments(self) -> str:
        """All words behind the program, a blank between two."""
        return " ".join([word.shape for word in self.simple.words[1:]])

    @property
    def flags(self) -> frozenset[str]:
        """The options it was given, by their canonical names."""
        return frozenset([each.name for each in self.given.given])

    @property
    def unsure(self) -> bool:
        """Whether words are among its arguments that may be options."""
        return self.given.unsure


def facts_of(simple: Simple, places: Places, home: str | None) -> Facts:
    """Read a simple command."""
    name = simple.words[0].shape if simple.words else ""
    base = name.rpartition("/")[2]
    program, wrapper = program_of(base), WRAPPERS.get(base)
    options = program.options if program else wrapper.options if wrapper else GENERIC
    arguments = read(simple.words, options)
    touched = _touched(simple, base, program, arguments)
    reads, writes = _resolved(touched.reads, places, home), _resolved(touched.writes, places, home)
    if simple.redirects:
        files = [each for each in simple.redirects if each.text is None]
        reads += _resolved([each.target for each in files if each.operator in ("<", "<>")], places, home)
        writes += _resolved([each.target for each in files if each.operator != "<"], places, home)
    return Facts(
        simple,
        name,
        base,
        _resolved(simple.words[:1], places, home) if "/" in name else (),
        arguments,
        reads,
        writes,
        touched.sure,
        touched.tree
        or (program is not None and bool(program.tree) and ("" in program.tree or arguments.has(*program.tree))),
        _network(base, arguments, simple),
        tuple([name for name in _assigned(simple, arguments) if dangerous(name)])
        if simple.assigns or base in _ASSIGNS
        else (),
        _foreign(base, arguments, simple),
    )


def _touched(simple: Simple, base: str, program: Program | None, arguments: Arguments) -> Touched:
    same = SAME.get(base, base)
    reader = READERS.get(same)
    if reader is not None:
        return reader(simple, arguments)
    if base in PRINTS or not simple.words or (program is None and base in WRAPPERS):
        return Touched()
    if program is None:
        words = [each for word in simple.words[1:] for each in _path_like(word)]
        return Touched(words, words, sure=False)
    return _by_table(program, arguments, same)


def _by_table(program: Program, arguments: Arguments, name: str) -> Touched:
    """Operands and options, by the table."""
    operands = arguments.operands
    if name in INTERPRETERS or name == "bash":
        reads = [] if arguments.has(*_INLINE, "-m", "-s") else list(operands[:1])
        return Touched([word for word in reads if word.shape != "-"])
    which = Which.ALL if program.unless and arguments.has(*program.unless) else program.reads
    reads = list(_chosen(operands, which))
    writes = list(_chosen(operands, program.writes))
    reads += _values(arguments, program.option_reads)
    targets = _values(arguments, program.option_writes)
    if program.writes is Which.LAST and targets:
        reads, writes = list(operands), []
    # an option that is not known may name a file
    sure = all(given.known for given in arguments.given)
    extra = [each for given in arguments.given if not given.known and given.value for each in _path_like(given.value)]
    return Touched([each for each in (*reads, *extra) if each.shape != "-"], [*writes, *targets, *extra], sure=sure)


def _chosen(operands: Sequence[Word], which: Which) -> Sequence[Word]:
    if which is Which.ALL:
        return operands
    if which is Which.FIRST:
        return operands[:1]
    if which is Which.REST:
        return operands[1:] if operands and not operands[0].many else operands
    if which is Which.LAST:
        return operands[-1:]
    return operands[:-1] if which is Which.FRONT else ()


def _values(arguments: Arguments, names: Sequence[str]) -> list[Word]:
    if not names:
        return []
    return [
        each.value
        for each in arguments.given
        if each.name in names and each.value is not None and each.value.shape != "-"
    ]


def _path_like(word: Word) -> Iterator[Word]:
    """What of an argument may be a path: the whole, and what stands behind `=`, `:` or `@`."""
    text = word.shape
    if not _LOOKS.match(text):
        return
    yield word
    for sign in "=:@":
        _, found, value = text.partition(sign)
        if found and value:
            yield Word(value, word.many)


def _resolved(words: Sequence[Word], places: Places, home: str | None) -> tuple[Place, ...]:
    if not words:
        return ()
    found: dict[Place, None] = {}
    for word in words:
        for directory in places:
            place = resolve(word.shape, directory, home)
            if place is not None:
                found[place] = None
    return tuple(found)


def _network(base: str, arguments: Arguments, simple: Simple) -> bool:
    if simple.redirects and any(NETWORK_FILE.match(each.target.shape) for each in simple.redirects):
        return True
    if base not in _SPEAKS or base in NETWORK:
        return base in NETWORK
    verbs = NETWORK_VERBS.get(SAME.get(base, base))
    if verbs is None:
        return False
    return "" in verbs or arguments.unsure or any(word.shape in verbs for word in simple.words[1:])


def _assigned(simple: Simple, arguments: Arguments) -> Iterator[str]:
    """Names that a command assigns, its own environment's or the shell's."""
    yield from (assign.name for assign in simple.assigns)
    base = simple.words[0].shape if simple.words else ""
    if base in _TAKES_NAME:
        yield from (word.shape.partition("=")[0] for word in arguments.operands)
    elif base in _INSTALLS:
        named = (
            arguments.operands
            if base != "printf"
            else [each.value for each in arguments.given if each.name == "-v" and each.value]
        )
        yield from (word.shape for word in named)
        if base == "printf" and arguments.has("-v"):
            yield from (word.shape for word in simple.words[2:3])
    if base == "env":
        yield from (word.shape.partition("=")[0] for word in simple.words[1:] if "=" in word.shape)


def _foreign(base: str, arguments: Arguments, simple: Simple) -> str:
    language = SAME.get(base, base)  # the same arguments
    if language not in INTERPRETERS and not base.startswith("python3."):
        return ""
    if arguments.has(*_INLINE):
        return "inline"
    operands = [word for word in arguments.operands if word.shape != "-"]
    if operands and operands[0].shape == PIPE:
        return "stdin"
    if operands or arguments.has("-m", "-V", "--version", "-v", "-h", "--help"):
        return ""
    return "stdin"
