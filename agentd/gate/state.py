"""What the gate itself remembers, as one decision sees it and as one call changes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agentd.core.accounting.price import Price
from agentd.core.policy.classify import asked_class
from agentd.core.policy.facts import Facts, Memory, Used
from agentd.core.policy.model import turn_of
from agentd.core.policy.schema import Policy
from agentd.core.types.calls import Request
from agentd.core.types.classes import Classified
from agentd.core.types.verdicts import ModelLimits
from agentd.gate import ports
from agentd.gate.books.outside import Outside
from agentd.gate.escalations import Escalations, Live
from agentd.gate.halts import Halts
from agentd.gate.sessions import Sessions
from agentd.gate.spend import Account, Reservation, Spend


@dataclass(frozen=True, slots=True)
class Claim:
    """What a call took before it was recorded: money, and perhaps a grant."""

    money: Reservation
    grant: Live | None


def foreign_to(before: Memory | None, request: Request, model: str) -> int:
    """How many messages of a session were written before it came to this model: in them, others may have signed their thinking,
    which this one answers with a permanent error. The client sends them again with every call."""
    if before is None:
        return 0
    return before.foreign if before.model == model else request.call.shape.turns


@dataclass(frozen=True, slots=True)
class State:
    """Sums, sessions, grants and halts, and what a decision needs of the world beside them."""

    keys: ports.Keys
    halts: Halts
    spend: Spend
    sessions: Sessions
    escalations: Escalations
    prices: Callable[[Policy], Mapping[str, Price]]
    simulated: bool
    outside: Outside = field(default_factory=Outside)

    def facts(
        self, policy: Policy, request: Request, classified: Classified | None, without: frozenset[str] = frozenset()
    ) -> Facts:
        """The box as it is now, for one decision. A caller that nobody knows has no history."""
        at, agent, session = request.at_ns, request.caller.agent, request.session
        used: Mapping[tuple[str, str], Used] = {}
        memory, grant = None, None
        if classified is not None and agent is not None:
            used = self.spend.used(policy, Account(agent, classified.name, "", session), at)
            memory = self.sessions.recall(session, at)
            grants = self.escalations.find(agent, session, at)
            grant = next((grant for grant in grants if grant.class_name == classified.name), None)
        return Facts(
            at_ns=at,
            prices=self.prices(policy),
            used=used,
            memory=memory,
            grant=grant,
            halts=self.halts.active(),
            without=without,
            keys=frozenset(self.keys.names()),
            simulated=self.simulated,
            shut=self.outside.shut,
            models=self.outside.models,
        )

    def claim(self, request: Request, classified: Classified, limits: ModelLimits) -> Claim:
        """Take what an allow needs, in the same step in which it was decided."""
        account = Account(request.caller.agent or "", classified.name, limits.tier, request.session)
        money = self.spend.reserve(account, limits.reserved, request.at_ns)
        grant = self.escalations.take(limits.escalation.grant) if limits.escalation is not None else None
        return Claim(money, grant)

    def give_back(self, claim: Claim) -> None:
        """Undo a claim whose call was not recorded, and so did not happen."""
        self.spend.release(claim.money)
        if claim.grant is not None:
            self.escalations.put_back(claim.grant)

    def remember(
        self, request: Request, classified: Classified, limits: ModelLimits, grant: Live | None
    ) -> Memory | None:
        """Note what the session was given, for its next call; answers what it was given before."""
        before = self.sessions.recall(request.session, request.at_ns)
        until = grant.until_ns if grant is not None else before.raised_until_ns if before is not None else 0
        given = Memory(
            class_name=classified.name,
            tier=limits.tier,
            model=limits.model,
            upstream=limits.upstream,
            turn=turn_of(request),
            foreign=foreign_to(before, request, limits.model),
            raised_until_ns=until,
            asked=asked_class(classified, before),
        )
        self.sessions.remember(request.session, given, request.at_ns)
        return before
