"""The daemon: joins the rooms, starts them in their order, and stops them in stages, each with a clock.

Start: keys, record, policy, the past (halts, spend, quotas), upstream, doors, READY. Nothing is served before all of it stands.
Stop: accept no more, finish what was accepted, cut what is left, write the last lines, close. One task group holds every task of
agentd's own; when `serve` returns none is left.
"""

import asyncio
import gc
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from agentd import __version__
from agentd.bookkeeping import PRIVATE_FILE, SNAPSHOT_FILE, Bookkeeping
from agentd.compiling import Compiler
from agentd.core.accounting.catalogue import Catalogue
from agentd.core.accounting.market import digest_of, prices_of
from agentd.core.accounting.retention import FLOOR_S
from agentd.core.accounting.times import rfc3339
from agentd.core.policy.decide import halted
from agentd.core.policy.facts import Halt
from agentd.core.types.errors import PolicyRefused, RecordUnavailable
from agentd.core.types.receipts import Ending
from agentd.core.types.records import Kind, Line
from agentd.doors import how_to_connect, open_doors, tcp_address, where
from agentd.edge.api.listen import Listener, release
from agentd.edge.api.models import agent_app
from agentd.edge.api.operator import operator_app
from agentd.edge.api.server import DoorServer, bounds_within, peer_of
from agentd.edge.api.tcp import TcpDoor
from agentd.edge.enforce.model import ModelUpstream
from agentd.edge.enforce.model import Way as UpstreamWay
from agentd.edge.host.catalogue import load_catalogue, load_private, load_snapshot
from agentd.edge.host.clean import CleanUpstream
from agentd.edge.host.clock import SystemClock
from agentd.edge.host.keys import KeyRing
from agentd.edge.host.limits import allow_descriptors, hardening
from agentd.edge.host.notify import Notifier, watchdog_interval
from agentd.edge.host.pulse import Beat, Pulse
from agentd.edge.host.scrub import scrub_logs
from agentd.edge.host.signals import Signals
from agentd.edge.host.signing import Signer, load_signer
from agentd.edge.host.tokens import mint_token
from agentd.edge.host.watch import PolicyWatch, read_policy_file
from agentd.edge.ledger.anew import begin_anew
from agentd.edge.ledger.ledger import Ledger
from agentd.gate import ports
from agentd.gate.admission import Admission
from agentd.gate.books.outside import Outside
from agentd.gate.current import CurrentPolicy
from agentd.gate.desk.operator import OperatorDesk
from agentd.gate.desk.rooms import Desk
from agentd.gate.escalations import Escalations
from agentd.gate.flight import Run
from agentd.gate.halts import Halts
from agentd.gate.pipeline import ModelPipeline, Way
from agentd.gate.refusing import Refuser
from agentd.gate.relay import Relay
from agentd.gate.sessions import Sessions
from agentd.gate.spend import NS_PER_HOUR, Spend
from agentd.gate.state import State
from agentd.gate.tokens import Tokens
from agentd.machine import Machine, budget_rows
from agentd.retention import start_retention
from agentd.settings import Settings
from agentd.simulator.app import simulator_app
from agentd.simulator.config import SimulatorConfig

log = logging.getLogger("agentd")

PAST_HOURS = FLOOR_S // 3600
"""How far back sums are restored: no line of this time is ever pruned."""

OPERATOR_S = 0.5
"""For an operator's answer that is on its way when the daemon stops."""

PAST_LINES = 100_000
"""Halts, escalations and tokens read at start; all are rare."""

HOUSEKEEPING_S = 5.0
"""Between two looks at the disk: what `doctor` says of a disk that fills up is at most this old."""


@dataclass(frozen=True, slots=True)
class House:
    """The rooms, once they stand."""

    settings: Settings
    clock: SystemClock
    keys: KeyRing
    signer: Signer | None
    ledger: Ledger
    policies: CurrentPolicy
    state: State
    compiler: Compiler
    machine: Machine
    notify: Notifier
    tokens: Tokens


