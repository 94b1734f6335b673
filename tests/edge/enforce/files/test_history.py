"""What was there before: given back, shown, bounded, and true after kill -9."""

import asyncio
import hashlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.core.types.files import FileAllow, FileLimits, FileOp, FilePermit, FileRefused, Place
from agentd.core.types.receipts import Receipt
from agentd.core.types.verdicts import Reason
from agentd.edge.enforce.files.index import Change, Index
from agentd.edge.enforce.files.keeping import DAY_NS, Bounds
from edge.enforce.files.hands import Hands, hands

REPO = Path(__file__).resolve().parents[4]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hands]:
    with hands(tmp_path) as made:
        yield made


def _contents(hand: Hands) -> set[bytes]:
    return {path.read_bytes() for path in (hand.state / "contents").iterdir()}


def test_an_overwrite_is_undone_and_the_undo_too(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.now("write", "f", b"two")
    hand.undo(2)
    assert (hand.ws / "f").read_bytes() == b"one"
    hand.undo(3)
    assert (hand.ws / "f").read_bytes() == b"two"


def test_a_delete_is_undone_with_its_mode(hand: Hands) -> None:
    (hand.ws / "d").mkdir()
    (hand.ws / "d/f").write_text("x")
    (hand.ws / "d/f").chmod(0o751)
    hand.now("delete", "d/f")
    hand.now("delete", "d")
    hand.undo(2)
    hand.undo(1)
    assert ((hand.ws / "d/f").read_text(), stat.S_IMODE((hand.ws / "d/f").stat().st_mode)) == ("x", 0o751)


def test_a_file_that_was_new_goes_again(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.undo(1)
    assert not (hand.ws / "f").exists()
    hand.undo(2)
    assert (hand.ws / "f").read_bytes() == b"one"


def test_a_move_over_a_file_is_undone(hand: Hands) -> None:
    (hand.ws / "a").write_text("A")
    (hand.ws / "b").write_text("B")
    hand.now("move", "a", to="b")
    assert [path.name for path in hand.ws.iterdir()] == ["b"]
    hand.undo(1)
    assert ((hand.ws / "a").read_text(), (hand.ws / "b").read_text()) == ("A", "B")


def test_a_directory_is_moved_back(hand: Hands) -> None:
    (hand.ws / "d/e").mkdir(parents=True)
    (hand.ws / "d/e/f").write_text("x")
    hand.now("move", "d", to="g/h")
    hand.undo(1)
    assert (hand.ws / "d/e/f").read_text() == "x"


def test_somebody_elses_later_work_is_not_taken_away(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.now("write", "f", b"two")
    (hand.ws / "f").write_bytes(b"by a person")
    with pytest.raises(FileRefused, match="somebody changed it"):
        hand.undo(2)
    assert (hand.ws / "f").read_bytes() == b"by a person"


def test_what_nobody_did_cannot_be_undone(hand: Hands) -> None:
    with pytest.raises(FileRefused, match="nothing is kept of d-77"):
        hand.undo(77)


def test_diffs(hand: Hands) -> None:
    hand.now("write", "f", b"one\ntwo\n")
    hand.now("write", "f", b"one\n\x1b[2Jthree\n")
    hand.now("write", "f", b"\0binary")
    assert hand.diff(2).splitlines()[3:] == [" one", "-two", "+\\x1b[2Jthree", " "]
    assert "bytes before" in hand.diff(3)
    hand.now("delete", "f")
    assert "after, not shown" in hand.diff(4)


def test_history_knows_a_place_by_both_names(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.now("move", "f", to="g")
    assert [kept.op for kept in asyncio.run(hand.files.history(Place("work", ("g",))))] == [FileOp.MOVE]
    assert [kept.seq for kept in asyncio.run(hand.files.history(Place("work", ("f",))))] == [2, 1]


def test_what_is_kept_is_for_nobody_else(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.now("write", "f", b"two")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in hand.state.rglob("*") if path.is_file()}
    assert modes <= {0o600}
    assert stat.S_IMODE((hand.state / "contents").stat().st_mode) == 0o700


def test_bytes_are_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    with hands(tmp_path, bounds=Bounds(max_bytes=100)) as hand:
        for number in range(20):
            hand.now("write", "f", b"%02d" % number * 15)
        kept = sum(len(content) for content in _contents(hand))
        assert kept <= 100
        assert b"18" * 15 in _contents(hand)
        assert b"00" * 15 not in _contents(hand)


def test_a_young_last_content_stays_and_the_next_change_is_refused(tmp_path: Path) -> None:
    now = [DAY_NS]
    with hands(tmp_path, bounds=Bounds(max_bytes=100), wall_ns=lambda: now[0]) as hand:
        for name in "abc":
            (hand.ws / name).write_bytes(name.encode() * 40)
        hand.now("write", "a", b"x")
        hand.now("write", "b", b"x")
        assert hand.code("write", "c", b"x") == "files.history"
        assert (hand.ws / "c").read_bytes() == b"c" * 40
        now[0] += DAY_NS
        hand.now("write", "c", b"x")
        assert _contents(hand) == {b"b" * 40, b"c" * 40}


def test_days_are_bounded(tmp_path: Path) -> None:
    now = [DAY_NS]
    with hands(tmp_path, wall_ns=lambda: now[0]) as hand:
        hand.now("write", "f", b"one")
        hand.now("write", "f", b"two")
        now[0] += 31 * DAY_NS
        hand.now("write", "g", b"three")
        assert _contents(hand) == set()
        assert hand.states("f") == []


def test_a_content_that_was_tampered_with_is_not_given_back(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    hand.now("write", "f", b"two")
    (hand.state / "contents" / hashlib.sha256(b"one").hexdigest()).write_bytes(b"evil")
    with pytest.raises(FileRefused, match="not what it was"):
        hand.undo(2)


def test_without_a_history_nothing_is_changed(hand: Hands) -> None:
    hand.now("write", "f", b"one")
    (hand.state / "contents").rename(hand.state / "gone")
    assert hand.code("write", "f", b"two") == "files.history"
    assert hand.code("delete", "f") == "files.history"
    assert (hand.ws / "f").read_bytes() == b"one"
    assert [path.name for path in hand.ws.iterdir()] == ["f"]


def test_too_late_means_nothing_happened(hand: Hands) -> None:
    reason = Reason("files.root", "files", "allowed")
    allow = FileAllow(reason, FileOp.WRITE, Place("work", ("f",)), FileLimits(100, 10, 0.0))
    with pytest.raises(FileRefused, match="too long"):
        asyncio.run(hand.files.act(FilePermit(allow, Receipt(1, "")), b"x"))
    hand.now("list", ".")
    assert not list(hand.ws.iterdir())


STEPS = [
    # what a crash left:   files now, spare file,   state that is found
    ({"f": b"old"}, None, "void"),
    ({"f": b"old"}, b"new", "void"),
    ({"f": b"new"}, b"old", "done"),
    ({"f": b"new"}, None, "done"),
    ({"f": b"mine"}, None, "unsure"),
    ({"f": b"mine"}, b"old", "unsure"),
]


@pytest.mark.parametrize(("files", "spare", "state"), STEPS)
def test_each_place_where_a_write_can_be_cut(
    tmp_path: Path, files: dict[str, bytes], spare: bytes | None, state: str
) -> None:
    old, new = (hashlib.sha256(text).hexdigest() for text in (b"old", b"new"))
    (tmp_path / "ws").mkdir()
    (tmp_path / "state").mkdir()
    index = Index(tmp_path / "state/index.sqlite")
    index.begin(
        Change(1, FileOp.WRITE, Place("work", ("f",)), None, old, new, 3, 0o644, ".agentd-spare-1"), time.time_ns()
    )
    index.close()
    for name, text in files.items():
        (tmp_path / "ws" / name).write_bytes(text)
    if spare is not None:
        (tmp_path / "ws/.agentd-spare-1").write_bytes(spare)
    with hands(tmp_path) as hand:
        assert hand.states("f") == [state]
        assert hand.files.unsure == (state == "unsure")
        assert (hand.ws / ".agentd-spare-1").exists() == (state == "unsure" and spare is not None)


KILLED = """
import sys
import time
from pathlib import Path
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/tests"]
from edge.enforce.files.hands import hands
with hands(Path(sys.argv[1])) as hand:
    hand.seqs = iter(range(int(sys.argv[3]), 10**9))
    print("going", flush=True)
    for number in range(10**6):
        hand.now("write", "f", b"%d|" % number * 1000)
        hand.now("write", "g", b"%d|" % number * 1000)
        hand.now("move", "g", to="f")
        hand.now("delete", "f")
"""


def _crash(where: Path, after_ms: int, first: int) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, where, REPO, str(first)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(after_ms / 1000)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)


def _true(where: Path) -> None:
    """What is there is whole, nothing is left over, no line is open, and the last line of each place says what is there."""
    with hands(where) as hand:
        assert hand.files.unsure == 0
        for path in hand.ws.iterdir():
            assert not path.name.startswith(".agentd-spare-")
            whole = path.read_bytes()
            assert whole == whole[: len(whole) // 1000] * 1000
        for name in ("f", "g"):
            kept = [line for line in asyncio.run(hand.files.history(Place("work", (name,)))) if line.state != "void"]
            assert {line.state for line in kept} <= {"done"}
            there = hand.ws / name
            if kept:
                last = kept[0]
                goes = last.op is FileOp.DELETE or (last.op is FileOp.MOVE and last.at.parts == (name,))
                now = hashlib.sha256(there.read_bytes()).hexdigest() if there.exists() else ""
                assert now == ("" if goes else last.after)
            for line in kept:
                assert not line.before or (hand.state / "contents" / line.before).exists()


@pytest.mark.parametrize("rounds", [8, pytest.param(150, marks=pytest.mark.slow)])
def test_killed_again_and_again(tmp_path: Path, rounds: int) -> None:
    for number in range(rounds):
        _crash(tmp_path, 20 + number * 37 % 113, number * 10**6 + 1)
        _true(tmp_path)
    assert os.listdir(tmp_path / "state/contents")
