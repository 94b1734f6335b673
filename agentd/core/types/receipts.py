"""Proof that a decision was written down, the permit made of it, and what came of it.

Enforcement takes only a `Permit`. It is made in `gate/pipeline.py` alone, from an `Allow` and its `Receipt`.
"""

from dataclasses import dataclass
from enum import StrEnum

from agentd.core.types.money import Nusd
from agentd.core.types.verdicts import Allow


@dataclass(frozen=True, slots=True)
class Receipt:
    """A line of the ledger that is durable: its number and chained digest (hex)."""

    seq: int
    digest: str

    @property
    def decision(self) -> str:
        """The name people use: `d-41`."""
        return f"d-{self.seq}"


@dataclass(frozen=True, slots=True)
class Permit:
    """An allow that was recorded: the only thing enforcement accepts."""

    allow: Allow
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts and cost as an upstream reported them; None is "not said", which is not zero.

    `prompt` includes `cached` and `cache_write`, in every dialect (the messages reader adds them up).
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost: Nusd | None = None  # what the upstream bills, BYOK share included


class CostSource(StrEnum):
    """Where a settled cost comes from."""

    REPORTED = "reported"  # the upstream said it
    COMPUTED = "computed"  # tokens times the price table
    UNSETTLED = "unsettled"  # unknown: the reservation stays


class Ending(StrEnum):
    """How an upstream answer ended."""

    DONE = "done"
    ERROR = "error"  # the upstream said so, before or in the stream
    CUT = "cut"  # it stopped without its end mark
    CLIENT_GONE = "client_gone"
    TIMEOUT = "timeout"
    STOPPED = "stopped"  # agentd was told to stop
    HALTED = "halted"  # the operator stopped it
    UNKNOWN = "unknown"  # agentd died in between; written by recovery


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a permitted call. Closes its line."""

    ending: Ending
    status: int  # HTTP status that the agent saw; 0 if it saw none
    cost: Nusd | None
    cost_source: CostSource
    usage: Usage = Usage()
    model_served: str | None = None
    provider: str | None = None
    generation: str | None = None  # the upstream's handle for settlement
    overhead_us: int = 0  # agentd's own share
    upstream_ms: int = 0
    error: str | None = None  # the upstream's own error type, never its text
    tool_calls: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()  # providers that saw the data
    unasked: tuple[str, ...] = ()  # tools that ran at the provider, which no request asks for
