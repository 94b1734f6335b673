"""Sending a permitted call and relaying its answer: from the permit to the outcome that closes its line.

Money: the upstream's reported cost settles a reservation; without one the price table does; an answer that said neither
keeps its reservation. A refusal by the upstream before it worked costs nothing.

An outcome that cannot be written (full disk) is tried again until it can: the effect has happened, so its answer is not
withheld; the reservation stays until the line stands. Closing runs in a task of its own, so that a client that goes away
cannot interrupt it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from agentd.core.accounting.price import Price, cost_of, countable
from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import ReplyFacts, ReplyMachine
from agentd.core.policy.facts import Memory
from agentd.core.types.calls import Request
from agentd.core.types.errors import AgentdError, KeyUnavailable, RecordUnavailable, UpstreamFailed
from agentd.core.types.receipts import CostSource, Ending, Outcome, Permit, Receipt, Usage
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate import lines, ports
from agentd.gate.spend import Reservation, Spend

RETRY_OUTCOME_S = 1.0
"""How often an outcome that could not be written is tried again."""

MAX_WHOLE_BYTES = 64 << 20
"""An answer that is not streamed and larger than this is no answer of a model."""


@dataclass(frozen=True, slots=True)
class Run:
    """A call that was permitted, with what is needed to settle it."""

    request: Request
    permit: Permit
    money: Reservation
    price: Price
    before: Memory | None  # what the session was given by the call before
    started_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream gave nothing that could be passed on; the line is closed."""

    error: UpstreamFailed | KeyUnavailable
    receipt: Receipt
    model: str
    upstream: str

    @property
    def retryable(self) -> bool:
        """Whether another candidate may be tried."""
        return isinstance(self.error, UpstreamFailed) and self.error.retryable


@dataclass(slots=True)
class _Flight:
    """A call under way. `cut` is set by whoever ends it before its time."""

    run: Run
    machine: ReplyMachine
    dispatched_ns: int
    opened: AbstractAsyncContextManager[ports.Reply]
    reply: ports.Reply | None = None
    busy_ns: int = 0
    cut: Ending | None = None
    closed: bool = False

    @property
    def facts(self) -> ReplyFacts:
        """What the answer has said so far."""
        return self.machine.facts


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
        self._flights: dict[int, _Flight] = {}

    @property
    def in_flight(self) -> int:
        """How many calls are under way."""
        return len(self._flights)

    def cut(self, chosen: Callable[[Run], bool], ending: Ending) -> int:
        """End the calls that are chosen, now; answers how many."""
        flights = [flight for flight in self._flights.values() if chosen(flight.run) and flight.cut is None]
        for flight in flights:
            flight.cut = ending
            if flight.reply is not None:
                flight.reply.abort()
        return len(flights)

    async def run(self, run: Run, dispatch: ports.Dispatch) -> ports.Answer | Failure:
        """Send. Returns the answer, whole or as a stream that closes the line when it ends or is closed."""
        machine = grammar(dispatch.dialect).reader(run.request.call)
        flight = _Flight(run, machine, self._clock.mono_ns(), self._upstream.open(run.permit, dispatch))
        self._flights[run.permit.receipt.seq] = flight
        try:
            flight.reply = await flight.opened.__aenter__()
        except (UpstreamFailed, KeyUnavailable) as error:
            await self.close(flight, _ending(error), error)
            return _failure(run, error)
        except BaseException:  # the caller went away while the upstream was asked: recorded, then as before
            await self.close(flight, Ending.CLIENT_GONE)
            raise
        headers = lines.decision_headers(run.permit.receipt)
        if run.request.call.stream:
            return ports.Answer(200, headers, stream=_Stream(self, flight, flight.reply.chunks()))
        return await self._whole(flight, flight.reply, headers)

    async def _whole(
        self, flight: _Flight, reply: ports.Reply, headers: tuple[tuple[str, str], ...]
    ) -> ports.Answer | Failure:
        body = bytearray()
        try:
            async for chunk in reply.chunks():
                body += self.feed(flight, chunk)
                if len(body) > MAX_WHOLE_BYTES:
                    raise _broken("the upstream's answer does not end")
            body += flight.machine.finish()
        except UpstreamFailed as error:
            await self.close(flight, flight.cut or _ending(error), error)
            return _failure(flight.run, error)
        except BaseException:  # the caller went away: recorded, then as before
            await self.close(flight, flight.cut or Ending.CLIENT_GONE)
            raise
        if flight.facts.ending is not Ending.DONE:
            failed = _no_answer(flight.facts)
            await self.close(flight, flight.facts.ending, failed)
            return _failure(flight.run, failed)
        await self.close(flight, Ending.DONE)
        return ports.Answer(200, (("Content-Type", "application/json"), *headers), bytes(body))

    def feed(self, flight: _Flight, chunk: bytes) -> bytes:
        """Let the machine read a chunk; what may be passed on comes back."""
        before = self._clock.mono_ns()
        out = flight.machine.feed(chunk)
        flight.busy_ns += self._clock.mono_ns() - before
        return out

    async def close(self, flight: _Flight, ending: Ending, error: AgentdError | None = None) -> None:
        """End a call once: connection, money, line. Runs to its end whatever happens to the caller."""
        if flight.closed:
            return
        flight.closed = True
        await asyncio.shield(
            self._tasks.create_task(self._close(flight, ending, error), name=f"close-{flight.run.permit.receipt.seq}")
        )

    async def _close(self, flight: _Flight, ending: Ending, error: AgentdError | None) -> None:
        if flight.reply is not None:
            await flight.opened.__aexit__(None, None, None)
        now = self._clock.mono_ns()
        run = flight.run
        outcome = self._outcome(flight, ending, error, now)
        line = lines.outcome_line(run.request, run.permit, outcome, self._clock.wall_ns())
        if not await self._try(line):
            self._tasks.create_task(
                self._until_written(flight, line, outcome), name=f"outcome-{run.permit.receipt.seq}"
            )
            return
        self._settle(flight, outcome)

    async def _until_written(self, flight: _Flight, line: Line, outcome: Outcome) -> None:
        while True:
            await asyncio.sleep(RETRY_OUTCOME_S)
            if await self._try(line):
                return self._settle(flight, outcome)

    async def _try(self, line: Line) -> bool:
        try:
            await self._ledger.append(line)
        except RecordUnavailable:
            return False
        return True

    def _settle(self, flight: _Flight, outcome: Outcome) -> None:
        usage = outcome.usage
        self._spend.settle(flight.run.money, outcome.cost, (usage.prompt or 0) + (usage.completion or 0))
        self._flights.pop(flight.run.permit.receipt.seq, None)

    def _outcome(self, flight: _Flight, ending: Ending, error: AgentdError | None, now_ns: int) -> Outcome:
        run = flight.run
        facts = flight.facts
        cost, source = _cost(run, facts.usage, error)
        return Outcome(
            ending=ending,
            status=200 if flight.reply is not None and not isinstance(error, UpstreamFailed) else 0,
            cost=cost,
            cost_source=source,
            usage=facts.usage,
            model_served=facts.model,
            provider=facts.provider,
            generation=facts.generation or (flight.reply.generation if flight.reply else None),
            overhead_us=(flight.dispatched_ns - run.started_ns + flight.busy_ns) // 1000,
            upstream_ms=(now_ns - flight.dispatched_ns) // 1_000_000,
            error=facts.error or (error.code if error else None),
            tool_calls=facts.tool_calls,
        )


