"""Which decision changed which place, from which content to which: one SQLite table of the gate's own.

A line is written, durably, as `begun` before the change and becomes `done` after it. Where it stays `begun` the process died in
between, and the next start looks at the file (see `recovering`).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentd.core.types.files import FileOp, Kept, Place

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
  id INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, op TEXT NOT NULL,
  root TEXT NOT NULL, path BLOB NOT NULL, to_root TEXT, to_path BLOB,
  before TEXT NOT NULL, after TEXT NOT NULL, size INTEGER NOT NULL, mode INTEGER NOT NULL,
  at_ns INTEGER NOT NULL, state TEXT NOT NULL, spare TEXT NOT NULL, inode INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS kept_seq ON kept (seq);
CREATE INDEX IF NOT EXISTS kept_path ON kept (root, path);
CREATE INDEX IF NOT EXISTS kept_to ON kept (to_root, to_path);
"""
_COLUMNS = "id, seq, op, root, path, to_root, to_path, before, after, size, mode, at_ns, state, spare, inode"
NOT_A_FILE = -1
"""The mode of a line about a directory."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change that is about to happen. `spare`: the name that the old file has for a moment; `mode`: its permission bits."""

    seq: int
    op: FileOp
    at: Place
    to: Place | None = None
    before: str = ""
    after: str = ""
    size: int = 0
    mode: int = 0o644
    spare: str = ""
    inode: int = 0  # of what is moved


@dataclass(frozen=True, slots=True)
class Row:
    """A line: its number, when (nanoseconds since 1970), in which state, and the change."""

    id: int
    at_ns: int
    state: str
    change: Change

    @property
    def kept(self) -> Kept:
        """As others see it."""
        c = self.change
        return Kept(c.seq, c.op, c.at, c.to, c.before, c.after, c.size, self.at_ns, self.state)


class Index:
    """The table. Raises sqlite3.Error. One thread at a time: its user holds a lock."""

    def __init__(self, file: Path) -> None:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def begin(self, change: Change, at_ns: int) -> int:
        """Write down what is about to happen, durably. Returns the line's number."""
        c = change
        values = (
            c.seq, c.op, c.at.root, packed(c.at), c.to and c.to.root, c.to and packed(c.to),
            c.before, c.after, c.size, c.mode, at_ns, "begun", c.spare, c.inode,
        )  # fmt: skip
        made = self._db.execute(f"INSERT INTO kept ({_COLUMNS[4:]}) VALUES ({'?,' * 13}?)", values)  # noqa: S608 - constants
        return int(made.lastrowid or 0)

    def settle(self, row: int, state: str) -> None:
        """Say what became of it."""
        self._db.execute("UPDATE kept SET state = ? WHERE id = ?", (state, row))

    def amend(self, row: int, old: tuple[str, int, int]) -> None:
        """Another content was there than thought: its digest, size and mode."""
        self._db.execute("UPDATE kept SET before = ?, size = ?, mode = ? WHERE id = ?", (*old, row))

    def begun(self) -> list[Row]:
        """Lines that nobody settled, newest first."""
        return self._rows("state = 'begun' ORDER BY id DESC", ())

    def of(self, seq: int) -> list[Row]:
        """What a decision did, newest first."""
        return self._rows("seq = ? ORDER BY id DESC", (seq,))

    def about(self, at: Place, most: int) -> list[Row]:
        """What happened to a place, newest first."""
        place = (at.root, packed(at))
        return self._rows(
            "(root = ? AND path = ?) OR (to_root = ? AND to_path = ?) ORDER BY id DESC LIMIT ?", (*place, *place, most)
        )

    def oldest(self) -> Iterator[tuple[Row, bool]]:
        """All settled lines, oldest first, and whether each is the last that keeps something of its place."""
        last = {
            int(row[0])
            for row in self._db.execute(
                "SELECT max(id) FROM kept WHERE before != '' GROUP BY coalesce(to_root, root), coalesce(to_path, path)"
            )
        }
        for row in self._rows("state != 'begun' ORDER BY id", ()):
            yield row, row.id in last

    def size(self) -> int:
        """Bytes of all contents that lines keep, each counted once."""
        asked = (
            "SELECT coalesce(sum(size), 0) FROM (SELECT max(size) AS size FROM kept WHERE before != '' GROUP BY before)"
        )
        return int(self._db.execute(asked).fetchone()[0])

    def oldest_ns(self) -> int | None:
        """When the first line was written; None: there is none."""
        found = self._db.execute("SELECT at_ns FROM kept ORDER BY id LIMIT 1").fetchone()
        return int(found[0]) if found else None

    def drop(self, rows: list[int]) -> set[str]:
        """Remove lines; returns the contents that no other line keeps."""
        with self.together():
            gone: set[str] = set()
            for row in rows:
                found = self._db.execute("DELETE FROM kept WHERE id = ? RETURNING before", (row,)).fetchone()
                gone |= {str(found[0])} if found and found[0] else set()
            return gone - self.contents()

    def contents(self) -> set[str]:
        """All contents that lines keep."""
        return {str(row[0]) for row in self._db.execute("SELECT DISTINCT before FROM kept WHERE before != ''")}

    @contextmanager
    def together(self) -> Iterator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:  # whatever it was, nothing of it stays and it goes on
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _rows(self, where: str, values: tuple[object, ...]) -> list[Row]:
        return [_row(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM kept WHERE {where}", values)]  # noqa: S608 - constants


def packed(at: Place) -> bytes:
    """A place's components as one key: the bytes that the file system has."""
    return os.fsencode("/".join(at.parts))


def _place(root: str, path: bytes) -> Place:
    return Place(root, tuple(os.fsdecode(path).split("/")) if path else ())


def _row(found: tuple[object, ...]) -> Row:
    number, seq, op, root, path, to_root, to_path, before, after, size, mode, at_ns, state, spare, inode = found
    to = _place(str(to_root), to_path) if isinstance(to_path, bytes) else None
    at = _place(str(root), path if isinstance(path, bytes) else b"")
    change = Change(
        _int(seq), FileOp(str(op)), at, to, str(before), str(after), _int(size), _int(mode), str(spare), _int(inode)
    )
    return Row(_int(number), _int(at_ns), str(state), change)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
