"""The figures by group, each with its mark. A mark is a promise about a ratio or an amount; the table says whether it is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import caging, deciding, filing, judging, pruned, records, starting, streams
from bench.bodies import CALL, HUGE, LATE, chat_body
from bench.calls import Compared, Turns, compare
from bench.client import Address
from bench.gateways import AGENTD, DIRECT, FLOOR, FLOOR_UVLOOP, LITELLM, PEERS, Spot, Target
from bench.place import cores, on, resident_mb
from bench.table import Row, number, times


@dataclass(frozen=True, slots=True)
class Plan:
    """How thoroughly to measure."""

    turns: Turns
    late: Turns
    streams: int  # rounds
    starts: int
    idle_s: float
    append_s: float
    lines: int
    looks: int
    quiet_s: float  # of calls before a prune, to compare with
    commands: int


THOROUGH = Plan(Turns(15, 0.7), Turns(9, 0.7), 5, 7, 15.0, 30.0, 1_000_000, 40, 10.0, 200)
QUICK = Plan(Turns(3, 0.3), Turns(2, 0.3), 1, 2, 3.0, 5.0, 20_000, 10, 2.0, 30)

MARK_CALL = 1.5  # times what the bare proxy adds, in time and in processor time
MARK_PEER = 0.1  # of what LiteLLM adds
MARK_LATE = 2.0
MARK_LINEAR = 1.25  # a body of nine times the size may cost so much more than nine times
MARK_EVENT_MS = 0.25
MARK_STALL_MS = 20.0
MARK_DECIDE_US = 25.0
MARK_JUDGE_MS = 1.0  # for the lines of an ordinary day
MARK_CAGE = 1.0  # of bubblewrap started anew
MARK_CAGE_MS = 6.0
MARK_FILE_MS = 1.0  # that a read of 4 KB takes longer than a plain one
FILE_LOOKS = 10  # for each command of the plan
MARK_RESIDENT_MB = 70.0
MARK_IDLE_MS = 1.0  # per second: a thousandth of one core is what "nothing" may look like
MARK_START_S = 0.6
MARK_READ_MS = 50.0
PRUNED = 0.1  # of the lines
MARK_PRUNED_CALL = 1.25  # times the median of a call, while lines are removed
MARK_GIVEN_BACK = 1.05  # what lines weigh after a prune, beside before: space that came free is given back
MARK_PRUNED_TAIL_MS = 25.0  # that the 99th of a hundred calls takes longer meanwhile: a step, and its sync


@dataclass(frozen=True, slots=True)
class Bench:
    """What a group measures with. The first target is the direct way."""

    where: Spot
    targets: list[Target]
    plan: Plan

    @property
    def upstream(self) -> Address:
        """Where the upstream listens."""
        return self.targets[0].address

    def without_peers(self) -> list[Target]:
        """The targets that are ours."""
        return [target for target in self.targets if target.name not in PEERS]


def early_call(bench: Bench) -> list[Row]:
    """A call of 35 KB, one client."""
    found = compare(bench.targets, chat_body(CALL), bench.plan.turns)
    to_floor, to_peer = found.ratio(AGENTD, FLOOR), found.ratio(AGENTD, LITELLM)
    spent = _per(found.cpu_ms(AGENTD), found.cpu_ms(FLOOR))
    return [
        _added("35 KB call: added p50, ms", found, (to_floor, MARK_CALL)),
        Row(
            "  ... of what LiteLLM adds",
            "",
            ratio=times(to_peer),
            mark=f"<= {MARK_PEER}x",
            met=_within(to_peer, MARK_PEER),
        ),
        Row("  ... of what a bare proxy on uvloop adds", "", ratio=times(found.ratio(AGENTD, FLOOR_UVLOOP))),
        Row(
            "35 KB call: processor time, ms",
            number(found.cpu_ms(AGENTD)),
            number(found.cpu_ms(FLOOR)),
            {name: number(found.cpu_ms(name)) for name in PEERS},
            times(spent),
            f"<= {MARK_CALL}x",
            _within(spent, MARK_CALL),
        ),
    ]


def late_call(bench: Bench) -> list[Row]:
    """Calls of 240 KB, and of 2 MB."""
    late = compare(bench.targets, chat_body(LATE), bench.plan.late)
    huge = compare(bench.without_peers(), chat_body(HUGE), bench.plan.late)
    sizes = len(chat_body(HUGE)) / len(chat_body(LATE))
    growth = _per(huge.added(AGENTD), late.added(AGENTD))
    linear = None if growth is None else growth / sizes
    return [
        _added("240 KB call: added p50, ms", late, (late.ratio(AGENTD, FLOOR), MARK_LATE)),
        _added("2 MB call: added p50, ms", huge, (huge.ratio(AGENTD, FLOOR), None)),
        Row(
            "  ... for each byte, beside 240 KB",
            "",
            ratio=times(linear),
            mark=f"linear ({MARK_LINEAR}x)",
            met=_within(linear, MARK_LINEAR),
        ),
    ]


def single_stream(bench: Bench) -> list[Row]:
    """A stream of 100 events at a pace of 5 ms."""
    added = streams.alone(bench.targets, bench.upstream, bench.plan.streams)
    return [_ours("stream: added to each event, ms", added, MARK_EVENT_MS, _per(added[AGENTD], added[FLOOR]))]


def many_streams(bench: Bench) -> list[Row]:
    """64 streams at a time."""
    paced = streams.together(bench.targets, bench.upstream, bench.plan.streams, streams.MANY_PACE_S)
    burst = streams.together(bench.targets, bench.upstream, bench.plan.streams, 0.0)
    beyond = {name: worst - paced[DIRECT] for name, worst in paced.items()}
    return [
        _ours(
            "64 streams, an event per 20 ms: worst stall, ms",
            beyond,
            MARK_STALL_MS,
            _per(beyond[AGENTD], beyond[FLOOR]),
        ),
        _ours("64 streams, all at once: longest silence, ms", burst, None, _per(burst[AGENTD], burst[FLOOR])),
    ]


def verdict(_bench: Bench) -> list[Row]:
    """A verdict under 200 rules, in this process."""
    with on(cores().gateway):
        decide_us, whole_us = deciding.measure()
    mark = f"<= {MARK_DECIDE_US:g} us"
    return [
        Row("decide, 200 rules: median, us", number(decide_us), mark=mark, met=_within(decide_us, MARK_DECIDE_US)),
        Row("  ... with matching, class and sums, us", number(whole_us)),
    ]


def caged(bench: Bench) -> list[Row]:
    """`true` through the cage, beside bubblewrap started anew."""
    found = caging.measure(bench.plan.commands)
    if found is None:
        return [Row("cage: not on this machine", "")]
    ratio, many = _per(found.cage, found.bwrap), _per(found.many, found.by_eight)
    added = found.cage - found.bare
    beside = f"<= {MARK_CAGE:g}x, {MARK_CAGE_MS:g} ms"
    return [
        Row("`true` in the cage, ms; floor: bwrap", number(found.cage), number(found.bwrap), ratio=times(ratio)),
        Row("  ... added to a bare start, ms", number(added), mark=beside, met=_both(ratio, added)),
        Row("  ... one after another, ms", number(found.tight)),
        Row("  ... eight at a time, ms for each", number(found.many), number(found.by_eight), ratio=times(many)),
    ]


def _both(ratio: float | None, added: float) -> bool | None:
    return None if ratio is None else ratio <= MARK_CAGE and added <= MARK_CAGE_MS


def filed(bench: Bench) -> list[Row]:
    """4 KB through the file gate, without the record, beside the plain way."""
    found = filing.measure(bench.plan.commands * FILE_LOOKS)
    added, ratio = found.read - found.plain_read, found.read / found.plain_read
    return [
        Row(
            "4 KB read by the file gate, ms; floor: plain",
            number(found.read),
            number(found.plain_read),
            ratio=times(ratio),
        ),
        Row("  ... added, ms", number(added), mark=f"<= {MARK_FILE_MS:g} ms", met=_within(added, MARK_FILE_MS)),
        Row("  ... the verdict alone, ms", number(found.judged)),
        Row(
            "4 KB written, the old kept, ms; floor: synced, renamed",
            number(found.write),
            number(found.plain_write),
            ratio=times(found.write / found.plain_write),
        ),
    ]


def judged(_bench: Bench) -> list[Row]:
    """Reading and judging a shell text, in this process."""
    with on(cores().gateway):
        ordinary, dense = judging.measure()
    mark = f"<= {MARK_JUDGE_MS:g} ms"
    return [
        Row(
            f"judge 1,000 characters, {ordinary.commands} commands: ms",
            number(ordinary.ms),
            mark=mark,
            met=_within(ordinary.ms, MARK_JUDGE_MS),
        ),
        Row(f"  ... as dense as can be, {dense.commands} commands: ms", number(dense.ms)),
    ]


def at_rest(bench: Bench) -> list[Row]:
    """Memory and processor of a daemon that nobody asks, and its start."""
    by_name = {target.name: target for target in bench.targets}
    with_fresh = starting.fresh_idle(bench.where, bench.plan.idle_s)
    start_s, floor_s = starting.cold_starts(bench.where, bench.plan.starts)
    peers = {name: by_name[name] for name in PEERS if name in by_name}
    held = {name: number(resident_mb(target.pid)) for name, target in peers.items()}
    floor = number(resident_mb(by_name[FLOOR].pid)) if FLOOR in by_name else ""
    loaded = resident_mb(by_name[AGENTD].pid)
    mark, idle_mark, start_mark = f"<= {MARK_RESIDENT_MB:g} MB", f"<= {MARK_IDLE_MS:g} ms/s", f"<= {MARK_START_S} s"
    memory, idle_ms = with_fresh.resident_mb, with_fresh.cpu_ms_per_s
    return [
        Row("idle: memory, MB", number(memory), mark=mark, met=_within(memory, MARK_RESIDENT_MB)),
        Row("after what was measured before: memory, MB", number(loaded), floor, held),
        Row("idle: processor, ms per second", number(idle_ms), mark=idle_mark, met=_within(idle_ms, MARK_IDLE_MS)),
        Row(
            "cold start to READY, s",
            number(start_s),
            number(floor_s),
            {name: number(target.start_s) for name, target in peers.items()},
            times(_per(start_s, floor_s)),
            start_mark,
            _within(start_s, MARK_START_S),
        ),
    ]


def appending(bench: Bench) -> list[Row]:
    """Durable lines a second beside the disk's own syncs."""
    with on(cores().gateway):
        found = records.rates(bench.plan.append_s)
    floor = number(found.syncs)
    return [
        Row("ledger: durable lines/s, one writer", number(found.one), floor, ratio=times(found.one_ratio)),
        Row("ledger: durable lines/s, 64 writers", number(found.many), floor, ratio=times(found.many_ratio)),
    ]


