"""A simple command from its nodes: words, assignments and redirections, each held against what the shell would read.

The grammar may lay a word into pieces, swallow a lone `-` or hang words behind a redirection into it; that is put right here, and
whatever else does not fit makes the command unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentd.core.policy.shell import expanding
from agentd.core.policy.shell.script import Assign, Redirect, Word
from agentd.core.policy.shell.tree import BETWEEN, BLANKS, blank
from agentd.core.policy.shell.words import Unreadable

if TYPE_CHECKING:
    from tree_sitter import Node

    from agentd.core.policy.shell.reading import Reader

_KEYWORDS = frozenset("{ } ! [[ ]] if then elif else fi for while until do done case esac select function in".split())
_ONE = r"""(?>[\w./:@%+,^=-]++|'[^']*+'|"[^"$`\\]*+")++"""
_WORD = re.compile(_ONE, re.ASCII)
_EASY = re.compile(rf"""[\w./:@%+,^-]++(?:[ \t]++{_ONE})*+""", re.ASCII)
_QUOTES = re.compile(r"""'[^']*'|"[^"]*\"""")
_DESCRIPTOR = re.compile(rb"(\d+|\{\w+\})[<>]")
_JOINS = frozenset(
    "command_name word number string raw_string ansi_c_string concatenation simple_expansion expansion "
    "command_substitution "
    "arithmetic_expansion brace_expression translated_string".split()
)
"""Nodes that may be pieces of one word: where nothing stands between two, the shell sees one."""

_ARITHMETIC_TESTS = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v"})


def command(reader: Reader, node: Node, join: str, behind: Sequence[Node] = ()) -> None:
    """A simple command with all that belongs to it."""
    try:
        _command(reader, node, join, behind)
    except Unreadable as fault:
        reader.opaque(node, str(fault))
        expanding.nested(reader, node)
    expanding.rest_of_heredocs(reader, behind)


def _command(reader: Reader, node: Node, join: str, behind: Sequence[Node]) -> None:
    words = _easy(reader, node)
    assigns: list[Assign] = []
    redirected: list[Redirect] = []
    end = node.end_byte if words else -1
    parts = behind if words else [*node.children, *behind]
    for index, child in enumerate(parts):
        if child.end_byte <= end:
            continue  # belongs to the word before it
        words += _spaced(reader, child, end)
        together = _together(parts, index)
        end = together[-1].end_byte
        if child.type == "variable_assignment" and not words:
            assigns += expanding.assignment(reader, child)
        elif child.type.endswith("_redirect"):
            found, more = expanding.redirects(reader, [child], node)
            redirected += found
            words += more
        elif child.type == "subshell" and len(words) == 1 and words[0].shape == "time":
            reader.statement(child, ";")
        elif child.type != "comment":
            _keyword(reader, child, first=not words)
            words += expanding.words(reader, *together)
    reader.emit(node, tuple(words), tuple(assigns), tuple(redirected), join)


def _easy(reader: Reader, node: Node) -> list[Word]:
    """The words of a command that is nothing but plain and simply quoted ones; none where it is not."""
    raw = reader.raw(node.start_byte, node.end_byte)
    if not _EASY.fullmatch(raw):
        return []
    found = [
        Word(raw if "'" not in raw and '"' not in raw else _QUOTES.sub(_unquoted, raw)) for raw in _WORD.findall(raw)
    ]
    if found[0].shape in _KEYWORDS:
        return []
    reader.plant(found)
    return found


def _unquoted(found: re.Match[str]) -> str:
    return found.group()[1:-1]


def _spaced(reader: Reader, child: Node, end: int) -> list[Word]:
    """What stands before a part of a command has to be a blank to the shell, too. A lone `-` the grammar may swallow."""
    redirect = child.type.endswith("_redirect")
    if not redirect and _DESCRIPTOR.match(reader.source, child.start_byte):
        raise Unreadable("the number of a descriptor that was taken for a word")
    if end < 0 or blank(reader.source, end, child.start_byte, BLANKS if redirect else BETWEEN):
        return []
    if reader.source[end : child.start_byte].strip(b" \t") == b"-" and _apart(reader, child, end):
        return [Word("-")]
    raise Unreadable("words that no blank parts")


def _apart(reader: Reader, child: Node, end: int) -> bool:
    """Whether a blank stands before what the grammar has swallowed, and behind it where no redirection does."""
    before, behind = reader.source[end : end + 1], reader.source[child.start_byte - 1 : child.start_byte]
    return before in b" \t" and (behind in b" \t" or child.type.endswith("_redirect"))


def _keyword(reader: Reader, child: Node, *, first: bool) -> None:
    if first and reader.raw(child.start_byte, child.end_byte) in _KEYWORDS:
        raise Unreadable("a keyword that was taken for a command")


def declaration(reader: Reader, node: Node, join: str) -> None:
    """`export`, `declare`, `local`, `readonly`, `typeset`, `unset`: commands of the shell's own."""
    try:
        words: list[Word] = []
        assigns: list[Assign] = []
        for child in node.children:
            if child.type == "variable_assignment":
                found = expanding.assignment(reader, child)
                assigns += found
                words += [Word(f"{each.name}={each.value.shape}", each.value.many) for each in found]
            else:
                words += expanding.words(reader, child)
        reader.emit(node, tuple(words), tuple(assigns), (), join)
    except Unreadable as fault:
        reader.opaque(node, str(fault))
        expanding.nested(reader, node)


def test(reader: Reader, node: Node, join: str) -> None:
    """`[ ... ]` and `[[ ... ]]`."""
    try:
        words = expanding.test_words(reader, node)
    except Unreadable as fault:
        reader.opaque(node, str(fault))
        return
    reader.counts = reader.counts or any(word.shape in _ARITHMETIC_TESTS for word in words)
    reader.emit(node, words, (), (), join)


def _together(parts: Sequence[Node], index: int) -> list[Node]:
    """A part of a command, and those behind it that no blank parts from it and that are pieces of words."""
    found = [parts[index]]
    if found[0].type in _JOINS:
        for part in parts[index + 1 :]:
            if part.start_byte != found[-1].end_byte or part.type not in _JOINS:
                break
            found.append(part)
    return found
