"""The way of a model call, step by step:

    identify -> read -> classify -> decide -> reserve -> record -> permit -> send -> relay -> settle -> record

`govern` is that list. Nothing is sent without a `Permit`; only this file makes one, from an `Allow` and the `Receipt` of its
durable line. Every refusal has a line too; when even that cannot be written the caller is told so, and nothing happened.

A call that fails at the upstream before its first byte may be tried once more: with the failed model excluded, it is decided
and recorded anew like any other, so that a fallback is never a second way.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentd.core.accounting.price import Price
from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide
from agentd.core.policy.facts import Facts, Grant, Memory
from agentd.core.policy.match import match_agent
from agentd.core.policy.model import ceiling_of
from agentd.core.policy.schema import Agent, Policy, UpstreamKind
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.calls import Dialect, Hints, ModelCall, Request, Shape
from agentd.core.types.classes import Classified
from agentd.core.types.errors import RecordUnavailable, Unreadable, UpstreamFailed
from agentd.core.types.receipts import Permit
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Allow, Answer, Ask, Deny, Reason, Verdict
from agentd.gate import lines, ports
from agentd.gate.current import CurrentPolicy, Held
from agentd.gate.escalations import Escalations, Granted, read_ask
from agentd.gate.halts import Halts
from agentd.gate.relay import Failure, Relay, Run
from agentd.gate.sessions import Sessions, opaque, session_of
from agentd.gate.spend import Account, Spend

THREAD_BYTES = 1 << 20
"""A larger body is read in a thread, so that nobody else waits for it."""

MAX_ATTEMPTS = 2
"""The first model and one more: an agent retries by itself, and each of its retries is decided again."""

DAEMON_RULE = "agentd"


@dataclass(frozen=True, slots=True)
class Way:
    """What the way runs on: the ports, and the state of the gate."""

    ledger: ports.Ledger
    keys: ports.Keys
    clock: ports.Clock
    policies: CurrentPolicy
    halts: Halts
    relay: Relay
    prices: Callable[[Policy], Mapping[str, Price]]
    new_id: Callable[[], str]  # "r-" and 16 hex digits, unique
    secret: bytes = field(repr=False)  # of this installation, behind opaque session names
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request with what was known when it came."""

    arrival: ports.Arrival
    held: Held
    request: Request
    agent: Agent | None
    classified: Classified | None
    started_ns: int


