"""An agent asks for a dearer tier for its session: judged by policy and quota, recorded, then granted."""

from dataclasses import dataclass
from typing import Any

from agentd.core.accounting.canonical import name_of
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Policy
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect, Hints
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate import lines, ports
from agentd.gate.escalations import Granted, read_ask
from agentd.gate.refusing import Refuser, stranger
from agentd.gate.sessions import session_named
from agentd.gate.state import State


@dataclass(frozen=True, slots=True)
class Asking:
    """The escalation desk for agents."""

    refuser: Refuser
    state: State

    async def escalate(self, peer: Peer, hints: Hints, body: dict[str, Any]) -> ports.Answer:
        """201 with a grant, or a refusal that says why."""
        held = self.refuser.policies.current
        if held is None:
            return await self.refuser.unavailable(peer, Dialect.CHAT, stopping=False)
        agent = match_agent(held.policy, peer)
        if agent is None:
            return await self.refuser.never_a_call(peer, Dialect.CHAT, stranger(held.policy.source), Answer.UNKNOWN)
        session = session_named(agent.name, hints.session) if hints.session else ""
        origin = self.refuser.origin(peer, agent.name, session)
        ask = read_ask(agent, session, self.state.sessions.recall(session, origin.at_ns), body)
        if isinstance(ask, Deny):
            return await self._refused(origin, None, ask, "")
        judged = self.state.escalations.judge(held.policy, ask, origin.at_ns)
        if isinstance(judged, Deny):
            return await self._refused(origin, ask.class_name, judged, ask.reason)
        return await self._grant(origin, held.policy, judged)

    async def _refused(self, origin: lines.Origin, class_name: str | None, deny: Deny, asked: str) -> ports.Answer:
        line = lines.escalation_line(origin, class_name, "deny", deny.reason, {"asked": asked})
        return await self.refuser.recorded(Dialect.CHAT, line, deny)

    async def _grant(self, origin: lines.Origin, policy: Policy, granted: Granted) -> ports.Answer:
        """The quota pays first, so that no second ask slips in while the line is being written."""
        task, rule = policy.classes[granted.ask.class_name], granted.rule
        self.state.escalations.pay(granted, origin.at_ns)
        reason = Reason("escalation.granted", policy.at("classes", task.name, rule.place), f"{task.tier} to {rule.to}")
        told = {"class": task.name, "tier": rule.to, "quota": granted.quota, "seconds": rule.grant_s}
        detail = {**told, "asked": granted.ask.reason, "from": task.tier, "to": rule.to}
        try:
            receipt = await self.refuser.ledger.append(
                lines.escalation_line(origin, task.name, "allow", reason, detail)
            )
        except RecordUnavailable as gone:
            self.state.escalations.refund(granted, origin.at_ns)
            return self.refuser.unrecorded(Dialect.CHAT, gone)
        grant = self.state.escalations.give(granted, receipt.seq, origin.at_ns)
        return lines.json_answer(201, name_of(Kind.ESCALATION, receipt.seq), {"grant": grant.id, **told})
