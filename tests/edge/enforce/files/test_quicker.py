"""Somebody is quicker: another file stands there at the very moment between the look and the rename."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentd.core.types.files import FileRefused
from agentd.edge.enforce.files.index import Change
from agentd.edge.enforce.files.keeping import Keeper
from edge.enforce.files.hands import Hands, hands

Quicker = Callable[[Callable[[Path], None]], None]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hands]:
    with hands(tmp_path) as made:
        (made.ws / "f").write_bytes(b"seen")
        (made.ws / "g").write_bytes(b"source")
        (tmp_path / "secret").write_bytes(b"secret")
        yield made


@pytest.fixture
def quicker(hand: Hands, monkeypatch: pytest.MonkeyPatch) -> Quicker:
    """Takes what is to happen right after the line was written down."""
    begin = Keeper.begin

    def install(what: Callable[[Path], None]) -> None:
        def then(keeper: Keeper, change: Change, old: bytes | None) -> int:
            row = begin(keeper, change, old)
            what(hand.ws)
            return row

        monkeypatch.setattr(Keeper, "begin", then)

    return install


def _another(ws: Path) -> None:
    (ws / "new").write_bytes(b"another")
    (ws / "new").rename(ws / "f")


def _link(ws: Path) -> None:
    (ws / "f").unlink()
    (ws / "f").symlink_to(ws.parent / "secret")


def _gone(ws: Path) -> None:
    (ws / "f").unlink()


def _appears(ws: Path) -> None:
    (ws / "n").write_bytes(b"appeared")


def _contents(hand: Hands) -> set[bytes]:
    return {path.read_bytes() for path in (hand.state / "contents").iterdir()}


@pytest.mark.parametrize("op", ["write", "delete"])
def test_what_really_came_out_is_kept_and_given_back(hand: Hands, quicker: Quicker, op: str) -> None:
    quicker(_another)
    hand.now(op, "f", b"by the agent")
    assert b"another" in _contents(hand)
    quicker(lambda _: None)
    hand.undo(1)
    assert (hand.ws / "f").read_bytes() == b"another"


@pytest.mark.parametrize("op", ["write", "append", "delete"])
def test_a_link_stays_where_it_is_and_nothing_else_happens(hand: Hands, quicker: Quicker, op: str) -> None:
    quicker(_link)
    assert hand.code(op, "f", b"planted") == "files.changed"
    assert (hand.ws / "f").is_symlink()
    assert (hand.ws.parent / "secret").read_bytes() == b"secret"
    assert sorted(path.name for path in hand.ws.iterdir()) == ["f", "g"]
    assert hand.states("f") == ["void"]


@pytest.mark.parametrize(("op", "what"), [("write", _gone), ("delete", _gone)])
def test_what_is_gone_is_not_made_again(hand: Hands, quicker: Quicker, op: str, what: Callable[[Path], None]) -> None:
    quicker(what)
    assert hand.code(op, "f", b"x") == "files.missing"
    assert [path.name for path in hand.ws.iterdir()] == ["g"]
    assert hand.states("f") == ["void"]


def test_a_new_file_does_not_take_the_place_of_one_that_appeared(hand: Hands, quicker: Quicker) -> None:
    quicker(_appears)
    assert hand.code("write", "n", b"x") == "files.exists"
    assert (hand.ws / "n").read_bytes() == b"appeared"


@pytest.mark.parametrize("what", [_another, _link])
def test_a_move_over_another_file_is_taken_back(hand: Hands, quicker: Quicker, what: Callable[[Path], None]) -> None:
    quicker(what)
    with pytest.raises(FileRefused, match="somebody changed it"):
        hand.now("move", "g", to="f")
    assert (hand.ws / "g").read_bytes() == b"source"
    assert (hand.ws / "f").is_symlink() or (hand.ws / "f").read_bytes() == b"another"
    assert hand.states("f") == ["void"]


def test_a_move_of_another_file_is_taken_back(hand: Hands, quicker: Quicker) -> None:
    quicker(_link)
    assert hand.code("move", "f", to="h") == "files.changed"
    assert (hand.ws / "f").is_symlink()
    assert not (hand.ws / "h").exists()
