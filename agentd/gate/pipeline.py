"""The way of a model call, step by step:

    read -> identify -> classify -> decide -> claim -> record -> permit -> send -> relay -> settle -> record

`govern` is that list. Nothing is sent without a `Permit`; only this file makes one, from an `Allow` and the `Receipt` of its
durable line. Between deciding and claiming money there is no await, so concurrent calls cannot both have the last of it.

A call that fails at the upstream before its first byte may be tried once more: with the failed model excluded, or with as much
output as the account can pay for, it is decided and recorded anew like any other, so that a fallback is never a second way.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentd.core.dialects import betas, grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide
from agentd.core.policy.facts import Memory
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Agent, Upstream, UpstreamKind
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.calls import Dialect, Hints, ModelCall, Request
from agentd.core.types.classes import Classified
from agentd.core.types.errors import RecordUnavailable, Unreadable, UpstreamFailed
from agentd.core.types.receipts import Permit
from agentd.core.types.verdicts import Allow, Answer, Ask, Deny, ModelLimits, Reason
from agentd.gate import lines, ports
from agentd.gate.asking import Asking
from agentd.gate.current import Held
from agentd.gate.flight import Failure, Run
from agentd.gate.offers import offers
from agentd.gate.refusing import Refuser, stranger, worded
from agentd.gate.relay import Relay
from agentd.gate.sessions import opaque, session_of
from agentd.gate.state import State, foreign_to

THREAD_BYTES = 1 << 20
"""A larger body is read in a thread, so that nobody else waits for it."""

MAX_ATTEMPTS = 2
"""The first model and one more: an agent retries by itself, and each of its retries is decided again."""


@dataclass(frozen=True, slots=True)
class Way:
    """What the way runs on. `secret`: of this installation, behind opaque session names."""

    refuser: Refuser
    state: State
    relay: Relay
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with what was known when it came."""

    arrival: ports.Arrival
    held: Held
    request: Request
    classified: Classified
    started_ns: int


