"""What the gate asks an upstream besides calls: its accounting, the key itself, its lists. All of it happens beside the way:
no call ever waits for an answer from here."""

from typing import Any, Protocol

from agentd.gate.ports import Endpoint


class Accounts(Protocol):
    """Questions to an upstream of kind `openrouter`, answered with bytes that the pure rooms read.

    Each raises `UpstreamFailed` (no usable answer) or `KeyUnavailable`.
    """

    async def generation(self, endpoint: Endpoint, generation: str) -> bytes | None:
        """The accounting record of a call, or None: there is none, or none yet."""

    async def key(self, endpoint: Endpoint, value: str | None = None) -> bytes:
        """What the key may do and has used; `value` asks for a key that is not in use yet."""

    async def models(self, endpoint: Endpoint) -> bytes:
        """The list of models with their prices."""

    async def private(self, endpoint: Endpoint) -> bytes:
        """The list of endpoints that keep nothing."""


class OwedReader(Protocol):
    """The record, asked for what is not settled."""

    async def owed(self, since_ns: int) -> list[dict[str, Any]]:
        """Calls that were closed since a time without a cost; see `edge.ledger.reader`."""
