"""Reading the record, off the event loop, on connections that cannot write.

A read is one short query in a small pool of threads: a long one would hold the write-ahead log back from being emptied. What
may be long (`raw`) is read in pages. The body is always read as bytes and decoded here, so that a line that somebody damaged
can still be exported and verified.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlite_utils import Database

from agentd.core.accounting.pruned import Cut, cut_of
from agentd.core.accounting.times import rfc3339
from agentd.core.types.records import Kind
from agentd.edge.ledger import schema, sums
from agentd.edge.ledger.anchor import read_anchor
from agentd.edge.ledger.failures import from_error, unavailable
from agentd.edge.ledger.files import Identity, Place, identity
from agentd.gate.ports import LineQuery

READERS = 2
"""Threads and connections: the operator's reads are few, and each holds a page cache."""

PAGE_LINES = 500
"""Lines per query of a long reading: about half a megabyte."""

MAX_LINES = 100_000
"""Lines that one query may ask for: memory stays bounded."""

_COLUMNS = "seq, CAST(body AS BLOB) AS body, digest"

_BY: dict[str, str] = {
    "class": "class",
    "tier": "tier",
    "model": "model",
    "agent": "agent",
    "session": "session",
    "day": "strftime('%Y-%m-%d', hour * 3600, 'unixepoch')",
    "hour": "hour",
}
"""What spending can be summed by."""

_SUMS = (
    "SUM(calls) AS calls, SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens, "
    "SUM(cached_tokens) AS cached_tokens, SUM(cache_write_tokens) AS cache_write_tokens, "
    "SUM(prompt_tokens + completion_tokens) AS tokens, "
    "SUM(reserved_nusd) AS reserved_nusd, SUM(cost_nusd) AS cost_nusd"
)

T = TypeVar("T")

Subscribe = Callable[[Callable[[dict[str, Any]], None]], Callable[[], None]]

Flush = Callable[[], Awaitable[None]]


