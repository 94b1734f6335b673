"""The operator's hand on the record itself: how long it is, and old lines that go. A prune is an act like any other: it has a
reason and a uid, and it is a line of the record before anything is removed."""

import base64
from typing import Any

from agentd.core.accounting.retention import DAY_S, FLOOR_S
from agentd.core.accounting.times import NS_PER_S, rfc3339
from agentd.core.types.callers import Peer
from agentd.core.types.errors import RecordUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.acts import Act, act_line
from agentd.gate.desk.rooms import Desk
from agentd.gate.halts import MAX_REASON
from agentd.gate.ports_operator import Json, OperatorRefused, PruneAsk

TOO_YOUNG = f"Budgets and quotas look back {FLOOR_S // DAY_S} days: nothing younger can go."


class RecordDesk:
    """The record, as an operator handles it."""

    def __init__(self, desk: Desk) -> None:
        """Take the rooms."""
        self._desk = desk

    async def prune(self, peer: Peer, ask: PruneAsk) -> Json:
        """Carry a prune out, or say what one would remove. Raises `OperatorRefused`, `RecordUnavailable`."""
        now = self._desk.clock.wall_ns()
        if ask.before_ns > now - FLOOR_S * NS_PER_S:
            raise OperatorRefused("prune.too_young", TOO_YOUNG, f"--before {FLOOR_S // DAY_S}d or longer ago")
        if ask.dry_run:
            return await self._desk.pruner.plan_prune(ask)
        if not ask.reason.strip() or len(ask.reason) > MAX_REASON:
            message = f"A prune needs a reason of at most {MAX_REASON} characters."
            raise OperatorRefused("prune.reason", message, 'Add --reason "why".')
        detail: dict[str, Any] = {"reason": ask.reason, "before": rfc3339(ask.before_ns), "keep_lines": ask.keep_lines}
        line = act_line(now, peer, Act(Kind.PRUNE, "operator.prune", detail=detail))
        return await self._desk.pruner.prune(ask, line)

    async def extent(self) -> Json | None:
        """How long the record is, and how long it is kept; None where it cannot be read, which must not keep `status` from
        saying so."""
        try:
            found = await self._desk.reader.extent()
        except RecordUnavailable:
            return None
        return {**found, "keep_s": self._desk.keep_s}

    async def pruned(self) -> Json | None:
        """The newest prune line, its bytes in base64."""
        found = await self._desk.reader.newest_prune()
        if found is None:
            return None
        seq, body, digest = found
        return {"seq": seq, "body": base64.b64encode(body).decode("ascii"), "digest": digest}

    async def missing(self, seq: int) -> OperatorRefused:
        """Why there is no line of this number."""
        cut = (await self._desk.reader.extent())["pruned"]
        if cut is None or seq > cut["to"]:
            return OperatorRefused("line.none", f"The record has no line {seq}.", "agentctl logs", Answer.NOT_FOUND)
        who = "by retention" if cut["uid"] is None else f"by uid {cut['uid']}"
        message = f"Line {seq} was pruned: line {cut['line']} of {cut['at'][:19]}Z says so, {who}: {cut['reason']}"
        return OperatorRefused("line.pruned", message, "Look into the archive, if one was exported.", Answer.NOT_FOUND)