def reading(bench: Bench) -> list[Row]:
    """Reading out of a long ledger."""
    found = records.reading(bench.where, bench.plan.lines, bench.plan.looks)
    mark, of = f"<= {MARK_READ_MS:g} ms", f"of {found.lines:,} lines"
    last, explain, chosen = found.last_100_ms, found.explain_ms, found.last_100_of_class_ms
    return [
        Row(f"ledger {of}: last 100, ms", number(last), mark=mark, met=_within(last, MARK_READ_MS)),
        Row("  ... last 100 of one class, ms", number(chosen), mark=mark, met=_within(chosen, MARK_READ_MS)),
        Row(f"ledger {of}: one explain, ms", number(explain), mark=mark, met=_within(explain, MARK_READ_MS)),
        Row("ledger: bytes on disk for each line", number(found.bytes_per_line)),
        Row(f"start on a ledger {of}, s", number(found.start_s)),
    ]


def shortening(bench: Bench) -> list[Row]:
    """Pruning a tenth of a long ledger while calls go on."""
    found = pruned.pruning(bench.where, bench.plan.lines, round(bench.plan.lines * PRUNED), bench.plan.quiet_s)
    if not found.lines:
        return [Row("prune: the small ledger of a quick run is not old enough", "none")]
    quiet, during = found.before, found.removing
    longer = during.p99 - quiet.p99
    return [
        Row(f"prune {found.lines:,} of {bench.plan.lines:,} lines: verified, written down, s", number(found.plan_s)),
        Row("  ... removed, space given back, s", number(found.remove_s)),
        Row(
            "  ... bytes on disk for each line, after and before",
            number(found.line_after),
            number(found.line_before),
            ratio=times(found.line_after / found.line_before),
            mark=f"<= {MARK_GIVEN_BACK}x",
            met=_within(found.line_after / found.line_before, MARK_GIVEN_BACK),
        ),
        Row(
            "  ... a call while lines go: median, ms",
            number(during.p50),
            number(quiet.p50),
            ratio=times(during.p50 / quiet.p50),
            mark=f"<= {MARK_PRUNED_CALL}x",
            met=_within(during.p50 / quiet.p50, MARK_PRUNED_CALL),
        ),
        Row(
            "  ... the 99th of a hundred, ms",
            number(during.p99),
            number(quiet.p99),
            ratio=times(during.p99 / quiet.p99),
            mark=f"<= {MARK_PRUNED_TAIL_MS:g} ms more",
            met=_within(longer, MARK_PRUNED_TAIL_MS),
        ),
        Row("  ... the same while it is verified", number(found.planning.p99), number(quiet.p99)),
        Row("  ... the slowest of all", number(during.worst), number(quiet.worst)),
    ]