class _Stream(AsyncIterator[bytes]):
    """A streamed answer. Not a generator, so that closing it before its first byte closes the line as well."""

    def __init__(self, relay: Relay, flight: _Flight, chunks: AsyncIterator[bytes]) -> None:
        self._relay = relay
        self._flight = flight
        self._chunks = chunks
        self._ended = False

    async def __anext__(self) -> bytes:
        """The next bytes for the agent. The line is closed before the stream ends."""
        while not self._ended:
            try:
                chunk = await anext(self._chunks)
            except StopAsyncIteration:
                return await self._end(None)
            except UpstreamFailed as error:
                return await self._end(error)
            out = self._relay.feed(self._flight, chunk)
            if out:
                return out
        raise StopAsyncIteration

    async def _end(self, error: UpstreamFailed | None) -> bytes:
        """The last bytes: what the machine still holds, and an error in the dialect's own shape unless all went well."""
        self._ended = True
        flight = self._flight
        tail = flight.machine.finish()
        ending = flight.cut or (_ending(error) if error is not None else flight.facts.ending)
        if flight.facts.ending is Ending.DONE and flight.cut is None:
            ending, error = Ending.DONE, None  # the end mark was there; what broke after it lost nothing
        elif ending is not Ending.DONE:
            tail += self._excuse(ending, error or _no_answer(flight.facts))
        await self._relay.close(flight, ending, error)
        if tail:
            return tail
        raise StopAsyncIteration

    def _excuse(self, ending: Ending, error: UpstreamFailed) -> bytes:
        run = self._flight.run
        words = {
            Ending.STOPPED: ("daemon.stopping", "agentd was stopped while this answer was being written"),
            Ending.HALTED: ("operator.halt", "the operator stopped this call"),
        }
        code, message = words.get(ending, (error.code, error.message))
        deny = Deny(Reason(code, f"upstreams.{run.permit.allow.limits.upstream}", message), Answer.WAIT)
        return grammar(run.request.call.dialect).stream_error(deny, run.permit.receipt.decision)

    async def aclose(self) -> None:
        """The client is gone, or has all."""
        self._ended = True
        await self._relay.close(self._flight, self._flight.cut or Ending.CLIENT_GONE)


def _failure(run: Run, error: UpstreamFailed | KeyUnavailable) -> Failure:
    limits = run.permit.allow.limits
    return Failure(error, run.permit.receipt, limits.model, limits.upstream)


def _cost(run: Run, usage: Usage, error: AgentdError | None) -> tuple[int | None, CostSource]:
    if usage.cost is not None:
        return usage.cost, CostSource.REPORTED
    if countable(usage):
        return cost_of(run.price, usage, run.request.at_ns), CostSource.COMPUTED
    if isinstance(error, KeyUnavailable) or (isinstance(error, UpstreamFailed) and not error.billed):
        return 0, CostSource.COMPUTED
    return None, CostSource.UNSETTLED


def _ending(error: AgentdError) -> Ending:
    if error.code == "upstream.timeout":
        return Ending.TIMEOUT
    return Ending.CUT if error.code == "upstream.cut" else Ending.ERROR


def _no_answer(facts: ReplyFacts) -> UpstreamFailed:
    if facts.ending is Ending.CUT:
        return UpstreamFailed(
            "upstream.cut",
            "the upstream's answer broke off",
            status=200,
            retryable=False,
            answer=Answer.WAIT,
            billed=True,
        )
    message = f"the upstream failed while it was answering ({facts.error or 'no reason given'})"
    return UpstreamFailed("upstream.error", message, status=200, retryable=True, answer=Answer.WAIT, billed=True)


def _broken(message: str) -> UpstreamFailed:
    return UpstreamFailed("upstream.broken", message, status=200, retryable=False, answer=Answer.WAIT, billed=True)
