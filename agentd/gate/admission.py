"""Who comes by TCP: the token says which agent it would be, the kernel which user owns the connection, and policy whether that
user may be that agent. All three must agree; the answer to anything else is no.

What is refused here is recorded within bounds (`noise`), for anybody on the box can knock. A valid token in the hands of another
user was stolen, or the policy was not told of a move: that is said loudly.
"""

import logging
from dataclasses import dataclass, replace
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.policy.match import match_agent
from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.tokens import Presented
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate import lines, ports
from agentd.gate.refusing import DAEMON_RULE, Refuser
from agentd.gate.tokens import Standing, Token, Tokens

NEW = "The operator makes one with: agentctl agent token create AGENT"
MISSING = Reason(
    "token.missing",
    DAEMON_RULE,
    "no local token came with this request",
    f"Send the agent's token as Authorization: Bearer, or as x-api-key. {NEW}",
)
AMBIGUOUS = Reason(
    "token.ambiguous",
    DAEMON_RULE,
    "Authorization and x-api-key hold different tokens",
    "Send one of them, or the same in both.",
)
UNKNOWN = Reason("token.unknown", DAEMON_RULE, "this is no local token of this box", NEW)
REVOKED = Reason("token.revoked", DAEMON_RULE, "this token was revoked", NEW)
EXPIRED = Reason("token.expired", DAEMON_RULE, "this token has expired", NEW)
WRONG_UID = Reason(
    "token.wrong_uid",
    DAEMON_RULE,
    "this token belongs to an agent that the user of this process may not be",
    "The operator sees more with: agentctl logs --verdict deny",
)
NO_AGENT = Reason(
    "token.no_agent",
    DAEMON_RULE,
    "the agent of this token is not in the policy",
    "The operator adds it under agents:, or revokes the token.",
)

log = logging.getLogger("agentd.tokens")


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why somebody is not let in, how that is answered, and what the record adds."""

    reason: Reason
    answer: Answer
    detail: dict[str, Any]


class Admission:
    """Fulfils `ports_tokens.TokenGate`."""

    def __init__(self, refuser: Refuser, tokens: Tokens) -> None:
        """`refuser` knows the policy in force and writes the lines."""
        self._refuser = refuser
        self._tokens = tokens

    async def admit(self, peer: Peer, dialect: Dialect, presented: Presented) -> Peer | ports.Answer:
        """See `TokenGate`. Without a policy in force a valid token is let in, to be refused for that."""
        at_ns = self._refuser.clock.wall_ns()
        token = self._shown(presented, at_ns)
        if isinstance(token, _Refused):
            return await self._refuse(peer, dialect, token)
        known = replace(peer, token=token.id, token_agent=token.agent)
        held = self._refuser.policies.current
        if held is not None and match_agent(held.policy, known) is None:
            return await self._refuse(peer, dialect, self._not_theirs(known, token, token.agent in held.policy.agents))
        self._tokens.used(token, at_ns)
        return known

    async def turn_away(self, peer: Peer, dialect: Dialect, code: str, message: str) -> ports.Answer:
        """See `TokenGate`."""
        hint = "Point the client at 127.0.0.1 or localhost."
        refused = _Refused(Reason(code, DAEMON_RULE, message, hint), Answer.INVALID, {})
        return await self._refuse(peer, dialect, refused)

    def _shown(self, presented: Presented, at_ns: int) -> Token | _Refused:
        """The one valid token that was shown."""
        if len(presented.values) != 1:
            return _Refused(AMBIGUOUS if presented.values else MISSING, Answer.UNIDENTIFIED, {})
        token = self._tokens.find(presented.values[0])
        if token is None:
            return _Refused(UNKNOWN, Answer.UNIDENTIFIED, {})
        standing = token.standing(at_ns)
        if standing is Standing.VALID:
            return token
        reason = REVOKED if standing is Standing.REVOKED else EXPIRED
        return _Refused(reason, Answer.UNIDENTIFIED, {"token": token.id, "token_agent": token.agent})

    def _not_theirs(self, peer: Peer, token: Token, agent_known: bool) -> _Refused:
        """A valid token, and a user that may not use it."""
        detail = {"token": token.id, "token_agent": token.agent}
        if not agent_known:
            return _Refused(NO_AGENT, Answer.UNKNOWN, detail)
        self._tokens.misused(token, peer.uid, rfc3339(self._refuser.clock.wall_ns()))
        return _Refused(WRONG_UID, Answer.UNKNOWN, detail)

    async def _refuse(self, peer: Peer, dialect: Dialect, refused: _Refused) -> ports.Answer:
        line = lines.with_detail(lines.refusal_line(self._refuser.origin(peer, None), refused.reason), refused.detail)
        answer, recorded = await self._refuser.within_bounds(dialect, line, Deny(refused.reason, refused.answer))
        if recorded and refused.reason is WRONG_UID:
            log.error(
                "token %s of agent %s was used by uid %d, which that agent may not be: stolen, or the policy lacks the uid",
                refused.detail["token"],
                refused.detail["token_agent"],
                peer.uid,
            )
        return answer