GROUPS: Mapping[str, tuple[str, Callable[[Bench], list[Row]]]] = {
    "call": ("35 KB calls, one client", early_call),
    "late": ("240 KB and 2 MB calls", late_call),
    "stream": ("one stream, event by event", single_stream),
    "many": ("64 streams at a time", many_streams),
    "decide": ("a verdict under 200 rules", verdict),
    "judge": ("a shell text of 1,000 characters", judged),
    "cage": ("a command in the cage", caged),
    "files": ("a file through the gate", filed),
    "rest": ("memory, idling, cold start", at_rest),
    "append": ("durable lines a second", appending),
    "read": ("reading a long ledger", reading),
    "prune": ("pruning a long ledger while calls go on", shortening),
}
"""In this order, by the name that `--only` takes."""

BY_CALL = frozenset({"call", "late", "stream", "many"})
"""Groups that need floor and peers."""


def _added(figure: str, found: Compared, judged: tuple[float | None, float | None]) -> Row:
    """What each target adds; `judged` is agentd's ratio to the floor and its mark."""
    ratio, mark = judged
    return Row(
        figure,
        number(found.added(AGENTD)),
        number(found.added(FLOOR)),
        {name: number(found.added(name)) for name in PEERS},
        times(ratio),
        "" if mark is None else f"<= {mark}x",
        None if mark is None else _within(ratio, mark),
    )


def _ours(figure: str, found: Mapping[str, float], mark: float | None, ratio: float | None) -> Row:
    """A figure whose mark is an amount of ms."""
    return Row(
        figure,
        number(found.get(AGENTD)),
        number(found.get(FLOOR)),
        {name: number(found.get(name)) for name in PEERS},
        times(ratio),
        "" if mark is None else f"<= {mark:g} ms",
        None if mark is None else _within(found.get(AGENTD), mark),
    )


def _per(value: float | None, other: float | None) -> float | None:
    """A quotient, None where there is none."""
    return None if value is None or other is None or other <= 0 else value / other


def _within(value: float | None, mark: float) -> bool | None:
    return None if value is None else value <= mark
