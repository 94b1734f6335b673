"""The simulator's own books: one entry per generation, with what it really cost, whatever the answer said. They are the
other side of agentd's ledger: both must come to the same sum."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from agentd.core.accounting.price import Price, cost_of
from agentd.core.types.money import NUSD_PER_USD, Nusd
from agentd.core.types.receipts import Usage
from agentd.simulator.market import Provider
from agentd.simulator.words import Json, Tally

BYOK_FEE: Final = Decimal("0.05")
"""Share of the provider's price that is billed when the provider is paid by a key of the account's own."""

MAX_ENTRIES: Final = 100_000
"""So that a long-running simulator does not grow without end; the totals still count what went."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One generation."""

    id: str
    at_ns: int
    model: str
    provider: Provider
    api: str
    streamed: bool
    tally: Tally
    price: Price = field(repr=False)
    session: str = ""
    byok: bool = False
    billed: bool = True  # False: failed, so nothing is charged
    cancelled: bool = False
    finish: str | None = "stop"
    kept: bool = False  # the answer of an earlier call, given again

    @property
    def list_cost(self) -> Nusd:
        """What the tokens cost by the price list."""
        return self._listed(self.tally.completion)

    @property
    def prompt_cost(self) -> Nusd:
        """The part of it that the prompt makes."""
        return self._listed(0)

    def _listed(self, completion: int) -> Nusd:
        """See `list_cost`, for an answer of so many tokens."""
        usage = Usage(
            self.tally.prompt,
            completion,
            self.tally.cached,
            self.tally.written,
            self.tally.reasoning,
        )
        return cost_of(self.price, usage, self.at_ns, self.tally.written_1h)

    @property
    def cost(self) -> Nusd:
        """What is charged: nothing for a failure, the fee for BYOK."""
        if not self.billed:
            return 0
        return int(self.list_cost * BYOK_FEE) if self.byok else self.list_cost

    @property
    def spend(self) -> Nusd:
        """What the caller pays in all: with BYOK the provider's own bill comes on top of the fee."""
        return self.cost + (self.list_cost if self.byok and self.billed else 0)


class Books:
    """All generations since the start, by id."""

    def __init__(self, late: int = 0) -> None:
        """`late`: how often an entry is "not found yet" before it is shown, as the real one is eventually consistent."""
        self._entries: dict[str, Entry] = {}
        self._asked: dict[str, int] = {}
        self._late = late
        self._gone_cost: Nusd = 0
        self._gone_spend: Nusd = 0

    def write(self, entry: Entry) -> None:
        """Add an entry, or replace the one with the same id."""
        self._entries[entry.id] = entry
        while len(self._entries) > MAX_ENTRIES:
            gone = self._entries.pop(next(iter(self._entries)))
            self._asked.pop(gone.id, None)
            self._gone_cost += gone.cost
            self._gone_spend += gone.spend

    def cancel(self, generation: str, produced: float) -> None:
        """The client went away after this share of the answer. Only some providers stop then; the others bill it all."""
        entry = self._entries[generation]
        tally = entry.tally
        if entry.provider.cancellable:
            completion = round(tally.completion * produced)
            tally = replace(tally, completion=completion, reasoning=min(tally.reasoning, completion))
        self.write(replace(entry, cancelled=True, finish=None, tally=tally))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Oldest first."""
        return tuple(self._entries.values())

    @property
    def total(self) -> Nusd:
        """The sum of what was charged."""
        return self._gone_cost + sum(entry.cost for entry in self._entries.values())

    @property
    def total_spend(self) -> Nusd:
        """The sum of what was paid, providers' own bills included."""
        return self._gone_spend + sum(entry.spend for entry in self._entries.values())

    def lookup(self, generation: str) -> Json | None:
        """The accounting record of a generation, or None if it is unknown or not there yet."""
        entry = self._entries.get(generation)
        if entry is None:
            return None
        asked = self._asked[generation] = self._asked.get(generation, 0) + 1
        return record_of(entry) if asked > self._late else None


def usd(nusd: Nusd) -> float:
    """Nano-dollars as the JSON number that the upstream writes."""
    return nusd / NUSD_PER_USD


def record_of(entry: Entry) -> Json:
    """An entry in the shape of the accounting endpoint."""
    tally = entry.tally
    return {
        "id": entry.id,
        "created_at": entry.at_ns // 10**9,
        "model": entry.model,
        "provider_name": entry.provider.name,
        "total_cost": usd(entry.cost),
        "usage": usd(entry.cost),
        "is_byok": entry.byok,
        "upstream_inference_cost": usd(entry.list_cost) if entry.byok and entry.billed else 0,
        "cache_discount": None,
        "streamed": entry.streamed,
        "cancelled": entry.cancelled,
        "finish_reason": entry.finish,
        "native_finish_reason": entry.finish,
        "tokens_prompt": tally.prompt,
        "tokens_completion": tally.completion,
        "native_tokens_prompt": tally.prompt,
        "native_tokens_completion": tally.completion,
        "native_tokens_cached": tally.cached,
        "native_tokens_reasoning": tally.reasoning,
        "service_tier": None,
        "session_id": entry.session or None,
        "router": None,
        "preset_id": None,
        "web_search_engine": None,
        "num_fetches": None,
        "response_cache_source_id": f"{entry.id}-source" if entry.kept else None,
        "latency": 1,
        "generation_time": 1,
        "provider_responses": [
            {
                "provider_name": entry.provider.name,
                "model_permaslug": entry.model,
                "status": 200,
                "latency": 1,
                "is_byok": entry.byok,
            }
        ],
    }
