"""From a body to what is served: the simulator as one function, without a socket. It reads, filters, composes, prices and
books; what it serves is an answer, a problem, or silence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.accounting.price import Price, fixed_price, parse_price
from agentd.simulator.books import Books, Entry
from agentd.simulator.cache import PromptCache
from agentd.simulator.config import SimulatorConfig
from agentd.simulator.faults import FAILING, HANG, QUIRKS, Scene, refusal, split
from agentd.simulator.listing import ROUTER, find
from agentd.simulator.market import Provider, choose
from agentd.simulator.problems import TOKEN_LIMITS, unavailable
from agentd.simulator.scenario import Plan, compose, digest_of
from agentd.simulator.words import Answer, Asked, Grammar, Invalid, Json, Problem, Tally, count_tokens

FAULT_AUTHOR: Final = "sim/"
FAULT_MODEL: Final = ModelEntry(200_000, 64_000, "Simulated fault", 0, ("text", "image"))
"""What the models `sim/NAME` are; they are served and never listed."""

FAULT_PRICE: Final = fixed_price("1", "2")
UNBILLED: Final = FAILING | {"error-mid", "zero-usage"}
"""Faults after which nothing is charged: failed generations are insured, and a cached answer costs nothing."""


LENIENT: Final = "responses"
"""The API in which an exceeded token limit is no error but an answer without text that ended by length."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a request gets: exactly one of `answer` and `problem`, or neither for silence."""

    generation: str
    answer: Answer | None = None
    problem: Problem | None = None
    plan: Plan = Plan()
    stream: bool = False

    @property
    def faults(self) -> frozenset[str]:
        """Names of the faults in play, without arguments."""
        return frozenset(split(fault)[0] for fault in self.plan.faults)


class Engine:
    """The simulated service: its books, its caches, and what it has met before."""

    def __init__(self, config: SimulatorConfig) -> None:
        """Start with empty books."""
        self.config = config
        self.books = Books(config.late)
        self._cache = PromptCache()
        self._met: set[tuple[str, str, str]] = set()
        self._count = 0

    def serve(self, grammar: Grammar, body: Json, headers: Mapping[str, str]) -> Served:
        """Serve one request; `headers` have lower-case names. Books what it costs before anything is answered."""
        self._count += 1
        now_ns = self.config.wall_ns()
        generation = f"gen-{now_ns // 10**9}-sim{self._count:08x}"
        try:
            asked = grammar.read(body, headers)
        except Invalid as error:
            return Served(generation, problem=Problem(400, error.error_type, error.message))
        found = self._find(asked.model)
        if found is None:
            return Served(generation, problem=unavailable("model_not_found", asked.model))
        name, entry, price = found
        asked = replace(asked, model=name)
        provider = choose(asked, entry, price)
        if isinstance(provider, Problem):
            return Served(generation, problem=provider)
        cap = asked.cap or entry.max_output
        plan = compose(asked, cap)
        scene = Scene(name, cap, headers.get("authorization", ""), now_ns, lambda what: self._first(what, asked))
        problem = next((made for fault in plan.faults if (made := refusal(fault, scene))), None)
        if problem is not None and grammar.name == LENIENT and problem.error_type in TOKEN_LIMITS:
            problem, plan = None, Plan(finish="length")
        if problem is not None or HANG in plan.faults:
            return Served(generation, problem=problem, plan=plan, stream=asked.stream)
        blank = Entry(generation, now_ns, name, provider, grammar.name, asked.stream, Tally(), price)
        booked = self._book(blank, asked, plan)
        told = headers.get("x-openrouter-metadata") == "enabled"
        metadata = _metadata(asked, provider, "retried" in plan.faults) if told else None
        return Served(generation, _answer(booked, plan, metadata), None, plan, asked.stream)

    def _find(self, model: str) -> tuple[str, ModelEntry, Price] | None:
        """The model that serves, with its price; no name and the router mean the account's default."""
        if model.startswith(FAULT_AUTHOR):
            return model, FAULT_MODEL, FAULT_PRICE
        found = find(self.config, self.config.default_model if model in ("", ROUTER) else model)
        price = None if found is None else parse_price(found[1].pricing)
        return None if found is None or price is None else (*found, price)

    def _first(self, what: str, asked: Asked) -> bool:
        """Whether a fault meets this prompt at this model for the first time."""
        key = (what, asked.model, digest_of(asked.turns))
        first = key not in self._met
        self._met.add(key)
        return first

    def _book(self, entry: Entry, asked: Asked, plan: Plan) -> Entry:
        """Count the tokens, and write the entry."""
        names = {split(fault)[0] for fault in plan.faults}
        caches = entry.price.cache_read < entry.price.prompt
        tally = self._cache.visit(asked, entry.at_ns, caches)
        failed = bool(names & (FAILING | {"error-mid"}))
        booked = replace(
            entry,
            tally=replace(tally, completion=plan.completion_tokens, reasoning=count_tokens(plan.reasoning)),
            session=asked.session,
            byok="byok" in names,
            billed=not names & UNBILLED,
            kept="zero-usage" in names,
            finish="error" if failed else plan.finish,
        )
        self.books.write(booked)
        return booked


def _answer(entry: Entry, plan: Plan, metadata: Json | None) -> Answer:
    """The answer of a booked generation."""
    return Answer(
        generation=entry.id,
        created=entry.at_ns // 10**9,
        model=entry.model,
        provider=entry.provider.name,
        text=plan.text,
        calls=plan.calls,
        reasoning=plan.reasoning,
        finish=plan.finish,
        tally=entry.tally,
        cost=entry.list_cost if entry.billed else 0,
        prompt_cost=entry.prompt_cost if entry.billed else 0,
        quirks=QUIRKS & {split(fault)[0] for fault in plan.faults},
        metadata=metadata,
    )


def _metadata(asked: Asked, provider: Provider, retried: bool) -> Json:
    """How the request was routed, for those who asked for it by header. `retried`: another provider failed before."""
    endpoint = {"provider": provider.name, "model": asked.model}
    before = [{"provider": "Beta", "model": asked.model, "status": 429}] if retried else []
    return {
        "requested": asked.model,
        "strategy": "direct",
        "region": "sim",
        "attempt": len(before) + 1,
        "is_byok": False,
        "summary": "available=1",
        "endpoints": {"total": 1, "available": [{**endpoint, "selected": True}]},
        "attempts": [*before, {**endpoint, "status": 200}],
        "pipeline": [],
    }
