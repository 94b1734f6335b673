"""How requests, verdicts and outcomes are put into lines of the record. Names, numbers, digests and codes; never content."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from agentd.core.accounting.times import rfc3339
from agentd.core.policy.model import tier_asked
from agentd.core.policy.schema import Policy
from agentd.core.types.callers import Peer
from agentd.core.types.calls import ModelCall, Request
from agentd.core.types.classes import Classified
from agentd.core.types.receipts import Outcome, Permit, Receipt
from agentd.core.types.records import Kind, Line
from agentd.core.types.verdicts import Allow, Ask, Charge, Deny, Escalation, Reason, Verdict
from agentd.gate.ports import Answer

MAX_NAMES = 32
MAX_SAID = 128
"""So many names of an answer are kept, cut to this."""

MAX_NAME = 200
"""Names that a client chose are cut to this in the record."""


def caller_of(peer: Peer) -> dict[str, Any]:
    """The kernel's facts of a process; over TCP also which token it showed."""
    facts: dict[str, Any] = {
        "door": peer.door,
        "uid": peer.uid,
        "gid": peer.gid,
        "pid": peer.pid,
        "start": peer.start_ticks,
        "unit": peer.unit,
        "exe": peer.exe,
    }
    return facts if peer.transport == "unix" else {**facts, "transport": peer.transport, "token": peer.token}


def decision_line(
    policy: Policy | None, digest: str | None, request: Request, classified: Classified | None, verdict: Verdict
) -> Line:
    """The line that stands before an effect, or instead of it."""
    limits = verdict.limits if isinstance(verdict, Allow) else None
    reason = verdict.reason
    return Line(
        kind=Kind.DECISION,
        at=rfc3339(request.at_ns),
        agent=request.caller.agent,
        caller=caller_of(request.caller.peer),
        session=request.session or None,
        request=request.id,
        class_=classified.name if classified else None,
        class_why=_class_why(classified),
        verdict=_word(verdict),
        code=reason.code,
        rule=reason.rule,
        tier_asked=tier_asked(policy, request) if policy else None,
        tier=limits.tier if limits else None,
        model_asked=request.call.model_asked[:MAX_NAME],
        model=limits.model if limits else None,
        label=limits.label if limits else None,
        reserved_nusd=limits.reserved if limits else None,
        escalation=escalation_of(limits.escalation) if limits else None,
        policy=digest,
        detail={**_call_detail(request), **_verdict_detail(verdict)},
    )


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made a request that is no model call, or none that could be read."""

    peer: Peer
    id: str
    at_ns: int
    agent: str | None = None
    session: str = ""
    policy: str | None = None


def refusal_line(origin: Origin, reason: Reason) -> Line:
    """The line of something that never became a call: unreadable, too large, no such route."""
    return Line(
        kind=Kind.DECISION,
        at=rfc3339(origin.at_ns),
        agent=origin.agent,
        caller=caller_of(origin.peer),
        request=origin.id,
        verdict="deny",
        code=reason.code,
        rule=reason.rule,
        policy=origin.policy,
        detail={"message": reason.message, "hint": reason.hint},
    )


def outcome_line(request: Request, permit: Permit, outcome: Outcome, at_ns: int) -> Line:
    """The line that closes an allowed decision."""
    usage = outcome.usage
    limits = permit.allow.limits
    return Line(
        kind=Kind.OUTCOME,
        at=rfc3339(at_ns),
        agent=request.caller.agent,
        session=request.session or None,
        request=request.id,
        tier=limits.tier,
        model=outcome.model_served or limits.model,
        provider=outcome.provider,
        label=limits.label,
        reserved_nusd=limits.reserved,
        cost_nusd=outcome.cost,
        tokens={
            "prompt": usage.prompt,
            "completion": usage.completion,
            "cached": usage.cached,
            "cache_write": usage.cache_write,
            "reasoning": usage.reasoning,
        },
        status=outcome.ending.value,
        overhead_us=outcome.overhead_us,
        upstream_ms=outcome.upstream_ms,
        opens=permit.receipt.seq,
        detail={
            "http": outcome.status,
            "cost_source": outcome.cost_source.value,
            "generation": outcome.generation,
            "error": outcome.error,
            "tool_calls": _names(outcome.tool_calls),
            "recipients": _names(outcome.recipients),
            **({"unasked": _names(outcome.unasked)} if outcome.unasked else {}),
        },
    )


def escalation_line(
    origin: Origin, class_name: str | None, verdict: str, reason: Reason, extra: dict[str, Any]
) -> Line:
    """The line of an escalation that an agent asked for, granted or not. `extra`: the agent's reason, tiers, quota."""
    return Line(
        kind=Kind.ESCALATION,
        at=rfc3339(origin.at_ns),
        agent=origin.agent,
        caller=caller_of(origin.peer),
        session=origin.session or None,
        request=origin.id,
        class_=class_name,
        verdict=verdict,
        code=reason.code,
        rule=reason.rule,
        policy=origin.policy,
        detail={"message": reason.message, "hint": reason.hint, **extra},
    )


