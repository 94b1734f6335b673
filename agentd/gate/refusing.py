"""Refusals: each has a line in the record and words in the agent's own dialect.

Two kinds of refusal have no line of their own: those whose reason is that there can be none, and those beyond what `noise` allows
their caller. These are counted, and the agent is told the line that stands for them: the last one of their kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agentd.core.accounting.canonical import name_of
from agentd.core.accounting.times import rfc3339
from agentd.core.dialects import grammar
from agentd.core.policy.match import match_agent
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import RecordUnavailable, Unreadable
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate import lines, ports
from agentd.gate.current import CurrentPolicy
from agentd.gate.noise import Noise

DAEMON_RULE = "agentd"
"""The rule of a refusal that no policy decides."""

RETRY_S = 5
"""When a caller may come back to a daemon that cannot serve at the moment."""

ANSWERS = {
    "request.too_large": Answer.TOO_LARGE,
    "request.unknown_route": Answer.NOT_FOUND,
    "request.unknown_model": Answer.NOT_FOUND,
    "request.busy": Answer.UNAVAILABLE,
    "daemon.internal": Answer.UNAVAILABLE,
    "caller.unknown": Answer.UNKNOWN,
}
"""How refusals by code are answered; all others are invalid requests."""


@dataclass(frozen=True, slots=True)
class Refuser:
    """Records a refusal, then puts it into words."""

    ledger: ports.Ledger
    clock: ports.Clock
    policies: CurrentPolicy
    new_id: Callable[[], str]
    noise: Noise = field(default_factory=Noise)

    async def recorded(self, dialect: Dialect, line: Line, deny: Deny) -> ports.Answer:
        """Write the line, then word the refusal."""
        return (await self.within_bounds(dialect, line, deny))[0]

    async def within_bounds(self, dialect: Dialect, line: Line, deny: Deny) -> tuple[ports.Answer, bool]:
        """The same; whether it was given a line of its own is in the answer too (see `noise`)."""
        unheard = self.noise.heard(line, self.clock.wall_ns())
        if unheard is None:
            return worded(dialect, deny, self.noise.stands_for(line)), False
        try:
            name = await self._write(line, unheard)
        except RecordUnavailable as gone:
            self.noise.unwritten(line, unheard)
            return self.unrecorded(dialect, gone), True
        return worded(dialect, deny, name), True

    async def catch_up(self, *, everything: bool = False) -> None:
        """Write down what waits for a line in vain (see `Noise.due`). A record that takes none gets them later."""
        due = self.noise.due(self.clock.wall_ns(), everything=everything)
        for place, (line, unheard) in enumerate(due):
            late = lines.with_detail(line, {"refused_at": line.at})
            try:
                await self._write(replace(late, at=rfc3339(self.clock.wall_ns())), unheard)
            except RecordUnavailable:
                for left, count in due[place:]:
                    self.noise.unwritten(left, count + 1)
                return

    async def _write(self, line: Line, unheard: int) -> str:
        """The name of the line, once it stands; it tells how many went before without one. Raises `RecordUnavailable`."""
        counted = lines.with_detail(line, {"unrecorded_before": unheard} if unheard else {})
        receipt = await self.ledger.append(counted)
        name = name_of(line.kind, receipt.seq)
        self.noise.written(line, name)
        return name

    def unrecorded(self, dialect: Dialect, gone: RecordUnavailable) -> ports.Answer:
        """What a caller is told when nothing can be written down: no, whatever it asked."""
        message = "agentd cannot write its record and refuses everything until it can"
        reason = Reason(gone.code, DAEMON_RULE, message, "The operator sees why with: agentctl status")
        return worded(dialect, Deny(reason, Answer.UNAVAILABLE, RETRY_S), "")

    async def never_a_call(self, peer: Peer, dialect: Dialect, reason: Reason, answer: Answer) -> ports.Answer:
        """Refuse something that could not be read as a call. A stranger is only told that it is one."""
        held = self.policies.current
        agent = match_agent(held.policy, peer) if held else None
        if held is not None and agent is None:
            reason, answer = stranger(held.policy.source), Answer.UNKNOWN
        line = lines.refusal_line(self.origin(peer, agent.name if agent else None), reason)
        return await self.recorded(dialect, line, Deny(reason, answer))

    async def unreadable(self, peer: Peer, dialect: Dialect, error: Unreadable) -> ports.Answer:
        """Refuse a body that is no request of its dialect."""
        return await self.never_a_call(
            peer, dialect, Reason(error.code, DAEMON_RULE, error.message, error.hint), error.answer
        )

    async def by_code(self, peer: Peer, dialect: Dialect, code: str, message: str) -> ports.Answer:
        """Refuse what a door turned away."""
        return await self.never_a_call(
            peer, dialect, Reason(code, DAEMON_RULE, message), ANSWERS.get(code, Answer.INVALID)
        )

    async def unavailable(self, peer: Peer, dialect: Dialect, *, stopping: bool) -> ports.Answer:
        """Refuse because agentd stops, or has no policy."""
        if stopping:
            message = "agentd is stopping and takes no new calls"
            reason = Reason("daemon.stopping", DAEMON_RULE, message, "Ask again in a moment.")
        else:
            message = "agentd has no valid policy and refuses everything"
            reason = Reason("policy.none", DAEMON_RULE, message, "The operator sees the faults with: agentctl status")
        line = lines.refusal_line(self.origin(peer, None), reason)
        return await self.recorded(dialect, line, Deny(reason, Answer.UNAVAILABLE, RETRY_S))

    def origin(self, peer: Peer, agent: str | None, session: str = "") -> lines.Origin:
        """Who asks, now, under which policy."""
        held = self.policies.current
        digest = held.digest if held else None
        return lines.Origin(peer, self.new_id(), self.clock.wall_ns(), agent, session, digest)


def worded(dialect: Dialect, deny: Deny, decision: str) -> ports.Answer:
    """A refusal in the dialect's own shape."""
    refusal = grammar(dialect).refusal(deny, decision)
    return ports.Answer(refusal.status, refusal.headers, refusal.body)


def stranger(source: str) -> Reason:
    """Why a caller that nobody knows gets nothing, whatever it sent."""
    hint = "The operator adds an entry under agents: in the policy that matches it."
    return Reason("caller.unknown", f"agents ({source})", "no agent of the policy matches this process", hint)