class ModelPipeline:
    """Fulfils `ports.ModelGate`."""

    def __init__(self, way: Way, spend: Spend, sessions: Sessions, escalations: Escalations) -> None:
        """Join the ports with the gate's own state."""
        self._way = way
        self._spend = spend
        self._sessions = sessions
        self._escalations = escalations
        self.stopping = False

    async def govern(self, arrival: ports.Arrival) -> ports.Answer:
        """Take one model call the whole way."""
        started = self._way.clock.mono_ns()
        held = self._way.policies.current
        if held is None or self.stopping:
            return await self._unavailable(arrival.peer, arrival.dialect)
        try:
            call = await self._read(arrival)
        except Unreadable as unreadable:
            return await self._unreadable(arrival, held, unreadable)
        asked = self._identify(arrival, held, call, started)
        failures: list[Failure] = []
        while True:
            verdict = self._decide(asked, frozenset(failure.model for failure in failures))
            if not isinstance(verdict, Allow):
                return await self._refuse(asked, verdict)
            try:
                run = await self._permit(asked, verdict, failures)
            except RecordUnavailable as gone:
                return self._unrecorded(arrival.dialect, gone)
            answer = await self._send(asked, run)
            if isinstance(answer, ports.Answer):
                return answer
            failures.append(answer)
            if not (answer.retryable and len(failures) < MAX_ATTEMPTS):
                return self._failed(asked, answer)

    # -- the steps, in their order

    async def _read(self, arrival: ports.Arrival) -> ModelCall:
        read = grammar(arrival.dialect).read
        if len(arrival.body) > THREAD_BYTES:
            return await asyncio.to_thread(read, arrival.body)
        return read(arrival.body)

    def _identify(self, arrival: ports.Arrival, held: Held, call: ModelCall, started_ns: int) -> _Asked:
        at = self._way.clock.wall_ns()
        agent = match_agent(held.policy, arrival.peer)
        session = session_of(agent.name, arrival.hints, call) if agent else ""
        caller = Caller(arrival.peer, agent.name if agent else None)
        request = Request(self._way.new_id(), at, caller, call, arrival.hints, session)
        classified = None
        if agent is not None:
            classified = classify(held.policy, agent, call, arrival.hints, self._sessions.recall(session, at))
        return _Asked(arrival, held, request, agent, classified, started_ns)

    def _decide(self, asked: _Asked, failed: frozenset[str]) -> Verdict:
        return decide(
            asked.held.policy,
            asked.request,
            asked.classified,
            self.facts(asked.held.policy, asked.request, asked.classified, failed),
        )

    def facts(
        self, policy: Policy, request: Request, classified: Classified | None, failed: frozenset[str] = frozenset()
    ) -> Facts:
        """The state of the box as it is now, for one decision."""
        at = request.at_ns
        way = self._way
        base = Facts(
            at,
            way.prices(policy),
            halts=way.halts.active(),
            keys=frozenset(way.keys.names()),
            simulated=way.simulated,
            without=failed,
        )
        if classified is None or request.caller.agent is None:
            return base
        agent = request.caller.agent
        grants = self._escalations.find(agent, request.session, at)
        return Facts(
            at,
            base.prices,
            self._spend.used(policy, Account(agent, classified.name, "", request.session), at),
            memory=self._sessions.recall(request.session, at),
            grant=next((grant for grant in grants if grant.class_name == classified.name), None),
            halts=base.halts,
            without=failed,
            keys=base.keys,
            simulated=way.simulated,
        )

    async def _permit(self, asked: _Asked, allow: Allow, failures: Sequence[Failure]) -> Run:
        """Reserve, take the grant, write the line; only then is there a permit. No await between deciding and reserving."""
        limits = allow.limits
        request = asked.request
        account = Account(
            request.caller.agent or "", asked.classified.name if asked.classified else "", limits.tier, request.session
        )
        money = self._spend.reserve(account, limits.reserved, request.at_ns)
        if limits.escalation is not None and limits.escalation.grant:
            self._escalations.take(limits.escalation.grant)
        line = lines.decision_line(asked.held.policy, asked.held.digest, request, asked.classified, allow)
        after = {"after": failures[-1].receipt.decision} if failures else {}
        try:
            receipt = await self._way.ledger.append(lines.with_detail(line, after))
        except (
            BaseException
        ):  # also when the client went away meanwhile: nothing was sent, so nothing may stay reserved
            self._spend.release(money)
            raise
        memory = self._sessions.recall(request.session, request.at_ns)
        if asked.classified is not None:
            kept = Memory(asked.classified.name, limits.tier, limits.model, limits.upstream)
            self._sessions.remember(request.session, kept, request.at_ns)
        price = self._way.prices(asked.held.policy)[limits.model]
        return Run(request, Permit(allow, receipt), money, price, memory, asked.started_ns)

    async def _send(self, asked: _Asked, run: Run) -> ports.Answer | Failure:
        """Put the permitted model and limits into the body, send it, relay what comes back."""
        limits = run.permit.allow.limits
        upstream = asked.held.policy.upstreams[limits.upstream]
        call = asked.request.call
        foreign = run.before is not None and run.before.model != limits.model and call.shape.provider_state
        openrouter = upstream.kind is UpstreamKind.OPENROUTER
        body = grammar(call.dialect).rewrite(
            call,
            Rewrite(
                model=limits.model,
                max_output=limits.max_output,
                openrouter=openrouter,
                providers=limits.providers,
                max_price=limits.max_price,
                zdr=limits.zdr,
                session=opaque(self._way.secret, asked.request.session),
                user=opaque(self._way.secret, asked.request.caller.agent or ""),
                foreign_state=foreign,
                first_party=limits.providers == ("anthropic",),
            ),
        )
        endpoint = ports.Endpoint(upstream.name, upstream.kind.value, upstream.url, upstream.key)
        dispatch = ports.Dispatch(endpoint, call.dialect, body, call.stream, asked.arrival.beta, asked.arrival.version)
        return await self._way.relay.run(run, dispatch)

    # -- the answers that are not an upstream's

    async def _refuse(self, asked: _Asked, verdict: Ask | Deny) -> ports.Answer:
        line = lines.decision_line(asked.held.policy, asked.held.digest, asked.request, asked.classified, verdict)
        deny = verdict if isinstance(verdict, Deny) else Deny(verdict.reason)
        return await self._recorded(asked.arrival.dialect, line, deny)

    async def _recorded(self, dialect: Dialect, line: Line, deny: Deny) -> ports.Answer:
        try:
            receipt = await self._way.ledger.append(line)
        except RecordUnavailable as gone:
            return self._unrecorded(dialect, gone)
        return _worded(dialect, deny, receipt.decision)

    async def _unreadable(self, arrival: ports.Arrival, held: Held, error: Unreadable) -> ports.Answer:
        reason = Reason(error.code, DAEMON_RULE, error.message, error.hint)
        agent = match_agent(held.policy, arrival.peer)
        origin = self._origin(arrival.peer, agent, held.digest)
        if agent is None:
            reason = Reason(
                "caller.unknown", f"agents ({held.policy.source})", "no agent of the policy matches this process"
            )
            return await self._recorded(
                arrival.dialect, lines.refusal_line(origin, reason), Deny(reason, Answer.UNKNOWN)
            )
        return await self._recorded(arrival.dialect, lines.refusal_line(origin, reason), Deny(reason, error.answer))

    async def refuse(self, peer: Peer, dialect: Dialect, code: str, message: str) -> ports.Answer:
        """Record and word the refusal of something that never became a call."""
        answers = {
            "request.too_large": Answer.TOO_LARGE,
            "request.unknown_route": Answer.NOT_FOUND,
            "daemon.internal": Answer.UNAVAILABLE,
        }
        held = self._way.policies.current
        agent = match_agent(held.policy, peer) if held else None
        reason = Reason(code, DAEMON_RULE, message)
        line = lines.refusal_line(self._origin(peer, agent, held.digest if held else None), reason)
        return await self._recorded(dialect, line, Deny(reason, answers.get(code, Answer.INVALID)))

    async def _unavailable(self, peer: Peer, dialect: Dialect) -> ports.Answer:
        if self.stopping:
            reason = Reason(
                "daemon.stopping", DAEMON_RULE, "agentd is stopping and takes no new calls", "Ask again in a moment."
            )
        else:
            reason = Reason(
                "policy.none",
                DAEMON_RULE,
                "agentd has no valid policy and refuses everything",
                "The operator sees the faults with: agentctl status",
            )
        return await self._recorded(
            dialect, lines.refusal_line(self._origin(peer, None, None), reason), Deny(reason, Answer.UNAVAILABLE, 5)
        )

    def _unrecorded(self, dialect: Dialect, gone: RecordUnavailable) -> ports.Answer:
        """The one refusal without a line: that there can be none is the reason."""
        reason = Reason(
            gone.code,
            DAEMON_RULE,
            "agentd cannot write its record and refuses everything until it can",
            "The operator sees why with: agentctl status",
        )
        return _worded(dialect, Deny(reason, Answer.UNAVAILABLE, 5), "")

    def _failed(self, asked: _Asked, failure: Failure) -> ports.Answer:
        """The refusal of a call that was allowed, recorded and sent, and got no answer; its line is closed already."""
        error = failure.error
        reason = Reason(
            error.code, f"upstreams.{failure.upstream} ({asked.held.policy.source})", error.message, error.hint
        )
        if isinstance(error, UpstreamFailed):
            return _worded(
                asked.arrival.dialect, Deny(reason, error.answer, error.retry_after_s), failure.receipt.decision
            )
        return _worded(asked.arrival.dialect, Deny(reason), failure.receipt.decision)

    # -- beside the way

    def models(self, peer: Peer) -> Sequence[dict[str, Any]]:
        """What this caller may ask for: the lanes of its classes, then the models of its tiers."""
        held = self._way.policies.current
        agent = match_agent(held.policy, peer) if held else None
        if held is None or agent is None:
            return []
        policy = held.policy
        tasks = [policy.classes[name] for name in agent.classes]
        names = {lane: f"class {task.name}" for task in tasks for lane in task.lanes if not lane.endswith("*")}
        top = max((ceiling_of(policy, agent, task).rank for task in tasks), default=-1)
        names.update(
            {
                model.id: f"tier {tier.name}"
                for tier in policy.tiers.values()
                if tier.rank <= top
                for model in tier.models
            }
        )
        return [{"id": name, "name": f"{name} ({what})", "created": 0} for name, what in names.items()]

    async def escalate(self, peer: Peer, hints: Hints, ask: dict[str, Any]) -> ports.Answer:
        """An agent asks for a dearer tier: judged by policy and quota, recorded, then granted."""
        held = self._way.policies.current
        if held is None or self.stopping:
            return await self._unavailable(peer, Dialect.CHAT)
        at = self._way.clock.wall_ns()
        agent = match_agent(held.policy, peer)
        if agent is None:
            return await self.refuse(
                peer, Dialect.CHAT, "caller.unknown", "no agent of the policy matches this process"
            )
        key = ModelCall(Dialect.CHAT, b"", "", False, False, None, shape=Shape())
        session = session_of(agent.name, hints, key) if hints.session else ""
        wanted = read_ask(agent, session, self._sessions.recall(session, at), ask)
        judged = self._escalations.judge(held.policy, wanted, at)
        origin = lines.Origin(peer, self._way.new_id(), at, agent.name, session, held.digest)
        if isinstance(judged, Deny):
            line = lines.escalation_line(origin, wanted.class_name, "deny", judged.reason, {"asked": wanted.reason})
            return await self._recorded(Dialect.CHAT, line, judged)
        return await self._grant(origin, held.policy, judged, at)

    async def _grant(self, origin: lines.Origin, policy: Policy, granted: Granted, at_ns: int) -> ports.Answer:
        self._escalations.pay(granted, at_ns)
        task = policy.classes[granted.ask.class_name]
        reason = Reason(
            "escalation.granted",
            policy.at("classes", task.name, granted.rule.place),
            f"{task.tier} to {granted.rule.to}",
        )
        extra = {
            "asked": granted.ask.reason,
            "from": task.tier,
            "to": granted.rule.to,
            "quota": granted.quota,
            "seconds": granted.rule.grant_s,
        }
        try:
            receipt = await self._way.ledger.append(lines.escalation_line(origin, task.name, "allow", reason, extra))
        except RecordUnavailable as gone:
            self._escalations.refund(granted, at_ns)
            return self._unrecorded(Dialect.CHAT, gone)
        grant: Grant = self._escalations.give(granted, receipt.seq, at_ns)
        return lines.json_answer(
            201,
            receipt,
            {
                "grant": grant.id,
                "class": task.name,
                "tier": grant.to_tier,
                "quota": granted.quota,
                "seconds": granted.rule.grant_s,
            },
        )

    def _origin(self, peer: Peer, agent: Agent | None, digest: str | None) -> lines.Origin:
        return lines.Origin(
            peer, self._way.new_id(), self._way.clock.wall_ns(), agent.name if agent else None, "", digest
        )


def _worded(dialect: Dialect, deny: Deny, decision: str) -> ports.Answer:
    refusal = grammar(dialect).refusal(deny, decision)
    return ports.Answer(refusal.status, refusal.headers, refusal.body)
