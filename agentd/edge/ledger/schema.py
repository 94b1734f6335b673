"""The tables of the record.

`lines` is the record: the canonical bytes and their digest. What filters ask for (kind, class, session ...) are generated
columns, read from those bytes. Triggers refuse updates, and deletions of what no prune line names; they stop accidents, not
attackers: against those stands the chain.

Keeping an index for each filter would more than double the pages that a line makes durable, and a call waits for them. So
the filters' fields are filed later, many lines at a time, into `filed`, which has the indexes; the few lines that are not
filed yet are looked at one by one. The view `sought` is both together and misses nothing. It only finds the numbers of lines:
what is shown is read from `lines`. Which line closes which (`opens`) is indexed at once, for money depends on it.

`spend` and `open_lines` are sums of the lines, kept in the same transaction so that they can never run apart from it by a
crash, and can be computed anew from the lines (`RECOMPUTED_SPEND`). The sums are per hour (hours since 1970, UTC), since
every budget window is made of whole hours. Absent names are empty texts: NULLs would not be equal in the key.

Lines that were pruned take their part of the sums with them, so the sums are those of the lines that are there, always. `kept`
holds the lines before the newest cut that stay, `meta` how far that cut reaches (`pruned_to`) and, until all is removed, the
number of the line that says so (`pruning`). All of it is in that line, too, which is what counts.
"""

import sqlite3

from sqlite_utils import Database

SCHEMA_VERSION = 4

APPLICATION_ID = 0x61676E74
"""Marks the file as ours (`file` shows it): the letters agnt."""

_DERIVED = ("kind", "agent", "class", "tier", "verdict", "session", "at", "opens")
"""Fields of a line that queries use."""

_LINES = (
    "CREATE TABLE lines (seq INTEGER PRIMARY KEY, body TEXT NOT NULL, digest TEXT NOT NULL, "
    + ", ".join(f"{name} GENERATED ALWAYS AS (json_extract(body, '$.{name}')) VIRTUAL" for name in _DERIVED)
    + ")"
)

_FILTERS = ("kind", "agent", "class", "tier", "verdict", "session", "at")
"""Fields that lines are looked for by."""

_INDEXED = ("kind", "at", "class", "tier", "verdict", "session")
"""The agent has no index: there are one or two on a box, and an index with one value misleads the planner. An index leaves
out the lines that lack its field."""

FILED_LINES = 256
"""So many lines are filed together: few enough to be looked at one by one in a millisecond before, and enough that each page of
an index is written for many lines."""

FILE_LINES = (
    f"INSERT INTO filed (seq, {', '.join(_FILTERS)}) SELECT seq, {', '.join(_FILTERS)} FROM lines "  # noqa: S608 - names from here
    "WHERE seq > (SELECT COALESCE(MAX(seq), 0) FROM filed)"
)
"""File what is not filed yet."""

SELECT_SEALED = "SELECT seq FROM sought WHERE kind = 'checkpoint' ORDER BY seq DESC LIMIT 1"

SELECT_FILED = "SELECT COALESCE(MAX(seq), 0) FROM filed"

_FILING: tuple[str, ...] = (
    f"CREATE TABLE filed (seq INTEGER PRIMARY KEY, {', '.join(_FILTERS)})",
    *(f"CREATE INDEX filed_{name} ON filed ({name}) WHERE {name} IS NOT NULL" for name in _INDEXED),
    f"CREATE VIEW sought AS SELECT seq, {', '.join(_FILTERS)} FROM filed UNION ALL "  # noqa: S608 - names from here
    f"SELECT seq, {', '.join(_FILTERS)} FROM lines WHERE seq > (SELECT COALESCE(MAX(seq), 0) FROM filed)",
)

_PRUNING: tuple[str, ...] = (
    "CREATE TABLE IF NOT EXISTS kept (seq INTEGER PRIMARY KEY)",
    "CREATE TRIGGER lines_no_delete BEFORE DELETE ON lines "
    "WHEN OLD.seq > COALESCE((SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'pruned_to'), 0) "
    "OR OLD.seq IN (SELECT seq FROM kept) "
    "BEGIN SELECT RAISE(ABORT, 'the record is append-only, but for what a prune line names'); END",
)

