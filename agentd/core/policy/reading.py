"""Walks the tree of a policy file along its description (`spec`) and gives values with their places, reading on after
each fault. What could not be read is left out, so later checks look only at what is there and no fault brings forth others.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches

from agentd.core.policy.entries import NAME_PATTERN
from agentd.core.policy.kinds import MAX_LIST, Key, Kind, ListOf, MapOf, Record, Ref
from agentd.core.policy.spec import UNENFORCED
from agentd.core.policy.values import BadValue, Leaf, Names, read_value, shown
from agentd.core.types.documents import Mapping, Mark, Node, Scalar, Sequence
from agentd.core.types.errors import Fault

NAME_HINT = "use lower-case letters, digits, `.`, `_` and `-`, beginning with a letter or digit, 48 at most"


@dataclass(frozen=True, slots=True)
class Found:
    """A value that was read and where it stood."""

    value: "Value"
    mark: Mark
    where: str

    def get(self, key: str) -> "Found | None":
        """The entry of a map or record, or None."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def text(self, key: str) -> str:
        """The value of an entry that is a string; empty if it is absent."""
        value = self._plain(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int | None:
        """The value of an entry that is a number; None if it is absent."""
        value = self._plain(key)
        return value if isinstance(value, int) else None

    def flag(self, key: str) -> bool:
        """Whether an entry is true; an absent one is not."""
        return self._plain(key) is True

    def day(self, key: str) -> date | None:
        """The value of an entry that is a date; None if it is absent."""
        value = self._plain(key)
        return value if isinstance(value, date) else None

    def items(self, key: str) -> "tuple[Found, ...]":
        """The items of an entry that is a list; none if it is absent."""
        value = self._plain(key)
        return value if isinstance(value, tuple) else ()

    def texts(self, key: str) -> tuple[str, ...]:
        """The items of an entry that is a list of strings."""
        return tuple(item.word for item in self.items(key))

    def entries(self, key: str) -> "dict[str, Found]":
        """The entries of an entry that is a map; none if it is absent."""
        value = self._plain(key)
        return value if isinstance(value, dict) else {}

    @property
    def word(self) -> str:
        """The value itself as a string."""
        return str(self.value)

    def _plain(self, key: str) -> "Value | None":
        entry = self.get(key)
        return None if entry is None else entry.value


Value = Leaf | tuple[Found, ...] | dict[str, Found]
"""A leaf, the items of a list, or the entries of a map or record."""


@dataclass(slots=True)
class Reader:
    """Reads one file. `faults` collects what is wrong, `refs` which names of which sections were used where."""

    names: Names
    faults: list[Fault] = field(default_factory=list)
    refs: list[tuple[str, Found]] = field(default_factory=list)

    def fault(self, mark: Mark, where: str, message: str, hint: str) -> None:
        """Note one thing that is wrong."""
        self.faults.append(Fault(mark.line, mark.column, where, message, hint))

    def faulty(self, found: Found) -> bool:
        """Whether something within an entry could not be read, so that what seems absent may only be broken."""
        return any(fault.where.startswith(f"{found.where}.") for fault in self.faults)

    def read(self, kind: Kind, node: Node, where: str) -> Found | None:
        """Read one node as a kind; None if nothing usable stands there."""
        match kind, node:
            case Record(), Mapping():
                return self._record(kind, node, where)
            case MapOf(), Mapping():
                return self._map(kind, node, where)
            case ListOf(), Sequence():
                return self._list(kind, node, where)
            case ((Record() | MapOf() | ListOf()), Scalar(value=None)):
                self.fault(node.mark, where, "nothing stands here", f"write {kind.words}, or leave the key out")
            case _, Scalar():
                return self._leaf(kind, node, where)
            case _:
                what = "a map" if isinstance(node, Mapping) else "a list"
                self.fault(node.mark, where, f"{what} stands where {kind.words} belongs", f"write {kind.words}")
        return None

    def _leaf(self, kind: Kind, node: Scalar, where: str) -> Found | None:
        try:
            found = Found(read_value(kind, node, self.names), node.mark, where)
        except BadValue as bad:
            self.fault(node.mark, where, bad.args[0], bad.hint)
            return None
        if isinstance(kind, Ref):
            self.refs.append((kind.to, found))
        return found

    def _record(self, kind: Record, node: Mapping, where: str) -> Found:
        values: dict[str, Found] = {}
        for name, child in node.entries:
            key = kind.key(name.text)
            if key is None:
                self._unknown_key(kind, name, where)
            elif (found := self.read(key.kind, child, _join(where, name.text))) is not None:
                values[key.name] = found
        for key in kind.keys:
            if node.get(key.name) is None:
                self._absent(key, node.mark, where, values)
        return Found(values, node.mark, where)

    def _absent(self, key: Key, mark: Mark, where: str, values: dict[str, Found]) -> None:
        if key.required:
            self.fault(mark, where, f"`{key.name}` is missing", f"add one, like {shown(key.example)[1:-1]}")
        elif key.default is not None:
            values[key.name] = Found(default_of(key), mark, _join(where, key.name))

    def _unknown_key(self, kind: Record, name: Scalar, where: str) -> None:
        where = _join(where, shown(name.text)[1:-1])
        if kind.title == "file" and name.text in UNENFORCED:
            hint = "remove it: rules that nothing enforces would give a false sense of safety"
            self.fault(name.mark, where, f"`{name.text}` is not enforced by this version", hint)
            return
        known = [key.name for key in kind.keys]
        self.fault(name.mark, where, f"{shown(name.text)} is no key of {kind.title}", did_you_mean(name.text, known))

    def _map(self, kind: MapOf, node: Mapping, where: str) -> Found:
        values: dict[str, Found] = {}
        for name, child in node.entries:
            path = _join(where, shown(name.text)[1:-1])
            if kind.ref is not None:
                self.refs.append((kind.ref, Found(name.text, name.mark, path)))
            elif not re.fullmatch(NAME_PATTERN, name.text):
                self.fault(name.mark, path, f"{shown(name.text)} is no good name", NAME_HINT)
                continue
            found = self.read(kind.item, child, path)
            if found is not None:
                values[name.text] = Found(found.value, name.mark, path)
        if not kind.low <= len(node.entries) <= MAX_LIST:
            what = f"it has {len(node.entries)} entries"
            self.fault(node.mark, where, what, f"write {kind.low} to {MAX_LIST} of them")
        return Found(values, node.mark, where)

    def _list(self, kind: ListOf, node: Sequence, where: str) -> Found:
        if not kind.low <= len(node.items) <= kind.high:
            self.fault(
                node.mark, where, f"it has {len(node.items)} entries", f"write {kind.low} to {kind.high} of them"
            )
        found: list[Found] = []
        for index, child in enumerate(node.items):
            item = self.read(kind.item, child, f"{where}[{index}]")
            if item is None:
                continue
            if isinstance(item.value, str) and any(item.value == other.value for other in found):
                self.fault(item.mark, item.where, f"{shown(item.value)} stands here twice", "remove one")
            found.append(item)
        return Found(tuple(found), node.mark, where)


def default_of(key: Key) -> Value:
    """The value that an absent key takes, in the form in which a read one comes."""
    if isinstance(key.default, tuple):
        return tuple(Found(item, Mark(0, 0), key.name) for item in key.default)
    return {} if isinstance(key.default, dict) else key.default


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest known one, or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(names)}" if names else "none is defined"


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
