"""Which agent a caller is: the first entry, in file order, one of whose matches holds.

A fact that the kernel did not give matches nothing, and a match without facts, which `parse` refuses, matches nobody.
`parse` also refuses two equal matches, so where two entries hold, one is narrower: the operator decides by their order.

Over TCP the token says which agent it would be, and that agent alone is asked about: without a token nobody matches. The kernel
gives no more than the uid there, so a match that names a group, unit or executable does not hold: such an agent needs an entry
with its uid alone.
"""

from agentd.core.policy.schema import FACTS, Agent, Match, Policy
from agentd.core.types.callers import Peer


def match_agent(policy: Policy, peer: Peer) -> Agent | None:
    """The agent that policy takes a peer for, or None: nobody it knows."""
    for agent in policy.index.agents.at((name, getattr(peer, name)) for name in FACTS):
        if (peer.transport == "unix" or agent.name == peer.token_agent) and any(holds(m, peer) for m in agent.match):
            return agent
    return None


def holds(match: Match, peer: Peer) -> bool:
    """Whether every fact that a match names is the peer's."""
    facts = (
        (match.uid, peer.uid),
        (match.gid, peer.gid),
        (match.unit, peer.unit),
        (match.exe, peer.exe),
    )
    asked = [(wanted, found) for wanted, found in facts if wanted is not None]
    return bool(asked) and all(wanted == found for wanted, found in asked)


def serves_tcp(agent: Agent) -> bool:
    """Whether any of an agent's matches can hold over TCP."""
    return any(
        match.uid is not None and (match.gid, match.unit, match.exe) == (None, None, None) for match in agent.match
    )
