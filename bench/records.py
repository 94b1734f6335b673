"""The ledger: durable appends beside the disk's own sync rate, and reading out of a million lines.

Lines are made by the product's own functions from a real call and its verdict, as pairs of a decision and the outcome that
closes it. The million is written once through the ledger itself and kept under .cache/bench.
"""

import asyncio
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from agentd.core.accounting.times import rfc3339
from agentd.core.types.records import Kind, Line
from agentd.edge.host.clock import SystemClock
from agentd.edge.ledger.ledger import Ledger
from agentd.edge.ledger.schema import SCHEMA_VERSION
from bench.client import Wire, http_request
from bench.deciding import decision_line
from bench.gateways import Spot, start_agentd
from bench.place import CACHE

MANY = 64
SLICE_S = 0.15
"""One turn of each: short, so that the machine is as busy for the one as for the other."""

SYNC_BYTES = 4096
"""What one line costs the write-ahead log at least: a page."""

FLOOR_PAGES = 1000
"""Pages of the file that is synced: as many as SQLite lets its log grow to before it begins anew."""

TOGETHER = 2048
"""Lines in the queue while the million is written: below what the ledger refuses."""

SESSION_CALLS = 50
CALL_EVERY_NS = 30 * 10**9
CLASSES = ("heartbeat", "routine", "analysis", "implementation")
TIERS = ("economy", "economy", "standard", "frontier")
DATABASE = "ledger.db"


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, medians of the slices: syncs of the disk, durable lines of one writer, and of 64 together.

    The ratios to the syncs are medians of the slices' own: on a core that others use too, whoever waits for the disk comes
    back milliseconds late, so all rates jump between two levels, and medians of different slices must not be divided.
    """

    syncs: float
    one: float
    many: float
    one_ratio: float
    many_ratio: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Out of many lines, in ms (medians) over the operator's socket; and the bytes each line takes on disk, indexes included."""

    lines: int
    last_100_ms: float
    last_100_of_class_ms: float
    explain_ms: float
    bytes_per_line: float
    start_s: float


def rates(seconds: float) -> Rates:
    """Measure syncs and appends in short turns on the disk of the checkout, for so many seconds in all."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=CACHE))
    try:
        return uvloop.run(_rates(folder, max(3, round(seconds / (3 * SLICE_S)))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _rates(folder: Path, slices: int) -> Rates:
    found: list[tuple[float, float, float]] = []
    decision, outcome = decision_line(), outcome_line()
    state = folder / "state"
    state.mkdir(mode=0o700)
    async with Ledger.open(state, SystemClock()) as ledger:
        for _ in range(slices):
            syncs = await asyncio.to_thread(_syncs, folder / "floor", SLICE_S)
            one = await _appends(ledger, (decision, outcome), 1, SLICE_S)
            many = await _appends(ledger, (decision, outcome), MANY, SLICE_S)
            found.append((syncs, one, many))
    syncs, one, many = (statistics.median(values) for values in zip(*found, strict=True))
    one_ratio = statistics.median([one / syncs for syncs, one, _ in found])
    return Rates(syncs, one, many, one_ratio, statistics.median([many / syncs for syncs, _, many in found]))


def _syncs(path: Path, seconds: float) -> float:
    """How often in a second this disk makes a page durable, written over in place: what a write-ahead log that is reused
    needs at least. A file that grows costs more, for its new size has to be durable too."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    page = os.urandom(SYNC_BYTES)
    done = 0
    try:
        os.pwrite(descriptor, page * FLOOR_PAGES, 0)
        os.fsync(descriptor)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            os.pwrite(descriptor, page, done % FLOOR_PAGES * SYNC_BYTES)
            os.fdatasync(descriptor)
            done += 1
        return done / (time.monotonic() - began)
    finally:
        os.close(descriptor)


async def _appends(ledger: Ledger, pair: tuple[Line, Line], writers: int, seconds: float) -> float:
    """Durable lines in a second, by so many who each wait for their own."""
    until = time.monotonic() + seconds

    async def write() -> int:
        lines = 0
        while time.monotonic() < until:
            receipt = await ledger.append(pair[0])
            await ledger.append(replace(pair[1], opens=receipt.seq))
            lines += 2
        return lines

    began = time.monotonic()
    written = await asyncio.gather(*(write() for _ in range(writers)))
    return sum(written) / (time.monotonic() - began)


