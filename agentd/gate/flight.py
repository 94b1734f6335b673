"""A permitted call under way, and what its end means: for the agent, for the money, for the record.

Money: the upstream's reported cost settles a reservation; without one the price table does; an answer that said neither keeps
its reservation. A cost of nothing is not believed of an answer that has a price: a stream may begin with a zero that nobody
corrects, and one that the upstream kept from an earlier call is free only if its accounting says so. Counts are final only with
the model's own finish: a messages stream begins with some, and one that breaks off afterwards has cost more than they say. A
refusal by the upstream before it worked costs nothing.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from agentd.core.accounting.price import Price, cost_of, countable
from agentd.core.dialects.grammar import ReplyFacts, ReplyMachine
from agentd.core.types.calls import Request
from agentd.core.types.errors import AgentdError, KeyUnavailable, UpstreamFailed
from agentd.core.types.receipts import CostSource, Ending, Permit, Receipt
from agentd.core.types.verdicts import Answer, Reason
from agentd.gate import ports
from agentd.gate.spend import Reservation

AFFORD_PARTS, AFFORD_OF = 9, 10
"""Of what can be afforded so much is asked for: the account may be charged for other calls in between."""

AFFORD_LEAST = 4
"""A cap below a quarter of what was permitted would cut most answers: then it is said that there is no money."""

STOPPED = Reason(
    "daemon.stopping", "agentd", "agentd was stopped while this answer was being written", "Ask again in a moment."
)
"""What an agent is told of a call that a stop of the daemon cuts."""


@dataclass(frozen=True, slots=True)
class Run:
    """A call that was permitted, with what is needed to settle it."""

    request: Request
    permit: Permit
    money: Reservation
    price: Price
    started_ns: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The upstream gave nothing that could be passed on; the line is closed."""

    error: UpstreamFailed | KeyUnavailable
    receipt: Receipt
    model: str
    upstream: str
    max_output: int  # tokens that were permitted

    @property
    def retryable(self) -> bool:
        """Whether another candidate may be tried."""
        return isinstance(self.error, UpstreamFailed) and self.error.retryable

    @property
    def affordable(self) -> int | None:
        """The output cap with which the same call could be paid for, if an answer of that length is worth having."""
        most = self.error.affordable if isinstance(self.error, UpstreamFailed) else None
        cap = 0 if most is None else most * AFFORD_PARTS // AFFORD_OF
        return cap if cap >= max(1, self.max_output // AFFORD_LEAST) else None


@dataclass(frozen=True, slots=True)
class Health:
    """How an upstream's last calls went, for the operator. Times are RFC 3339; empty: never."""

    last_ok: str = ""
    last_error: str = ""  # its code, as long as no call has gone well since
    failed_at: str = ""


@dataclass(slots=True)
class Flight:
    """A call under way. `cut` is set by whoever ends it before its time."""

    run: Run
    machine: ReplyMachine
    dispatched_ns: int
    opened: AbstractAsyncContextManager[ports.Reply]
    opening: asyncio.Timeout | None = None  # ends the wait for the reply when it is brought forward
    reply: ports.Reply | None = None
    busy_ns: int = 0
    seen: int = 0  # the status that the agent got
    cut: Ending | None = None
    why: Reason = STOPPED
    closed: bool = False

    @property
    def facts(self) -> ReplyFacts:
        """What the answer has said so far."""
        return self.machine.facts


def failed_of(flight: Flight, broken: UpstreamFailed | None) -> UpstreamFailed | None:
    """What is to be told of an answer that is over, None for a good one: what broke after its end mark lost nothing."""
    if flight.cut is not None:
        return stopped_of(flight)
    if flight.facts.ending is Ending.DONE:
        return None
    if broken is None or flight.facts.ending is Ending.ERROR:
        return _no_answer(flight.facts)
    return broken


def stopped_of(flight: Flight) -> UpstreamFailed:
    """The words for a call that was ended from inside: waiting helps against a restart, not against an operator."""
    why = flight.why
    answer = Answer.DENY if flight.cut is Ending.HALTED else Answer.WAIT
    stopped = UpstreamFailed(why.code, why.message, status=0, retryable=False, answer=answer, billed=True)
    stopped.hint, stopped.rule = why.hint, why.rule
    return stopped


def failure_of(run: Run, error: UpstreamFailed | KeyUnavailable) -> Failure:
    """What the way is told of a call that gave nothing."""
    limits = run.permit.allow.limits
    return Failure(error, run.permit.receipt, limits.model, limits.upstream, limits.max_output)


def cost_of_call(run: Run, facts: ReplyFacts, error: AgentdError | None) -> tuple[int | None, CostSource]:
    """What a call cost and who says so; None keeps the reservation."""
    usage = facts.usage
    if facts.ending is Ending.DONE or facts.finish is not None:
        if usage.cost is not None and (usage.cost > 0 or _may_be_free(run, facts)):
            return usage.cost, CostSource.REPORTED
        if countable(usage) and (usage.cost is None or usage.prompt or usage.completion):
            return cost_of(run.price, usage, run.request.at_ns), CostSource.COMPUTED
    if isinstance(error, KeyUnavailable) or (isinstance(error, UpstreamFailed) and not error.billed):
        return 0, CostSource.COMPUTED
    return None, CostSource.UNSETTLED


def _may_be_free(run: Run, facts: ReplyFacts) -> bool:
    """Whether a reported cost of nothing is believed: of a model without a price, or of what the upstream insures, an error and
    an answer without words that nobody ended."""
    wordless = facts.finish is None and bool(facts.usage.prompt) and facts.usage.completion == 0
    return run.money.amount == 0 or facts.ending is Ending.ERROR or wordless


def generation_of(flight: Flight, error: AgentdError | None) -> str | None:
    """The upstream's handle for settlement: of the header, which is meant for that, else the id of the answer itself."""
    if flight.reply is not None and flight.reply.generation is not None:
        return flight.reply.generation
    return flight.facts.generation or (error.generation if isinstance(error, UpstreamFailed) else None)


def ending_of(error: AgentdError) -> Ending:
    """How the record names the end that an error made."""
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
