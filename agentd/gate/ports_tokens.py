"""What the door for TCP needs of the gate: to know whose token came, and to record what it turns away."""

from typing import Protocol

from agentd.core.types.callers import Peer
from agentd.core.types.calls import Dialect
from agentd.core.types.tokens import Presented
from agentd.gate.ports import Answer


class TokenGate(Protocol):
    """Tokens, seen from a door."""

    async def admit(self, peer: Peer, dialect: Dialect, presented: Presented) -> Peer | Answer:
        """The peer with the agent that its token and its uid together make it, or a refusal in its dialect."""

    async def turn_away(self, peer: Peer, dialect: Dialect, code: str, message: str) -> Answer:
        """Refuse a request for what it is, before anybody asked whose."""
