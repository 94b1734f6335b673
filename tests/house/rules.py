"""House rules that no linter knows: each a function from one parsed file to what is wrong with it.

What ruff can say is said in pyproject.toml; `test_rules.py` tries both kinds on bad examples.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

PIPELINE = "agentd/gate/pipeline.py"
BROAD = {"Exception", "BaseException"}
REASON = re.compile(r"\w+\W+\w+\W+\w+")
"""Three words are the least that can be a reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file: its path from the root of the checkout, its text, its tree, its comments by line."""

    path: str
    text: str
    tree: ast.Module
    comments: dict[int, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that breaks a rule."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """The way compilers put it."""
        return f"{self.path}:{self.line}: {self.message}"


Rule = Callable[[Source], Iterator[Finding]]


def read(path: str, text: str) -> Source:
    """Parse a file."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token.string for token in tokens if token.type == tokenize.COMMENT}
    return Source(path, text, ast.parse(text, path), comments)


def permit_is_made_in_one_file(source: Source) -> Iterator[Finding]:
    """A `Permit` proves that a decision was recorded; it is worth that only while one file makes it."""
    if source.path == PIPELINE:
        return
    for call in _calls(source):
        if _last_name(call.func) == "Permit":
            yield Finding(source.path, call.lineno, f"Permit(...) is made in {PIPELINE} alone; take one as an argument")


def broad_except_says_why(source: Source) -> Iterator[Finding]:
    """Whoever catches everything says why in a comment on that line or the next; an error swallowed silently fails open."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            broad = _is_broad(node.type)
        elif isinstance(node, ast.Call) and _last_name(node.func) == "suppress":
            broad = any(map(_is_broad, node.args))
        else:
            continue
        if broad and not _explained(source, node.lineno):
            yield Finding(source.path, node.lineno, "catches everything without a comment that says why")


def core_is_never_async(source: Source) -> Iterator[Finding]:
    """What cannot be suspended cannot be cancelled half-way."""
    if not _in(source, "agentd/core"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield Finding(source.path, node.lineno, "core is synchronous: move what waits to gate or edge")


def no_task_without_a_group(source: Source) -> Iterator[Finding]:
    """`loop.create_task` starts an orphan as surely as `asyncio.create_task` does (which ruff refuses)."""
    for call in _calls(source):
        if isinstance(call.func, ast.Attribute) and call.func.attr in {"create_task", "run_coroutine_threadsafe"}:
            owner = _last_name(call.func.value.func if isinstance(call.func.value, ast.Call) else call.func.value)
            if owner.endswith("loop") or owner == "asyncio":
                yield Finding(source.path, call.lineno, f"{owner}.{call.func.attr} starts an orphan: use a TaskGroup")


def no_import_by_name(source: Source) -> Iterator[Finding]:
    """An import whose name is computed goes through every wall unseen."""
    if not any(_in(source, room) for room in ("agentd/core", "agentd/gate", "agentd/edge")):
        return
    for call in _calls(source):
        if _last_name(call.func) in {"import_module", "__import__", "exec", "eval"}:
            yield Finding(source.path, call.lineno, f"{_last_name(call.func)}() goes through the walls unseen")


RULES: tuple[Rule, ...] = (
    permit_is_made_in_one_file,
    broad_except_says_why,
    core_is_never_async,
    no_task_without_a_group,
    no_import_by_name,
)


def _calls(source: Source) -> Iterator[ast.Call]:
    return (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))


def _last_name(node: ast.expr) -> str:
    """`c` of `a.b.c`; empty for anything that is no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _is_broad(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(_is_broad, caught.elts))
    return caught is None or _last_name(caught) in BROAD


def _explained(source: Source, line: int) -> bool:
    said = (source.comments.get(number, "") for number in (line - 1, line, line + 1))
    return any(REASON.search(re.sub(r"noqa: [A-Z0-9, ]+", "", comment)) for comment in said)


def _in(source: Source, folder: str) -> bool:
    return PurePosixPath(source.path).is_relative_to(folder)
