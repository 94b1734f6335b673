"""The grammar of the shell: tree-sitter's, and what of a tree is looked at in more than one place."""

import re

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bash.language()))

BLANKS = re.compile(rb"(?:[ \t]|\\\n)*")
"""What may stand between a word and a redirection."""

BETWEEN = re.compile(rb"(?:\\\n)*[ \t](?:[ \t]|\\\n)*")
"""What has to stand between two words: one blank at least. A continued line alone joins them."""

LINES = re.compile(rb"(?:[ \t\n]|\\\n)*")
"""What may stand between two commands and the operators around them."""

SUBSTITUTIONS = frozenset({"command_substitution", "process_substitution"})
HIDDEN = re.compile(r"`|\$\(|[<>]\(")
"""Text that would run a command; found where the grammar saw none, it is refused."""


def tree_of(source: bytes) -> Node:
    """The root of the tree of a text; there is one for every text."""
    return _PARSER.parse(source).root_node


def faults(root: Node, most: int) -> list[Node]:
    """What the grammar could not place, outermost first, `most` at the most."""
    found: list[Node] = []
    stack = [root] if root.has_error else []
    while stack and len(found) < most:
        node = stack.pop()
        if node.is_error or node.is_missing:
            found.append(node)
        else:
            stack += [child for child in reversed(node.children) if child.has_error or child.is_missing]
    return found


def substitutions(node: Node) -> list[Node]:
    """The outermost substitutions at or below a node, in the order of the text."""
    found: list[Node] = []
    stack = [node]
    while stack:
        each = stack.pop()
        if each.type in SUBSTITUTIONS:
            found.append(each)
        elif each.child_count:
            stack += reversed(each.children)
    return found


def blank(source: bytes, start: int, end: int, pattern: re.Pattern[bytes]) -> bool:
    """Whether what stands between two bytes is what a pattern takes for blank."""
    return (start == end and pattern is not BETWEEN) or pattern.fullmatch(source, start, end) is not None