class Reader:
    """Fulfils `gate.ports.RecordReader`. Every method may raise `RecordUnavailable`."""

    def __init__(self, directory: Path, subscribe: Subscribe, flush: Flush, public_hex: str | None = None) -> None:
        """`subscribe` is the writer's side of `on_append`; `flush` waits, within bounds, for the lines that are queued before a
        reading, so that it shows them; `public_hex` is the key that signs checkpoints now."""
        self._place = Place(directory)
        self._subscribe = subscribe
        self._flush = flush
        self._public = public_hex
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="agentd-reader")
        self._closed = False
        self._idle: list[tuple[Identity, sqlite3.Connection]] = []
        self._generation = 0

    async def line(self, seq: int) -> dict[str, Any] | None:
        """One line as it was written, with its digest, or None."""
        rows = await self._lines("seq = ?", [seq])
        return rows[0] if rows else None

    async def outcome_of(self, seq: int) -> dict[str, Any] | None:
        """The outcome that closed a decision, or None while it is open."""
        rows = await self._lines("opens = ? AND +kind = 'outcome'", [seq])
        return rows[0] if rows else None

    async def settlement_of(self, seq: int) -> dict[str, Any] | None:
        """The line that said what a decision's call cost, or that nobody will, after its outcome could not; or None."""
        rows = await self._lines("opens = ? AND +kind = 'settlement'", [seq])
        return rows[0] if rows else None

    async def owed(self, since_ns: int) -> list[dict[str, Any]]:
        """Calls that were closed since a time and whose cost is not known, oldest first: seq, at, closed_at, agent, class, tier,
        session, request, model, policy, upstream, reserved_nusd, generation, tokens (as the outcome counted them) and `given_up`,
        the line that says that it will stay so."""
        arguments = [rfc3339(since_ns), MAX_LINES]
        return await self._ask(lambda tables: list(tables.query(schema.SELECT_OWED, arguments)))

    async def lines(self, query: LineQuery) -> list[dict[str, Any]]:
        """Lines that match, oldest first, at most `query.limit`, the newest ones when there are more."""
        where, arguments = _conditions(query)
        newest = min(max(query.limit, 0), MAX_LINES)
        found = f"seq IN (SELECT seq FROM sought WHERE {where} ORDER BY seq DESC LIMIT ?)"  # noqa: S608 - columns' names only
        rows = await self._lines(found, [*arguments, newest], newest)
        return rows[::-1]

    async def raw(self, first: int = 1) -> AsyncIterator[tuple[int, bytes, str]]:
        """(seq, canonical bytes, digest) from `first` on, in order, to the line that was last when the end is reached."""
        while page := await self._page(first):
            for row in page:
                yield row["seq"], row["body"], row["digest"]
            first = page[-1]["seq"] + 1

    async def anchor(self) -> dict[str, Any] | None:
        """The head as it is kept outside the database: ledger, seq, digest; and `public`, the key that signs now."""
        noted = await self._run(lambda: read_anchor(self._place.head))
        if noted is None:
            return None
        return {"ledger": noted.ledger, "seq": noted.link.seq, "digest": noted.link.digest, "public": self._public}

    async def spend(self, by: str, since_hour: int) -> list[dict[str, Any]]:
        """Sums since an hour by class, tier, model, agent, session, day or hour, dearest first (days and hours in order).

        Each has `name`, calls, prompt_tokens, completion_tokens, cached_tokens, cache_write_tokens, tokens, reserved_nusd (still
        open or never settled) and cost_nusd. Raises `ValueError` for another `by`.
        """
        if by not in _BY:
            raise ValueError(f"spending is summed by one of {', '.join(_BY)}, not by {by!r}")
        order = "name" if by in {"day", "hour"} else "SUM(cost_nusd + reserved_nusd) DESC, name"
        what = f"{_BY[by]} AS name, {_SUMS}"
        sql = f"SELECT {what} FROM spend WHERE hour >= ? GROUP BY name ORDER BY {order}"  # noqa: S608 - names from _BY
        return await self._ask(lambda tables: list(tables.query(sql, [since_hour])))

    async def accounts(self, since_hour: int = 0) -> list[dict[str, Any]]:
        """What was used since an hour, to restore budgets: hour, agent, class, tier, session, calls, tokens, nusd.

        `nusd` is what was billed plus the reservations that are open or were never settled.
        """
        sql = (
            "SELECT hour, agent, class, tier, session, SUM(calls) AS calls, SUM(prompt_tokens + completion_tokens) AS tokens, "
            "SUM(cost_nusd + reserved_nusd) AS nusd FROM spend WHERE hour >= ? "
            "GROUP BY hour, agent, class, tier, session ORDER BY hour"
        )
        return await self._ask(lambda tables: list(tables.query(sql, [since_hour])))

    async def halts(self) -> list[dict[str, Any]]:
        """All halt and resume lines, oldest first: what is halted now follows from them."""
        return await self.lines(LineQuery(kinds=(Kind.HALT, Kind.RESUME), limit=MAX_LINES))

    async def policy_text(self, digest: str) -> str | None:
        """A policy version, whole, by its hash; None if it is not kept, or is no longer what its hash says."""
        sql = "SELECT text FROM policies WHERE digest = ?"
        rows = await self._ask(lambda tables: list(tables.query(sql, [digest])))
        text = str(rows[0]["text"]) if rows else None
        return text if text is not None and hashlib.sha256(text.encode()).hexdigest() == digest else None

    async def policies(self) -> list[dict[str, Any]]:
        """Versions, loaded and refused, newest first: seq, hash, at, accepted, code, and what the detail says (change, diff)."""
        lines = await self.lines(LineQuery(kinds=(Kind.POLICY,), limit=MAX_LINES))
        return [_version(line) for line in reversed(lines)]

    async def extent(self) -> dict[str, Any]:
        """How long the record is: `first` (the oldest line behind the cut) and its time `since`, `last`, `bytes` on disk;
        `pruned` is what the newest prune line says (to, line, at, uid, reason), or None, and `pruning` whether lines are still
        being removed."""

        def look(tables: Database) -> dict[str, Any]:
            row = tables.execute(schema.SELECT_PRUNED).fetchone()
            cut = cut_of(*row) if row else None
            oldest = "SELECT seq, at FROM lines WHERE seq > ? ORDER BY seq LIMIT 1"
            first = tables.execute(oldest, [cut.to if cut else 0]).fetchone() or (None, None)
            pruning = tables.execute("SELECT 1 FROM meta WHERE name = ?", [schema.PRUNING]).fetchone()
            last = tables.execute("SELECT MAX(seq) FROM lines").fetchone()[0]
            return {
                "first": first[0],
                "since": first[1],
                "last": last,
                "pruned": _told(cut),
                "pruning": pruning is not None,
            }

        return await self._ask(look) | {"bytes": await self._run(self._bytes)}

    async def newest_prune(self) -> tuple[int, bytes, str] | None:
        """The newest prune line (seq, canonical bytes, digest), or None."""
        row: tuple[int, bytes, str] | None = await self._ask(
            lambda tables: tables.execute(schema.SELECT_PRUNED).fetchone()
        )
        return row

    async def policy_flaws(self) -> list[dict[str, str]]:
        """Versions of the policy that are not kept as they were in force: `digest` and `flaw`, "altered" or "missing"."""
        return await self._ask(_policy_flaws)

    async def recompute_spend(self) -> list[dict[str, Any]]:
        """Where the sums differ from what the lines add up to: [] is good. Reads the whole record; for verification.

        Each difference names the account, the column, the sum that is kept and the sum of the lines.
        """
        return await self._ask(lambda tables: sums.differences(tables.conn))

    def on_append(self, listener: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Hear each durable line, on the event loop; the answer unsubscribes."""
        return self._subscribe(listener)

    def forget(self) -> None:
        """Give up all connections, from any thread: after a failure the writer must be the first to open the files again,
        or SQLite goes on with the shared memory of files that are no longer the ones at their names."""
        self._generation += 1
        while (connection := self._idle_connection()) is not None:
            connection[1].close()

    async def close(self) -> None:
        """Let readings end and close the connections."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        self.forget()

    def _bytes(self) -> int:
        files = (self._place.database, self._place.wal)
        return sum(path.stat().st_size for path in files if path.exists())

    async def _lines(self, where: str, arguments: list[object], newest: int = 1) -> list[dict[str, Any]]:
        def select(tables: Database) -> list[dict[str, Any]]:
            rows = tables.table("lines").rows_where(where, arguments, "seq DESC", _COLUMNS, newest)
            return [self._decoded(row) for row in rows]

        return await self._ask(select)

    async def _page(self, first: int) -> list[dict[str, Any]]:
        """The next lines of a long reading."""

        def select(tables: Database) -> list[dict[str, Any]]:
            return list(tables.table("lines").rows_where("seq >= ?", [first], "seq", _COLUMNS, PAGE_LINES))

        return await self._ask(select)

    async def _ask(self, question: Callable[[Database], T]) -> T:
        return await self._run(lambda: self._with_tables(question))

    async def _run(self, work: Callable[[], T]) -> T:
        """Run in the pool, with errors sorted."""
        if self._closed:
            raise unavailable("record.closed", self._place.directory)
        await self._flush()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except (sqlite3.Error, OSError) as error:
            raise from_error(error, self._place.directory) from error

    def _with_tables(self, question: Callable[[Database], T]) -> T:
        """On a thread of the pool: answer with a connection to the file that the name stands for now."""
        generation = self._generation
        there = identity(self._place.database)
        if there is None:
            raise unavailable("record.gone", self._place.directory)
        connection = self._connection_to(there)
        try:
            answer = question(Database(connection, recursive_triggers=False, execute_plugins=False))
        except BaseException:  # a connection that failed is not used again
            connection.close()
            raise
        if generation == self._generation:
            self._idle.append((there, connection))
        else:
            connection.close()
        return answer

    def _connection_to(self, there: Identity) -> sqlite3.Connection:
        """An idle connection to this very file, or a new one."""
        while (idle := self._idle_connection()) is not None:
            if idle[0] == there:
                return idle[1]
            idle[1].close()
        return self._connect()

    def _idle_connection(self) -> tuple[Identity, sqlite3.Connection] | None:
        """Take an idle connection; asking first whether there is one would race with the other thread."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._place.database.as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON").fetchall()
        return connection

    def _decoded(self, row: dict[str, Any]) -> dict[str, Any]:
        """A stored line as a record. Raises `RecordUnavailable` when its bytes are none."""
        try:
            record = msgspec.json.decode(row["body"], type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise unavailable("record.broken", self._place.directory, f"Line {row['seq']} cannot be read.") from error
        return record | {"digest": row["digest"]}


def _told(cut: Cut | None) -> dict[str, Any] | None:
    """A cut, for people."""
    return (
        None
        if cut is None
        else {"to": cut.to, "line": cut.seq, "at": cut.at, "uid": cut.uid, "reason": cut.reason, "kept": len(cut.kept)}
    )


def _policy_flaws(tables: Database) -> list[dict[str, str]]:
    """Kept texts against their digests, and the versions that were in force against the kept ones."""
    flaws, kept = [], set()
    for row in tables.query("SELECT digest, text FROM policies"):
        kept.add(row["digest"])
        if hashlib.sha256(str(row["text"]).encode("utf-8", "surrogatepass")).hexdigest() != row["digest"]:
            flaws.append({"digest": str(row["digest"]), "flaw": "altered"})
    named = {str(row["policy"]) for row in tables.query(schema.SELECT_IN_FORCE)}
    return flaws + [{"digest": digest, "flaw": "missing"} for digest in sorted(named - kept)]


def _conditions(query: LineQuery) -> tuple[str, list[object]]:
    """WHERE and its arguments. Only the most telling filter may use its index (`+` keeps the planner from the others)."""
    wanted: list[tuple[str, object]] = [
        (name, value)
        for name, value in (
            ("session", query.session),
            ("class", query.class_),
            ("tier", query.tier),
            ("verdict", query.verdict),
            ("agent", query.agent),
        )
        if value is not None
    ]
    terms = [f"{'+' if place else ''}{name} = ?" for place, (name, _) in enumerate(wanted)]
    arguments = [value for _, value in wanted]
    if query.kinds:
        terms.append(f"{'+' if terms else ''}kind IN ({', '.join('?' * len(query.kinds))})")
        arguments.extend(str(kind) for kind in query.kinds)
    if query.since_ns is not None:
        terms.append(f"{'+' if terms else ''}at >= ?")
        arguments.append(rfc3339(query.since_ns))
    if query.after_seq is not None:
        terms.append("seq > ?")
        arguments.append(query.after_seq)
    return " AND ".join(terms) or "1", arguments


def _version(line: dict[str, Any]) -> dict[str, Any]:
    """A policy line as an entry of the history."""
    known = {
        "seq": line["seq"],
        "hash": line["policy"],
        "at": line["at"],
        "accepted": line["verdict"] == "allow",
        "code": line["code"],
        "owner": None,
        "change": None,
        "diff": None,
    }
    return known | (line["detail"] or {})
