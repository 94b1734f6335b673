"""Sending a permitted call and relaying its answer: from the permit to the outcome that closes its line.

A stream is answered once it has bytes to pass on: what fails before them is refused in words of its dialect, or goes to another
model, like a call that is not streamed.

Money is settled in the step in which an answer is over, and the line of its outcome is queued in the same step: so the
next decision counts what it cost, and in the record, too, its line stands behind that. An outcome that cannot be written (full
disk) is tried again until it can: the effect has happened, so its answer is not withheld, and the reservation holds again
until the line stands. Closing runs in a task of its own, so that a client that goes away cannot interrupt it. A good answer does
not wait for that task either, and its line may be written together with the next decision's; if agentd dies in between, the
next start closes the call as unknown, as any call that was cut.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from agentd.core.accounting.times import rfc3339
from agentd.core.dialects import grammar
from agentd.core.types.errors import AgentdError, KeyUnavailable, RecordUnavailable, UpstreamFailed
from agentd.core.types.receipts import Ending, Outcome, Receipt
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Deny, Reason
from agentd.gate import lines, ports
from agentd.gate.flight import (
    STOPPED,
    Failure,
    Flight,
    Health,
    Run,
    cost_of_call,
    ending_of,
    failed_of,
    failure_of,
    generation_of,
    stopped_of,
)
from agentd.gate.following import Pieces, finished, noise_of
from agentd.gate.spend import Spend

CLOSED_ALREADY = "record.not_open"
"""The record's answer to an outcome of a call that is closed: a write that was refused, as its file had just been moved away,
was found done when the file came back."""

UNWRITABLE = "record.unwritable"
"""The record's answer to a line that it could never hold."""

RETRY_OUTCOME_S = 1.0
"""How often an outcome that could not be written is tried again."""

AFTER_ERROR_S = 2.0
"""How long an answer that told of an error may go on, for the usage that can follow; the agent waits for its last bytes."""