async def serve(settings: Settings) -> None:
    """Run until a signal says stop. Raises `AgentdError` when it cannot start; then nothing was served."""
    clock = SystemClock()
    notify = Notifier.from_environ(clock)
    reload = asyncio.Event()
    with Signals(reload.set).caught() as signals:
        async with AsyncExitStack() as stack:
            house = await _build(stack, settings, clock, notify)
            listeners = await asyncio.to_thread(open_doors, settings)
            for listener in listeners:
                stack.push_async_callback(asyncio.to_thread, release, listener)
            async with asyncio.TaskGroup() as tasks:
                await _serve(house, listeners, tasks, _Ends(signals, reload))
    notify.close()


async def _build(stack: AsyncExitStack, settings: Settings, clock: SystemClock, notify: Notifier) -> House:
    """Everything up to the doors."""
    catalogue = await asyncio.to_thread(load_catalogue)
    newest = {} if settings.simulate else await asyncio.to_thread(load_snapshot, settings.state / SNAPSHOT_FILE)
    models = catalogue.entries | newest
    compiler = Compiler(prices_of(models))
    if not settings.simulate:
        compiler.private = await asyncio.to_thread(load_private, settings.state / PRIVATE_FILE)
    keys = KeyRing()
    scrub_logs(keys.scrub)
    signer = await load_signer(keys)
    if settings.new_ledger:
        aside = await asyncio.to_thread(begin_anew, settings.state, settings.new_ledger, clock.wall_ns(), signer)
        if aside is None:
            log.warning("the record is in order, so no new one begins: take --new-ledger out of the start command")
        else:
            log.warning("a new record begins (%s); the old files are in %s", settings.new_ledger, aside)
    ledger = await stack.enter_async_context(Ledger.open(settings.state, clock, signer))
    policies = CurrentPolicy(ledger, clock, compiler.compile)
    state = State(
        keys=keys,
        halts=Halts(ledger, clock),
        spend=Spend(),
        sessions=Sessions(),
        escalations=Escalations(),
        prices=compiler.prices,
        simulated=settings.simulate,
        outside=Outside(models=models, catalogue=digest_of(models)),
    )
    machine = Machine(settings, clock, catalogue)
    await machine.open_secret()
    await machine.look()
    await _restore(ledger, clock, state)
    tokens = Tokens(mint_token)
    tokens.restore(await ledger.reader.lines(ports.LineQuery(kinds=(Kind.TOKEN,), limit=PAST_LINES)))
    found = await asyncio.to_thread(_policy_file, settings.policy)
    compiler.stood = await _last_good(ledger)
    await policies.start(found, settings.policy.name, compiler.stood)
    compiler.stood = None
    await keys.load(_key_names(policies))
    await ledger.append(_life_line(Kind.START, clock, settings))
    return House(settings, clock, keys, signer, ledger, policies, state, compiler, machine, notify, tokens)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ends or reloads the daemon."""

    signals: Signals
    reload: asyncio.Event


async def _serve(house: House, listeners: list[Listener], tasks: asyncio.TaskGroup, ends: _Ends) -> None:
    async with AsyncExitStack() as stack:
        if house.settings.simulate:
            await stack.enter_async_context(_simulator(house))
        upstream = await stack.enter_async_context(
            ModelUpstream(UpstreamWay(house.keys.get, house.clock, _simulator_path(house.settings)))
        )
        relay = Relay(house.ledger, CleanUpstream(upstream, house.keys.scrub), house.clock, house.state.spend, tasks)
        books = Bookkeeping(house, upstream)
        books.attend(relay)
        refuser = _refuser(house)
        pipeline = _pipeline(house, relay, refuser)
        desk = OperatorDesk(_desk(house, relay, books))
        house.state.halts.on_halt(lambda halt: _cut_halted(relay, halt))
        bounds = bounds_within(allow_descriptors(), len(listeners))
        doors = [DoorServer(tasks, bounds=bounds) for _ in listeners]
        for door, listener in zip(doors, listeners, strict=True):
            admission = TcpDoor(Admission(refuser, house.tokens)) if listener.names else None
            app = agent_app(pipeline, admission) if listener.door == "agent" else operator_app(desk, peer_of)
            await door.start(listener.sock, app, listener.door, listener.names)
        watch = _watch(house)
        background = [
            tasks.create_task(watch.run(), name="policy-watch"),
            tasks.create_task(_reloads(house, watch, ends.reload), name="reload"),
            tasks.create_task(_pulse(house).run(), name="pulse"),
            tasks.create_task(_housekeeping(house, refuser), name="housekeeping"),
            *books.start(tasks),
            *start_retention(house, books.alarms, tasks),
        ]
        house.machine.tcp = tcp_address(listeners)
        _ready(house, listeners)
        await ends.signals.stop.wait()
        await _stop(house, pipeline, relay, doors, ends.signals)
        await refuser.catch_up(everything=True)
        await _last_line(house, relay)
        for task in background:
            task.cancel()


async def _stop(house: House, pipeline: ModelPipeline, relay: Relay, doors: list[DoorServer], signals: Signals) -> None:
    """Stop accepting, finish, cut."""
    house.notify(STOPPING="1", STATUS="finishing what runs")
    for door in doors:
        door.stop_accepting()
    async with asyncio.TaskGroup() as waiting:
        finishing = waiting.create_task(_finish(doors, house.settings.finish_s))
        hurried = waiting.create_task(signals.cut.wait())
        await asyncio.wait({finishing, hurried}, return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        hurried.cancel()
    pipeline.stopping = True
    cut = relay.cut(lambda _run: True, Ending.STOPPED)
    if cut:
        log.warning("cutting %d calls that did not finish within %g s", cut, house.settings.finish_s)
        await _finish(doors, house.settings.cut_s)
    for door in doors:
        await door.cut()


async def _last_line(house: House, relay: Relay) -> None:
    """The line of the stop. A record that takes none does not keep the daemon from stopping; what it lacks is said."""
    try:
        await house.ledger.append(_life_line(Kind.STOP, house.clock, house.settings))
    except RecordUnavailable as gone:
        log.error("this stop could not be written down: %s", gone)
    if left := relay.let_go():
        log.error("the outcomes of %d calls could not be written; the next start closes them as unknown", left)


async def _finish(doors: list[DoorServer], seconds: float) -> None:
    """What agents wait for may end; an operator who follows the log never does, and is not waited for long."""
    await asyncio.gather(*(door.finish(seconds if door.door == "agent" else OPERATOR_S) for door in doors))


def _refuser(house: House) -> Refuser:
    return Refuser(house.ledger, house.clock, house.policies, lambda: "r-" + secrets.token_hex(8))


def _pipeline(house: House, relay: Relay, refuser: Refuser) -> ModelPipeline:
    return ModelPipeline(Way(refuser, house.state, relay, house.machine.secret))


def _desk(house: House, relay: Relay, books: Bookkeeping) -> Desk:
    return Desk(
        ledger=house.ledger,
        reader=house.ledger.reader,
        keys=house.keys,
        policies=house.policies,
        halts=house.state.halts,
        clock=house.clock,
        vitals=lambda: house.machine.vitals(house, relay),
        used=lambda: budget_rows(house.policies, house.state.spend, house.clock.wall_ns()),
        judge=lambda given: house.compiler.why(house.policies.current, given, house.state, house.clock.wall_ns()),
        read_policy=house.compiler.read,
        try_policy=house.compiler.compile,
        prices=house.compiler.catalogue_prices,
        tokens=house.tokens,
        recompute=house.ledger.reader.recompute_spend,
        pruner=house.ledger,
        keep_s=house.settings.record.keep_s,
        affairs=books.affairs,
        try_key=books.try_key,
        key_changed=books.key_changed,
    )


def _cut_halted(relay: Relay, halt: Halt) -> None:
    def meant(run: Run) -> bool:
        names = {"box": "", "agent": run.request.caller.agent, "tier": run.permit.allow.limits.tier}
        return names[halt.scope] == halt.name

    relay.cut(meant, Ending.HALTED, halted(halt))


async def _restore(ledger: Ledger, clock: SystemClock, state: State) -> None:
    """What the record knows of the past, as far as it still counts."""
    since = clock.wall_ns() - PAST_HOURS * NS_PER_HOUR
    state.halts.restore(await ledger.reader.lines(ports.LineQuery(kinds=(Kind.HALT, Kind.RESUME), limit=PAST_LINES)))
    state.spend.restore(await ledger.reader.accounts(since // NS_PER_HOUR), clock.wall_ns())
    state.escalations.restore(
        await ledger.reader.lines(ports.LineQuery(kinds=(Kind.ESCALATION,), since_ns=since, limit=PAST_LINES))
    )


async def _last_good(ledger: Ledger) -> str | None:
    """The text of the last policy that was in force."""
    for version in await ledger.reader.policies():
        if version["accepted"]:
            return await ledger.reader.policy_text(version["hash"])
    return None


def _key_names(policies: CurrentPolicy) -> list[str]:
    held = policies.current
    return [] if held is None else sorted({u.key for u in held.policy.upstreams.values() if u.key is not None})


def _watch(house: House) -> PolicyWatch:
    async def on_text(text: str) -> None:
        """Put a version in force, with the keys that it names. What it raises is the watch's: it asks again, or says so."""
        before = house.policies.current
        await house.policies.load(text, house.settings.policy.name)
        if house.policies.current is not before:
            await house.keys.load(_key_names(house.policies))

    return PolicyWatch(house.settings.policy, on_text, house.policies.refuse)