def escalation_of(escalation: Escalation | None) -> dict[str, Any] | None:
    """An escalation as a record holds it."""
    return None if escalation is None else {key: value for key, value in asdict(escalation).items() if value != ""}


def _word(verdict: Verdict) -> str:
    match verdict:
        case Allow():
            return "allow"
        case Ask():
            return "ask"
        case Deny():
            return "deny"


def _class_why(classified: Classified | None) -> dict[str, Any] | None:
    if classified is None:
        return None
    return {"stage": classified.stage.value, "why": classified.why, "evidence": dict(classified.evidence)}


def _call_detail(request: Request) -> dict[str, Any]:
    call: ModelCall = request.call
    shape = call.shape
    detail: dict[str, Any] = {
        "dialect": call.dialect.value,
        "stream": call.stream,
        "bytes": len(call.body),
        "body": hashlib.sha256(call.body).hexdigest()[:32],
        "turns": shape.turns,
        "tools": len(shape.tools),
        "client": request.hints.client,
    }
    if call.smuggled:
        detail["smuggled"] = [
            f"{item.where}={item.what[:60]}" + (" (refused)" if item.refused else " (removed)")
            for item in call.smuggled[:8]
        ]
    if call.dropped:
        detail["dropped"] = [name[:60] for name in call.dropped[:8]]
    return detail


def _verdict_detail(verdict: Verdict) -> dict[str, Any]:
    if isinstance(verdict, Allow):
        limits = verdict.limits
        return {
            "message": verdict.reason.message,
            "upstream": limits.upstream,
            "max_output": limits.max_output,
            "deadline_ms": int(limits.deadline_s * 1000),
            "charges": [_charge(charge) for charge in limits.charges],
            **({"bounded": [clamp.words for clamp in limits.clamps]} if limits.clamps else {}),
        }
    return {"message": verdict.reason.message, "hint": verdict.reason.hint}


def with_detail(line: Line, more: dict[str, Any]) -> Line:
    """The same line with more in its detail."""
    return replace(line, detail={**(line.detail or {}), **more}) if more else line


def json_answer(status: int, line: str, body: dict[str, Any]) -> Answer:
    """An answer of agentd's own API; `line` is the name of the line that stands for it."""
    headers = (("Content-Type", "application/json"), ("X-Agentd-Decision", line))
    return Answer(status, headers, json.dumps({"decision": line, **body}).encode())


def _charge(charge: Charge) -> dict[str, Any]:
    """A budget that pays, as it stood: explain shows what the call changed."""
    return {
        "budget": charge.budget,
        "account": charge.account,
        "before_nusd": charge.before,
        "limit_nusd": charge.limit,
    }


def _names(names: tuple[str, ...]) -> list[str]:
    """Names that an upstream said, bounded: a line that is too long could never be written."""
    return [name[:MAX_SAID] for name in names[:MAX_NAMES]]


def decision_headers(receipt: Receipt) -> tuple[tuple[str, str], ...]:
    """The header by which an agent, its user and the operator speak of the same decision."""
    return (("X-Agentd-Decision", receipt.decision),)
