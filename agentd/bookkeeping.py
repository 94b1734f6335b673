"""What agentd keeps in order with its upstreams beside the calls, joined here: the settlement of calls whose cost was not
said, and the alarms that come of looking. No call waits for any of it.
"""

import asyncio
from typing import TYPE_CHECKING

from agentd.core.policy.schema import UpstreamKind
from agentd.edge.enforce.accounts import UpstreamAccounts
from agentd.edge.enforce.model import ModelUpstream
from agentd.gate.affairs import Affairs, alarm_view
from agentd.gate.alarms import Alarms
from agentd.gate.current import CurrentPolicy
from agentd.gate.ports import Endpoint
from agentd.gate.settlement import Desk, Settlement

if TYPE_CHECKING:
    from agentd.daemon import House


class Bookkeeping:
    """The parts, made of the rooms that stand."""

    def __init__(self, house: "House", upstream: ModelUpstream) -> None:
        """Asks nothing yet; `start` does."""
        accounts = UpstreamAccounts(upstream, house.clock)
        self.alarms = Alarms(house.ledger, house.clock)
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

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Run everything; whoever stops the daemon cancels it."""
        return [tasks.create_task(self.settlement.run(), name="settlement")]

    def affairs(self) -> Affairs:
        """What the operator is told of it."""
        standing = [alarm_view(alarm) for alarm in self.alarms.standing()]
        return Affairs(alarms=standing, unsettled=self.settlement.summary())


def endpoint_of(policies: CurrentPolicy, name: str) -> Endpoint | None:
    """An upstream of the policy in force that has accounting to ask; None for any other."""
    held = policies.current
    upstream = held.policy.upstreams.get(name) if held is not None else None
    if upstream is None or upstream.kind is not UpstreamKind.OPENROUTER:
        return None
    return Endpoint(upstream.name, upstream.kind.value, upstream.url, upstream.key)
