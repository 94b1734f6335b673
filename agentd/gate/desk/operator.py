"""The operator's desk: what a person may see and do, behind the operator's door.

Seeing changes nothing and is not recorded. An act is written down first, with the uid of whoever asked, and does not
happen when it cannot be written. A key's value passes through here once and is kept nowhere. An agent that reaches the
operator's door is refused, and that is recorded: the socket's group is the wall, this is the alarm behind it."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from agentd.core.accounting.times import NS_PER_S, rfc3339, window_start
from agentd.core.policy.explain import Proof, explain
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Policy
from agentd.core.types.callers import Peer
from agentd.core.types.errors import PolicyRefused, RecordUnavailable
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.acts import Act, act_line
from agentd.gate.desk import doctor, names, views
from agentd.gate.desk.cures import fault_view
from agentd.gate.desk.follow import Follow
from agentd.gate.desk.keys import KeyDesk
from agentd.gate.desk.record import RecordDesk
from agentd.gate.desk.rooms import Desk
from agentd.gate.desk.tokens import TokenDesk
from agentd.gate.ports import LineQuery
from agentd.gate.ports_operator import HaltAsk, Json, OperatorRefused, PruneAsk, SpendAsk

SPEND_BY = ("class", "tier", "model", "agent", "day")
"""What spend can be added up by."""

CHECKPOINT_LOOK = 1000
"""Checkpoints looked at to find the one that covers a line."""

NS_PER_HOUR = 3600 * NS_PER_S


class OperatorDesk:
    """Fulfils `gate.ports_operator.OperatorFace`."""

    def __init__(self, desk: Desk) -> None:
        """Take the rooms; nothing is read until asked."""
        self._desk = desk
        self._keys = KeyDesk(desk)
        self._tokens = TokenDesk(desk)
        self._record = RecordDesk(desk)

    def now_ns(self) -> int:
        """See `OperatorFace`."""
        return self._desk.clock.wall_ns()

    async def admit(self, peer: Peer) -> None:
        """See `OperatorFace`."""
        held, desk = self._desk.policies.current, self._desk
        if held is None or desk.vitals().get("user_mode"):
            return
        agent = match_agent(held.policy, peer)
        if agent is None:
            return
        detail = {"message": f"agent {agent.name} tried the operator's door", "hint": ""}
        act = Act(Kind.DECISION, "operator.agent", verdict="deny", agent=agent.name, detail=detail)
        await desk.ledger.append(act_line(desk.clock.wall_ns(), peer, act))
        hint = "Use an account that no entry under agents: matches."
        raise OperatorRefused(
            "operator.agent", f"This process is agent {agent.name}, not an operator.", hint, Answer.DENY
        )

    async def status(self) -> Json:
        """See `OperatorFace`."""
        desk = self._desk
        now = desk.clock.wall_ns()
        code, sentence = desk.keys.health()
        return {
            **desk.vitals(),
            **desk.affairs(),
            "now": rfc3339(now),
            "policy": self._policy_state(),
            "keyring": {"code": code, "sentence": sentence},
            "keys": sorted(desk.keys.names()),
            "halts": await self.halts(),
            "token_misuse": self._tokens.misuse(),
            "budgets": desk.used(),
            "today": await self._today(now),
            "record": await self._record.extent(),
        }

    async def _today(self, now_ns: int) -> Json | None:
        """Calls and cost since midnight; None where the record cannot be read, which must not keep `status` from saying so."""
        try:
            return views.total(await self._desk.reader.spend("day", window_start("day", now_ns) // NS_PER_HOUR))
        except RecordUnavailable:
            return None

    def _policy_state(self) -> Json:
        held, fault = self._desk.policies.current, self._desk.policies.fault
        path = self._desk.vitals().get("policy_path")
        view = fault_view(fault, path) if fault else None
        state: Json = {"in_force": held is not None, "path": path, "fault": view}
        if held is not None:
            state.update(
                digest=held.digest,
                version=held.policy.version,
                owner=held.policy.owner,
                change=held.policy.change,
                source=held.policy.source,
                loaded_at=held.loaded_at,
                agents=sorted(held.policy.agents),
                tiers=list(held.policy.tiers),
                classes=list(held.policy.classes),
            )
        return state

    async def logs(self, query: LineQuery) -> list[Json]:
        """See `OperatorFace`."""
        await names.check_agent(self._desk, query)
        return await Follow(self._desk.reader, query).history()

    def follow(self, query: LineQuery) -> AsyncIterator[Json]:
        """See `OperatorFace`."""
        return Follow(self._desk.reader, query).rows()

    async def explain(self, seq: int) -> Json:
        """See `OperatorFace`."""
        reader = self._desk.reader
        line = await reader.line(seq)
        if line is None:
            raise await self._record.missing(seq)
        if line["kind"] in (Kind.OUTCOME, Kind.SETTLEMENT) and line.get("opens"):
            return await self.explain(int(line["opens"]))
        outcome = await self._outcome(seq)
        proof = await self._proof(seq, line)
        page = explain(line, outcome, await self._version(line.get("policy")), proof)
        return {**views.explanation_view(page), "line": line, "outcome": outcome, "proof": asdict(proof)}

    async def _outcome(self, seq: int) -> Json | None:
        """How a decision's call ended, with what was learned of its cost later, as far as there is either."""
        outcome = await self._desk.reader.outcome_of(seq)
        if outcome is None or outcome["cost_nusd"] is not None:
            return outcome
        settlement = await self._desk.reader.settlement_of(seq)
        return outcome if settlement is None else {**outcome, "settlement": settlement}

    async def _version(self, digest: str | None) -> Policy | None:
        """The policy of a line, parsed again: one that this version cannot read any more counts as not kept."""
        held = self._desk.policies.current
        if digest is None:
            return None
        if held is not None and held.digest == digest:
            return held.policy
        text = await self._desk.reader.policy_text(digest)
        if text is None:
            return None
        try:
            return await asyncio.to_thread(self._desk.read_policy, text, "policy.yaml")
        except PolicyRefused:
            return None

    async def _proof(self, seq: int, line: Mapping[str, Any]) -> Proof:
        reader = self._desk.reader
        query = LineQuery(kinds=(Kind.CHECKPOINT.value,), after_seq=seq, limit=CHECKPOINT_LOOK)
        marks = await reader.lines(query)
        first = marks[0] if marks else None
        signed = bool(first and (first.get("detail") or {}).get("signature"))
        return Proof(await self._intact(seq, line), int(first["seq"]) if first else None, signed)

    async def _intact(self, seq: int, line: Mapping[str, Any]) -> bool:
        """Whether the line's bytes give its digest, and the line before has the digest that it names."""
        before = line.get("prev")
        async with contextlib.aclosing(_closable(self._desk.reader.raw(max(1, seq - 1)))) as raws:
            async for number, body, digest in raws:
                if number == seq:
                    return hashlib.sha256(body).hexdigest() == digest == line.get("digest") and before == line.get(
                        "prev"
                    )
                before = digest
        return False

    async def spend(self, ask: SpendAsk) -> Json:
        """See `OperatorFace`."""
        if ask.by not in SPEND_BY:
            raise OperatorRefused("spend.by", f"Spend is not kept by {ask.by!r}.", f"One of {', '.join(SPEND_BY)}.")
        desk = self._desk
        since = (
            ask.since_hour if ask.since_hour is not None else window_start("day", desk.clock.wall_ns()) // NS_PER_HOUR
        )
        rows = await desk.reader.spend(ask.by, since)
        held = desk.policies.current
        compare = None
        if ask.compare and held is not None:
            models = rows if ask.by == "model" else await desk.reader.spend("model", since)
            compare = views.compared(held.policy, desk.prices, models)
        return {
            "by": ask.by,
            "since": rfc3339(since * NS_PER_HOUR),
            "rows": rows,
            "total": views.total(row for row in rows),
            "budgets": desk.used(),
            "compare": compare,
        }

    async def keys(self) -> Json:
        """See `OperatorFace`."""
        return self._keys.listing()

    async def set_key(self, peer: Peer, name: str, value: str) -> Json:
        """See `OperatorFace`."""
        return await self._keys.store(peer, name, value)

    async def delete_key(self, peer: Peer, name: str) -> Json:
        """See `OperatorFace`."""
        return await self._keys.forget(peer, name)

    async def agents(self) -> Json:
        """See `OperatorFace`."""
        held, desk = self._desk.policies.current, self._desk
        rows = views.agents_view(held.policy, desk.halts.active(), desk.clock.wall_ns()) if held else []
        return {"agents": rows, "policy": held.digest if held else None}

    async def tokens(self) -> Json:
        """See `OperatorFace`."""
        return self._tokens.listing()

    async def create_token(self, peer: Peer, agent: str, life_s: int) -> Json:
        """See `OperatorFace`."""
        return await self._tokens.create(peer, agent, life_s)

    async def rotate_token(self, peer: Peer, agent: str, life_s: int, grace_s: int) -> Json:
        """See `OperatorFace`."""
        return await self._tokens.rotate(peer, agent, life_s, grace_s)

    async def revoke_token(self, peer: Peer, name: str) -> Json:
        """See `OperatorFace`."""
        return await self._tokens.revoke(peer, name)

    async def policy(self, digest: str | None) -> Json:
        """See `OperatorFace`."""
        held = self._desk.policies.current
        if digest is None:
            if held is None:
                raise OperatorRefused("policy.none", "No policy is in force.", "agentctl doctor", Answer.NOT_FOUND)
            return {"digest": held.digest, "text": held.text, "in_force": True}
        whole = await self._whole_digest(digest)
        text = await self._desk.reader.policy_text(whole)
        if text is None:
            raise _no_version(digest)
        return {"digest": whole, "text": text, "in_force": held is not None and held.digest == whole}

    async def _whole_digest(self, start: str) -> str:
        found = {str(row["hash"]) for row in await self._desk.reader.policies() if str(row["hash"]).startswith(start)}
        if len(found) > 1:
            raise OperatorRefused(
                "policy.ambiguous", f"{len(found)} versions begin with {start!r}.", "Give more digits."
            )
        if not found or not start:
            raise _no_version(start)
        return found.pop()

    async def policy_history(self) -> list[Json]:
        """See `OperatorFace`."""
        return await self._desk.reader.policies()

    async def policy_why(self, given: Json) -> Json:
        """See `OperatorFace`."""
        held = self._desk.policies.current
        if held is None:
            return self._desk.judge(given)
        names.check_described(held.policy, given)
        return {**self._desk.judge(given), "notes": names.not_taken(held.policy, given)}

    async def policy_test(self, text: str | None, source: str) -> Json:
        """See `OperatorFace`."""
        held = self._desk.policies.current
        if text is None and held is None:
            raise OperatorRefused("policy.none", "No policy is in force.", "Name a file.", Answer.NOT_FOUND)
        if text is None and held is not None:
            text, source = held.text, held.policy.source
        try:
            policy = await asyncio.to_thread(self._desk.try_policy, text or "", source)
        except PolicyRefused as refused:
            return {"source": source, "ok": False, "tests": [], "faults": fault_view(refused)["faults"]}
        return {"source": source, "ok": True, "tests": [test.name for test in policy.tests], "faults": []}

    def raw(self, first: int) -> AsyncIterator[tuple[int, bytes, str]]:
        """See `OperatorFace`."""
        return self._desk.reader.raw(first)

    async def anchor(self) -> Json:
        """See `OperatorFace`."""
        return {"anchor": await self._desk.reader.anchor(), "pruned": await self._record.pruned()}

    async def sums(self) -> Json:
        """See `OperatorFace`."""
        return {"differs": await self._desk.recompute(), "policies": await self._desk.reader.policy_flaws()}

    async def prune(self, peer: Peer, ask: PruneAsk) -> Json:
        """See `OperatorFace`."""
        return await self._record.prune(peer, ask)

    async def halt(self, peer: Peer, ask: HaltAsk) -> Json:
        """See `OperatorFace`."""
        self._check_name(ask)
        return views.halt_view(await self._desk.halts.halt(ask, peer))

    async def resume(self, peer: Peer, ask: HaltAsk) -> Json:
        """See `OperatorFace`."""
        return views.halt_view(await self._desk.halts.resume(ask, peer))

    async def halts(self) -> list[Json]:
        """See `OperatorFace`."""
        return [views.halt_view(halt) for halt in self._desk.halts.active()]

    def _check_name(self, ask: HaltAsk) -> None:
        """A stop of something that policy does not know would stop nothing while looking as if it did."""
        held = self._desk.policies.current
        if held is None or ask.scope not in ("agent", "tier"):
            return
        names = list(held.policy.agents if ask.scope == "agent" else held.policy.tiers)
        if ask.name and ask.name not in names:
            message = f"The policy has no {ask.scope} {ask.name}."
            raise OperatorRefused("halt.unknown", message, f"It has {', '.join(names)}.", Answer.NOT_FOUND)

    async def doctor(self) -> list[Json]:
        """See `OperatorFace`."""
        desk = self._desk
        held = desk.policies.current
        patient = doctor.Patient(
            now_ns=desk.clock.wall_ns(),
            vitals=desk.vitals(),
            policy=held.policy if held else None,
            fault=desk.policies.fault,
            keys=tuple(desk.keys.names()),
            keyring=desk.keys.health(),
            halts=desk.halts.active(),
            last_line_at=await self._newest_at(),
            misuse=desk.tokens.misuse,
            affairs=desk.affairs(),
            record=await self._record.extent(),
        )
        return [asdict(check) for check in doctor.examine(patient)]

    async def _newest_at(self) -> str | None:
        """Time of the newest line; None where the record cannot be read: the doctor is asked most when it cannot."""
        try:
            newest = await self._desk.reader.lines(LineQuery(limit=1))
        except RecordUnavailable:
            return None
        return str(newest[-1]["at"]) if newest else None


def _no_version(digest: str) -> OperatorRefused:
    return OperatorRefused(
        "policy.unknown", f"No policy version {digest!r} is kept.", "agentctl policy history", Answer.NOT_FOUND
    )


async def _closable(raws: AsyncIterator[tuple[int, bytes, str]]) -> AsyncGenerator[tuple[int, bytes, str], None]:
    """An iterator that can be closed, whatever kind the reader gives."""
    async for item in raws:
        yield item
