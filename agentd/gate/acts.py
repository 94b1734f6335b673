"""How an operator's act is written down: one place that words the caller and the time, so that halts, keys and refusals
read alike in the record."""

from dataclasses import dataclass, field
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.types.callers import Peer
from agentd.core.types.records import Kind, Line


@dataclass(frozen=True, slots=True)
class Act:
    """What an operator does: the kind of line, a stable code, and what the line adds."""

    kind: Kind
    code: str
    verdict: str = "allow"
    agent: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def caller_of(peer: Peer) -> dict[str, Any]:
    """The kernel's facts of a peer in the words of the record."""
    return {
        "uid": peer.uid,
        "gid": peer.gid,
        "pid": peer.pid,
        "start": peer.start_ticks,
        "unit": peer.unit,
        "exe": peer.exe,
    }


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
