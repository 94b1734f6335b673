"""Every answer that agentd can give, to every client that runs in seconds: how often it posts, whether its user is told what
agentd said, and whether it works again afterwards. docs/clients.md has the table of what was measured; these tests hold it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from clients import claude, codex, connecting, nanobot
from clients.connecting import Home, Turn, Way
from clients.counter import Counter
from clients.statuses import FINAL, MOST, SHAPES, WORKS, Place, Shape, a_place, cell, documented, posts

pytestmark = pytest.mark.clients

AT_ONCE = 5
"""Clients that run side by side; some of them wait before they ask again."""

TURN_S = 120.0
"""On a crowded machine; alone the slowest takes some twenty seconds, with what it waits."""


def _claude(at: Home, prompt: str) -> Turn:
    env = connecting.environment(at, claude.binary().parent)
    command = [str(at.path / ".local/bin/claude-agentd"), "-p", prompt]
    done = connecting.run(command, at, env, TURN_S)
    return Turn(done.returncode, done.stdout.strip(), done.stdout + done.stderr)


def _codex(at: Home, prompt: str) -> Turn:
    env = connecting.environment(at, codex.binary().parent)
    command = [str(at.path / ".local/bin/codex-agentd"), "exec", "--skip-git-repo-check", prompt]
    done = connecting.run(command, at, env, TURN_S)
    return Turn(done.returncode, done.stdout.strip(), done.stdout + done.stderr)


@dataclass(frozen=True, slots=True)
class Driven:
    """A client: its name for `agentctl connect`, one turn of it, and where it is missing a skip."""

    name: str
    turn: Callable[[Home, str], Turn]
    binary: Callable[[], Path]


CLIENTS = (
    Driven("claude-code", _claude, claude.binary),
    Driven("codex", _codex, codex.binary),
    Driven("nanobot", nanobot.turn, nanobot.binary),
)


Runs = dict[tuple[str, str], Future[str]]
"""Cells to come, by client and answer."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """All that is installed, side by side."""
    there = [client for client in CLIENTS if _installed(client)]
    with a_place() as place, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            (client.name, shape.name): pool.submit(measured, client, shape, place, tmp_path_factory.mktemp(client.name))
            for shape in SHAPES
            for client in there
        }


def _installed(client: Driven) -> bool:
    try:
        client.binary()
    except pytest.skip.Exception:
        return False
    return True


def measured(client: Driven, shape: Shape, place: Place, folder: Path) -> str:
    """The cell of an answer. The client must work again afterwards, in the same home."""
    counter = Counter(place.doors[shape.door], cut_after=shape.cut_after).begin()
    try:
        home = connecting.home(client.name, Way(counter.url, place.tokens[shape.token], "chat"), folder)
        turn = client.turn(home, shape.prompt)
    finally:
        counter.end()
    if shape.again:
        connecting.connect(client.name, Way(place.doors["good"], place.tokens["main"], "chat"), home)
        again = client.turn(home, WORKS)
        assert "it works" in again.said, f"{client.name} is locked out after {shape.name}: {again.told}"
    return cell(counter, turn)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_it_makes_of_every_answer(client: Driven, runs: Runs) -> None:
    client.binary()
    assert {shape.name: runs[client.name, shape.name].result() for shape in SHAPES} == documented(client.name)


@pytest.mark.parametrize("client", MOST)
def test_no_answer_starts_a_storm(client: str) -> None:
    """What the table says is what is measured; here it is held against what was promised."""
    table = documented(client)
    assert table.keys() == {shape.name for shape in SHAPES}
    assert max(posts(said) for said in table.values()) <= MOST[client]
    assert {posts(table[name]) for name in FINAL} == {1}
