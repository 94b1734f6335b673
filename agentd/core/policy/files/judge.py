"""The verdict on a file act: pure, total, by the text of the path alone.

It reads a path as components. `..` is taken away as text, which is right because enforcement follows no link: what the components
say is what will be opened, or nothing. A path belongs to the deepest root that holds it, by components and never by prefix.
"""

from agentd.core.policy.files.names import NamePattern, leads_to, protects
from agentd.core.policy.files.rules import DELETE, READ, WRITE, FileRules, Root
from agentd.core.types.files import FileAllow, FileOp, FileVerdict, Place
from agentd.core.types.shown import shown
from agentd.core.types.verdicts import Answer, Ask, Deny, Reason

MAX_PATH_BYTES = 4_095
"""PATH_MAX of Linux without its NUL."""
MAX_NAME_BYTES = 255
"""NAME_MAX of every file system that is likely here."""

_NEEDS = {
    FileOp.READ: READ, FileOp.LIST: READ, FileOp.STAT: READ,
    FileOp.WRITE: WRITE, FileOp.APPEND: WRITE, FileOp.MOVE: DELETE, FileOp.DELETE: DELETE,
}  # fmt: skip
_Found = tuple[Root, tuple[str, ...]]


def judge(rules: FileRules, op: FileOp, path: str, to: str = "") -> FileVerdict:
    """Whether `op` may be done to `path` (for a move: and end at `to`). Never raises."""
    first = _found(rules, path)
    if isinstance(first, Deny):
        return first
    found = [(first, _NEEDS[op])]
    if op is FileOp.MOVE:
        second = _found(rules, to)
        if isinstance(second, Deny):
            return second
        found.append((second, WRITE))
    elif to:
        return _deny(rules.rule, "files.to", f"only a move has a second path, {op} has none", "Leave `to` out.")
    refused = next(filter(None, (_refused(rules, op, at, needs) for at, needs in found)), None)
    return refused or _relabelled(rules, found) or _granted(op, found)


def _relabelled(rules: FileRules, found: list[tuple[_Found, str]]) -> Deny | None:
    """A move would carry content from one label to another, with nobody having looked at it."""
    labels = {root.label for (root, _), _ in found}
    if len(labels) < 2:
        return None
    names = " and ".join(f"{root.name} ({root.label or 'no label'})" for (root, _), _ in found)
    return _deny(rules.rule, "files.label", f"{names} differ in their labels", "Move within one label.")


def _granted(op: FileOp, found: list[tuple[_Found, str]]) -> Ask | FileAllow:
    for (root, parts), needs in found:
        if needs in root.ask:
            where = shown("/".join(parts)) or "."
            reason = Reason("files.ask", root.rule or root.name, f"{needs} in {root.name} needs an operator's word")
            return Ask(reason, f"{op} {where} in {root.name}?")
    (root, parts), _ = found[0]
    to = Place(found[1][0][0].name, found[1][0][1]) if len(found) > 1 else None
    reason = Reason("files.root", root.rule or root.name, f"{op} is allowed in {root.name}")
    return FileAllow(reason, op, Place(root.name, parts), root.limits, to, root.label)


def _refused(rules: FileRules, op: FileOp, found: _Found, needs: str) -> Deny | None:
    """What speaks against it: access of the root first, then the protected names."""
    root, parts = found
    if needs not in root.access | root.ask:
        can = ", ".join(sorted(root.access | root.ask)) or "nothing"
        message = f"{root.name} ({shown(root.path)}) is not open for {needs}"
        return _deny(root.rule or root.name, "files.access", message, f"Allowed there: {can}.")
    if not parts and op not in (FileOp.LIST, FileOp.STAT):
        return _deny(rules.rule, "files.directory", f"{root.name} itself is a root", "Name a file below it.")
    whole = needs != READ
    hidden = _first(rules.never_read, parts, whole)
    if hidden is not None:
        return _protected(rules, hidden, parts, "read, replaced, moved or removed")
    fixed = _first(rules.never_write, parts, whole) if whole else None
    if fixed is not None:
        return _protected(rules, fixed, parts, "written, moved or removed")
    return _carries_a_root(rules, found) if whole else None


def _first(patterns: tuple[NamePattern, ...], parts: tuple[str, ...], whole: bool) -> NamePattern | None:
    """The pattern that speaks first. `whole`: the act decides what all names below stand for, too."""
    return next((p for p in patterns if protects(p, parts) or (whole and leads_to(p, parts))), None)


def _carries_a_root(rules: FileRules, found: _Found) -> Deny | None:
    place = (*components(found[0].path), *found[1])
    inner = next((root for root in rules.roots if components(root.path)[: len(place)] == place), None)
    if inner is None:
        return None
    message = f"{shown('/'.join(found[1]))} holds the root {inner.name}, which has rules of its own"
    return _deny(inner.rule or inner.name, "files.directory", message, "Work on what is below it.")


def _found(rules: FileRules, path: str) -> _Found | Deny:
    if not path or "\0" in path:
        return _deny(rules.rule, "files.path", "a path that is empty or holds NUL names nothing", "Send a path.")
    raw = path.encode("utf-8", "surrogatepass")  # lone surrogates count as more bytes than they are: never as fewer
    if len(raw) > 2 * MAX_PATH_BYTES:
        return _deny(rules.rule, "files.path", f"the path is longer than {MAX_PATH_BYTES} bytes", "Shorten it.")
    if any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) < 0xE000 for char in path):
        return _deny(rules.rule, "files.path", "the path holds half a character", "Send valid text.")
    parts = components(path if path.startswith("/") else f"{rules.base}/{path}")
    if sum(len(_bytes(part)) + 1 for part in parts) > MAX_PATH_BYTES or any(
        len(_bytes(part)) > MAX_NAME_BYTES for part in parts
    ):
        message = f"a name has {MAX_NAME_BYTES} bytes at most, a path {MAX_PATH_BYTES}"
        return _deny(rules.rule, "files.path", message, "Shorten it.")
    return _deepest(rules, parts) or _outside(rules, path)


def components(path: str) -> tuple[str, ...]:
    """An absolute path's components, `.` and `..` taken away as text."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


def _deepest(rules: FileRules, parts: tuple[str, ...]) -> _Found | None:
    best: _Found | None = None
    depth = -1
    for root in rules.roots:
        top = components(root.path)
        if len(top) > depth and parts[: len(top)] == top:
            best, depth = (root, parts[len(top) :]), len(top)
    return best


def _bytes(part: str) -> bytes:
    return part.encode("utf-8", "surrogateescape")


def _outside(rules: FileRules, path: str) -> Deny:
    roots = ", ".join(f"{root.name} ({shown(root.path)})" for root in rules.roots) or "none"
    return _deny(rules.rule, "files.outside", f"{shown(path)} is outside every root", f"Roots: {roots}.")


def _protected(rules: FileRules, wanted: NamePattern, parts: tuple[str, ...], done: str) -> Deny:
    message = f"{shown('/'.join(parts))} is protected by {shown(wanted.text)} and may not be {done}"
    return _deny(rules.rule, "files.protected", message, "Work on other files; an operator can do this one.")


def _deny(rule: str, code: str, message: str, hint: str) -> Deny:
    answer = Answer.INVALID if code in ("files.path", "files.to") else Answer.DENY
    return Deny(Reason(code, rule, message, hint), answer)
