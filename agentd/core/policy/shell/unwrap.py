"""From the commands of a text to all commands that would run: wrappers are looked into, texts are read, chains are kept."""

from collections.abc import Iterator
from dataclasses import replace

from agentd.core.policy.shell.helpers import HELPERS, foreign_shell, shell
from agentd.core.policy.shell.inner import Hides, Inner, Runs, Tells, joined
from agentd.core.policy.shell.marks import UNKNOWN, spoken
from agentd.core.policy.shell.options import Arguments, read
from agentd.core.policy.shell.reading import MAX_DEPTH, MAX_SHOWN, Outer, from_argv, parse
from agentd.core.policy.shell.script import ANYTHING, Opaque, Scope, Script, Simple, Unread, Where, Word
from agentd.core.policy.shell.wrappers import FOREIGN_SHELLS, MOVED_LOADER, SHELLS, WRAPPERS, Form, Wrapper

MAX_ITEMS = 20_000
"""Commands of one call, inner ones too. A text of the greatest size holds more only where somebody multiplies them."""


def read_text(text: str) -> Script:
    """A shell text with everything in it."""
    return unwrapped(parse(text))


def read_argv(argv: list[str] | tuple[str, ...]) -> Script:
    """A call without a shell, with everything in it."""
    return unwrapped(from_argv(argv))


def unwrapped(script: Script) -> Script:
    """The same commands, each followed by those that it runs."""
    found: list[Simple | Opaque] = []
    for item in script.items:
        found += _with_inside(item, 0)
        if len(found) > MAX_ITEMS:
            found.append(_hidden(item, Hides(Unread.SIZE, f"more than {MAX_ITEMS} commands")))
            break
    return Script(script.text, tuple(found))


def _with_inside(item: Simple | Opaque, depth: int) -> Iterator[Simple | Opaque]:
    """A command, what it runs, and what that runs."""
    if not isinstance(item, Simple) or not item.words:
        yield item
        return
    name = item.words[0].value
    if name is None:
        yield _hidden(item, Hides(Unread.PROGRAM, "which program runs is known at run time alone"))
    yield item
    if name is not None:
        yield from _inside(item, name, depth)


def _inside(simple: Simple, name: str, depth: int) -> Iterator[Simple | Opaque]:
    base = name.rpartition("/")[2]
    for inner in _runs(base, simple):
        if isinstance(inner, Hides):
            yield _hidden(simple, inner)
        elif depth >= MAX_DEPTH:
            yield _hidden(simple, Hides(Unread.DEPTH, f"more than {MAX_DEPTH} levels"))
        else:
            yield from _deeper(simple, base, inner, depth + 1)


def _deeper(simple: Simple, base: str, inner: Runs | Tells, depth: int) -> Iterator[Simple | Opaque]:
    via = (*simple.via, base)
    where = _place(simple, inner)
    if isinstance(inner, Runs):
        if inner.words or inner.writes:
            text = spoken(" ".join(word.shape for word in inner.words))[:MAX_SHOWN]
            yield from _with_inside(Simple(inner.words, where, text, (), inner.writes, via), depth)
        return
    text_value = inner.text.value
    if text_value is None:
        yield _hidden(simple, Hides(Unread.TEXT, "shell text that is put together at run time"))
        return
    for item in parse(text_value, Outer(where, via, depth)).items:
        yield from _with_inside(item, depth)


def _place(simple: Simple, inner: Runs | Tells) -> Where:
    where = simple.where
    if inner.same:
        return where
    kind = "elsewhere" if inner.elsewhere else "process"
    return replace(where, scopes=(*where.scopes, Scope(kind, where.span.start * 64 + len(simple.via) + 1)))


def _hidden(item: Simple | Opaque, hides: Hides) -> Opaque:
    return Opaque(hides.kind, hides.reason, item.where, item.text, item.via)


def _runs(base: str, simple: Simple) -> Iterator[Inner]:
    """What a program of that name runs, by its helper, its table entry, or both."""
    if base in SHELLS:
        yield from shell(simple)
    elif base in FOREIGN_SHELLS:
        yield from foreign_shell(simple)
    elif base.startswith(MOVED_LOADER) or base == "ld.so":
        yield Runs(tuple(word for word in simple.words[1:] if not word.shape.startswith("--")))
    helper, wrapper = HELPERS.get(base), WRAPPERS.get(base)
    told = list(helper(simple)) if helper is not None else []
    yield from told
    if wrapper is not None and not (base == "env" and told):
        yield from (_by_verb if wrapper.verbs else _by_table)(wrapper, base, simple)


def _by_verb(wrapper: Wrapper, base: str, simple: Simple) -> Iterator[Inner]:
    """Wrappers that run something behind some of their verbs alone."""
    verb = simple.words[1].shape if len(simple.words) > 1 else ""
    if verb.startswith("-"):
        yield Hides(Unread.OPTION, f"options of {base} before its verb")
    if verb in wrapper.verbs:
        yield from _by_table(wrapper, base, replace(simple, words=simple.words[1:]))


def _by_table(wrapper: Wrapper, base: str, simple: Simple) -> Iterator[Inner]:
    arguments = read(simple.words, wrapper.options)
    if wrapper.strict and any(not each.known for each in arguments.given):
        yield Hides(Unread.OPTION, f"an option of {base} that is not known here")
    told = [each.value or ANYTHING for each in arguments.given if each.name in wrapper.texts]
    yield from map(Tells, told)
    if wrapper.form is Form.NONE or told or arguments.has(*wrapper.looks):
        return
    elsewhere = bool(wrapper.moves) and ("" in wrapper.moves or arguments.has(*wrapper.moves))
    words = simple.words[arguments.rest :]
    skipped, words = words[: wrapper.skip], words[wrapper.skip :]
    if any(word.many for word in skipped):
        yield Hides(Unread.OPTION, f"words before the command of {base} that may be several")
    words = _without_assignments(wrapper, _behind_more(base, words))
    if wrapper.form is Form.TEXT and words and not (base == "watch" and arguments.has("--exec")):
        yield Tells(joined(words), elsewhere=elsewhere)
    elif words or base == "xargs":
        words = _fed(wrapper, arguments, words) if wrapper.feeds else words
        yield Runs(words, same=wrapper.same, elsewhere=elsewhere)


def _without_assignments(wrapper: Wrapper, words: tuple[Word, ...]) -> tuple[Word, ...]:
    while wrapper.assigns and words and "=" in words[0].shape and not words[0].shape.startswith(("/", "=")):
        words = words[1:]
    return words


def _behind_more(base: str, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Options that stand between a wrapper's own operands and the command (`flock FILE -c text`, `docker run -it IMAGE cmd`)."""
    if base == "flock" and words and words[0].shape in ("-c", "--command"):
        return (Word("sh"), Word("-c"), *words[1:])
    if words and words[0].shape == ("!" if base == "time" else "--"):
        return words[1:]
    return words


def _fed(wrapper: Wrapper, arguments: Arguments, words: tuple[Word, ...]) -> tuple[Word, ...]:
    """`xargs`: what comes from its input stands behind, or in place of a placeholder; without a command it is `echo`."""
    words = words or (Word("echo"),)
    places = [value.shape for name in wrapper.replace if (value := arguments.value(name)) is not None]
    if arguments.has("--replace"):
        places.append("{}")
    if not places:
        return (*words, ANYTHING)
    return tuple(_filled(word, places) for word in words)


def _filled(word: Word, places: list[str]) -> Word:
    shape = word.shape
    for place in places:
        shape = shape.replace(place, UNKNOWN) if place else shape
    return Word(shape, word.many)
