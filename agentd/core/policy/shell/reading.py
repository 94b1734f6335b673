"""Shell text -> the simple commands in it (`Script`), by the grammar's tree, statement by statement.

The grammar is not trusted further than it can be checked: what stands between its nodes must be what the shell takes for a
blank, every word is read once more by the shell's rules (`words.py`), and a node that is not expected where it stands makes an
`Opaque`. Below a fault in the syntax reading goes on, so that a command which policy forbids is found there as well; but the
fault stays in the list and keeps the whole from being allowed.

A command that was cut short by an exception is opaque as a whole. Depth and size are bounded before anything recurses.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tree_sitter import Node

from agentd.core.policy.shell import commands, expanding
from agentd.core.policy.shell.marks import RESERVED
from agentd.core.policy.shell.script import Assign, Opaque, Redirect, Scope, Script, Simple, Span, Unread, Where, Word
from agentd.core.policy.shell.tree import LINES, blank, faults, tree_of
from agentd.core.policy.shell.words import Unreadable

MAX_BYTES = 128 * 1024 - 1
"""The kernel takes no longer argument (MAX_ARG_STRLEN), so no longer text could be handed to a shell."""

MAX_DEPTH = 40
"""Constructs within constructs, texts within texts too. People stay below ten; the interpreter's stack bears twice as many."""

MAX_FAULTS = 8
"""So many faults of the syntax are told one by one."""

MAX_SHOWN = 400
"""Characters of a command that are kept to show it."""

_CONTROL = re.compile(r"[^\S \t\n]|[\x00-\x08\x0b-\x1f\x7f]")
_PLANTED = re.compile(r"`|\$\(|\[.*\$", re.DOTALL)
_ARITHMETIC_BUILTINS = frozenset(
    "let read printf test [ unset declare local export readonly typeset mapfile readarray wait getopts".split()
)


@dataclass(frozen=True, slots=True)
class Outer:
    """What stands around a text that another command runs: the wrappers, the place of the whole, how deep it is."""

    where: Where | None = None
    via: tuple[str, ...] = ()
    depth: int = 0


NOWHERE = Outer()


def parse(text: str, outer: Outer = NOWHERE) -> Script:
    """Every simple command of a shell text; wrappers are not looked into here."""
    span = outer.where.span if outer.where else Span(0, len(text))
    kind, reason = _unfit(text, outer)
    if kind is not None:
        where = replace(outer.where or Where(span), join=";")
        return Script(text, (Opaque(kind, reason, where, text[:MAX_SHOWN], outer.via),))
    reader = Reader(text.encode(), outer)
    reader.whole()
    return Script(text, tuple(reader.items))


def from_argv(argv: Sequence[str]) -> Script:
    """A call that names its arguments: one simple command, no shell."""
    words = tuple(Word(word) for word in argv)
    text = " ".join(argv)
    where = Where(Span(0, len(text.encode(errors="replace"))))
    unfit = not argv or any("\0" in word or RESERVED.search(word) or not _encodable(word) for word in argv)
    if unfit:
        return Script(
            text,
            (Opaque(Unread.CONTROL, "no arguments, or one that holds NUL or is no text", where, text[:MAX_SHOWN]),),
        )
    return Script(text, (Simple(words, where, text[:MAX_SHOWN]),))


def _unfit(text: str, outer: Outer) -> tuple[Unread | None, str]:
    if outer.depth > MAX_DEPTH:
        return Unread.DEPTH, f"more than {MAX_DEPTH} levels"
    if len(text) > MAX_BYTES or (not text.isascii() and len(text.encode(errors="replace")) > MAX_BYTES):
        return Unread.SIZE, f"longer than {MAX_BYTES} bytes"
    found = _CONTROL.search(text) or (None if text.isascii() else RESERVED.search(text))
    if found or not _encodable(text):
        return Unread.CONTROL, "it holds control characters, unusual blanks, or characters that are none"
    return None, ""


def _encodable(text: str) -> bool:
    return text.isascii() or not any(0xD800 <= ord(char) < 0xE000 for char in text)


