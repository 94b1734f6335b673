"""In which directory a command of a script runs: which ones it can be, as far as the text tells.

`cd` counts for what stands behind it in the same shell, not outside a subshell, a pipe or a substitution. Behind `cd x &&`
the new directory is certain; behind `cd x ;` both are possible, since `cd` may fail. A `cd` in a loop or a function, to a place
that is not known, or `pushd` and `popd`, leave the directory unknown from there on (in a loop from its beginning). A wrapper's
`--chdir` makes it unknown, too.
"""

from dataclasses import dataclass, field

from agentd.core.policy.shell.paths import resolve
from agentd.core.policy.shell.script import Opaque, Scope, Script, Simple

MAX_PLACES = 8
"""Directories that are kept apart; with more, it is unknown."""

_ISOLATED = frozenset({"subshell", "pipe", "substitution", "process"})
_SAME_SHELL = (("builtin",), ("command",), ("eval",), ("exec",), ("trap",), ("time",))
_UNSURE = frozenset({"loop", "function"})
_MOVES = frozenset({"cd", "chdir", "pushd", "popd"})

Places = tuple[str | None, ...]
"""Possible directories; None is one of which nothing is known."""


@dataclass(slots=True)
class _Shell:
    """One process of the shell: where it may be, and where it is as long as `&&` goes on."""

    may: Places
    chain: Places = field(default=())


def directories(script: Script, cwd: str, home: str | None) -> list[Places]:
    """For each item of a script the directories it may run in."""
    moving = [item for item in script.items if isinstance(item, Simple) and _moves(item)]
    again = {scope for item in moving for scope in item.where.scopes if scope.kind in _UNSURE}
    searched = any(assign.name == "CDPATH" for item in script.simples for assign in item.assigns)
    shells: dict[tuple[Scope, ...], _Shell] = {(): _Shell((None if searched and moving else cwd,))}
    found = []
    for item in script.items:
        here = _step(item, shells, home) if moving else (cwd,)
        if any(scope.kind == "elsewhere" or scope in again for scope in item.where.scopes):
            here = _joined(here, (None,))
        found.append(here)
    return found


def _moves(item: Simple) -> bool:
    return bool(item.words) and item.words[0].shape in _MOVES


def _step(item: Simple | Opaque, shells: dict[tuple[Scope, ...], _Shell], home: str | None) -> Places:
    shell = _shell_of(item, shells)
    if item.where.join != "&&":
        shell.chain = ()
    here = shell.chain or shell.may
    if isinstance(item, Simple) and _moves(item):
        scopes = {scope.kind for scope in item.where.scopes}
        unsure = scopes & _UNSURE or item.via[-1:] in _SAME_SHELL
        after = (None,) if unsure else _target(item, here, home)
        shell.may = _joined(shell.may, after)
        shell.chain = after
    return here


def _shell_of(item: Simple | Opaque, shells: dict[tuple[Scope, ...], _Shell]) -> _Shell:
    """The process that an item runs in: the innermost construct that is one, begun where its outer shell is now."""
    shell = shells[()]
    for index, scope in enumerate(item.where.scopes):
        if scope.kind in _ISOLATED:
            key = item.where.scopes[: index + 1]
            if key not in shells:
                shells[key] = _Shell(shell.chain or shell.may)
            shell = shells[key]
    return shell


def _target(item: Simple, here: Places, home: str | None) -> Places:
    operands = [word for word in item.words[1:] if word.shape not in ("-P", "-L", "-e", "-@", "--")]
    if item.words[0].shape not in ("cd", "chdir") or len(operands) > 1 or item.assigns:
        return (None,)
    if not operands:
        return (home,)
    shape = operands[0].shape
    if operands[0].many or shape in ("-", ""):
        return (None,)
    found: list[str | None] = []
    for directory in here:
        place = resolve(shape, directory, home)
        found.append(None if place is None or place.open else place.text)
    return _joined((), tuple(found))


def _joined(left: Places, right: Places) -> Places:
    together = tuple(dict.fromkeys((*left, *right)))
    return together if len(together) <= MAX_PLACES else (None,)
