"""The database file, in the hands of the one thread that writes it.

Durable means: COMMIT in WAL mode at synchronous=FULL has returned, and the file that the name stands for is still the one
that was written to. The second half matters: a removed or replaced file takes writes without any error, so the
identity of database and write-ahead log is looked at before *and* after each commit.

After any error the writer gives the connection up and opens a new one: one way back for every kind of failure, which reads the
end of the chain from what is really there.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from agentd.core.accounting.chain import ORIGIN, Link
from agentd.core.accounting.pruned import Cut, cut_of
from agentd.core.types.records import Line
from agentd.edge.ledger import pruning, schema, sums
from agentd.edge.ledger.failures import from_error, unavailable
from agentd.edge.ledger.files import Identity, Place, create, identity
from agentd.edge.ledger.pruning import Removal
from agentd.edge.ledger.staging import COUNTED, Account, OpenCall, OwedCall, Staged, Tip, account_of

Json = dict[str, Any]

BUSY_MS = 2_000
"""How long a foreign lock is waited for. Callers wait as long, so it is short; our own readers never lock a WAL out."""

WAL_BYTES_KEPT = 1 << 24
"""16 MiB: to this size the write-ahead log is cut back after a long reader had let it grow."""

_PRAGMAS = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # of a new file alone, so before anything is written
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}",
)


class Store:
    """One connection and the identity of what it is connected to. Every method raises `RecordUnavailable`."""

    def __init__(self, place: Place) -> None:
        """Nothing is opened yet."""
        self._place = place
        self._names = (str(place.database), str(place.wal))
        self._connection: sqlite3.Connection | None = None
        self._database: Identity | None = None
        self._wal: Identity | None = None
        self._filed = 0
        self._version: int | None = None  # of the file's content, as others have changed it

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def begin(self, first: Line, ledger: str) -> Tip:
        """Make the database with its first line, in one transaction: there is never one without."""
        with self._sorted():
            if identity(self._place.database) is None:
                create(self._place.database)
            connection = self._connect()
            staged = Staged(Tip(ledger, ORIGIN, {}))
            staged.add(first)
            connection.execute("BEGIN IMMEDIATE")
            schema.create_tables(connection)
            connection.execute(schema.PUT_META, ("ledger", ledger))
            self._insert(connection, staged)
            connection.execute("COMMIT")
        self._still_there()
        return staged.settled()

    def open(self, *, flush: bool = False) -> Tip | None:
        """Open an existing database and read the end of its chain; None if nothing was ever written to it.

        `flush` moves the write-ahead log into the database first: after an error, what the log holds may be in memory only.
        """
        with self._sorted():
            if identity(self._place.database) is None:
                raise unavailable("record.gone", self._place.directory)
            connection = self._connect()
            if flush:
                connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
            blank = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0] == 0
            return None if blank else self._tip(connection)

    def commit(self, staged: Staged) -> None:
        """Make a transaction durable. When this returns, it is; when it raises, close the store and open it again."""
        with self._sorted():
            self._still_there()
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            self._insert(connection, staged)
            connection.execute("COMMIT")
            self._still_there()

    def probe(self, at: str) -> None:
        """Write something that is no line, to see whether writing works again."""
        with self._sorted():
            self._still_there()
            self._opened().execute(schema.PUT_META, ("probed", at))

    def rows(self, first: int, last: int) -> list[tuple[int, bytes, str]]:
        """(seq, canonical bytes, digest) of a range of lines, in order."""
        with self._sorted():
            query = "SELECT seq, CAST(body AS BLOB), digest FROM lines WHERE seq BETWEEN ? AND ? ORDER BY seq"
            return self._opened().execute(query, (first, last)).fetchall()

    def cut(self) -> Cut | None:
        """What the newest prune line says."""
        with self._sorted():
            row = self._opened().execute(schema.SELECT_PRUNED).fetchone()
        return cut_of(*row) if row else None

    def under_way(self) -> Removal | None:
        """The removal of lines that the last run did not finish."""
        with self._sorted():
            return pruning.under_way(self._opened())

    def remove(self, removal: Removal, held: Mapping[str, int]) -> bool:
        """A step of a removal: some milliseconds. False when it is over."""
        with self._sorted():
            self._still_there()
            return pruning.step(self._opened(), removal, held)

    def sums(self, since_hour: int, *, alone: bool = False) -> str | None:
        """The digest of the sums from an hour on. `alone`: None if anybody else has written to the file since it was opened."""
        with self._sorted():
            connection = self._opened()
            if alone and connection.execute("PRAGMA data_version").fetchone()[0] != self._version:
                return None
            return sums.digest_since(connection, since_hour)

    def misadded(self, since_hour: int) -> list[Json]:
        """Where the sums from an hour on are not those of the lines. Reads the lines of all that time."""
        with self._sorted():
            return sums.differences(self._opened(), since_hour)

    def add_again(self, staged: Staged, since_hour: int) -> None:
        """Write the lines of a transaction, and in it the sums from an hour on anew from the lines."""
        with self._sorted():
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            self._insert(connection, staged)
            sums.add_again(connection, since_hour)
            connection.execute("COMMIT")

    def close(self, *, truncate: bool = False) -> None:
        """Give up the connection; `truncate` first moves the write-ahead log into the database."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(sqlite3.Error):  # it is given up: an error could only hide the one that led here
            if truncate:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with contextlib.suppress(sqlite3.Error):
            connection.close()

    def owed(self, seq: int) -> OwedCall | None:
        """The closed call of a decision, as far as its cost is not known; None for any other."""
        with self._sorted():
            row = self._opened().execute(schema.SELECT_CLOSED, (seq,)).fetchone()
        if row is None or row[2]:
            return None
        outcome, decision = json.loads(row[0]), json.loads(row[1])
        if outcome["cost_nusd"] is not None:
            return None
        said = outcome["tokens"] or {}
        counted = tuple(said.get(name) or 0 for name in COUNTED)
        return OwedCall(account_of(decision), decision["reserved_nusd"] or 0, counted)

    def _connect(self) -> sqlite3.Connection:
        path = self._place.database
        self.close()
        self._database = identity(path)
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=BUSY_MS / 1000)
        self._connection = connection
        for pragma in _PRAGMAS:
            connection.execute(pragma).fetchall()
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > schema.SCHEMA_VERSION:
            raise unavailable("record.newer", self._place.directory, f"Its format is {version}.")
        schema.upgrade(connection, version)
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchall()  # opens the write-ahead log
        self._wal = identity(self._place.wal)
        seen = int(connection.execute("PRAGMA data_version").fetchone()[0])
        self._version = seen if self._version is None else -1  # opened again: nobody knows what happened in between
        return connection

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise unavailable("record.gone", self._place.directory)
        return self._connection

    def _still_there(self) -> None:
        """The names still stand for the files that were opened."""
        database, wal = (identity(name) for name in self._names)
        if self._wal is None:
            self._wal = wal
        if database != self._database or wal != self._wal:
            raise unavailable("record.gone", self._place.directory)

    def _tip(self, connection: sqlite3.Connection) -> Tip:
        last = connection.execute("SELECT seq, digest FROM lines ORDER BY seq DESC LIMIT 1").fetchone()
        ledger = connection.execute("SELECT value FROM meta WHERE name = 'ledger'").fetchone()
        if last is None or ledger is None:
            raise unavailable("record.damaged", self._place.directory, "It has no lines.")
        sealed = connection.execute(schema.SELECT_SEALED).fetchone()
        self._filed = int(connection.execute(schema.SELECT_FILED).fetchone()[0])
        calls = {
            int(row[0]): OpenCall(Account(*row[1:7]), int(row[7])) for row in connection.execute(schema.SELECT_OPEN)
        }
        unsealed = int(last[0]) - (int(sealed[0]) if sealed else 0)
        return Tip(str(ledger[0]), Link(int(last[0]), str(last[1])), calls, unsealed)

    def _insert(self, connection: sqlite3.Connection, staged: Staged) -> None:
        lines = ((row.seq, row.body.decode(), row.digest) for row in staged.rows)
        connection.executemany(schema.INSERT_LINE, lines)
        opened = ((seq, *call.account.key(), call.reserved) for seq, call in staged.opened.items())
        connection.executemany(schema.INSERT_OPEN, opened)
        connection.executemany(schema.DELETE_OPEN, ((seq,) for seq in staged.closed))
        connection.executemany(schema.ADD_SPEND, ((*account.key(), *delta) for account, delta in staged.deltas.items()))
        connection.executemany(schema.KEEP_POLICY, staged.policies)
        if staged.cut is not None:
            pruning.mark(connection, staged.cut)
        last = staged.tip.link.seq
        if last - self._filed >= schema.FILED_LINES:
            connection.execute(schema.FILE_LINES)
            self._filed = last

    @contextlib.contextmanager
    def _sorted(self) -> Iterator[None]:
        """Turn errors into `RecordUnavailable`, and leave no transaction half done. Whoever catches it closes the store."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self._roll_back()
            raise from_error(error, self._place.directory) from error
        except BaseException:  # whatever it was, a transaction must not stay open
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself, or closing will
                self._connection.execute("ROLLBACK")
