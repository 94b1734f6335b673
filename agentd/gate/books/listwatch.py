"""The upstream's lists, looked at once a day: which models there are, at which prices, and who keeps nothing of what they see.

A newer list is taken in (see `core.accounting.market`), kept for the next start, and named by its digest in each decision from
then on. What jumped or vanished stays as it was and raises an alarm; a start takes the newest list whole, which makes a restart
the operator's word for new prices. A list that cannot be had changes nothing: the last good one stays.

A tier that demands endpoints which keep nothing is checked against the list of those. Whether one exists or not, no such call
goes elsewhere: the demand travels with every call, and the upstream refuses it where nobody fulfils it. The check tells it
earlier, and refuses a policy that names such a model anew. That list, too, is kept for a start without a network.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from agentd.core.accounting.catalogue import CatalogueRefused, ModelEntry, parse_list
from agentd.core.accounting.market import Taken, digest_of, prices_of, take_in
from agentd.core.accounting.price import Price
from agentd.core.accounting.private import PrivateList, parse_private
from agentd.core.policy.schema import Policy, UpstreamKind
from agentd.core.types.errors import KeyUnavailable, UpstreamFailed
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.books.outside import Outside
from agentd.gate.books.rounds import rounds
from agentd.gate.ports import Endpoint
from agentd.gate.ports_accounts import Accounts

DAY_S = 24 * 3600.0
AGAIN_S = 1800.0
"""After a list that could not be had."""

JUMPED, VANISHED, NOT_PRIVATE, UNKNOWN = "catalogue.price", "catalogue.vanished", "zdr.no_endpoint", "zdr.unknown"

UNKNOWN_HINT = "See the daemon's log; it is asked again."

log = logging.getLogger("agentd.catalogue")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the watch works with. `endpoints`: upstreams that can be asked; `policy`: the one in force; `use` puts prices in
    force, and `keep` keeps the newest list for the next start; `private` is told which models have endpoints that keep
    nothing, and `known` says what was told last, by this run or an earlier one."""

    accounts: Accounts
    alarms: Alarms
    outside: Outside
    endpoints: Callable[[], Sequence[Endpoint]]
    policy: Callable[[], Policy | None]
    use: Callable[[Mapping[str, Price]], None]
    keep: Callable[[Mapping[str, ModelEntry]], Awaitable[None]]
    private: Callable[[frozenset[str]], Awaitable[None]]
    known: Callable[[], PrivateList | None]


@dataclass(frozen=True, slots=True)
class _News:
    """A list taken in: what is in force, its prices and digest, and the newest of everything, for the next start."""

    taken: Taken
    prices: Mapping[str, Price]
    digest: str
    newest: Mapping[str, ModelEntry]


class ListWatch:
    """Looks at the lists."""

    def __init__(self, desk: Desk) -> None:
        """What is in force stays until a list was had."""
        self._desk = desk
        self._standing: set[tuple[str, str]] = set()
        self._news = asyncio.Event()

    def changed(self) -> None:
        """A key was set, so that an upstream may be asked that could not be; or the policy changed."""
        self._news.set()

    async def run(self) -> None:
        """Look until cancelled."""
        await rounds(self._news, self.round)

    async def round(self) -> float:
        """Look at both lists. Answers in how many seconds to look again."""
        endpoint = next(iter(self._desk.endpoints()), None)
        policy = self._desk.policy()
        if endpoint is None or policy is None:
            return AGAIN_S
        alarms: list[Alarm] = []
        listed = await self._models(endpoint, policy, alarms)
        private = await self._private(endpoint, policy, alarms)
        if listed:
            await self._sound(alarms)
        return DAY_S if listed and private else AGAIN_S

    async def _models(self, endpoint: Endpoint, policy: Policy, alarms: list[Alarm]) -> bool:
        held, source = self._desk.outside.models, f"the list of upstream {endpoint.name}"
        try:
            body = await self._desk.accounts.models(endpoint)
            news = await asyncio.to_thread(_news, body, source, held, _used(policy))
        except (UpstreamFailed, KeyUnavailable, CatalogueRefused) as failed:
            log.warning("the list of models could not be had, the last one stays: %s", failed)
            return False
        self._desk.use(news.prices)
        self._desk.outside.catalogue = news.digest
        self._desk.outside.models = news.taken.entries
        await self._desk.keep(news.newest)
        alarms += _alarms(news.taken)
        return True

    async def _private(self, endpoint: Endpoint, policy: Policy, alarms: list[Alarm]) -> bool:
        """The list is asked for whether the policy demands it or not: the next one may."""
        try:
            models = parse_private(await self._desk.accounts.private(endpoint))
        except (UpstreamFailed, KeyUnavailable) as failed:
            log.warning("the list of endpoints that keep nothing could not be had: %s", failed)
            models = None
        if models is not None:
            await self._desk.private(models)
        demanded, known = demands(policy), self._desk.known()
        if models is not None or not demanded:
            self._desk.alarms.clear(UNKNOWN, endpoint.name)
        else:
            await self._desk.alarms.sound(Alarm(UNKNOWN, endpoint.name, _unknown(known), UNKNOWN_HINT))
        if known is not None:
            alarms += [_not_private(tier, model) for tier, model in demanded if model not in known.models]
        return models is not None

    async def _sound(self, alarms: Sequence[Alarm]) -> None:
        """Raise what holds now, and clear what held before."""
        now = {(alarm.code, alarm.about) for alarm in alarms}
        for code, about in self._standing - now:
            self._desk.alarms.clear(code, about)
        self._standing = now
        for alarm in alarms:
            await self._desk.alarms.sound(alarm)


def _unknown(known: PrivateList | None) -> str:
    what = "it is not known" if known is None else f"only by the list of {known.at} it is known"
    return f"{what} whether its tiers with zdr: true have endpoints; calls demand them all the same"


def _not_private(tier: str, model: str) -> Alarm:
    message = f"no endpoint of it keeps nothing, as tier {tier} demands: every call of it will be refused"
    return Alarm(NOT_PRIVATE, model, message, f"Take it out of tiers.{tier}.models, or choose another model.")


def demands(policy: Policy) -> list[tuple[str, str]]:
    """(tier, model) for each model that only endpoints which keep nothing may serve."""
    return [
        (tier.name, model.id)
        for tier in policy.tiers.values()
        for model in tier.models
        if tier.zdr and policy.upstreams[model.upstream].kind is UpstreamKind.OPENROUTER
    ]


def _news(body: bytes, source: str, held: Mapping[str, ModelEntry], used: frozenset[str]) -> _News:
    """Some ten milliseconds of work, so it is done in a thread. Raises `CatalogueRefused`."""
    listed = parse_list(body, source)
    taken = take_in(held, listed, used)
    return _News(taken, prices_of(taken.entries), digest_of(taken.entries), {**taken.entries, **listed})


def _used(policy: Policy) -> frozenset[str]:
    return frozenset(
        model.id
        for tier in policy.tiers.values()
        for model in tier.models
        if policy.upstreams[model.upstream].kind is UpstreamKind.OPENROUTER and model.price is None
    )


def _alarms(taken: Taken) -> list[Alarm]:
    hint = (
        "If that is right: systemctl restart agentd takes the new price. Reservations count by the old one until then."
    )
    jumped = [Alarm(JUMPED, model, words, hint) for model, words in sorted(taken.jumped.items())]
    gone = "it is not on the upstream's list any more; its last entry stays in force"
    return jumped + [Alarm(VANISHED, model, gone, "Take another model into its tier.") for model in taken.vanished]
