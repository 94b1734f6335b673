"""The thought alone, in this process: what a verdict costs under a policy of 200 rules."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from agentd.compiling import Compiler
from agentd.core.dialects import grammar
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide
from agentd.core.policy.facts import Facts
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Agent, Policy
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.calls import Dialect, Hints, Request
from agentd.core.types.classes import Classified
from agentd.core.types.records import Line
from agentd.core.types.verdicts import Allow, Verdict
from agentd.edge.host.catalogue import load_catalogue
from agentd.gate import lines
from agentd.gate.sessions import session_of
from agentd.gate.spend import Account, Spend
from bench.bodies import CALL, chat_body

AGENTS, CLASSES, BUDGETS = 60, 72, 64
"""With four tiers 200 rules: sixty agents is more than any box has, so matching and budgets are tried at their worst."""

REPEATS = 100
"""Verdicts between two looks at the clock."""

AT_NS = 1_795_000_000 * 10**9
"""A day in November 2026, before every agent's date."""


def policy_text() -> str:
    """A policy of 200 rules: agents by unit, classes by lane, tiers, and a budget for almost every agent."""
    parts = [
        "version: 1\nowner: ops@example.org\nreviewed: 2026-11-20\nchange: measured\n",
        "labels: [public, internal, private, secret]\n\nagents:\n",
        *(_agent(number) for number in range(AGENTS)),
        "upstreams:\n  openrouter: { kind: openrouter, url: https://openrouter.ai/api/v1, key: openrouter }\n\ntiers:\n",
        *(_tier(*tier) for tier in _TIERS),
        "classes:\n",
        *(_class(number) for number in range(CLASSES)),
        "budgets:\n",
        "  box-day: { owner: ops@example.org, scope: box, window: day, limit: 1000.00 }\n",
        "  box-month: { owner: ops@example.org, scope: box, window: month, limit: 9000.00 }\n",
        "  tier-day: { owner: ops@example.org, scope: tier, of: standard, window: day, limit: 500.00 }\n",
        "  session: { owner: ops@example.org, scope: session, window: session, limit: 30.00 }\n",
        *(_budget(number) for number in range(BUDGETS - 4)),
        "...\n",
    ]
    return "".join(parts)


_TIERS = (
    ("economy", "google/gemini-2.5-flash-lite"),
    ("standard", "minimax/minimax-m2.5"),
    ("strong", "moonshotai/kimi-k2.5"),
    ("frontier", "anthropic/claude-opus-4.6"),
)


def _agent(number: int) -> str:
    classes = ", ".join(f"work-{(number + step) % CLASSES}" for step in range(4))
    return (
        f"  agent-{number}:\n    owner: ops@example.org\n    expires: 2027-06-30\n"
        f"    match: [{{ unit: agent-{number}.service }}]\n    default_class: work-{number % CLASSES}\n"
        f"    classes: [{classes}]\n    ceiling: frontier\n    label: private\n"
    )


def _tier(name: str, model: str) -> str:
    served = f"{{ id: {model}, upstream: openrouter }}"
    return f"  {name}: {{ owner: ops@example.org, max_output: 8192, max_label: private, models: [{served}] }}\n"


def _class(number: int) -> str:
    return (
        f"  work-{number}: {{ owner: ops@example.org, tier: standard, ceiling: frontier, max_output: 4096, "
        f"deadline: 5m, lanes: [lane-{number}, agentd/work-{number}] }}\n"
    )


def _budget(number: int) -> str:
    return f"  agent-{number}-day: {{ owner: ops@example.org, scope: agent, of: agent-{number}, window: day, limit: 20.00 }}\n"


@dataclass(frozen=True, slots=True)
class _Case:
    """A call by the last of the agents, under the policy of 200 rules."""

    compiler: Compiler
    policy: Policy
    request: Request
    spend: Spend

    def facts(self, agent: Agent, classified: Classified) -> Facts:
        """The box as the gate sees it."""
        account = Account(agent.name, classified.name, "", self.request.session)
        used = self.spend.used(self.policy, account, AT_NS)
        return Facts(AT_NS, prices=self.compiler.prices(self.policy), used=used, keys=frozenset({"openrouter"}))

    def judged(self) -> tuple[Agent, Classified, Verdict]:
        """All that is thought about a call whose body was read."""
        request, policy = self.request, self.policy
        agent = match_agent(policy, request.caller.peer)
        if agent is None:
            raise SystemExit("bench: the policy of 200 rules does not know its own agent")
        classified = classify(policy, agent, request.call, request.hints, None)
        return agent, classified, decide(policy, request, classified, self.facts(agent, classified))


def measure() -> tuple[float, float]:
    """Microseconds, the median of many: of `decide`, and of recognising, classifying, adding up and deciding."""
    case = _case()
    agent, classified, verdict = case.judged()
    if not isinstance(verdict, Allow):
        raise SystemExit(f"bench: the policy of 200 rules refuses its own call: {verdict.reason.message}")
    facts = case.facts(agent, classified)
    return _median_us(lambda: decide(case.policy, case.request, classified, facts)), _median_us(case.judged)


def decision_line() -> Line:
    """The line of an allowed call, as the gate writes it."""
    case = _case()
    _, classified, verdict = case.judged()
    line = lines.decision_line(case.policy, "0" * 64, case.request, classified, verdict)
    return replace(line, agent="main", tier="economy", model="google/gemini-2.5-flash-lite")


def _case() -> _Case:
    compiler = Compiler(load_catalogue().prices)
    policy = compiler.compile(policy_text(), "bench.yaml")
    peer = Peer("agent", 1000, 1000, 4711, start_ticks=123456, unit=f"agent-{AGENTS - 1}.service")
    call = grammar(Dialect.CHAT).read(chat_body(CALL))
    hints, name = Hints(lane=f"lane-{AGENTS - 1}", client="openclaw/2026.11.1"), f"agent-{AGENTS - 1}"
    caller = Caller(peer, name)
    request = Request("r-0123456789abcdef", AT_NS, caller, call, hints, session_of(name, hints, call))
    return _Case(compiler, policy, request, Spend())


def _median_us(work: Callable[[], object]) -> float:
    """The median of some hundred batches."""
    took: list[float] = []
    for _ in range(200):
        began = time.perf_counter_ns()
        for _ in range(REPEATS):
            work()
        took.append((time.perf_counter_ns() - began) / REPEATS / 1000)
    return statistics.median(took)