class Relay:
    """Runs permitted calls and closes their lines."""

    def __init__(
        self, ledger: ports.Ledger, upstream: ports.Upstream, clock: ports.Clock, spend: Spend, tasks: asyncio.TaskGroup
    ) -> None:
        """`tasks` is the daemon's root group: closing outlives the request that it belongs to."""
        self._ledger = ledger
        self._upstream = upstream
        self._clock = clock
        self._spend = spend
        self._tasks = tasks
        self._flights: dict[int, Flight] = {}
        self.upstreams: dict[str, Health] = {}
        self.on_unsettled: Callable[[Run, Outcome], None] = lambda _run, _outcome: None
        self.on_ended: Callable[[Run, Outcome, UpstreamFailed | None], None] = lambda _run, _outcome, _error: None
        self._late: set[asyncio.Task[None]] = set()
        self._ending = False

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._flights)

    def cut(self, chosen: Callable[[Run], bool], ending: Ending, why: Reason = STOPPED) -> int:
        """End the calls that are chosen, now, answered by the upstream or not yet; says how many. Agents are told `why`."""
        running = (flight for flight in self._flights.values() if flight.cut is None and not flight.closed)
        flights = [flight for flight in running if chosen(flight.run)]
        for flight in flights:
            flight.cut, flight.why = ending, why
            if flight.reply is not None:
                flight.reply.abort()
            elif flight.opening is not None:
                flight.opening.reschedule(0.0)
        return len(flights)

    def let_go(self) -> int:
        """Give up the outcomes that cannot be written now, so that a stop need not wait for a broken record; answers how many.
        Their lines stay open, and the next start closes them as unknown."""
        self._ending = True
        for task in self._late:
            task.cancel()
        return len(self._late)

    async def run(self, run: Run, dispatch: ports.Dispatch) -> ports.Answer | Failure:
        """Send. Returns the answer, whole or as a stream that closes the line when it ends or is closed."""
        machine = grammar(dispatch.dialect).reader(run.request.call)
        flight = Flight(run, machine, self._clock.mono_ns(), self._upstream.open(run.permit, dispatch))
        self._flights[run.permit.receipt.seq] = flight
        try:
            flight.reply = await self._open(flight)
        except (UpstreamFailed, KeyUnavailable) as error:
            await self.close(flight, flight.cut or ending_of(error), error)
            return failure_of(run, error)
        except BaseException:  # the caller went away while the upstream was asked: recorded, then as before
            await self.close(flight, flight.cut or Ending.CLIENT_GONE)
            raise
        headers = lines.decision_headers(run.permit.receipt)
        if run.request.call.stream:
            return await self._streamed(flight, flight.reply, headers)
        return await self._whole(flight, flight.reply, headers)

    async def _open(self, flight: Flight) -> ports.Reply:
        """Wait for the upstream's status; a cut ends that. Raises what `Upstream.open` does, and the words for a cut."""
        try:
            async with asyncio.timeout(None) as flight.opening:
                reply = await flight.opened.__aenter__()
        except TimeoutError:
            raise stopped_of(flight) from None
        if flight.cut is not None:  # at the very moment when the status came
            reply.abort()
        return reply

    async def _streamed(
        self, flight: Flight, reply: ports.Reply, headers: tuple[tuple[str, str], ...]
    ) -> ports.Answer | Failure:
        stream = _Stream(self, flight, reply.chunks())
        try:
            failed = await stream.begin()
        except BaseException:  # the caller went away: recorded, then as before
            await stream.aclose()
            raise
        return ports.Answer(200, headers, stream=stream) if failed is None else failure_of(flight.run, failed)

    async def _whole(
        self, flight: Flight, reply: ports.Reply, headers: tuple[tuple[str, str], ...]
    ) -> ports.Answer | Failure:
        broken: UpstreamFailed | None = None
        body = b""
        try:
            async for chunk in reply.chunks():
                self.feed(flight, chunk)
                if flight.machine.failed:
                    break  # nothing that could still come would make it an answer
            body = await finished(flight.machine)
        except UpstreamFailed as error:
            broken = error
        except BaseException:  # the caller went away: recorded, then as before
            await self.close(flight, flight.cut or Ending.CLIENT_GONE)
            raise
        failed = failed_of(flight, broken)
        if failed is not None:
            await self.close(flight, flight.cut or ending_of(failed), failed)
            return failure_of(flight.run, failed)
        flight.seen = 200
        self.close_soon(flight)
        return ports.Answer(200, (("Content-Type", "application/json"), *headers), body)

    def feed(self, flight: Flight, chunk: bytes) -> bytes:
        """Let the machine read a piece; what may be passed on comes back. Raises `UpstreamFailed` when it is noise."""
        before = self._clock.mono_ns()
        out = flight.machine.feed(chunk)
        now = self._clock.mono_ns()
        flight.busy_ns += now - before
        noise = noise_of(flight.machine, now - flight.dispatched_ns)
        if noise is not None:
            raise noise
        return out

    async def close(self, flight: Flight, ending: Ending, error: AgentdError | None = None) -> None:
        """End a call once: connection, money, line. Runs to its end whatever happens to the caller."""
        if not flight.closed:
            await asyncio.shield(self._begin_close(flight, self._over(flight, ending, error)))

    def close_soon(self, flight: Flight) -> None:
        """End a call that went well; nobody waits for it."""
        if not flight.closed:
            self._begin_close(flight, self._over(flight, Ending.DONE), linger=True)

    def _over(self, flight: Flight, ending: Ending, error: AgentdError | None = None) -> Outcome:
        """Settle what a call used, now; says what is to be written of it."""
        flight.closed = True
        outcome = self._outcome(flight, ending, error, self._clock.mono_ns())
        self._note_health(flight.run, outcome, error)
        self._spend.settle(flight.run.money, outcome.cost, _tokens(outcome))
        return outcome

    def _begin_close(self, flight: Flight, outcome: Outcome, *, linger: bool = False) -> "asyncio.Task[None]":
        run = flight.run
        line = lines.outcome_line(run.request, run.permit, outcome, self._clock.wall_ns())
        queued = self._ledger.append(line, linger=linger)
        name = f"close-{run.permit.receipt.seq}"
        return self._tasks.create_task(self._close(_Closing(flight, outcome, line), queued), name=name)

    async def _close(self, closing: "_Closing", queued: Awaitable[Receipt]) -> None:
        flight = closing.flight
        if flight.reply is not None:
            await flight.opened.__aexit__(None, None, None)
        if await self._written(queued, closing.line):
            self._closed(closing)
            return
        self._spend.reopen(flight.run.money, closing.outcome.cost, _tokens(closing.outcome))
        if not self._ending:
            name = f"outcome-{flight.run.permit.receipt.seq}"
            task = self._tasks.create_task(self._until_written(closing), name=name)
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _until_written(self, closing: "_Closing") -> None:
        while True:
            await asyncio.sleep(RETRY_OUTCOME_S)
            if await self._written(self._ledger.append(closing.line), closing.line):
                self._spend.settle(closing.flight.run.money, closing.outcome.cost, _tokens(closing.outcome))
                return self._closed(closing)

    async def _written(self, queued: Awaitable[Receipt], line: Line) -> bool:
        """Whether an outcome that was queued stands in the record."""
        try:
            await queued
        except RecordUnavailable as gone:
            if (
                gone.code == UNWRITABLE and line.detail
            ):  # no waiting heals that: what an upstream said goes, the sums stay
                less = replace(line, model=None, provider=None, detail=None)
                return await self._written(self._ledger.append(less), less)
            return gone.code == CLOSED_ALREADY
        return True

    def _note_health(self, run: Run, outcome: Outcome, error: AgentdError | None) -> None:
        """A call that went well clears what was wrong before; one that the client or the operator ended says nothing."""
        name = run.permit.allow.limits.upstream
        before = self.upstreams.get(name, Health())
        now = rfc3339(self._clock.wall_ns())
        ending = outcome.ending
        if ending is Ending.DONE:
            self.upstreams[name] = Health(last_ok=now)
            self.on_ended(run, outcome, None)
        elif error is not None and ending in (Ending.ERROR, Ending.CUT, Ending.TIMEOUT):
            self.upstreams[name] = Health(before.last_ok, error.code, now)
        if isinstance(error, UpstreamFailed):
            self.on_ended(run, outcome, error)

    def _closed(self, closing: "_Closing") -> None:
        self._flights.pop(closing.flight.run.permit.receipt.seq, None)
        if closing.outcome.cost is None:
            self.on_unsettled(closing.flight.run, closing.outcome)

    def _outcome(self, flight: Flight, ending: Ending, error: AgentdError | None, now_ns: int) -> Outcome:
        run = flight.run
        facts = flight.facts
        cost, source = cost_of_call(run, facts, error)
        return Outcome(
            ending=ending,
            status=flight.seen,
            cost=cost,
            cost_source=source,
            usage=facts.usage,
            model_served=facts.model,
            provider=facts.provider,
            generation=generation_of(flight, error),
            overhead_us=(flight.dispatched_ns - run.started_ns + flight.busy_ns) // 1000,
            upstream_ms=(now_ns - flight.dispatched_ns) // 1_000_000,
            error=facts.error or (error.code if error else None),
            tool_calls=facts.tool_calls,
            unasked=facts.unasked,
            recipients=facts.recipients or (error.recipients if isinstance(error, UpstreamFailed) else ()),
        )


