"""Clocks, turns and threads: an act that hangs holds up nobody else, and what was given up did not happen."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentd.core.types.files import FileLimits, FileRefused
from agentd.core.types.verdicts import Answer
from agentd.edge.enforce.files.job import Job
from agentd.edge.enforce.files.keeping import DAY_NS
from agentd.edge.enforce.files.local import MAX_WAITING
from edge.enforce.files.hands import Hands, hands

SHORT = FileLimits(2**20, 100, 0.2)


@contextmanager
def _held(hand: Hands) -> Iterator[None]:
    """Somebody holds the index: changes wait for it, as they would for a disk that does not answer."""
    other = sqlite3.connect(hand.state / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def test_a_change_that_hangs_is_given_up_and_never_happens(tmp_path: Path) -> None:
    async def story(hand: Hands) -> None:
        with _held(hand):
            with pytest.raises(FileRefused) as refusal:
                await hand.do("write", "f", b"new")
            assert (refusal.value.unsure, refusal.value.answer) == (False, Answer.WAIT)
            assert (await hand.do("read", "f")).data == b"old"  # meanwhile reads are served

    with hands(tmp_path, limits=SHORT) as hand:
        (hand.ws / "f").write_bytes(b"old")
        asyncio.run(story(hand))
    assert (tmp_path / "ws/f").read_bytes() == b"old"
    with hands(tmp_path) as hand:
        assert hand.states("f") == ["void"]
        assert [path.name for path in hand.ws.iterdir()] == ["f"]


def test_what_a_client_that_left_had_asked_for_does_not_come_late(tmp_path: Path) -> None:
    async def story(hand: Hands) -> None:
        with _held(hand):
            task = asyncio.ensure_future(hand.do("write", "f", b"new"))
            while not hand.seq:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with hands(tmp_path) as hand:
        asyncio.run(story(hand))
    assert not list((tmp_path / "ws").iterdir())


def test_changes_take_turns_and_each_is_kept(tmp_path: Path) -> None:
    async def story(hand: Hands) -> None:
        await asyncio.gather(*(hand.do("write", "f", b"%d" % number) for number in range(MAX_WAITING)))

    with hands(tmp_path) as hand:
        asyncio.run(story(hand))
        contents = {path.read_bytes() for path in (hand.state / "contents").iterdir()} | {(hand.ws / "f").read_bytes()}
        assert contents == {b"%d" % number for number in range(MAX_WAITING)}
        assert hand.states("f") == ["done"] * MAX_WAITING


def test_more_than_can_wait_are_told_to_come_later(tmp_path: Path) -> None:
    async def story(hand: Hands) -> list[object]:
        with _held(hand):
            acts = (hand.do("write", f"f{number}", b"x") for number in range(MAX_WAITING + 5))
            return list(await asyncio.gather(*acts, return_exceptions=True))

    with hands(tmp_path, limits=SHORT) as hand:
        found = asyncio.run(story(hand))
        codes = [one.reason.code for one in found if isinstance(one, FileRefused)]
        assert codes.count("files.busy") == 5
        assert codes.count("files.deadline") == MAX_WAITING


def test_commit_and_abandon_exclude_each_other() -> None:
    first, second = Job(10), Job(10)
    first.commit()
    assert first.abandon()
    assert not second.abandon()
    with pytest.raises(FileRefused, match="nothing was changed"):
        second.commit()


def test_what_is_too_old_goes_at_a_start(tmp_path: Path) -> None:
    now = [DAY_NS]
    with hands(tmp_path, wall_ns=lambda: now[0]) as hand:
        hand.now("write", "f", b"one")
        hand.now("write", "f", b"two")
    now[0] += 31 * DAY_NS
    with hands(tmp_path, wall_ns=lambda: now[0]) as hand:
        assert not list((hand.state / "contents").iterdir())
