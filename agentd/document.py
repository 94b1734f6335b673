"""YAML text in, a tree that remembers places out, with every fault that the text itself has.

A room of its own, since daemon and operator tool both read policy files and the core knows no YAML. It takes the part of
YAML that reads the same to a person as to a program:

* values as in YAML 1.2's core schema, so `no`, `on`, `1:30` and `010` are what they look like; dates are dates;
* no anchors, aliases, merges, tags, second documents or keys that are no words; no key twice;
* no characters that cannot be seen or that turn the line around; no secrets, not even in comments;
* the last line is `...`, YAML's end mark: a file that was cut short, or is still being written, is never whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import yaml

from agentd.core.policy.leaks import find_leaks
from agentd.core.policy.spec import END_MARK
from agentd.core.types.documents import Mapping, Mark, Node, Scalar, Sequence
from agentd.core.types.errors import Fault

MAX_CHARS = 256 * 1024
"""Fifty times a real policy. Parsing stays within some tens of milliseconds."""

MAX_DEPTH = 16
"""Levels of nesting; a policy has seven."""

MAX_NODES = 20_000
"""Values in all."""

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser where it was built in: fifteen times as fast, with the same events."""

_INT = re.compile(r"[-+]?[0-9]{1,18}|0x[0-9A-Fa-f]{1,15}|0o[0-7]{1,20}")
_FLOAT = re.compile(
    r"[-+]?((\.[0-9]{1,30}|[0-9]{1,30}\.[0-9]{0,30})([eE][-+]?[0-9]{1,2})?|[0-9]{1,30}[eE][-+]?[0-9]{1,2})"
)
"""Longer numbers, and the infinite, are words: whoever wants a number will say that these are none."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_WORDS: dict[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def read_document(text: str, source: str) -> tuple[Node | None, tuple[Fault, ...]]:
    """Read one document. The tree is None when the text is no YAML or too large; faults come in the order of the file.

    `source` names the file in hints.
    """
    if len(text) > MAX_CHARS:
        hint = f"keep {source} below {MAX_CHARS // 1024} KiB"
        return None, (Fault(1, 1, "", f"the file has {len(text)} characters", hint),)
    faults = [*_invisible(text)]
    if faults:
        return None, tuple(faults)
    builder = _Builder()
    root = builder.document(text)
    faults = [*builder.faults, *_leaks(text), *_cut_short(text)]
    return root, tuple(sorted(faults, key=lambda fault: (fault.line, fault.column)))


def _invisible(text: str) -> Iterator[Fault]:
    for match in list(_INVISIBLE.finditer(text))[:10]:
        what = f"an invisible character (U+{ord(match[0]):04X}) stands here"
        yield Fault(
            *_place(text, match.start()), "", what, "remove it: the file must read to you as it reads to agentd"
        )


def _leaks(text: str) -> Iterator[Fault]:
    for leak in find_leaks(text):
        hint = "take it out, treat it as known to others, and store its successor with: agentctl key set NAME"
        yield Fault(*_place(text, leak.start), "", f"this looks like {leak.what}", hint)


def _cut_short(text: str) -> Iterator[Fault]:
    lines = text.rstrip().split("\n")
    if lines[-1].rstrip() != END_MARK:
        hint = f"make `{END_MARK}` the last line: it tells a whole file from one that is still being written"
        yield Fault(len(lines), 1, "", f"the file does not end with a line `{END_MARK}`", hint)


def _place(text: str, index: int) -> tuple[int, int]:
    """Line and column, from 1, of a character."""
    return text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1


def resolve(text: str, *, plain: bool) -> str | int | float | bool | date | None:
    """A scalar's value by the core schema; quoted ones (`plain` false) are strings whatever they look like."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 10) if text.lstrip("+-").isdigit() else int(text, 0)
    if _DATE.fullmatch(text):
        return _date(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _date(text: str) -> date | str:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text  # 2027-02-30: whoever wants a date will say that this is none


@dataclass(slots=True)
class _Level:
    """A map or list whose end has not come yet."""

    mark: Mark
    mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    key: Scalar | None = None  # read, its value not yet
    skip: bool = False  # the key was a fault: its value is dropped


class _Builder:
    """Turns the parser's events into a tree."""

    def __init__(self) -> None:
        """Start with nothing read."""
        self.faults: list[Fault] = []
        self.root: Node | None = None
        self._levels: list[_Level] = []
        self._nodes = 0
        self._documents = 0

    def document(self, text: str) -> Node | None:
        """The root of the tree, or None with a fault."""
        try:
            for event in yaml.parse(text, Loader=Loader):
                if not self._take(event):
                    return self.root
        except yaml.MarkedYAMLError as error:
            place = error.problem_mark or error.context_mark
            at = Mark(1, 1) if place is None else Mark(place.line + 1, place.column + 1)
            what = f"{error.context}: {error.problem}" if error.context else str(error.problem)
            self._fault(
                at, f"this is no YAML: {what}", "look here and at the line above: indentation, quotes, brackets"
            )
            return None
        except yaml.YAMLError as error:
            self._fault(Mark(1, 1), f"this is no YAML: {type(error).__name__}", "save the file as UTF-8 text")
            return None
        if self.root is None:
            self._fault(Mark(1, 1), "the file is empty", "see docs/policy.md for what belongs in it")
        return self.root

    def _fault(self, mark: Mark, message: str, hint: str) -> None:
        self.faults.append(Fault(mark.line, mark.column, "", message, hint))

    def _take(self, event: yaml.Event) -> bool:
        """One event; False when there is no use in reading on."""
        start = event.start_mark
        mark = Mark(1, 1) if start is None else Mark(start.line + 1, start.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            return self._begin(mark)
        if isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            self._no_sharing(event, mark)
        if self._nodes > MAX_NODES or len(self._levels) > MAX_DEPTH:
            self._fault(
                mark,
                "the file is nested too deeply or has too many values",
                f"at most {MAX_DEPTH} levels and {MAX_NODES} values",
            )
            return False
        self._node(event, mark)
        return True

    def _begin(self, mark: Mark) -> bool:
        self._documents += 1
        if self._documents > 1:
            self._fault(mark, "a second document begins here", "keep one document in the file")
        return self._documents == 1

    def _no_sharing(self, event: yaml.Event, mark: Mark) -> None:
        if getattr(event, "anchor", None) is not None:
            self._fault(mark, "anchors and aliases are not read", "write the values out: a policy is read by people")
        if getattr(event, "tag", None) is not None:
            self._fault(mark, "tags (`!`) are not read", "write the plain value")

    def _node(self, event: yaml.Event, mark: Mark) -> None:
        match event:
            case yaml.ScalarEvent():
                value = resolve(event.value, plain=event.implicit[0])
                self._add(Scalar(value, event.value, mark))
            case yaml.AliasEvent():
                self._add(Scalar(None, "", mark))
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._levels.append(_Level(mark, isinstance(event, yaml.MappingStartEvent)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                level = self._levels.pop()
                if level.mapping:
                    self._add(Mapping(tuple(level.entries), level.mark))
                else:
                    self._add(Sequence(tuple(level.items), level.mark))

    def _add(self, node: Node) -> None:
        if not self._levels:
            self.root = node
            return
        level = self._levels[-1]
        if not level.mapping:
            level.items.append(node)
        elif level.key is None:
            self._key(level, node)
        else:
            if not level.skip:
                level.entries.append((level.key, node))
            level.key, level.skip = None, False

    def _key(self, level: _Level, node: Node) -> None:
        """A key is a word, and new in its map. Where it is not, its value is read and dropped."""
        if not isinstance(node, Scalar):
            self._fault(node.mark, "a map or list cannot be a key", "write a word before the colon")
            level.key, level.skip = Scalar("", "", node.mark), True
            return
        level.key = Scalar(node.text, node.text, node.mark)
        earlier = next((key for key, _ in level.entries if key.text == node.text), None)
        if earlier is not None:
            level.skip = True
            self._fault(node.mark, f"this key stands in line {earlier.mark.line} already", "remove one of the two")
