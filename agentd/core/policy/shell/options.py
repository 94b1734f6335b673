"""Options in any spelling: `-rf`, `-r -f`, `--recursive --force`, `--recurs`, `-ofile`, `-o file`, `--output=file`.

A program's options stand in a line of text, blank by blank: `r/recursive` (one flag, two spellings), `o/output=` (takes a
value), `z` or `verbose` (one spelling), `-exec` (a long name with a single dash, as `find` has them). The first long spelling is
the canonical one: rules and commands are compared by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from agentd.core.policy.shell.script import Word


@dataclass(frozen=True, slots=True)
class Spec:
    """The options of a program. `stop`: its options end at the first operand. `exact`: an option that is not listed is none."""

    canonical: dict[str, str] = field(default_factory=dict)  # every spelling, with its dashes
    valued: frozenset[str] = frozenset()  # canonical names
    single: frozenset[str] = frozenset()  # long names with one dash
    stop: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class Given:
    """An option as it stands in a command: canonical name and value."""

    name: str
    value: Word | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Arguments:
    """A command's words behind its program. `rest` is where the operands begin when options stop at the first."""

    given: tuple[Given, ...]
    operands: tuple[Word, ...]
    rest: int  # index into the words, the program's being 0
    unsure: bool  # a word that may be an option, or several

    def value(self, name: str) -> Word | None:
        """The last value that an option was given."""
        return next((each.value for each in reversed(self.given) if each.name == name), None)

    def has(self, *names: str) -> bool:
        """Whether one of these options was given."""
        return any(each.name in names for each in self.given)


GENERIC = Spec(known=False)


@lru_cache(maxsize=512)
def spec(text: str, *, stop: bool = False) -> Spec:
    """Read a line of options (see the head of the file)."""
    canonical: dict[str, str] = {}
    valued: set[str] = set()
    single: set[str] = set()
    for entry in text.split():
        takes = entry.endswith("=")
        spellings = [_dashed(each) for each in entry.rstrip("=").split("/")]
        name = next((each for each in spellings if len(each) > 2), spellings[0])
        canonical |= dict.fromkeys(spellings, name)
        single |= {each for each in spellings if len(each) > 2 and not each.startswith("--")}
        if takes:
            valued.add(name)
    return Spec(canonical, frozenset(valued), frozenset(single), stop)


def _dashed(name: str) -> str:
    if name.startswith(("-", "+")):
        return name
    return "-" + name if len(name) == 1 else "--" + name


def canonical(options: Spec, flag: str) -> str:
    """A flag as a rule writes it, in the spelling that commands are compared by."""
    return options.canonical.get(flag) or _by_prefix(options, flag) or flag


def read(words: Sequence[Word], options: Spec) -> Arguments:
    """Read the words of a command (the program first) by its options."""
    given: list[Given] = []
    operands: list[Word] = []
    unsure = False
    at, rest = 1, len(words)
    while at < len(words):
        word = words[at]
        text = word.shape
        at += 1
        if word.many or not text or text[0] >= "\uf8f0":
            unsure = unsure or word.many or text[:1] >= "\uf8f2"
        elif text[0] in "-+" and len(text) > 1 and (text[0] == "-" or text in options.canonical):
            if text == "--":
                rest = min(rest, at)
                operands += words[at:]
                break
            value = words[at] if at < len(words) else None
            found, used = _option(text, value, options)
            given += found
            at += used
            continue
        operands.append(word)
        if options.stop:
            rest = at - 1
            break
    return Arguments(tuple(given), tuple(operands), rest, unsure)


def _option(text: str, following: Word | None, options: Spec) -> tuple[list[Given], int]:
    """The options of one word, and how many of the words behind it are their values."""
    if text in options.single:
        name = options.canonical[text]
        return ([Given(name, following)], 1) if name in options.valued else ([Given(name)], 0)
    if text.startswith("--"):
        name, equals, value = text.partition("=")
        found = options.canonical.get(name) or _by_prefix(options, name)
        if found is None:
            return [Given(name, Word(value) if equals else None, known=False)], 0
        if equals:
            return [Given(found, Word(value))], 0
        return ([Given(found, following)], 1) if found in options.valued else ([Given(found)], 0)
    return _cluster(text, following, options)


def _cluster(text: str, following: Word | None, options: Spec) -> tuple[list[Given], int]:
    """`-abc`: three flags, until one takes the rest as its value."""
    given: list[Given] = []
    sign = text[0]
    for index, char in enumerate(text[1:], 2):
        flag = sign + char
        name = options.canonical.get(flag)
        if name in options.valued:
            if index < len(text):
                return [*given, Given(name or flag, Word(text[index:].removeprefix("=")))], 0
            return [*given, Given(name or flag, following)], 1
        given.append(Given(name or flag, known=name is not None))
    if not options.known and len(text) > 2:
        given.append(Given(text, known=False))
    return given, 0


def _by_prefix(options: Spec, name: str) -> str | None:
    """GNU programs take any beginning of a long option that fits one alone."""
    if len(name) < 3 or not name.startswith("--"):
        return None
    found = {to for spelling, to in options.canonical.items() if spelling.startswith(name)}
    return found.pop() if len(found) == 1 else None