_UPGRADE_FROM_1: tuple[str, ...] = (
    *(f"DROP INDEX IF EXISTS lines_{name}" for name in _INDEXED),
    *_FILING,
    FILE_LINES,
)
"""Format 1 had an index on `lines` for each filter."""

STATEMENTS: tuple[str, ...] = (
    _LINES,
    "CREATE INDEX lines_opens ON lines (opens) WHERE opens IS NOT NULL",
    *_FILING,
    "CREATE TRIGGER lines_no_update BEFORE UPDATE ON lines BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END",
    "CREATE TABLE spend (hour INTEGER NOT NULL, agent TEXT NOT NULL, class TEXT NOT NULL, tier TEXT NOT NULL, "
    "session TEXT NOT NULL, model TEXT NOT NULL, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, "
    "completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL, "
    "reserved_nusd INTEGER NOT NULL, cost_nusd INTEGER NOT NULL, "
    "PRIMARY KEY (hour, agent, class, tier, session, model)) WITHOUT ROWID",
    "CREATE TABLE open_lines (seq INTEGER PRIMARY KEY, hour INTEGER NOT NULL, agent TEXT NOT NULL, class TEXT NOT NULL, "
    "tier TEXT NOT NULL, session TEXT NOT NULL, model TEXT NOT NULL, reserved_nusd INTEGER NOT NULL)",
    "CREATE TABLE policies (digest TEXT PRIMARY KEY, text TEXT NOT NULL, first_seen TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    *_PRUNING,
)  # fmt: skip

INSERT_LINE = "INSERT INTO lines (seq, body, digest) VALUES (?, ?, ?)"

SPEND_COLUMNS = (
    "calls",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reserved_nusd",
    "cost_nusd",
)
"""The sums of a row of `spend`."""

ACCOUNT_COLUMNS = ("hour", "agent", "class", "tier", "session", "model")
"""Whose they are."""

INTO_SPEND = f"INSERT INTO spend ({', '.join(ACCOUNT_COLUMNS + SPEND_COLUMNS)})"
"""What rows are put behind: values, or a question whose columns stand in this order."""

ADD_SPEND = (
    f"{INTO_SPEND} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (hour, agent, class, tier, session, model) DO UPDATE SET calls = calls + excluded.calls, "
    "prompt_tokens = prompt_tokens + excluded.prompt_tokens, "
    "completion_tokens = completion_tokens + excluded.completion_tokens, "
    "cached_tokens = cached_tokens + excluded.cached_tokens, "
    "cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens, "
    "reserved_nusd = reserved_nusd + excluded.reserved_nusd, "
    "cost_nusd = cost_nusd + excluded.cost_nusd"
)

