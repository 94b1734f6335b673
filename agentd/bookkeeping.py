"""What agentd keeps in order with its upstreams beside the calls, joined here: the settlement of calls whose cost was not
said, the keys and what is billed to them, the lists of models, and the alarms that come of looking. No call waits for any of it.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.accounting.keyfacts import parse_key
from agentd.core.accounting.private import PrivateList
from agentd.core.accounting.times import rfc3339, window_start
from agentd.core.policy.schema import Policy, UpstreamKind
from agentd.core.types.errors import KeyUnavailable, UpstreamFailed
from agentd.core.types.receipts import Outcome
from agentd.edge.enforce.accounts import UpstreamAccounts
from agentd.edge.enforce.model import ModelUpstream
from agentd.edge.host.catalogue import keep_private, keep_snapshot
from agentd.gate.books.affairs import Affairs, PrivateView, alarm_view
from agentd.gate.books.alarms import Alarms
from agentd.gate.books.callwatch import CallWatch
from agentd.gate.books.keywatch import MANAGEMENT, MANAGES, KeyWatch
from agentd.gate.books.keywatch import Desk as WatchDesk
from agentd.gate.books.listwatch import Desk as ListDesk
from agentd.gate.books.listwatch import ListWatch, demands
from agentd.gate.books.settlement import Desk, Settlement
from agentd.gate.current import CurrentPolicy
from agentd.gate.flight import Run
from agentd.gate.ports import Endpoint
from agentd.gate.ports_operator import OperatorRefused
from agentd.gate.relay import Relay
from agentd.gate.spend import NS_PER_HOUR
from agentd.steady import steady

if TYPE_CHECKING:
    from agentd.daemon import House

SNAPSHOT_FILE, PRIVATE_FILE = "catalogue.json", "private.json"
"""In the state directory: the newest lists of models, and of models that somebody serves without keeping anything."""

log = logging.getLogger("agentd.keys")


class Bookkeeping:
    """The parts, made of the rooms that stand."""

    def __init__(self, house: "House", upstream: ModelUpstream) -> None:
        """Asks nothing yet; `start` does."""
        self._house = house
        self._accounts = accounts = UpstreamAccounts(upstream, house.clock)
        self.alarms = Alarms(house.ledger, house.clock)
        self.calls = CallWatch(self.alarms)
        self.settlement = Settlement(
            Desk(
                ledger=house.ledger,
                reader=house.ledger.reader,
                accounts=accounts,
                spend=house.state.spend,
                clock=house.clock,
                alarms=self.alarms,
                endpoint=lambda name: endpoint_of(house.policies, name),
            )
        )

        self.lists = ListWatch(
            ListDesk(
                accounts=accounts,
                alarms=self.alarms,
                outside=house.state.outside,
                endpoints=self._keyed,
                policy=lambda: house.policies.current.policy if house.policies.current is not None else None,
                use=house.compiler.take,
                keep=self._keep,
                private=self._private,
                known=lambda: house.compiler.private,
            )
        )
        self.keys = KeyWatch(
            WatchDesk(
                accounts=accounts,
                alarms=self.alarms,
                clock=house.clock,
                outside=house.state.outside,
                endpoints=self._keyed,
                today=self._today,
            )
        )

    def attend(self, relay: Relay) -> None:
        """Hear of calls whose cost nobody said, and of how calls ended; the simulator has money enough and any key will do."""
        relay.on_unsettled = self.settlement.add
        relay.on_ended = self.calls.ended if self._house.settings.simulate else self._ended

    def _ended(self, run: Run, outcome: Outcome, error: UpstreamFailed | None) -> None:
        self.calls.ended(run, outcome, error)
        if error is not None:
            self.keys.failed(run.permit.allow.limits.upstream, error, run.started_ns)

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Run everything; whoever stops the daemon cancels it."""
        started = [
            tasks.create_task(steady("settlement", self.settlement.run), name="settlement"),
            tasks.create_task(steady("the watch on calls", self.calls.run), name="call-watch"),
        ]
        if not self._house.settings.simulate:  # the simulator's key is nobody's, and its list the shipped one
            started.append(tasks.create_task(steady("the watch on keys", self.keys.run), name="key-watch"))
            started.append(tasks.create_task(steady("the watch on lists", self.lists.run), name="list-watch"))
            self._house.policies.on_change = self._policy_changed
        return started

    def affairs(self) -> Affairs:
        """What the operator is told of it."""
        standing = [alarm_view(alarm) for alarm in self.alarms.standing()]
        found = Affairs(alarms=standing, upstream_keys=self.keys.views(), unsettled=self.settlement.summary())
        held = self._house.policies.current
        if held is not None and demands(held.policy) and not self._house.settings.simulate:
            known = self._house.compiler.private
            found["private"] = PrivateView(models=len(known.models), at=known.at) if known else PrivateView(models=0, at=None)
        return found

    def _policy_changed(self) -> None:
        self.keys.look()
        self.lists.changed()

    def key_changed(self) -> None:
        """A key was set or deleted."""
        self.keys.changed()
        self.lists.changed()

    async def _keep(self, entries: Mapping[str, ModelEntry]) -> None:
        await asyncio.to_thread(keep_snapshot, self._house.settings.state / SNAPSHOT_FILE, entries)

    async def _private(self, models: frozenset[str]) -> None:
        known = PrivateList(models, rfc3339(self._house.clock.wall_ns()))
        self._house.compiler.private = known
        await asyncio.to_thread(keep_private, self._house.settings.state / PRIVATE_FILE, known)

    async def try_key(self, name: str, value: str) -> None:
        """Ask the upstreams that a key is for what it may do. Raises `OperatorRefused` for a key that manages others; an
        upstream that cannot be asked says nothing against it, and is asked again once the key is in use."""
        held = self._house.policies.current
        upstreams = held.policy.upstreams.values() if held is not None and not self._house.settings.simulate else ()
        for endpoint in [
            endpoint_of(self._house.policies, upstream.name) for upstream in upstreams if upstream.key == name
        ]:
            if endpoint is not None and await self._manages(endpoint, value):
                hint = "Make a key for calls only at the upstream, and store that one."
                raise OperatorRefused(MANAGEMENT, MANAGES.format(endpoint.name), hint)

    async def _manages(self, endpoint: Endpoint, value: str) -> bool:
        try:
            facts = parse_key(await self._accounts.key(endpoint, value))
        except (UpstreamFailed, KeyUnavailable) as failed:
            log.warning("upstream %s cannot be asked about the key: %s", endpoint.name, failed)
            return False
        return facts is not None and facts.management

    def _keyed(self) -> list[Endpoint]:
        """Upstreams that can be asked about the key that is in use for them."""
        held = self._house.policies.current
        names = self._house.keys.names()
        upstreams = held.policy.upstreams.values() if held is not None else ()
        found = [endpoint_of(self._house.policies, upstream.name) for upstream in upstreams if upstream.key in names]
        return [endpoint for endpoint in found if endpoint is not None]

    async def _today(self) -> tuple[int, int]:
        """What the record counts since midnight at upstreams with keys: known cost, and reservations."""
        since = window_start("day", self._house.clock.wall_ns()) // NS_PER_HOUR
        rows = await self._house.ledger.reader.spend("model", since)
        held = self._house.policies.current
        own = _models_without_bill(held.policy) if held is not None else frozenset()
        billed = [row for row in rows if row["name"] not in own]
        return sum(row["cost_nusd"] for row in billed), sum(row["reserved_nusd"] for row in billed)


def endpoint_of(policies: CurrentPolicy, name: str) -> Endpoint | None:
    """An upstream of the policy in force that has accounting to ask; None for any other."""
    held = policies.current
    upstream = held.policy.upstreams.get(name) if held is not None else None
    if upstream is None or upstream.kind is not UpstreamKind.OPENROUTER:
        return None
    return Endpoint(upstream.name, upstream.kind.value, upstream.url, upstream.key)


def _models_without_bill(policy: Policy) -> frozenset[str]:
    """Models that are served at other upstreams than those that bill by key."""
    at: dict[str, set[UpstreamKind]] = {}
    for tier in policy.tiers.values():
        for model in tier.models:
            at.setdefault(model.id, set()).add(policy.upstreams[model.upstream].kind)
    return frozenset(name for name, kinds in at.items() if UpstreamKind.OPENROUTER not in kinds)
