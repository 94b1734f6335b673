"""How an operator's act is written down: one place that words the caller and the time, so that halts, keys and refusals
read alike in the record."""

from dataclasses import dataclass, field
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.types.callers import Peer
from agentd.core.types.records import Kind, Line
from agentd.gate.lines import caller_of


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator does: the kind of line, a stable code, and what the line adds."""

    kind: Kind
    code: str
    verdict: str = "allow"
    agent: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def act_line(at_ns: int, peer: Peer, act: Act) -> Line:
    """The line of an act. `at_ns` is wall time; the rest of the fields do not apply and stay empty."""
    return Line(
        kind=act.kind,
        at=rfc3339(at_ns),
        caller=caller_of(peer),
        verdict=act.verdict,
        code=act.code,
        agent=act.agent,
        detail=dict(act.detail),
    )
