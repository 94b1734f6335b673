"""The parts of a simple command: its words with the expansions in them, its assignments, redirections and heredocs.

Every substitution that is met is read on the way, so that its commands are in the reader's list before the command that holds
it. All raise `Unreadable` where the grammar's tree and the shell's rules do not agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from agentd.core.policy.shell.marks import HERE, HOME, PIPE, UNKNOWN
from agentd.core.policy.shell.script import Assign, Redirect, Word
from agentd.core.policy.shell.tree import BETWEEN, HIDDEN, blank, substitutions
from agentd.core.policy.shell.words import PLAIN, Hole, Unreadable, read_text, read_word

if TYPE_CHECKING:
    from tree_sitter import Node

    from agentd.core.policy.shell.reading import Reader

_EXPANSIONS = frozenset(
    {"simple_expansion", "expansion", "command_substitution", "process_substitution", "arithmetic_expansion"}
)
_CLEAR = frozenset(
    "command_name word string raw_string ansi_c_string translated_string concatenation number string_content "
    "brace_expression "
    "variable_name special_variable_name extglob_pattern regex test_operator".split()
)
_WHOLE = {
    "simple_expansion": re.compile(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!-])", re.ASCII),
    "expansion": re.compile(r"\$\{.*\}", re.DOTALL),
    "command_substitution": re.compile(r"\$\((?!\().*\)|`.*`", re.DOTALL),
    "process_substitution": re.compile(r"[<>]\(.*\)", re.DOTALL),
    "arithmetic_expansion": re.compile(r"\$\(\(.*\)\)|\$\[.*\]", re.DOTALL),
}
_NO_FILE = frozenset({">&", "<&", ">&-", "<&-"})
_SEVERAL = re.compile(r"\$[@*]|\$\{[@*]|\[[@*]\]|\$\{!")
_RUNS = re.compile(r"@[PAa]\}")
_KNOWN = {"$HOME": HOME, "${HOME}": HOME, "$PWD": HERE, "${PWD}": HERE}
_ASSIGNS = re.compile(r"\$\{(\w+):?=")
_UNESCAPED = re.compile(r"\\([$`\\])")


def words(reader: Reader, *nodes: Node) -> list[Word]:
    """The words that one argument becomes; nodes that nothing parts are one argument."""
    raw = reader.raw(nodes[0].start_byte, nodes[-1].end_byte)
    if PLAIN.fullmatch(raw):
        return [Word(raw)]
    return _noted(reader, read_word(raw, holes(reader, *nodes)))


def _noted(reader: Reader, found: list[Word]) -> list[Word]:
    reader.plant(found)
    return found


def holes(reader: Reader, *nodes: Node) -> list[Hole]:
    """The expansions in a word, outermost alone, counted in characters from its start."""
    found: list[Hole] = []
    base = nodes[0].start_byte
    stack = list(reversed(nodes))
    while stack:
        each = stack.pop()
        if each.type in _EXPANSIONS:
            start = len(reader.raw(base, each.start_byte))
            found.append(_hole(reader, each, start))
        elif each.is_named and each.type not in _CLEAR:
            raise Unreadable(f"a word that holds a {each.type}")
        else:
            stack += reversed(each.children)
    return found


def _hole(reader: Reader, node: Node, start: int) -> Hole:
    raw = reader.raw(node.start_byte, node.end_byte)
    end = start + len(raw)
    raw = raw.lstrip(" \t\n")  # the grammar may begin an expansion at the blanks before it, which are the string's
    start = end - len(raw)
    nested(reader, node)
    if not _WHOLE[node.type].fullmatch(raw):
        raise Unreadable("an expansion that the grammar cuts elsewhere than the shell")
    if node.type == "process_substitution":
        return Hole(start, end, PIPE)
    if node.type == "arithmetic_expansion":
        reader.counts = True
        return Hole(start, end)
    if node.type == "command_substitution":
        return Hole(start, end)
    if _RUNS.search(raw):
        raise Unreadable("an expansion that runs what it finds")
    assigned = _ASSIGNS.match(raw)
    if assigned:
        reader.emit(node, (), (Assign(assigned[1], Word(UNKNOWN)),), (), ";")
    reader.counts = reader.counts or "[" in raw or (raw.count(":") > 0 and ":-" not in raw and node.type == "expansion")
    return Hole(start, end, _KNOWN.get(raw, UNKNOWN), bool(_SEVERAL.search(raw)))


def nested(reader: Reader, node: Node) -> None:
    """Read every substitution at or below a node; refuse text that would be one where none was seen."""
    found = substitutions(node)
    at = node.start_byte
    for each in found:
        _covered(reader, node, at, each.start_byte)
        _substitution(reader, each)
        at = each.end_byte
    _covered(reader, node, at, node.end_byte)


def _covered(reader: Reader, node: Node, start: int, end: int) -> None:
    if end > start and HIDDEN.search(reader.raw(start, end).removeprefix("$((")):
        reader.opaque(node, "an expansion in which the grammar sees less than the shell")


def _substitution(reader: Reader, node: Node) -> None:
    """`$(...)`, backticks, `<(...)`, `>(...)`."""
    first = node.children[0]
    if first.type == "`":
        raw = reader.raw(first.end_byte, node.children[-1].start_byte)
        if "\\" in raw:
            reader.text(node, _UNESCAPED.sub(r"\1", raw), quoted='\\"' in raw)
            return
    inner = [child for child in node.children[1:] if child.is_named]
    if first.type == "$(" and inner and inner[0].type == "ERROR":
        reader.opaque(node, "a substitution that the grammar cannot read")
    reader.tight(node)
    before, reader.functions = reader.functions, set(reader.functions)
    reader.inside("substitution", node, node.children[1:-1])
    reader.functions = before


def assignment(reader: Reader, node: Node) -> list[Assign]:
    """`name=value`, `name+=value`, `name[i]=value`, `name=(...)`."""
    name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
    if name is None or node.type != "variable_assignment":
        raise Unreadable("an assignment without a name")
    if name.type == "subscript":
        reader.counts = True
        nested(reader, name)
    text = reader.raw(name.start_byte, name.end_byte).partition("[")[0]
    if value is None:
        return [Assign(text, Word(""))]
    operator = value.prev_sibling
    if operator is None or operator.end_byte != value.start_byte:
        raise Unreadable("a blank between a name and its value")
    if value.type == "array":
        for child in value.named_children:
            words(reader, child)
        return [Assign(text, Word(UNKNOWN))]
    raw = reader.raw(value.start_byte, value.end_byte)
    found = (
        [Word(raw)]
        if PLAIN.fullmatch(raw)
        else _noted(reader, read_word(raw.replace("{", "\\{"), holes(reader, value)))
    )
    shape = found[0].shape if operator.type == "=" else UNKNOWN
    return [Assign(text, Word(shape))]


def redirects(reader: Reader, nodes: Sequence[Node], owner: Node) -> tuple[tuple[Redirect, ...], tuple[Word, ...]]:
    """Redirections, and the words that stand behind one but belong to the command."""
    found: list[Redirect] = []
    more: list[Word] = []
    for node in nodes:
        if node.type == "file_redirect":
            redirect, behind = _file(reader, node)
            found += redirect
            more += behind
        elif node.type == "herestring_redirect":
            (text,) = words(reader, node.children[-1])
            found.append(Redirect("<<<", Word(""), text))
        elif node.type == "heredoc_redirect":
            reader.tight(node)
            redirect, behind = _heredoc(reader, node)
            found += redirect
            more += behind
        elif node.type != "comment":
            raise Unreadable(f"a {node.type} where a redirection belongs")
    return tuple(found), tuple(more)


def _file(reader: Reader, node: Node) -> tuple[list[Redirect], list[Word]]:
    children = [child for child in node.children if child.type != "file_descriptor"]
    operator = children[0]
    if operator.is_named or any(child.is_error for child in children):
        raise Unreadable("a redirection that the grammar cannot read")
    kind = operator.type
    targets = children[1:]
    ends = [operator.end_byte, *(child.end_byte for child in targets)]
    for end, target in zip(ends[1:-1], targets[1:], strict=True):
        if (
            not reader.source[end : target.start_byte].strip(b"\\\n")
            or reader.source[target.start_byte : target.end_byte + 1][-1:] in b"<>"
        ):
            raise Unreadable("words behind a redirection that no blank parts")
    if kind in (">&-", "<&-"):
        return [], [word for target in targets for word in words(reader, target)]
    if not targets:
        raise Unreadable("a redirection to nowhere")
    first = words(reader, targets[0])
    if len(first) != 1:
        raise Unreadable("a redirection to several files")
    behind = [word for target in targets[1:] for word in words(reader, target)]
    duplicates = kind in _NO_FILE and re.fullmatch(r"\d+-?|-", first[0].shape) is not None
    if kind in _NO_FILE and not PLAIN.fullmatch(first[0].shape):
        raise Unreadable("a descriptor or file that is expanded twice")
    return ([] if duplicates else [Redirect(kind, first[0])]), behind


def _heredoc(reader: Reader, node: Node) -> tuple[list[Redirect], list[Word]]:
    """A heredoc, with the redirections and words of the same line behind it."""
    parts = {child.type: child for child in node.children}
    start, body, end = parts.get("heredoc_start"), parts.get("heredoc_body"), parts.get("heredoc_end")
    if start is None or end is None:
        raise Unreadable("a heredoc that does not end")
    delimiter = reader.raw(start.start_byte, start.end_byte)
    quoted = any(char in delimiter for char in "'\"\\")
    _ends_there(reader, node, read_word(delimiter)[0].shape, (start.end_byte, end.start_byte))
    found: list[Redirect] = []
    more: list[Word] = []
    fields = [node.field_name_for_child(index) for index in range(node.child_count)]
    for child, field in zip(node.children, fields, strict=True):
        if field == "argument":
            more += words(reader, child)
        elif field == "redirect":
            redirect, behind = redirects(reader, [child], node)
            found += redirect
            more += behind
    text = Word("") if body is None else _body(reader, body, quoted=quoted)
    return [Redirect("<<", Word(""), text), *found], more


def _ends_there(reader: Reader, node: Node, delimiter: str, between: tuple[int, int]) -> None:
    """The first line that is the delimiter alone has to be the one at which the grammar sees the end; one heredoc a line."""
    strip = any(child.type == "<<-" for child in node.children)
    line_end = reader.source.find(b"\n", between[0])
    head = reader.source[between[0] : line_end]
    if line_end < 0 or b"<<" in head.replace(b"<<<", b"") or head.endswith(b"\\"):
        raise Unreadable("several heredocs on one line, or a line that goes on")
    wanted, at = delimiter.encode(), line_end + 1
    while at <= min(between[1], len(reader.source)):
        end = reader.source.find(b"\n", at)
        line = reader.source[at : end if end >= 0 else len(reader.source)]
        text = line.lstrip(b"\t") if strip else line
        if text == wanted:
            if at + len(line) - len(text) == between[1]:
                return
            break
        at += len(line) + 1
    raise Unreadable("a heredoc that ends elsewhere than the grammar sees")


def _body(reader: Reader, node: Node, *, quoted: bool) -> Word:
    raw = reader.raw(node.start_byte, node.end_byte)
    if quoted:
        return Word(raw)
    found = []
    for child in node.children:
        if child.type in _EXPANSIONS:
            found.append(_hole(reader, child, len(reader.raw(node.start_byte, child.start_byte))))
    return read_text(raw, found)


def rest_of_heredocs(reader: Reader, nodes: Sequence[Node]) -> None:
    """The commands that stand behind a heredoc on its line (`cat <<E | wc`), which the grammar hangs into the heredoc."""
    for node in nodes:
        if node.type != "heredoc_redirect":
            continue
        fields = [node.field_name_for_child(index) for index in range(node.child_count)]
        join = ";"
        for child, field in zip(node.children, fields, strict=True):
            if field == "operator":
                join = child.type
            elif field == "right":
                reader.statement(child, join)
            elif child.type == "pipeline":
                for part in child.named_children:
                    reader.inside("pipe", part, [part], "|")
            elif field not in ("argument", "redirect") and child.type not in _HEREDOC:
                reader.opaque(child, f"a {child.type} behind a heredoc")


_HEREDOC = frozenset({"<<", "<<-", "heredoc_start", "heredoc_body", "heredoc_end", "file_descriptor", "comment"})


def test_words(reader: Reader, node: Node) -> tuple[Word, ...]:
    """The words of a test, its operators among them."""
    found: list[Word] = []
    leaves = list(_test_leaves(node))
    pairs = list(pairwise(leaves))
    for left, right in pairs if leaves[0].type == "[" else (pairs[0], pairs[-1]):
        if left.end_byte <= right.start_byte and not blank(reader.source, left.end_byte, right.start_byte, BETWEEN):
            raise Unreadable("a test in which no blanks part the words")
    for leaf in leaves:
        if leaf.is_named and leaf.type not in ("test_operator", "regex"):
            found += words(reader, leaf)
        else:
            nested(reader, leaf)
            found.append(Word(reader.raw(leaf.start_byte, leaf.end_byte)))
    return tuple(found)


_INNER = frozenset(
    {
        "binary_expression",
        "unary_expression",
        "parenthesized_expression",
        "negated_command",
        "test_command",
        "ternary_expression",
    }
)


def _test_leaves(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        each = stack.pop()
        if each.type in _INNER:
            stack += reversed(each.children)
        else:
            yield each