INSERT_OPEN = (
    "INSERT INTO open_lines (seq, hour, agent, class, tier, session, model, reserved_nusd) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

DELETE_OPEN = "DELETE FROM open_lines WHERE seq = ?"

SELECT_OPEN = "SELECT seq, hour, agent, class, tier, session, model, reserved_nusd FROM open_lines"

KEEP_POLICY = "INSERT OR IGNORE INTO policies (digest, text, first_seen) VALUES (?, ?, ?)"

PUT_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

RECOMPUTED = """
    SELECT CAST(strftime('%s', d.at) AS INTEGER) / 3600 AS hour, COALESCE(d.agent, '') AS agent,
        COALESCE(d.class, '') AS class, COALESCE(d.tier, '') AS tier, COALESCE(d.session, '') AS session,
        COALESCE(json_extract(d.body, '$.model'), '') AS model, COUNT(*) AS calls,
        SUM(COALESCE(json_extract(s.body, '$.tokens.prompt'), json_extract(o.body, '$.tokens.prompt'), 0))
            AS prompt_tokens,
        SUM(COALESCE(json_extract(s.body, '$.tokens.completion'), json_extract(o.body, '$.tokens.completion'), 0))
            AS completion_tokens,
        SUM(COALESCE(json_extract(s.body, '$.tokens.cached'), json_extract(o.body, '$.tokens.cached'), 0))
            AS cached_tokens,
        SUM(COALESCE(json_extract(s.body, '$.tokens.cache_write'), json_extract(o.body, '$.tokens.cache_write'), 0))
            AS cache_write_tokens,
        SUM(CASE WHEN COALESCE(json_extract(s.body, '$.cost_nusd'), json_extract(o.body, '$.cost_nusd')) IS NULL
            THEN COALESCE(json_extract(d.body, '$.reserved_nusd'), 0) ELSE 0 END) AS reserved_nusd,
        SUM(COALESCE(json_extract(s.body, '$.cost_nusd'), json_extract(o.body, '$.cost_nusd'), 0)) AS cost_nusd
    FROM lines d LEFT JOIN lines o ON o.opens = +d.seq AND +o.kind = 'outcome'
        LEFT JOIN lines s ON s.opens = +d.seq AND +s.kind = 'settlement' AND json_extract(s.body, '$.cost_nusd') >= 0
    WHERE d.kind = 'decision' AND d.verdict = 'allow' AND {which}
    GROUP BY 1, 2, 3, 4, 5, 6
"""

RECOMPUTED_SPEND = RECOMPUTED.format(which="1")
"""The sums that `spend` must hold, from the lines alone."""

RECOMPUTED_SINCE = RECOMPUTED.format(
    which="d.seq IN (SELECT seq FROM sought WHERE +kind = 'decision' AND at >= :since)"
)
"""The same for calls since a time: the rows from its hour on."""

SPEND_SINCE = f"SELECT {', '.join(ACCOUNT_COLUMNS + SPEND_COLUMNS)} FROM spend WHERE hour >= ?"  # noqa: S608 - names from here

DELETE_SPEND_SINCE = "DELETE FROM spend WHERE hour >= ?"

_GOING = "seq BETWEEN :first AND :last AND seq NOT IN (SELECT seq FROM kept)"

NEXT_GOING = (
    "SELECT COUNT(*), MIN(seq), MAX(seq) FROM (SELECT seq FROM lines WHERE seq > ? AND seq <= ? "
    "AND seq NOT IN (SELECT seq FROM kept) ORDER BY seq LIMIT ?)"
)
"""The lines that go next: how many, the first and the last."""

TAKE_SPEND = (
    f"{INTO_SPEND} SELECT {', '.join(ACCOUNT_COLUMNS)}, {', '.join(f'-{name}' for name in SPEND_COLUMNS)} "  # noqa: S608 - names from here
    f"FROM ({RECOMPUTED.format(which=_GOING.replace('seq BETWEEN', 'd.seq BETWEEN').replace('seq NOT', 'd.seq NOT'))}) WHERE 1 "
    "ON CONFLICT (hour, agent, class, tier, session, model) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SPEND_COLUMNS)
)
"""Take out of the sums what the decisions that go have put in. Their outcomes have higher numbers, so they are still there."""

DELETE_EMPTY_SPEND = (
    "DELETE FROM spend WHERE calls = 0 AND hour IN (SELECT CAST(strftime('%s', at) AS INTEGER) / 3600 FROM lines "  # noqa: S608
    f"WHERE kind = 'decision' AND {_GOING})"
)

DELETE_LINES = f"DELETE FROM lines WHERE {_GOING}"  # noqa: S608 - from here

DELETE_FILED = f"DELETE FROM filed WHERE {_GOING}"  # noqa: S608 - from here

SELECT_PRUNED = (
    "SELECT seq, CAST(body AS BLOB), digest FROM lines "
    "WHERE seq = (SELECT seq FROM sought WHERE kind = 'prune' ORDER BY seq DESC LIMIT 1)"
)
"""The newest prune line."""

SELECT_IN_FORCE = (
    "SELECT DISTINCT json_extract(body, '$.policy') AS policy FROM lines "
    "WHERE seq IN (SELECT seq FROM sought WHERE kind = 'policy') AND verdict = 'allow'"
)
"""Versions that a line put in force."""

FORGET_POLICY = (
    "DELETE FROM policies WHERE digest = :digest AND NOT EXISTS "
    "(SELECT 1 FROM lines WHERE seq > :looked_to AND json_extract(body, '$.policy') = :digest)"
)
"""Drop a version that no line up to `looked_to` names, unless one has come since that does."""

PRUNED_TO, PRUNING = "pruned_to", "pruning"
"""Names in `meta`."""

_UPGRADE_FROM_2: tuple[str, ...] = (
    "ALTER TABLE spend ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0",
    f"UPDATE spend SET cache_write_tokens = said.cache_write_tokens FROM ({RECOMPUTED_SPEND}) AS said "  # noqa: S608 - from here
    "WHERE (spend.hour, spend.agent, spend.class, spend.tier, spend.session, spend.model) "
    "= (said.hour, said.agent, said.class, said.tier, said.session, said.model)",
)
"""Format 2 did not add up what was written to prompt caches. The other sums stay as they are, for verification to judge."""

_UPGRADE_FROM_3: tuple[str, ...] = ("DROP TRIGGER IF EXISTS lines_no_delete", *_PRUNING)
"""Format 3 could not be pruned."""

SELECT_CLOSED = (
    "SELECT CAST(o.body AS BLOB) AS outcome, CAST(d.body AS BLOB) AS decision, "
    "EXISTS (SELECT 1 FROM lines s WHERE s.opens = +d.seq AND +s.kind = 'settlement') AS settled "
    "FROM lines o JOIN lines d ON d.seq = +o.opens WHERE o.opens = ? AND +o.kind = 'outcome'"
)
"""A call that is closed, and whether there is a settlement of it: there is at most one."""

SELECT_OWED = (
    "SELECT d.seq AS seq, d.at AS at, o.at AS closed_at, d.agent AS agent, d.class AS class, d.tier AS tier, "
    "d.session AS session, json_extract(d.body, '$.request') AS request, json_extract(d.body, '$.model') AS model, "
    "json_extract(d.body, '$.policy') AS policy, json_extract(d.body, '$.detail.upstream') AS upstream, "
    "COALESCE(json_extract(d.body, '$.reserved_nusd'), 0) AS reserved_nusd, "
    "json_extract(o.body, '$.detail.generation') AS generation, "
    "COALESCE(json_extract(o.body, '$.tokens.prompt'), 0) + COALESCE(json_extract(o.body, '$.tokens.completion'), 0) "
    "AS tokens, s.seq AS given_up "
    "FROM lines o JOIN lines d ON d.seq = +o.opens LEFT JOIN lines s ON s.opens = +d.seq AND +s.kind = 'settlement' "
    "WHERE o.seq IN (SELECT seq FROM sought WHERE +kind = 'outcome' AND at >= ?) "
    "AND json_extract(o.body, '$.cost_nusd') IS NULL "
    "AND (s.seq IS NULL OR json_extract(s.body, '$.cost_nusd') IS NULL) ORDER BY o.seq LIMIT ?"
)
"""Calls that are closed and whose cost is not known, in order; `given_up` is the line that says that it will stay so."""


def create_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, inside the transaction that the caller has begun (the first line belongs into the same one)."""
    tables = Database(connection, recursive_triggers=False, execute_plugins=False)
    for statement in STATEMENTS:
        tables.execute(statement)
    tables.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    tables.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def upgrade(connection: sqlite3.Connection, version: int) -> None:
    """Bring tables of an older format up to this one, in one transaction. Seconds for a million lines."""
    late = (*_UPGRADE_FROM_2, *_UPGRADE_FROM_3)
    steps = {1: (*_UPGRADE_FROM_1, *late), 2: late, 3: _UPGRADE_FROM_3}.get(version, ())
    if not steps:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in (*steps, f"PRAGMA user_version = {SCHEMA_VERSION}"):
        connection.execute(statement)
    connection.execute("COMMIT")
