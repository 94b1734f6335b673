"""What the operator's command does without the daemon: read a policy file, check signatures, open a record from a file."""

import base64
import contextlib
import grp
import hashlib
import json
import os
import pwd
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentd.core.accounting.chain import DIGEST_SUFFIX
from agentd.core.accounting.chain import exported as exported
from agentd.ctl.exits import CtlError, Exit

Json = dict[str, Any]
Raw = tuple[int, bytes, str]
"""A line: number, the bytes that were digested, and the digest (hex)."""

DIGEST_HEX = 64

HEAD_FILE, HEAD_MAGIC, HEAD_FIELDS = "ledger.head", "agentd-head", 6
"""The daemon's note of the newest line, beside the database."""

PRIMARY = 0xFF
"""SQLite's extended error codes keep the primary one in the low byte."""

UNREADABLE = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that say nothing of what stands in the file."""

COPY = "Keep it as it is, and verify the newest copy or export that you have."

SELECT_PRUNED = "SELECT seq, CAST(body AS BLOB), digest FROM lines WHERE kind = 'prune' ORDER BY seq DESC LIMIT 1"
"""From the lines alone: whoever verifies a file believes none of its side tables."""

SELECT_POLICIES = "SELECT digest, text FROM policies"

SELECT_IN_FORCE = (
    "SELECT DISTINCT json_extract(body, '$.policy') FROM lines WHERE kind = 'policy' AND verdict = 'allow'"
)
"""Versions of the policy that were in force, as the lines say."""

PRUNE_MARK = b'"kind":"prune"'

SELECT_LINES = "SELECT seq, CAST(body AS BLOB), digest FROM lines ORDER BY seq"


def check_policy(text: str, source: str) -> list[Json]:
    """Every fault of a policy text; prices are not checked. Users and groups are those of this machine."""
    from agentd.core.policy.parse import Names, parse_policy  # noqa: PLC0415 - only this command needs it
    from agentd.core.types.errors import PolicyRefused  # noqa: PLC0415
    from agentd.document import read_document  # noqa: PLC0415

    root, faults = read_document(text, source)
    names = Names(self_uid=os.getuid(), uid_of=_uid, gid_of=_gid, prices=None)
    try:
        parse_policy(root, names, source, faults)
    except PolicyRefused as refused:
        return [asdict(fault) for fault in refused.faults]
    return []


def good_signature(public_hex: str, message: bytes, signature_hex: str) -> bool:
    """Whether an Ed25519 signature is good; bad hex is a bad signature."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - heavy, and for verification alone
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex)).verify(bytes.fromhex(signature_hex), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def from_stream(rows: Iterator[Json]) -> Iterator[Raw]:
    """Lines as the daemon sends them."""
    for row in rows:
        yield int(row["seq"]), base64.b64decode(row["body"]), str(row["digest"])


def from_database(path: Path) -> Iterator[Raw]:
    """Lines of a record's database file, which is only read. Raises `CtlError` when it is none."""
    if not path.is_file():
        raise CtlError(
            Exit.NOT_FOUND, f"There is no file {path}.", "The record is ledger.db in the daemon's state directory."
        )
    try:
        with contextlib.closing(_opened(path)) as connection:
            for seq, body, digest in connection.execute(SELECT_LINES):
                yield int(seq), bytes(body or b""), str(digest)
    except sqlite3.Error as failed:
        raise _no_record(path, failed) from None
    except (TypeError, ValueError):
        raise CtlError(Exit.FINDING, f"{path} is no record: a line of it has no number.", COPY) from None


def pruned_in_database(path: Path) -> Raw | None:
    """The newest prune line of a record's database file. None where there is none, or where the file is no such record: reading
    its lines will tell."""
    try:
        with contextlib.closing(_opened(path)) as connection:
            row = connection.execute(SELECT_PRUNED).fetchone()
    except sqlite3.Error:
        return None
    return (int(row[0]), bytes(row[1] or b""), str(row[2])) if row else None


def pruned_in_export(path: Path) -> Raw | None:
    """The newest prune line of an export."""
    found = None
    with contextlib.suppress(OSError), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            found = _exported(line.rstrip(b"\n"), number) if PRUNE_MARK in line else found
    return found


def policy_flaws(path: Path) -> list[Json]:
    """Versions of the policy in a record's database file that are not kept as they were in force: `digest` and `flaw`."""
    try:
        with contextlib.closing(_opened(path)) as connection:
            kept = {str(digest): str(text) for digest, text in connection.execute(SELECT_POLICIES)}
            named = {str(row[0]) for row in connection.execute(SELECT_IN_FORCE)}
    except sqlite3.Error as failed:
        raise _no_record(path, failed) from None
    altered = (digest for digest, text in kept.items() if _sha256(text) != digest)
    missing = ({"digest": digest, "flaw": "missing"} for digest in sorted(named - kept.keys()))
    return [*({"digest": digest, "flaw": "altered"} for digest in sorted(altered)), *missing]


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _no_record(path: Path, failed: sqlite3.Error) -> CtlError:
    """A file that may not be read is one thing; one that was read and is no record is a finding."""
    primary = getattr(failed, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN) & PRIMARY
    if primary in UNREADABLE:
        hint = "It needs read access to the file and, while agentd runs, to -wal and -shm beside it."
        return CtlError(Exit.REFUSED, f"{path} cannot be opened: {failed}.", hint)
    what = "the file is empty" if path.stat().st_size == 0 else str(failed)
    return CtlError(Exit.FINDING, f"{path} is no record that can be read: {what}.", COPY)


def anchor_beside(database: Path) -> tuple[tuple[int, str], ...]:
    """The head that the daemon noted in a file of its own beside the database: `agentd-head 1 LEDGER SEQ DIGEST CHECK`."""
    try:
        fields = (database.parent / HEAD_FILE).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return ()
    if len(fields) != HEAD_FIELDS or fields[0] != HEAD_MAGIC or not fields[3].isdigit():
        return ()
    return ((int(fields[3]), fields[4]),)


def from_export(path: Path) -> Iterator[Raw]:
    """Lines of an `audit export`. A line that is none becomes one without digest, which verification will name."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield _exported(line.rstrip(b"\n"), number)
    except FileNotFoundError:
        raise CtlError(Exit.NOT_FOUND, f"There is no file {path}.", "Make one: agentctl audit export > FILE") from None
    except OSError as failed:
        hint = "Give a file of `agentctl audit export` that you may read."
        raise CtlError(Exit.REFUSED, f"{path} cannot be read: {failed.strerror}.", hint) from None


def _exported(line: bytes, number: int) -> Raw:
    body, found, rest = line.rpartition(DIGEST_SUFFIX)
    digest = rest[:DIGEST_HEX].decode("ascii", "replace") if found else ""
    body = body + b"}" if found else line
    try:
        seq = int(json.loads(body)["seq"])
    except (ValueError, KeyError, TypeError):
        seq = number
    return seq, body, digest


def _uid(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
