"""What every fault must leave behind: a bill that is the upstream's own to the nano-dollar, a record that verifies, nothing open.

A call whose cost the upstream's accounting can tell is settled before it is looked at. One that was broken off before the
upstream said its name (`lost`) keeps its reservation, is named in `status`, and what the upstream booked for it is within that.
"""

import json
import os
import threading
from base64 import b64decode
from time import monotonic
from typing import Any

from daemon.stage import Stage

Json = dict[str, Any]

ALL_S = 60 * 24 * 3600
"""Longer than any record here goes back."""

PATIENCE_S = 60.0
LOOK_S = 0.02


class Patience:
    """Looks again and again, and gives up after a time."""

    def __init__(self, seconds: float = PATIENCE_S) -> None:
        self._ends = monotonic() + seconds
        self._pause = threading.Event()

    def look(self, what: object = "it") -> None:
        """Wait a moment before the next look. Fails with `what` when the time is over."""
        assert monotonic() < self._ends, f"{what} did not come about"
        self._pause.wait(LOOK_S)


def agree(stage: Stage, *, lost: int = 0) -> list[Json]:
    """Wait until nothing is open, then hold the record against the books. Gives the outcomes, costs that were learned in them."""
    lines = settled(stage)
    done = stage.daemon.ctl("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    allowed = sorted(line["seq"] for line in lines if line["kind"] == "decision" and line["verdict"] == "allow")
    closed = outcomes(lines)
    assert sorted(line["opens"] for line in closed) == allowed, "each permitted call is closed once"
    held = to_the_nano_dollar(stage, closed, lost)
    cost = sum(line["cost_nusd"] or 0 for line in closed)
    total = stage.daemon.operate("GET", f"/operator/v1/spend?ago_s={ALL_S}").json()["total"]
    assert (total["cost_nusd"], total["reserved_nusd"], total["calls"]) == (cost, held, len(closed))
    assert stage.daemon.operate("GET", "/operator/v1/sums").json()["differs"] == []
    assert "Traceback" not in stage.daemon.said()
    return closed


def within(stage: Stage) -> list[Json]:
    """Where outcomes went down with the daemon: each cost that is known is the books', and all that was billed is within what is
    known and what is held. Gives the calls of which nobody knows."""
    lines = settled(stage)
    done = stage.daemon.ctl("audit", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    closed, books = outcomes(lines), stage.books()
    for line in closed:
        assert line["cost_nusd"] is None or line["cost_nusd"] == books.get(line["detail"]["generation"], 0)
    unknown = [line for line in closed if line["cost_nusd"] is None]
    known = sum(line["cost_nusd"] or 0 for line in closed)
    held = sum(line["reserved_nusd"] for line in unknown)
    assert known <= sum(books.values()) <= known + held == stage.used()
    return unknown


def to_the_nano_dollar(stage: Stage, closed: list[Json], lost: int) -> int:
    """Each generation costs what the books say, and none is missing. Gives the money that is still held."""
    books = stage.books()
    named = {line["detail"]["generation"]: line for line in closed if line["detail"]["generation"]}
    for line in closed:
        booked = books.get(line["detail"]["generation"])
        if booked is not None:
            assert line["cost_nusd"] == booked <= line["reserved_nusd"], (booked, line)
    unnamed = [line for line in closed if line["cost_nusd"] is None]
    held = sum(line["reserved_nusd"] for line in unnamed)
    assert len(unnamed) == lost, [(line["status"], line["detail"]["generation"]) for line in unnamed]
    assert status(stage)["unsettled"] == {"waiting": 0, "waiting_nusd": 0, "lost": lost, "lost_nusd": held}
    strays = [cost for name, cost in books.items() if name not in named]
    assert len(strays) <= lost, "the upstream billed what the record does not know"
    assert all(cost <= min(line["reserved_nusd"] for line in unnamed) for cost in strays)
    assert sum(line["cost_nusd"] or 0 for line in closed) + sum(strays) == sum(books.values())
    return held


def settled(stage: Stage) -> list[Json]:
    """Wait until nothing is open, and what has no cost is known to be lost: after a start it is first read from the record.
    Gives the record."""
    ends = Patience()
    while True:
        quiet(stage)
        lines = exported(stage)
        owed = sum(line["cost_nusd"] is None for line in outcomes(lines))
        if owed == status(stage)["unsettled"]["lost"]:
            return lines
        ends.look(f"a cost of {owed} calls")


def quiet(stage: Stage) -> None:
    """Wait until no call is under way and none waits for its cost."""
    ends = Patience()
    while True:
        now = status(stage)
        if (now["in_flight"], now["unsettled"]["waiting"], now["counters"]["pending"]) == (0, 0, 0):
            return
        ends.look(f"quiet: {now}")


def status(stage: Stage) -> Json:
    """The operator's status."""
    found: Json = stage.daemon.operate("GET", "/operator/v1/status").json()
    return found


def exported(stage: Stage) -> list[Json]:
    """Every line of the record."""
    rows = stage.daemon.operate("GET", "/operator/v1/raw").body.splitlines()
    lines = [json.loads(row) for row in rows]
    return [json.loads(b64decode(line["body"])) for line in lines if "body" in line]


def outcomes(lines: list[Json]) -> list[Json]:
    """How every call ended, with the cost that was learned of it later."""
    later = {line["opens"]: line["cost_nusd"] for line in lines if line["kind"] == "settlement"}
    closed = [line for line in lines if line["kind"] == "outcome"]
    for line in closed:
        assert line["cost_nusd"] is None or line["opens"] not in later, "settled twice"
    return [{**line, "cost_nusd": later.get(line["opens"], line["cost_nusd"])} for line in closed]


def descriptors(stage: Stage) -> int:
    """How many descriptors the daemon has open, the pooled connections to its upstream left out. It shows them to root alone:
    anybody else gets 0."""
    if os.geteuid() != 0:
        return 0
    folder = f"/proc/{stage.daemon.process.pid}/fd"
    tcp = _tcp_inodes()
    return sum(
        _target(f"{folder}/{name}").removeprefix("socket:[").rstrip("]") not in tcp for name in os.listdir(folder)
    )


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def _tcp_inodes() -> set[str]:
    with open("/proc/net/tcp", encoding="ascii") as table:
        return {row.split()[9] for row in table.readlines()[1:]}