class Reader:
    """One pass over one tree. What was found is in `items`."""

    def __init__(self, source: bytes, outer: Outer) -> None:
        """`source` was found fit to be read."""
        self.source = source
        self.outer = outer
        self.items: list[Simple | Opaque] = []
        self.scopes: tuple[Scope, ...] = outer.where.scopes if outer.where else ()
        self.background = outer.where.background if outer.where else False
        self.depth = outer.depth
        self.functions: set[str] = set()
        self.counts = False  # something is evaluated as arithmetic, which expands what it finds in variables
        self.planted = False  # a quoted text that arithmetic would run

    def whole(self) -> None:
        """Read everything."""
        root = tree_of(self.source)
        for node in faults(root, MAX_FAULTS):
            self.opaque(node, "the shell's grammar has no such command")
        self.tight(root)
        self.sequence(root.children)
        if self.source[root.end_byte :].strip(b" \t\n") or self.source[: root.start_byte].strip(b" \t\n"):
            self.opaque(root, "something stands around what could be read")
        if self.counts and self.planted:
            self.opaque(root, "arithmetic beside a quoted text that it could run", Unread.TEXT)

    # what was found

    def where(self, start: int, end: int, join: str) -> Where:
        """The place of something between two bytes."""
        outer = self.outer.where
        span = outer.span if outer else Span(start, end)
        return Where(span, self.scopes, join, self.background)

    def raw(self, start: int, end: int) -> str:
        """Source text."""
        return self.source[start:end].decode(errors="replace")

    def opaque(self, node: Node, reason: str, kind: Unread = Unread.SYNTAX) -> None:
        """Note what cannot be read."""
        start, end = node.start_byte, node.end_byte
        shown = self.raw(start, end)[:MAX_SHOWN]
        self.items.append(Opaque(kind, reason, self.where(start, end, ";"), shown, self.outer.via))

    def text(self, node: Node, text: str, *, quoted: bool) -> None:
        """Read a text that is read anew by the shell, as between backticks."""
        if quoted:
            self.opaque(node, "quotes within backticks, which are read by rules of their own")
            return
        where = self.where(node.start_byte, node.end_byte, ";")
        scopes = (*where.scopes, Scope("substitution", node.start_byte + 1))
        self.items += parse(text, Outer(replace(where, scopes=scopes), self.outer.via, self.depth + 1)).items

    def plant(self, words: Sequence[Word]) -> None:
        """Note a quoted text that arithmetic would run."""
        if not self.planted:
            self.planted = any("$" in word.shape or "`" in word.shape for word in words) and any(
                _PLANTED.search(word.shape) for word in words
            )

    # statements

    def tight(self, node: Node) -> None:
        """What stands between the parts of a construct has to be blank to the shell, too."""
        end = node.start_byte
        for child in node.children:
            start = child.start_byte
            if start > end and not blank(self.source, end, start, LINES):
                self.opaque(node, "a construct that holds more than the grammar sees")
            end = child.end_byte

    def sequence(self, nodes: Sequence[Node], join: str = ";") -> None:
        """Statements and what stands between them; tokens that are no operators were asked for by their construct."""
        for index, node in enumerate(nodes):
            if node.is_named:
                after = nodes[index + 1].type if index + 1 < len(nodes) else ""
                self.statement(node, join, background=after == "&")
                join = ";"

    def statement(self, node: Node, join: str = ";", *, background: bool = False) -> None:
        """One statement of any kind."""
        kind = node.type
        if kind in ("comment", "ERROR", "heredoc_body"):
            if kind == "ERROR":
                self.sequence([child for child in node.named_children if child.type in _STATEMENTS])
            return
        if kind not in _OWN_GAPS:
            self.tight(node)
        handler = _STATEMENTS.get(kind)
        if handler is None:
            self.opaque(node, f"a construct that is not known here ({kind})")
            expanding.nested(self, node)
            return
        before, self.depth = self.background, self.depth + 1
        self.background = before or background
        if self.depth > MAX_DEPTH:
            self.opaque(node, f"more than {MAX_DEPTH} levels", Unread.DEPTH)
        else:
            handler(self, node, join)
        self.background, self.depth = before, self.depth - 1

    def inside(self, kind: str, node: Node, children: Sequence[Node], join: str = ";") -> None:
        """The statements of a construct, under a scope of its own."""
        before = self.scopes
        self.scopes = (*before, Scope(kind, node.start_byte + 1))
        self.sequence(children, join)
        self.scopes = before

    def listed(self, node: Node, join: str) -> None:
        """`a && b || c`, which leans to the left however long it is."""
        chain: list[tuple[str, Node]] = []
        while node.type == "list" and node.child_count == 3:
            left, operator, right = node.children
            self.tight(node)
            chain.append((operator.type, right))
            node = left
        self.statement(node, join)
        for operator_type, each in reversed(chain):
            self.statement(each, operator_type)

    def pipeline(self, node: Node, join: str) -> None:
        """Every part of a pipeline is a process of its own."""
        first = True
        for child in node.children:
            if child.is_named:
                self.inside("pipe", child, [child], join if first else "|")
                first = False

    def loop(self, node: Node, join: str) -> None:
        """`for`, `select`, `while`, `until`: condition and body again and again."""
        before = self.scopes
        self.scopes = (*before, Scope("loop", node.start_byte + 1))
        self.parts(node, join)
        self.scopes = before

    def branches(self, node: Node, join: str) -> None:
        """`if` and `case`: what may run or not."""
        before = self.scopes
        self.scopes = (*before, Scope("branch", node.start_byte + 1))
        self.parts(node, join)
        self.scopes = before

    def parts(self, node: Node, join: str) -> None:
        """The statements and words among the children of a construct, in their order."""
        fields = [node.field_name_for_child(index) for index in range(node.child_count)]
        for child, field in zip(node.children, fields, strict=True):
            if not child.is_named or child.type == "comment":
                continue
            if field == "variable":
                self.emit(child, (), (Assign(self.raw(child.start_byte, child.end_byte), Word("\uf8f2")),), (), join)
            elif child.type in _STATEMENTS and field not in ("value", "initializer", "update"):
                self.statement(child, ";")
            elif child.type in ("do_group", "elif_clause", "else_clause", "case_item"):
                self.tight(child)
                self.parts(child, ";")
            else:
                expanding.nested(self, child)
                self.counts = self.counts or node.type == "c_style_for_statement"

    def function(self, node: Node, join: str) -> None:
        """A function's body is judged where it stands, whether it is called or not."""
        name, body = node.child_by_field_name("name"), node.child_by_field_name("body")
        if name is None or body is None:
            self.opaque(node, "a function without name or body")
            return
        self.inside("function", node, [body])
        redirects = [child for child in node.children if child.type.endswith("_redirect")]
        if redirects:
            self.emit(node, (), (), expanding.redirects(self, redirects, node)[0], join)
        if not self.scopes and join == ";":
            self.functions.add(self.raw(name.start_byte, name.end_byte))

    def compound(self, node: Node, join: str) -> None:
        """`{ ...; }`, or `(( ... ))`, which stands under the same name."""
        if node.children[0].type == "((":
            self.counts = True
            expanding.nested(self, node)
            self.emit(node, (Word("(("),), (), (), join)
        elif not self.source[node.start_byte + 1 : node.start_byte + 2].isspace() or node.child_count < 3:
            self.opaque(node, "a brace that is a word to the shell")
        else:
            self.sequence(node.children[1:-1], join)

    def subshell(self, node: Node, join: str) -> None:
        """`( ... )`."""
        self.inside("subshell", node, node.children[1:-1], join)

    def negated(self, node: Node, join: str) -> None:
        """`! command`."""
        for child in node.named_children:
            self.statement(child, join)

    def bare_redirect(self, node: Node, join: str) -> None:
        """`$(< file)`."""
        found, _ = self.guarded(node, lambda: expanding.redirects(self, [node], node))
        self.emit(node, (), (), found, join)

    def redirected(self, node: Node, join: str) -> None:
        """A statement with redirections behind it; behind a command, words may follow them."""
        body = node.child_by_field_name("body")
        others = [child for child in node.children if child != body]
        if body is not None and body.type == "command":
            commands.command(self, body, join, others)
            return
        self.tight(node)
        found, words = self.guarded(node, lambda: expanding.redirects(self, others, node))
        if words:
            self.opaque(node, "words behind the redirection of a construct")
        if body is not None and body.type not in ("variable_assignment", "variable_assignments"):
            self.emit(node, (), (), found, join)
            self.statement(body, join)
        else:
            assigns = () if body is None else self.guarded_assigns(body)
            self.emit(node, (), assigns, found, join)
        expanding.rest_of_heredocs(self, others)

    def guarded(
        self, node: Node, work: Callable[[], tuple[tuple[Redirect, ...], tuple[Word, ...]]]
    ) -> tuple[tuple[Redirect, ...], tuple[Word, ...]]:
        """Redirections, or none and an `Opaque`."""
        try:
            return work()
        except Unreadable as fault:
            self.opaque(node, str(fault))
            return (), ()

    def guarded_assigns(self, node: Node) -> tuple[Assign, ...]:
        """Assignments, or none and an `Opaque`."""
        nodes = node.children if node.type == "variable_assignments" else [node]
        try:
            return tuple(assign for each in nodes for assign in expanding.assignment(self, each))
        except Unreadable as fault:
            self.opaque(node, str(fault))
            return ()

    def assignment(self, node: Node, join: str) -> None:
        """Assignments alone."""
        self.emit(node, (), self.guarded_assigns(node), (), join)

    def emit(
        self,
        node: Node,
        words: tuple[Word, ...],
        assigns: tuple[Assign, ...],
        redirects: tuple[Redirect, ...],
        join: str,
    ) -> None:
        """Put a simple command into the list."""
        name = words[0].shape if words else ""
        self.counts = self.counts or name in _ARITHMETIC_BUILTINS
        start, end = node.start_byte, node.end_byte
        text = self.raw(start, min(end, start + MAX_SHOWN))
        where = self.where(start, end, join)
        called = name in self.functions
        self.items.append(Simple(words, where, text, assigns, redirects, self.outer.via, called))


_OWN_GAPS = frozenset({"command", "list", "redirected_statement", "variable_assignment", "file_redirect"})
"""Nodes whose readers look at what stands between their parts more closely."""

_STATEMENTS: dict[str, Callable[[Reader, Node, str], None]] = {
    "command": commands.command,
    "redirected_statement": Reader.redirected,
    "file_redirect": Reader.bare_redirect,
    "list": Reader.listed,
    "pipeline": Reader.pipeline,
    "subshell": Reader.subshell,
    "compound_statement": Reader.compound,
    "negated_command": Reader.negated,
    "for_statement": Reader.loop,
    "c_style_for_statement": Reader.loop,
    "while_statement": Reader.loop,
    "if_statement": Reader.branches,
    "case_statement": Reader.branches,
    "function_definition": Reader.function,
    "variable_assignment": Reader.assignment,
    "variable_assignments": Reader.assignment,
    "declaration_command": commands.declaration,
    "unset_command": commands.declaration,
    "test_command": commands.test,
}