class ModelPipeline:
    """Fulfils `ports.ModelGate`."""

    def __init__(self, way: Way) -> None:
        """Join the parts. `stopping` is set by whoever stops the daemon."""
        self._way = way
        self._refuser = way.refuser
        self._asking = Asking(way.refuser, way.state)
        self.stopping = False

    async def govern(self, arrival: ports.Arrival) -> ports.Answer:
        """Take one model call the whole way."""
        started_ns = self._refuser.clock.mono_ns()
        held = self._refuser.policies.current
        if held is None or self.stopping:
            return await self._refuser.unavailable(arrival.peer, arrival.dialect, stopping=self.stopping)
        agent = match_agent(held.policy, arrival.peer)
        if agent is None:  # whatever it sent: not a byte of it is read
            reason = stranger(held.policy.source)
            return await self._refuser.never_a_call(arrival.peer, arrival.dialect, reason, Answer.UNKNOWN)
        try:
            call = await self._read(arrival)
        except Unreadable as unreadable:
            return await self._refuser.unreadable(arrival.peer, arrival.dialect, unreadable)
        asked = self._identified(arrival, held, agent, call, started_ns)
        failures: list[Failure] = []
        while True:
            answer = await self._attempt(asked, failures)
            if isinstance(answer, ports.Answer):
                return answer
            failures.append(answer)
            again = _again(asked, answer) if len(failures) < MAX_ATTEMPTS else None
            if again is None:
                return self._failed(asked, answer)
            asked = again

    async def _attempt(self, asked: _Asked, failures: Sequence[Failure]) -> ports.Answer | Failure:
        """Decide, claim, record; then send what was permitted. What is to be sent is put together while the disk works."""
        request, held, state = asked.request, asked.held, self._way.state
        without = frozenset(failure.model for failure in failures if failure.retryable)
        facts = state.facts(held.policy, request, asked.classified, without)
        verdict = decide(held.policy, request, asked.classified, facts)
        line = lines.decision_line(held.policy, held.digest, request, asked.classified, verdict)
        before = state.sessions.recall(request.session, request.at_ns)
        foreign = _foreign(asked, verdict.limits, before) if isinstance(verdict, Allow) else 0
        line = lines.with_detail(line, self._beside(failures, foreign))
        if not isinstance(verdict, Allow):
            deny = Deny(verdict.reason) if isinstance(verdict, Allow | Ask) else verdict
            return await self._refuser.recorded(asked.arrival.dialect, line, deny)
        claim = state.claim(request, asked.classified, verdict.limits)
        durable = self._refuser.ledger.append(line)
        dispatch = self._dispatch(asked, verdict.limits, foreign)
        try:
            receipt = await durable
        except RecordUnavailable as gone:
            state.give_back(claim)
            return self._refuser.unrecorded(asked.arrival.dialect, gone)
        except asyncio.CancelledError:  # the caller went away; nothing was sent
            state.give_back(claim)
            raise
        state.remember(request, asked.classified, verdict.limits, claim.grant)
        price = facts.prices[verdict.limits.model]
        run = Run(request, Permit(verdict, receipt), claim.money, price, asked.started_ns)
        return await self._way.relay.run(run, dispatch)

    def _beside(self, failures: Sequence[Failure], foreign: int) -> dict[str, Any]:
        """What a decision's line says beside the decision: which list of prices it used, which attempt went before, and in how
        many messages the thinking of other models is left out."""
        catalogue = self._way.state.outside.catalogue
        more: dict[str, Any] = {"catalogue": catalogue} if catalogue else {}
        if foreign:
            more["foreign"] = foreign
        return {**more, "after": failures[-1].receipt.decision} if failures else more

    async def _read(self, arrival: ports.Arrival) -> ModelCall:
        read = grammar(arrival.dialect).read
        large = len(arrival.body) > THREAD_BYTES
        call = await asyncio.to_thread(read, arrival.body) if large else read(arrival.body)
        return replace(call, wants_usage=True) if arrival.metered else call

    def _identified(self, arrival: ports.Arrival, held: Held, agent: Agent, call: ModelCall, started_ns: int) -> _Asked:
        """Which session of the agent it belongs to, and which class of work."""
        at = self._refuser.clock.wall_ns()
        session = session_of(agent.name, arrival.hints, call)
        caller = Caller(arrival.peer, agent.name)
        request = Request(self._refuser.new_id(), at, caller, call, arrival.hints, session)
        return _Asked(arrival, held, request, self._classified(held, agent, request), started_ns)

    def _classified(self, held: Held, agent: Agent, request: Request) -> Classified:
        memory = self._way.state.sessions.recall(request.session, request.at_ns)
        return classify(held.policy, agent, request.call, request.hints, memory)

    def _dispatch(self, asked: _Asked, limits: ModelLimits, foreign: int) -> ports.Dispatch:
        """The body with what was permitted in the place of what was asked, and where it goes."""
        upstream = asked.held.policy.upstreams[limits.upstream]
        call = asked.request.call
        body = grammar(call.dialect).rewrite(call, self._rewrite(asked.request, limits, upstream, foreign))
        endpoint = ports.Endpoint(upstream.name, upstream.kind.value, upstream.url, upstream.key)
        flags = betas.passing(asked.arrival.beta, first_party=_first_party(limits))
        version = betas.version(asked.arrival.version)
        return ports.Dispatch(endpoint, call.dialect, body, call.stream, flags, version)

    def _rewrite(self, request: Request, limits: ModelLimits, upstream: Upstream, foreign: int) -> Rewrite:
        return Rewrite(
            model=limits.model,
            max_output=limits.max_output,
            openrouter=upstream.kind is UpstreamKind.OPENROUTER,
            providers=limits.providers,
            max_price=limits.max_price,
            zdr=limits.zdr,
            session=opaque(self._way.secret, request.session),
            user=opaque(self._way.secret, request.caller.agent or ""),
            foreign=foreign,
            first_party=_first_party(limits),
            clamps=limits.clamps,
        )

    def _failed(self, asked: _Asked, failure: Failure) -> ports.Answer:
        """The refusal of a call that was allowed, recorded and sent, and got no answer; its line is closed already."""
        error = failure.error
        upstream = f"upstreams.{failure.upstream} ({asked.held.policy.source})"
        rule = error.rule if isinstance(error, UpstreamFailed) else ""
        reason = Reason(error.code, rule or upstream, error.message, error.hint)
        decision = failure.receipt.decision
        if isinstance(error, UpstreamFailed):
            return worded(asked.arrival.dialect, Deny(reason, error.answer, _wait(asked, error)), decision)
        return worded(asked.arrival.dialect, Deny(reason), decision)

    def models(self, peer: Peer) -> Sequence[dict[str, Any]]:
        """What this caller may ask for: the lanes of its classes, then the models of its tiers."""
        held = self._refuser.policies.current
        agent = match_agent(held.policy, peer) if held else None
        if held is None or agent is None:
            return []
        return offers(held.policy, agent, self._way.state.outside.models)

    async def escalate(self, peer: Peer, hints: Hints, ask: dict[str, Any]) -> ports.Answer:
        """See `ports.ModelGate.escalate`."""
        if self.stopping:
            return await self._refuser.unavailable(peer, Dialect.CHAT, stopping=True)
        return await self._asking.escalate(peer, hints, ask)

    async def refuse(self, peer: Peer, dialect: Dialect, code: str, message: str) -> ports.Answer:
        """See `ports.ModelGate.refuse`."""
        return await self._refuser.by_code(peer, dialect, code, message)


def _again(asked: _Asked, failure: Failure) -> _Asked | None:
    """The request as it is tried once more: as it was, for another model, or with the output that can be paid for."""
    if failure.retryable:
        return asked
    if failure.affordable is None:
        return None
    call = replace(asked.request.call, max_output=failure.affordable)
    return replace(asked, request=replace(asked.request, call=call))


def _wait(asked: _Asked, error: UpstreamFailed) -> int | None:
    """Seconds to wait, at most as long as a call of this class may take: a client that is told more gives up for the day."""
    task = asked.held.policy.classes.get(asked.classified.name)
    if error.retry_after_s is None or task is None:
        return error.retry_after_s
    return min(error.retry_after_s, max(1, int(task.deadline_s)))


def _foreign(asked: _Asked, limits: ModelLimits, before: Memory | None) -> int:
    """Messages in which another model may have signed its thinking, if anybody signed any."""
    request = asked.request
    return foreign_to(before, request, limits.model) if request.call.shape.provider_state else 0


def _first_party(limits: ModelLimits) -> bool:
    """Whether Anthropic itself and nobody else may serve it."""
    return limits.providers == ("anthropic",)