async def _reloads(house: House, watch: PolicyWatch, reload: asyncio.Event) -> None:
    """SIGHUP: look at the policy and the keys again."""
    while True:
        await reload.wait()
        reload.clear()
        house.notify(RELOADING="1")
        watch.nudge()
        await watch.look()
        await house.keys.load(_key_names(house.policies))
        house.notify(READY="1")


def _pulse(house: House) -> Pulse:
    def alive() -> bool:
        return house.ledger.health()[0] != "record.internal"

    pulse = Pulse(Beat(house.notify, watchdog_interval(), alive), house.clock)
    house.machine.pulse = pulse
    return pulse


async def _housekeeping(house: House, refuser: Refuser) -> None:
    while True:
        await house.machine.look()
        await refuser.catch_up()
        house.state.spend.forget_old(house.clock.wall_ns(), house.clock.mono_ns())
        await asyncio.sleep(HOUSEKEEPING_S)


def _policy_file(path: Path) -> str | PolicyRefused:
    try:
        return read_policy_file(path)
    except PolicyRefused as refused:
        return refused


def _simulator_path(settings: Settings) -> str | None:
    return str(settings.simulator_socket) if settings.simulate else None


@asynccontextmanager
async def _simulator(house: House) -> AsyncIterator[None]:
    """The built-in stand-in for OpenRouter, on a socket of this uid alone."""
    catalogue: Catalogue = house.machine.catalogue
    runner = web.AppRunner(
        simulator_app(SimulatorConfig(catalogue, house.clock.wall_ns)), access_log=None, shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        await web.UnixSite(runner, str(house.settings.simulator_socket)).start()
        yield
    finally:
        await runner.cleanup()


def _life_line(kind: Kind, clock: SystemClock, settings: Settings) -> Line:
    mode = "user" if settings.user_mode else "system"
    detail = {"version": __version__, "mode": mode, "simulate": settings.simulate, "pid": os.getpid()}
    return Line(kind=kind, at=rfc3339(clock.wall_ns()), code=f"daemon.{kind.value}", detail=detail)


def _ready(house: House, listeners: list[Listener]) -> None:
    settings = house.settings
    upstream = "the built-in simulator" if settings.simulate else "the policy's upstreams"
    if not hardening().sealed:
        log.warning("this process could be dumped: core dumps are not off")
    if house.policies.current is None:
        log.error("no valid policy: everything is refused until %s is mended", settings.policy)
    missing = sorted(set(_key_names(house.policies)) - set(house.keys.names()))
    if missing and not settings.simulate:
        log.warning("no key %s: store it with `agentctl key set %s`, or try --simulate", missing[0], missing[0])
    if settings.user_mode:
        log.info("trial: agent and operator share a uid here, which is no boundary between them")
        for line in how_to_connect(settings, listeners):
            log.info("%s", line)
    log.info("ready: serving on %s, upstream is %s", ", ".join(map(where, listeners)), upstream)
    gc.freeze()  # what stands by now stays: no collection needs to look through it again
    house.notify(READY="1", STATUS=f"serving, upstream is {upstream}")
