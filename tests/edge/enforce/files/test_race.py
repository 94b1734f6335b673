"""Names are exchanged without pause while an act is repeated: nothing outside is read or written.

The same exchange catches the usual way, to resolve a path, to look at it and to open it by name: so the test can see an escape.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agentd.core.types.files import FileRefused
from edge.enforce.files.hands import Hands, hands

TIMES = 3_000
SWAP = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
a, b = (os.fsencode(name) for name in sys.argv[1:])
print("going", flush=True)
while True:
    libc.renameat2(-100, a, -100, b, 2)
"""


@contextmanager
def swapping(first: Path, second: Path) -> Iterator[None]:
    """Another process exchanges two names as fast as it can."""
    process = subprocess.Popen([sys.executable, "-c", SWAP, first, second], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hands]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/note.txt").write_text("secret")
    (tmp_path / "outside/secret-name").touch()
    with hands(tmp_path) as made:
        (made.ws / "d").mkdir()
        (made.ws / "d/note.txt").write_text("inside")
        (made.ws / "e").symlink_to(tmp_path / "outside")
        yield made


def _naive(ws: Path) -> bytes:
    """What many gates do."""
    path = os.path.realpath(ws / "d/note.txt")
    if not path.startswith(f"{ws}/"):
        return b""
    with open(ws / "d/note.txt", "rb") as file:
        return file.read()


def _until(seen: Callable[[], bool], most: int) -> bool:
    for _ in range(most):
        with suppress(OSError):
            if seen():
                return True
    return False


def test_the_usual_way_is_caught(hand: Hands) -> None:
    with swapping(hand.ws / "d", hand.ws / "e"):
        assert _until(lambda: _naive(hand.ws) == b"secret", 200_000)


async def _repeat(hand: Hands, op: str) -> tuple[int, set[bytes]]:
    done, seen = 0, set()
    for _ in range(TIMES):
        with suppress(FileRefused):
            result = await hand.do(op, "d" if op == "list" else "d/note.txt")
            done += 1
            seen |= {result.data, *(entry.name.encode() for entry in result.entries)}
    return done, seen


@pytest.mark.parametrize("op", ["read", "write", "append", "list"])
def test_here_nothing_escapes(hand: Hands, op: str, tmp_path: Path) -> None:
    with swapping(hand.ws / "d", hand.ws / "e"):
        if op in ("write", "append"):
            done, seen = asyncio.run(_some(hand, op))
        else:
            done, seen = asyncio.run(_repeat(hand, op))
    assert b"secret" not in b"".join(seen)
    assert done > 0
    outside = tmp_path / "outside"
    assert sorted(path.name for path in outside.iterdir()) == ["note.txt", "secret-name"]
    assert (outside / "note.txt").read_text() == "secret"


async def _some(hand: Hands, op: str) -> tuple[int, set[bytes]]:
    """Changes are a hundred times slower than looks, for they are synced."""
    done = 0
    for _ in range(TIMES // 10):
        with suppress(FileRefused):
            await hand.do(op, "d/note.txt", b"planted")
            done += 1
    return done, set()


def test_a_file_that_is_exchanged_under_a_write_is_not_lost(hand: Hands) -> None:
    """Whatever came out of the directory is kept, or still there."""
    first, second = hand.ws / "d/one", hand.ws / "d/two"
    first.write_text("first")
    second.write_text("second")

    async def writes() -> None:
        for number in range(TIMES // 20):
            with suppress(FileRefused):
                await hand.do("write", "d/one", b"by the agent %d" % number)

    with swapping(first, second):
        asyncio.run(writes())
    contents = {path.read_bytes() for path in (hand.state / "contents").iterdir()}
    contents |= {path.read_bytes() for path in (hand.ws / "d").iterdir()}
    assert {b"first", b"second"} <= contents
    assert not list((hand.ws / "d").glob(".agentd-spare-*"))
