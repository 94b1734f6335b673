"""The sums of spend against the lines: budgets are restored from the sums at a start, so a start must know that they are right.

Adding up the lines of a month again takes as long as the month was busy. So the last checkpoint of a run holds a digest of the
sums, and the next start needs to look at the lines only where that digest is missing (the run was cut off) or does not fit
(somebody was at the file in between). Sums that were written to by another program while the daemon ran get no such digest:
SQLite counts the commits of others.
"""

import hashlib
import json
import sqlite3
from typing import Any

from sqlite_utils import Database

from agentd.core.accounting.retention import FLOOR_S
from agentd.core.accounting.times import rfc3339
from agentd.edge.ledger import schema
from agentd.edge.ledger.staging import NS_PER_HOUR

NS_PER_S = 10**9

Json = dict[str, Any]


def first_hour(at_ns: int) -> int:
    """The hour (since 1970) from which on budgets and quotas can count at this time."""
    return (at_ns - FLOOR_S * NS_PER_S) // NS_PER_HOUR


def digest_since(connection: sqlite3.Connection, hour: int) -> str:
    """A digest of the sums from an hour on."""
    hashed = hashlib.sha256()
    for row in connection.execute(f"{schema.SPEND_SINCE} ORDER BY 1, 2, 3, 4, 5, 6", (hour,)):
        hashed.update(json.dumps(row).encode())
    return hashed.hexdigest()


def differences(connection: sqlite3.Connection, since_hour: int | None = None) -> list[Json]:
    """Kept sums against the lines' own (since an hour), read in one transaction so that no commit comes in between: account,
    column, the sum that is kept and that of the lines."""
    tables = Database(connection, recursive_triggers=False, execute_plugins=False)
    with tables.atomic():
        if since_hour is None:
            kept, summed = tables.query("SELECT * FROM spend"), tables.query(schema.RECOMPUTED_SPEND)
        else:
            kept = tables.query(schema.SPEND_SINCE, [since_hour])
            summed = tables.query(schema.RECOMPUTED_SINCE, {"since": _start(since_hour)})
        return _compared({_account(row): row for row in kept}, {_account(row): row for row in summed})


def add_again(connection: sqlite3.Connection, since_hour: int) -> None:
    """Make the sums from an hour on those of the lines, in the transaction that the caller has begun."""
    connection.execute(schema.DELETE_SPEND_SINCE, (since_hour,))
    connection.execute(f"{schema.INTO_SPEND} {schema.RECOMPUTED_SINCE}", {"since": _start(since_hour)})


def _start(hour: int) -> str:
    return rfc3339(hour * NS_PER_HOUR)


def _compared(kept: dict[tuple[Any, ...], Json], summed: dict[tuple[Any, ...], Json]) -> list[Json]:
    nothing = dict.fromkeys(schema.SPEND_COLUMNS, 0)
    return [
        {
            "account": dict(zip(schema.ACCOUNT_COLUMNS, account, strict=True)),
            "column": column,
            "kept": old,
            "lines": new,
        }
        for account in sorted(kept.keys() | summed.keys())
        for column in schema.SPEND_COLUMNS
        if (old := kept.get(account, nothing)[column]) != (new := summed.get(account, nothing)[column])
    ]


def _account(row: Json) -> tuple[Any, ...]:
    return tuple(row[name] for name in schema.ACCOUNT_COLUMNS)
