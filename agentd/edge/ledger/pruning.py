"""The removal of old lines, after a prune line stands: in steps, each a transaction of some milliseconds.

The prune line is durable before the first step, so whatever ends the daemon in between, the next start finds in `meta` that a
removal is under way and in the line what is to go, and goes on. Lines go in the order of their numbers, each step with all that
hangs on its lines: their filing, and their part of the sums. So at any moment the sums are those of the lines that are there, and
what is left reaches up to the cut, which is what verification relies on. Then versions of the policy that nothing names any more
go, and last the pages that came free are given back to the file system, a few at a time.

A database that was begun before format 4 cannot give pages back while it is in use; it fills the free ones with new lines.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentd.core.accounting.pruned import Cut, cut_of
from agentd.edge.ledger import schema

STEP_LINES = 64
"""Lines of one step: a few milliseconds, and no call waits for more than one step."""

STEP_PAGES = 64
"""Pages given back in one step (256 KiB): each may have to be moved, so it is written twice."""

INCREMENTAL = 2
"""What `PRAGMA auto_vacuum` says of a file that can give pages back when it is told to."""


@dataclass(slots=True)
class Removal:
    """A removal under way. `done_to`: lines up to this one are dealt with."""

    cut: Cut
    versions: tuple[str, ...]  # digests of policy versions that no line names
    looked_to: int  # the last line that was looked at for that
    done_to: int = 0
    lines_gone: bool = False


def removal_of(row: tuple[int, bytes, str]) -> Removal | None:
    """The removal that a prune line asks for; None: it is none."""
    cut = cut_of(*row)
    if cut is None:
        return None
    detail: dict[str, Any] = json.loads(row[1])["detail"]
    versions = tuple(str(version) for version in detail.get("versions") or ())
    return Removal(cut, versions, int(detail.get("looked_to") or cut.seq))


def mark(connection: sqlite3.Connection, cut: Cut) -> None:
    """Say in the side tables what the prune line says, in the transaction that the caller has begun."""
    connection.execute("DELETE FROM kept")
    connection.executemany("INSERT INTO kept (seq) VALUES (?)", ((seq,) for seq in cut.numbers))
    connection.execute(schema.PUT_META, (schema.PRUNED_TO, str(cut.to)))
    connection.execute(schema.PUT_META, (schema.PRUNING, str(cut.seq)))


def under_way(connection: sqlite3.Connection) -> Removal | None:
    """The removal that the last run did not finish; what the side tables say of it is set right from its line."""
    pending = connection.execute("SELECT 1 FROM meta WHERE name = ?", (schema.PRUNING,)).fetchone()
    row = connection.execute(schema.SELECT_PRUNED).fetchone() if pending else None
    removal = removal_of(row) if row else None
    if removal is None:
        return None
    connection.execute("BEGIN IMMEDIATE")
    mark(connection, removal.cut)
    connection.execute("COMMIT")
    return removal


def step(connection: sqlite3.Connection, removal: Removal, held: Mapping[str, int]) -> bool:
    """One step; False when nothing is left to do. `held`: policy versions that were given to be kept, and the last line then:
    one that comes back has no line yet that names it."""
    if not removal.lines_gone:
        _remove_lines(connection, removal)
        return True
    if removal.versions:
        _forget_versions(connection, removal, held)
        return True
    if _give_back(connection):
        return True
    connection.execute("DELETE FROM meta WHERE name = ?", (schema.PRUNING,))
    return False


def _remove_lines(connection: sqlite3.Connection, removal: Removal) -> None:
    chosen = (removal.done_to, removal.cut.to, STEP_LINES)
    count, first, last = connection.execute(schema.NEXT_GOING, chosen).fetchone()
    if not count:
        removal.lines_gone = True
        return
    going = {"first": first, "last": last}
    connection.execute("BEGIN IMMEDIATE")
    for statement in (schema.TAKE_SPEND, schema.DELETE_EMPTY_SPEND, schema.DELETE_FILED, schema.DELETE_LINES):
        connection.execute(statement, going)
    connection.execute("COMMIT")
    removal.done_to = last


def _forget_versions(connection: sqlite3.Connection, removal: Removal, held: Mapping[str, int]) -> None:
    version, *rest = removal.versions
    if held.get(version, -1) < removal.looked_to:
        connection.execute(schema.FORGET_POLICY, {"digest": version, "looked_to": removal.looked_to})
    removal.versions = tuple(rest)


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some free pages back; False when there are none, or the file cannot."""
    able = connection.execute("PRAGMA auto_vacuum").fetchone()[0] == INCREMENTAL
    if not able or not connection.execute("PRAGMA freelist_count").fetchone()[0]:
        return False
    connection.executescript(f"PRAGMA incremental_vacuum({STEP_PAGES})")  # `execute` would step once, and so free one page
    return True
