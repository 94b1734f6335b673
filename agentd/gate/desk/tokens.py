"""The operator's local tokens: made, replaced, revoked, listed. Each act is a line of the record before it is done. A token
leaves the daemon once, in the answer to the act that made it; what is kept is its digest."""

from typing import Any

from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.policy.match import serves_tcp
from agentd.core.policy.schema import Agent
from agentd.core.types.callers import Peer
from agentd.core.types.records import Kind, Line
from agentd.core.types.tokens import digest_of, id_of
from agentd.core.types.verdicts import Answer
from agentd.gate.acts import Act, act_line
from agentd.gate.desk.rooms import Desk
from agentd.gate.ports_operator import Json, OperatorRefused
from agentd.gate.tokens import Standing, Token

MAX_LIFE_S = 366 * 86_400
"""A token that nobody renews ends within a year, as an agent does that nobody reviews."""

MAX_GRACE_S = 7 * 86_400
"""How long a replaced token may go on: long enough for an agent that is restarted once a week."""

MAX_LIVE = 8
"""Tokens that an agent can have at a time: one, and those that are being replaced. More are forgotten ones."""


class TokenDesk:
    """Tokens, as an operator handles them."""

    def __init__(self, desk: Desk) -> None:
        """Take the rooms."""
        self._desk = desk

    def listing(self) -> Json:
        """Every token of the record, what it is worth now, and what was done with stolen ones."""
        now, tokens = self._desk.clock.wall_ns(), self._desk.tokens
        rows = [_row(token, now, tokens.last_used(token)) for token in tokens.all()]
        return {"tokens": rows, "tcp": self._desk.vitals().get("tcp"), "misuse": self.misuse()}

    def misuse(self) -> Json | None:
        """Valid tokens in wrong hands since the start: how often, and the newest."""
        seen = self._desk.tokens.misuse
        if seen is None:
            return None
        return {"count": seen.count, "at": seen.at, "token": seen.token, "agent": seen.agent, "uid": seen.uid}

    async def create(self, peer: Peer, name: str, life_s: int) -> Json:
        """One more token for an agent."""
        agent, now = self._agent(name), self._desk.clock.wall_ns()
        if len(self._desk.tokens.live(name, now)) >= MAX_LIVE:
            hint = f"Revoke one that is not in use: agentctl agent token list --agent {name}"
            raise OperatorRefused("token.too_many", f"Agent {name} has {MAX_LIVE} valid tokens already.", hint)
        return await self._make(peer, agent, "token.create", {"expires": _end(now, life_s, MAX_LIFE_S, "expires_s")})

    async def rotate(self, peer: Peer, name: str, life_s: int, grace_s: int) -> Json:
        """A new token for an agent; those that it has serve for `grace_s` more seconds, 0: not at all."""
        agent, now = self._agent(name), self._desk.clock.wall_ns()
        detail = {
            "expires": _end(now, life_s, MAX_LIFE_S, "expires_s"),
            "replaces": [token.id for token in self._desk.tokens.live(name, now)],
            "until": _end(now, grace_s, MAX_GRACE_S, "grace_s", least=0),
        }
        return await self._make(peer, agent, "token.rotate", detail)

    async def revoke(self, peer: Peer, name: str) -> Json:
        """End a token, now. One that has ended already can be revoked too: it says so from then on."""
        token = self._desk.tokens.get(name)
        if token is None:
            raise OperatorRefused(
                "token.none", "There is no token of that id.", "agentctl agent token list", Answer.NOT_FOUND
            )
        await self._record(peer, "token.revoke", token.agent, {"id": token.id})
        return {"id": token.id, "agent": token.agent}

    async def _make(self, peer: Peer, agent: Agent, code: str, detail: dict[str, Any]) -> Json:
        """Mint, write down, take up; then tell. A token whose line does not stand is never told, and so is none."""
        value = self._desk.tokens.mint()
        digest = digest_of(value)
        made = {"id": id_of(digest), "sha256": digest, **detail}
        await self._record(peer, code, agent.name, made)
        return {
            "token": value,
            "id": made["id"],
            "agent": agent.name,
            "expires": detail["expires"],
            "replaces": detail.get("replaces", []),
            "until": detail.get("until"),
            "tcp": self._desk.vitals().get("tcp"),
            "usable": serves_tcp(agent),
        }

    async def _record(self, peer: Peer, code: str, agent: str, detail: dict[str, Any]) -> None:
        line = act_line(self._desk.clock.wall_ns(), peer, Act(Kind.TOKEN, code, agent=agent, detail=detail))
        await self._desk.ledger.append(line)
        self._desk.tokens.learn(_as_read(line))

    def _agent(self, name: str) -> Agent:
        """An agent of the policy in force: a token for anybody else could never be used."""
        held = self._desk.policies.current
        if held is None:
            raise OperatorRefused("policy.none", "No policy is in force.", "agentctl doctor", Answer.UNAVAILABLE)
        agent = held.policy.agents.get(name)
        if agent is None:
            known = ", ".join(held.policy.agents)
            raise OperatorRefused(
                "token.no_agent", f"The policy has no agent {name[:40]}.", f"It has {known}.", Answer.NOT_FOUND
            )
        return agent


def _as_read(line: Line) -> dict[str, Any]:
    """A line as the record gives it back, as far as `Tokens.learn` reads it."""
    return {"code": line.code, "agent": line.agent, "at": line.at, "caller": line.caller, "detail": line.detail}


def _end(now_ns: int, seconds: int, most: int, field: str, least: int = 1) -> str:
    """The time so many seconds from now. Raises `OperatorRefused`."""
    if not least <= seconds <= most:
        raise OperatorRefused("request.field", f"{field} takes {least} to {most} seconds.")
    return rfc3339(now_ns + seconds * NS_PER_S)


def _row(token: Token, now_ns: int, used_ns: int | None) -> Json:
    standing = token.standing(now_ns)
    return {
        "id": token.id,
        "agent": token.agent,
        "state": "replaced" if standing is Standing.VALID and token.replaced else standing.value,
        "made_at": token.made_at,
        "by_uid": token.by_uid,
        "expires": rfc3339(token.expires_ns),
        "last_used": None if used_ns is None else rfc3339(used_ns),
    }
