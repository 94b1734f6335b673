"""OpenClaw, its gateway running as on a box, does its work through agentd with the configuration that `agentctl connect` writes.

Between the two stands a counter, which also sends its calls to other doors: one gateway meets every answer that agentd can
give, and is asked again after each, since it writes a provider off for minutes after some; then a new one takes its place.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from clients import connecting, openclaw
from clients.connecting import Way
from clients.counter import Counter
from clients.statuses import MOST, SHAPES, WORKS, Place, Shape, a_place, cell, documented, posts
from harness.http import call

pytestmark = [pytest.mark.clients, pytest.mark.slow]

TOUCH = "[[sim:shell touch marker && echo the-file-is-there]]"
ASKS = 3_000
"""How often the record is asked for what OpenClaw does in its own time: some minutes of asking."""


class Box:
    """A gateway, the counter that it talks to, and the daemons behind."""

    def __init__(self, place: Place, folder: Path) -> None:
        """Nothing runs yet: see `begin`."""
        self.place, self.counter = place, Counter(place.doors["good"]).begin()
        self._folder, self._homes, self._running = folder, count(), ExitStack()
        self.gateway: openclaw.Gateway

    def begin(self) -> "Box":
        """A new gateway in a new home, since a home keeps whom OpenClaw has written off."""
        self._running.close()
        way = Way(self.counter.url, self.place.tokens["main"], "auto")
        home = connecting.home("openclaw", way, self._folder / str(next(self._homes)))
        self.gateway = self._running.enter_context(openclaw.gateway(home))
        return self

    def end(self) -> None:
        """Stop both."""
        self._running.close()
        self.counter.end()

    def aim(self, shape: Shape) -> None:
        """Bring an answer about."""
        self.counter.aim(self.place.doors[shape.door], self.place.tokens[shape.token], shape.cut_after)

    def decisions(self) -> list[dict[str, Any]]:
        """The lines of decisions of the daemon that works, oldest first, each with its outcome."""
        rows = call(self.place.sockets["good"], "GET", "/operator/v1/logs?limit=1000").json()["rows"]
        return [row for row in rows if row["kind"] == "decision"]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    openclaw.binary()
    with a_place() as place:
        made = Box(place, tmp_path_factory.mktemp("openclaw"))
        try:
            yield made.begin()
        finally:
            made.end()


@pytest.fixture(autouse=True)
def _at_the_good_door(box: Box) -> None:
    box.aim(Shape("none"))


def test_a_turn(box: Box) -> None:
    before = len(box.decisions())
    assert box.gateway.turn("[[sim:say good morning]]", "plain").said == "good morning"
    (line,) = box.decisions()[before:]
    assert (line["agent"], line["verdict"], line["status"]) == ("main", "allow", "done")
    assert (line["class"], line["tier"]) == ("routine", "economy")


def test_a_turn_with_a_tool_call_is_one_session_on_one_model(box: Box) -> None:
    before = len(box.decisions())
    turn = box.gateway.turn(TOUCH, "tool")
    assert "the-file-is-there" in turn.said
    assert box.gateway.marker.exists()
    first, second = box.decisions()[before:]
    assert (second["model"], second["session"], second["code"]) == (first["model"], first["session"], "tier.kept")
    assert second["class_why"]["stage"] == "continuation"


def test_what_it_was_billed_is_what_it_shows(box: Box) -> None:
    before = len(box.decisions())
    turn = box.gateway.turn("[[sim:say ok]]", "cost")
    (line,) = box.decisions()[before:]
    shown = json.loads(turn.told)["result"]["meta"]["agentMeta"]["usage"]["cost"]
    assert shown["totalOrigin"] == "provider-billed"
    assert round(shown["total"] * 10**9) == line["cost_nusd"]


def test_a_conversation_is_one_session(box: Box) -> None:
    """What is bounded per session is bounded over all its turns; another conversation has its own."""
    before = len(box.decisions())
    for session in ("talk", "talk", "other"):
        assert box.gateway.turn("[[sim:say ok]]", session).said == "ok"
    first, second, other = (line["session"] for line in box.decisions()[before:])
    assert first == second != other


def test_its_heartbeat_is_known_as_one(box: Box) -> None:
    """It asks for the model that all its turns ask for, in the conversation of its owner; what it says tells it apart."""
    before = len(box.decisions())
    box.gateway.main_turn("Refactor the parser module so that the failing test passes. [[sim:say shall I go on?]]")
    box.gateway.wake()
    for _ in range(ASKS):
        found = [line for line in box.decisions()[before:] if line["class"] == "heartbeat"]
        if found:
            break
    else:
        raise AssertionError(f"no heartbeat: {box.decisions()[before:]}")
    assert (found[0]["tier"], found[0]["class_why"]["stage"]) == ("economy", "shape")
    box.gateway.main_turn("yes, go on")
    lines = box.decisions()[before:]
    assert len({line["session"] for line in lines}) == 1
    assert (lines[0]["class"], lines[-1]["class"], lines[-1]["class_why"]["stage"]) == (
        "implementation",
        "implementation",
        "session",
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_it_makes_of_every_answer(box: Box, shape: Shape) -> None:
    box.aim(shape)
    turn = box.gateway.turn(shape.prompt, shape.name.replace(" ", "-"))
    found = cell(box.counter, turn)
    box.aim(Shape("none"))
    if box.gateway.turn(WORKS, "again").said != "it works":
        found += ", locked out"
        box.begin()
    said = documented("openclaw")[shape.name]
    assert _without_number(found) == _without_number(said)
    assert posts(found) <= (1 if posts(said) == 1 else MOST["openclaw"])


def _without_number(said: str) -> str:
    """A cell without the posts: OpenClaw tries again by the clock, so they differ by a few."""
    return re.sub(r" x [0-9]+", "", said)
