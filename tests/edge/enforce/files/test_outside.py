"""Any path whatever, on a real tree full of ways out: what lies outside stays unread and unchanged."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.files import FileOp, FileRefused, FileResult
from edge.enforce.files.hands import Hands, hands

SECRET = b"canary-of-the-outside"
NAMES = "a b up out abs hard fifo loop proc root outside secret ws ...".split()
PARTS = st.sampled_from(["..", ".", "", "\udcff", "x\ny", *NAMES])
BELOW = st.lists(PARTS, max_size=7).map("/".join)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hands]:
    where = tmp_path_factory.mktemp("tree")
    (where / "outside").mkdir()
    (where / "outside/secret").write_bytes(SECRET)
    with hands(where) as hand:
        ws = hand.ws
        (ws / "a/b").mkdir(parents=True)
        (ws / "a/up").symlink_to("../..")
        (ws / "out").symlink_to(where / "outside")
        (ws / "a/out").symlink_to("../../outside")
        (ws / "abs").symlink_to("/")
        (ws / "root").symlink_to("/proc/self/root")
        (ws / "proc").symlink_to("/proc/self/fd")
        (ws / "loop").symlink_to("loop")
        (ws / "hard").hardlink_to(where / "outside/secret")
        os.mkfifo(ws / "fifo")
        yield hand


@given(st.data())
def test_nothing_outside_is_read_or_changed(tree: Hands, data: st.DataObject) -> None:
    where = tree.ws.parent
    starts = st.sampled_from(["", f"{tree.ws}/", f"{where}/", "/", "/proc/self/root/"])
    path = data.draw(starts) + data.draw(BELOW)
    op = data.draw(st.sampled_from(FileOp))
    to = data.draw(starts) + data.draw(BELOW) if op is FileOp.MOVE else ""
    result = asyncio.run(_done(tree, op, path, to))
    if isinstance(result, FileRefused):
        assert not result.unsure
        assert result.reason.hint
    else:
        assert SECRET not in result.data
        assert not {"secret", "outside"} & {entry.name for entry in result.entries} or _made_here(tree.ws)
    outside: dict[Path, bytes] = {p: p.read_bytes() for p in (where / "outside").iterdir()}
    assert outside == {where / "outside/secret": SECRET}
    assert {p.name for p in where.iterdir()} == {"ws", "state", "outside"}


async def _done(tree: Hands, op: FileOp, path: str, to: str) -> FileResult | FileRefused:
    try:
        return await tree.do(op, path, b"planted", to)
    except FileRefused as refusal:
        return refusal


def _made_here(ws: Path) -> bool:
    """Earlier examples may have written such names inside."""
    return any(path.name in ("secret", "outside") and not path.is_symlink() for path in ws.rglob("*"))
