"""Pruning a long ledger under a daemon that goes on serving: how long it takes, what comes back, and what calls see of it."""

import json
import shutil
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.bodies import CALL, chat_body
from bench.client import Wire, http_request
from bench.gateways import AGENTD, Spot, Target, start_agentd
from bench.records import DATABASE, filled

OLDER_THAN_S = 33 * 86_400
"""A day more than the least that is kept; the ledger of the bench goes back further than that."""

LOOK_S = 0.5
"""Between two questions whether all is gone."""

TAIL = 0.99


@dataclass(frozen=True, slots=True)
class Seen:
    """Calls one after the other, in ms: the median, the 99th of a hundred, and the slowest."""

    p50: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Pruning:
    """Seconds until the prune line stood (everything that goes was verified by then) and from there until the space was given
    back; calls before and meanwhile; the database's bytes for each line that is in it, before and after."""

    lines: int
    plan_s: float
    remove_s: float
    before: Seen
    planning: Seen
    removing: Seen
    line_before: float
    line_after: float


def pruning(where: Spot, lines: int, gone: int, quiet_s: float) -> Pruning:
    """Prune about `gone` of so many lines."""
    home = where.home / "pruned"
    shutil.copytree(filled(lines) / "state", home / "state", ignore=shutil.ignore_patterns("*.sock"))
    database = home / "state" / DATABASE
    daemon = start_agentd(where, home)
    try:
        target = Target(AGENTD, str(daemon.agent_socket), pid=daemon.process.pid)
        operator = str(daemon.operator_socket)
        heavy = _bytes_per_line(database)
        until = time.monotonic() + quiet_s
        before = _calls(target, lambda: time.monotonic() < until)
        asked = _Asked(operator, lines - gone)
        planning = _calls(target, asked.thread.is_alive)
        began = time.monotonic()
        removing = _calls(target, _Going(operator))
        took = time.monotonic() - began
        daemon.stop()
        gone = int(str(asked.answer["lines"]))
        return Pruning(gone, asked.took_s, took, before, planning, removing, heavy, _bytes_per_line(database))
    finally:
        daemon.stop()
        daemon.manager.close()
        shutil.rmtree(home, ignore_errors=True)


def _bytes_per_line(database: Path) -> float:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        lines = connection.execute("SELECT COUNT(*) FROM lines").fetchone()[0]
    return database.stat().st_size / float(lines)


class _Asked:
    """The prune, asked for beside the calls."""

    def __init__(self, operator: str, keep_lines: int) -> None:
        self.answer: dict[str, object] = {}
        self.took_s = 0.0
        ask = {"ago_s": OLDER_THAN_S, "keep_lines": keep_lines, "reason": "bench"}
        request = http_request("POST", "/operator/v1/prune", json.dumps(ask).encode())
        self.thread = threading.Thread(target=self._ask, args=(operator, request))
        self.thread.start()

    def _ask(self, operator: str, request: bytes) -> None:
        began = time.monotonic()
        with Wire(operator) as wire:
            self.answer = json.loads(wire.call(request))
        self.took_s = time.monotonic() - began


class _Going:
    """Whether lines are still being removed, asked now and then."""

    def __init__(self, operator: str) -> None:
        self._operator = operator
        self._asked = 0.0
        self._going = True

    def __call__(self) -> bool:
        if time.monotonic() - self._asked > LOOK_S:
            with Wire(self._operator) as wire:
                status = json.loads(wire.call(http_request("GET", "/operator/v1/status", b"")))
            self._going = bool(status["record"]["pruning"])
            self._asked = time.monotonic()
        return self._going


def _calls(target: Target, going: Callable[[], bool]) -> Seen:
    """One call after the other over one connection, as long as it goes on."""
    request = target.request(chat_body(CALL))
    took: list[float] = []
    with Wire(target.address) as wire:
        wire.call(request)
        while going() or len(took) < 2:
            began = time.perf_counter_ns()
            wire.call(request)
            took.append((time.perf_counter_ns() - began) / 1e6)
    took.sort()
    return Seen(statistics.median(took), took[int(TAIL * (len(took) - 1))], took[-1])