def outcome_line() -> Line:
    """The line that closes a usual call."""
    return Line(
        kind=Kind.OUTCOME,
        at=rfc3339(SystemClock().wall_ns()),
        agent="main",
        session="0" * 24,
        request="r-0123456789abcdef",
        tier="economy",
        model="google/gemini-2.5-flash-lite",
        provider="Google",
        label="private",
        reserved_nusd=5_000_000,
        cost_nusd=950_000,
        tokens={"prompt": 9000, "completion": 120, "cached": 8000, "cache_write": 0, "reasoning": 0},
        status="done",
        overhead_us=900,
        upstream_ms=1800,
        detail={"http": 200, "cost_source": "reported", "generation": "gen-1790000000-abcdefghijkl", "error": None}
        | {"tool_calls": ["tool_1"]},
    )


def reading(where: Spot, lines: int, looks: int) -> Reading:
    """Ask a real daemon on a record of so many lines."""
    home = filled(lines)
    state = home / "state"
    size = sum(file.stat().st_size for file in state.glob(f"{DATABASE}*"))
    began = time.monotonic()
    daemon = start_agentd(where, home)
    start_s = time.monotonic() - began
    try:
        address = str(daemon.operator_socket)
        chosen = random.Random(7)  # the same lines in every run
        seqs = [chosen.randrange(2, lines, 2) for _ in range(looks)]
        return Reading(
            lines=lines,
            last_100_ms=_asked(address, ["logs?limit=100"] * looks),
            last_100_of_class_ms=_asked(address, ["logs?limit=100&class=analysis"] * looks),
            explain_ms=_asked(address, [f"explain/{seq}" for seq in seqs]),
            bytes_per_line=size / lines,
            start_s=start_s,
        )
    finally:
        daemon.stop()
        daemon.manager.close()


def filled(lines: int) -> Path:
    """The home of a record of so many lines, which is written once and kept. Whoever would change it copies it first."""
    home = CACHE / f"lines-{lines}-{SCHEMA_VERSION}"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        (home / "state").mkdir(mode=0o700, parents=True)
        uvloop.run(_fill(home / "state", lines))
        (home / "complete").touch()
    return home


def _asked(address: str, paths: list[str]) -> float:
    """The median time of an answer in ms, each over a connection of its own."""
    took: list[float] = []
    for path in paths:
        began = time.perf_counter_ns()
        with Wire(address) as wire:
            wire.call(http_request("GET", f"/operator/v1/{path}", b""))
        took.append((time.perf_counter_ns() - began) / 1e6)
    return statistics.median(took)


async def _fill(state: Path, lines: int) -> None:
    """Write a record of calls that go back from now."""
    print(f"..    writing {lines:,} lines of a ledger, once", file=sys.stderr, flush=True)
    clock = SystemClock()
    waiting: list[tuple[Line, Line]] = []
    async with Ledger.open(state, clock) as ledger:
        for pair in _pairs(lines // 2, clock.wall_ns()):
            waiting.append(pair)
            if len(waiting) == TOGETHER:
                await _write(ledger, waiting)
                waiting.clear()
        await _write(ledger, waiting)


async def _write(ledger: Ledger, pairs: list[tuple[Line, Line]]) -> None:
    receipts = await asyncio.gather(*(ledger.append(decision) for decision, _ in pairs))
    closing = [replace(outcome, opens=receipt.seq) for (_, outcome), receipt in zip(pairs, receipts, strict=True)]
    await asyncio.gather(*(ledger.append(line) for line in closing))


def _pairs(calls: int, now_ns: int) -> Iterator[tuple[Line, Line]]:
    """Calls of many sessions, classes and tiers."""
    decision, outcome = decision_line(), outcome_line()
    for number in range(calls):
        at = rfc3339(now_ns - (calls - number) * CALL_EVERY_NS)
        session, kind = f"{number // SESSION_CALLS:024x}", number % len(CLASSES)
        yield (
            replace(
                decision, at=at, session=session, class_=CLASSES[kind], tier=TIERS[kind], request=f"r-{number:016x}"
            ),
            replace(outcome, at=at, session=session, tier=TIERS[kind], request=f"r-{number:016x}"),
        )