@dataclass(frozen=True, slots=True)
class _Closing:
    """A call that is over, what came of it, and the line that says so."""

    flight: Flight
    outcome: Outcome
    line: Line


def _tokens(outcome: Outcome) -> int:
    return (outcome.usage.prompt or 0) + (outcome.usage.completion or 0)


class _Stream(AsyncIterator[bytes]):
    """A streamed answer. Not a generator, so that closing it before its first byte closes the line as well."""

    def __init__(self, relay: Relay, flight: Flight, chunks: AsyncIterator[bytes]) -> None:
        self._relay = relay
        self._flight = flight
        self._chunks = Pieces(chunks)
        self._held = b""
        self._broken: UpstreamFailed | None = None
        self._over = False  # the upstream says no more
        self._ended = False  # the line is closed

    async def begin(self) -> UpstreamFailed | None:
        """Read as far as there are bytes for the agent. What went wrong before them is returned; then the line is closed."""
        self._held = await self._next()
        failed = None if self._held else await self._close()
        if failed is None:
            self._flight.seen = 200
        return failed

    async def __anext__(self) -> bytes:
        """The next bytes for the agent. The line is closed before the stream ends."""
        out, self._held = self._held or await self._next(), b""
        if not out and not self._ended:
            failed = await self._close()
            out = b"" if failed is None else self._excuse(failed)
        if not out:
            raise StopAsyncIteration
        return out

    async def _next(self) -> bytes:
        """The next bytes that may be passed on; none when there will be no more."""
        while not self._over:
            out = await self._read()
            if out:
                return out
        return b""

    async def _read(self) -> bytes:
        try:
            if not self._flight.machine.failed:  # nearly every event: no clock is made for it
                return self._relay.feed(self._flight, await anext(self._chunks))
            async with asyncio.timeout(AFTER_ERROR_S):
                chunk = await anext(self._chunks)
            return self._relay.feed(self._flight, chunk)
        except UpstreamFailed as error:
            self._broken = error
        except (StopAsyncIteration, TimeoutError):
            pass
        self._over = True
        return self._flight.machine.finish()

    async def _close(self) -> UpstreamFailed | None:
        """Close the line of an answer that is over; returns what the agent has to be told."""
        self._ended = True
        failed = failed_of(self._flight, self._broken)
        if failed is None:
            self._relay.close_soon(self._flight)
        else:
            await self._relay.close(self._flight, self._flight.cut or ending_of(failed), failed)
        return failed

    def _excuse(self, error: UpstreamFailed) -> bytes:
        """An error in the dialect's own shape, as the last bytes."""
        run = self._flight.run
        rule = error.rule or f"upstreams.{run.permit.allow.limits.upstream}"
        deny = Deny(Reason(error.code, rule, error.message, error.hint), error.answer, error.retry_after_s)
        begun = self._flight.facts.begun or ""
        return grammar(run.request.call.dialect).stream_error(deny, run.permit.receipt.decision, begun)

    async def aclose(self) -> None:
        """The client is gone, or has all."""
        self._over = self._ended = True
        await self._relay.close(self._flight, self._flight.cut or Ending.CLIENT_GONE)
