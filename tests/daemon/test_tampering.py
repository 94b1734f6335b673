"""Somebody changes the record behind agentd's back: a line flipped, deleted, swapped, the end cut off, an old copy put back.

`agentctl audit verify` finds each, names the line and ends with 1; and agentd does not start on top of it.
"""

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from daemon.crowd import body_of, exported
from harness import daemon as daemons

UNGUARDED = ("drop trigger lines_no_update", "drop trigger lines_no_delete")
NOT_KEPT = shutil.ignore_patterns("*.sock")

CALLS = 4
"""Of each half: before the old copy is taken, and after."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A record that is nobody's now: `state` as it was left, `older` a whole copy of the state from before."""

    state: Path
    older: Path
    lines: int


def serve_some(home: Path | None = None) -> Path:
    """Let a daemon serve some calls and stop; gives its home."""
    daemon = daemons.start(home=home)
    try:
        for number in range(CALLS):
            assert daemon.ask("POST", "/v1/chat/completions", body_of(f"call {number}")).status == 200
        assert daemon.stop() == 0
    finally:
        daemon.stop()
        daemon.manager.close()
    return daemon.home


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    home = serve_some()
    older = tmp_path_factory.mktemp("older") / "state"
    shutil.copytree(home / "state", older, ignore=NOT_KEPT)
    serve_some(home)
    with closing(sqlite3.connect(home / "state" / "ledger.db")) as base:
        lines = base.execute("select max(seq) from lines").fetchone()[0]
    yield Kept(home / "state", older, lines)
    shutil.rmtree(home)


def on(*statements: str) -> Callable[[Kept, Path], None]:
    """A change by SQL."""

    def change(_kept: Kept, state: Path) -> None:
        by_sql(state / "ledger.db", statements)

    return change


def by_sql(database: Path, statements: Sequence[str]) -> None:
    """As whoever can write the file would: the triggers that guard against accidents go first."""
    with closing(sqlite3.connect(database)) as base, base:
        for statement in (*UNGUARDED, *statements):
            base.execute(statement)


def put_old_database_back(kept: Kept, state: Path) -> None:
    (state / "ledger.db").unlink()
    shutil.copy(kept.older / "ledger.db", state / "ledger.db")


def forge_the_end(kept: Kept, state: Path) -> None:
    """A line is changed and its digest made to fit; only the last line can be, since no other names it."""
    import hashlib

    by_sql(state / "ledger.db", ())
    with closing(sqlite3.connect(state / "ledger.db")) as base, base:
        body = base.execute("select cast(body as blob) from lines where seq = ?", (kept.lines,)).fetchone()[0]
        forged = bytes(body).replace(b"Z", b"Y", 1)
        base.execute(
            "update lines set body = ?, digest = ? where seq = ?",
            (forged.decode(), hashlib.sha256(forged).hexdigest(), kept.lines),
        )


FLIP = 'update lines set body = replace(body, \'"at":"2\', \'"at":"3\') where seq = 5'
SWAP = (
    "update lines set seq = -5 where seq = 5",
    "update lines set seq = 5 where seq = 6",
    "update lines set seq = 6 where seq = -5",
)

REORDER = (
    "update lines set seq = -seq where seq between 5 and 9",
    "update lines set seq = 14 + seq where seq < 0",  # 5 to 9 becomes 9 to 5
)

TAMPERED = [
    ("flip", on(FLIP), 5),
    ("flip in the first line", on("update lines set body = replace(body, 'genesis', 'genesiS') where seq = 1"), 1),
    ("digest", on("update lines set digest = replace(digest, substr(digest, 1, 1), 'x') where seq = 5"), 5),
    ("delete", on("delete from lines where seq = 5"), 5),
    ("delete the first", on("delete from lines where seq = 1"), 1),
    ("swap", on(*SWAP), 5),
    ("reorder", on(*REORDER), 5),
    ("insert", on("insert into lines (seq, body, digest) select 5000, body, digest from lines where seq = 5"), None),
    ("truncate", on("delete from lines where seq > 8"), None),
    ("cut off the last", on("delete from lines where seq = (select max(seq) from lines)"), None),
    ("roll back", put_old_database_back, None),
    ("forge the end", forge_the_end, None),
]


@pytest.mark.parametrize(("change", "line"), [pytest.param(c, n, id=i) for i, c, n in TAMPERED])
def test_each_change_is_found_named_and_not_built_upon(
    change: Callable[[Kept, Path], None], line: int | None, kept: Kept
) -> None:
    home = Path(tempfile.mkdtemp(prefix="agentd-"))
    try:
        shutil.copytree(kept.state, home / "state", ignore=NOT_KEPT)
        assert verify(home / "state").returncode == 0
        change(kept, home / "state")
        done = verify(home / "state")
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stdout.startswith("BROKEN")
        assert f"line {line}:" in done.stdout if line else "line " in done.stdout
        with pytest.raises(daemons.NotReady) as refused:
            daemons.start(home=home)
        assert "[record." in str(refused.value)
        assert "Traceback" not in str(refused.value)
        assert "--new-ledger" in str(refused.value)
    finally:
        shutil.rmtree(home)


def verify(state: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "agentd.ctl.main", "audit", "verify", "--db", str(state / "ledger.db")]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=daemons.REPO)


def test_a_whole_old_state_is_found_by_a_head_that_was_noted_elsewhere(kept: Kept) -> None:
    """Whoever puts back database and anchor together is found only by what left the box: the head in journal or export."""
    head = exported_head(kept)
    command = [sys.executable, "-m", "agentd.ctl.main", "audit", "verify", "--db", str(kept.older / "ledger.db")]
    run = {"capture_output": True, "text": True, "timeout": 60, "check": False, "cwd": daemons.REPO}
    assert subprocess.run(command, **run).returncode == 0  # type: ignore[call-overload]
    done = subprocess.run([*command, "--anchor", head], **run)  # type: ignore[call-overload]
    assert done.returncode == 1
    assert f"to {kept.lines} are missing" in done.stdout


def exported_head(kept: Kept) -> str:
    fields = (kept.state / "ledger.head").read_text().split()
    return f"{int(fields[3])}:{fields[4]}"


@pytest.mark.parametrize(
    ("statements", "line"),
    [
        pytest.param((FLIP,), 5, id="flip"),
        pytest.param(("delete from lines where seq = 5",), 5, id="delete"),
        pytest.param(SWAP, 5, id="swap"),
        pytest.param(("delete from lines where seq > 8",), 9, id="truncate"),
    ],
)
def test_a_change_under_a_running_daemon_is_found_by_asking_it(
    statements: tuple[str, ...], line: int, start_agentd: Callable[..., daemons.Daemon]
) -> None:
    daemon = start_agentd()
    for number in range(CALLS):
        assert daemon.ask("POST", "/v1/chat/completions", body_of(f"call {number}")).status == 200
    assert len(exported(daemon)) > 8
    by_sql(daemon.state / "ledger.db", statements)
    done = daemon.ctl("audit", "verify")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "line " in done.stdout
    assert f"line {line}:" in done.stdout
