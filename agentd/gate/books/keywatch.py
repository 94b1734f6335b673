"""The keys themselves, looked at: at the start, every hour, and whenever an upstream says that one is of no use any more.

An upstream that has no money left refuses every call, each after a round trip, and some agents call by the thousand; so it is
shut here: nothing more goes there, callers are told that a limit is reached, and once a minute the key is asked about until it
may be tried again. The next call is then the proof, since the key says nothing of an account that is empty. A key that may
manage other keys is shut in any case: whoever got hold of it could make himself more. And what the upstream counts for today is
held against the record, because a bill that grows without calls means that somebody else has the key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentd.core.accounting.keyfacts import KeyFacts, drift, parse_key
from agentd.core.accounting.times import NS_PER_S, rfc3339, window_start
from agentd.core.types.errors import KeyUnavailable, RecordUnavailable, UpstreamFailed
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate.books.affairs import KeyView
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.books.outside import Outside
from agentd.gate.ports import Clock, Endpoint
from agentd.gate.ports_accounts import Accounts

LOOK_S = 3600.0
"""Between two looks at keys that are well."""

PROBE_S = 60.0
"""... and while one is shut, or could not be looked at."""

FIRST_HOUR_NS = 3600 * NS_PER_S
"""So long after midnight the counts of a day are not compared: calls of the evening are billed into the new day."""

EXHAUSTED, MANAGEMENT, DRIFT = "key.exhausted", "key.management", "key.drift"

NO_MONEY = "the limit that the operator has at upstream {} is reached; it is looked at again every minute"
MANAGES = "the key of upstream {} is a management key, which no call may be made with"

log = logging.getLogger("agentd.keys")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the watch works with. `endpoints`: upstreams that can be asked and have a key now; `today`: what the record has
    counted since the start of the day, known cost and reservations."""

    accounts: Accounts
    alarms: Alarms
    clock: Clock
    outside: Outside
    endpoints: Callable[[], Sequence[Endpoint]]
    today: Callable[[], Awaitable[tuple[int, int]]]


class KeyWatch:
    """Looks at keys and knows which upstreams are shut."""

    def __init__(self, desk: Desk) -> None:
        """Nothing is shut until it was looked at."""
        self._desk = desk
        self._refused_ns: dict[str, int] = {}  # when a call found that there is no money
        self._seen: dict[str, tuple[KeyFacts, str]] = {}
        self._news = asyncio.Event()

    def exhausted(self, upstream: str) -> None:
        """An upstream said that nothing more can be paid for: no call goes there from now on."""
        if upstream not in self._desk.outside.shut:
            log.error("upstream %s has no money left: nothing more is sent there until its key is good again", upstream)
            self._refused_ns[upstream] = self._desk.clock.mono_ns()
            self._close(upstream, EXHAUSTED)
            self._news.set()

    def changed(self) -> None:
        """A key was set or deleted, or the policy changed: what was shut is open, and looked at anew."""
        self._desk.outside.shut = {}
        self._refused_ns = {}
        self._news.set()

    def views(self) -> list[KeyView]:
        """What is known of each key, for the operator."""
        return [_view(name, facts, at, name in self._desk.outside.shut) for name, (facts, at) in self._seen.items()]

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._news.clear()
            pause = await self.round()
            try:
                async with asyncio.timeout(pause):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def round(self) -> float:
        """Look at every key. Answers in how many seconds to look again."""
        endpoints = self._desk.endpoints()
        self._seen = {name: seen for name, seen in self._seen.items() if any(name == it.name for it in endpoints)}
        well = [await self._look(endpoint) for endpoint in endpoints]
        await self._compare(endpoints)
        return LOOK_S if all(well) else PROBE_S

    async def _look(self, endpoint: Endpoint) -> bool:
        """Look at one key; whether it is well. One that cannot be looked at stays as it was taken to be."""
        name = endpoint.name
        refused = self._refused_ns.get(name)
        if refused is not None and self._desk.clock.mono_ns() - refused < PROBE_S * NS_PER_S:
            await self._no_money(
                name, "a call was refused because nothing is left of the account or of the key's limit"
            )
            return False
        try:
            facts = parse_key(await self._desk.accounts.key(endpoint))
        except (UpstreamFailed, KeyUnavailable) as failed:
            log.info("the key of upstream %s could not be looked at: %s", name, failed)
            return False
        if facts is None:
            log.warning("upstream %s says nothing of its key that can be read", name)
            return False
        self._seen[name] = (facts, rfc3339(self._desk.clock.wall_ns()))
        return await self._judge(name, facts)

    async def _judge(self, name: str, facts: KeyFacts) -> bool:
        if facts.management:
            self._close(name, MANAGEMENT)
            hint = "Make a key for calls only, and store it with: agentctl key set"
            await self._desk.alarms.sound(Alarm(MANAGEMENT, name, MANAGES.format(name), hint))
            return False
        self._desk.alarms.clear(MANAGEMENT, name)
        if facts.empty:
            self._close(name, EXHAUSTED)
            await self._no_money(name, "the limit of the key is used up")
            return False
        self._refused_ns.pop(name, None)
        shut = self._desk.outside.shut
        if name in shut:
            log.warning("upstream %s is open for calls again", name)
            self._desk.outside.shut = {other: deny for other, deny in shut.items() if other != name}
            return False  # the alarm stands until it has stayed open for a while
        self._desk.alarms.clear(EXHAUSTED, name)
        return True

    async def _no_money(self, name: str, message: str) -> None:
        hint = "Buy credits or raise the key's limit at the upstream, or wait for its reset."
        await self._desk.alarms.sound(Alarm(EXHAUSTED, name, message, hint))

    def _close(self, name: str, code: str) -> None:
        words, answer = (MANAGES, Answer.DENY) if code == MANAGEMENT else (NO_MONEY, Answer.BUDGET)
        reason = Reason(code, f"upstreams.{name}", words.format(name), "The operator sees why with: agentctl status")
        self._desk.outside.shut = {**self._desk.outside.shut, name: Deny(reason, answer)}

    async def _compare(self, endpoints: Sequence[Endpoint]) -> None:
        """The day's bill by both counts: of all keys together, since the record does not count by key."""
        now = self._desk.clock.wall_ns()
        seen = {it.key or it.name: self._seen[it.name][0].used_today for it in endpoints if it.name in self._seen}
        counted = [used for used in seen.values() if used is not None]
        whole = len(counted) == len({it.key or it.name for it in endpoints}) and counted
        if not whole or now - window_start("day", now) < FIRST_HOUR_NS:
            return
        try:
            cost, reserved = await self._desk.today()
        except RecordUnavailable:
            return
        about = ", ".join(it.name for it in endpoints)
        words = drift(sum(counted), cost, reserved)
        if words:
            hint = "See who else uses the key at the upstream's activity page; if nobody should, replace it: agentctl key set"
            await self._desk.alarms.sound(Alarm(DRIFT, about, words, hint))
        else:
            self._desk.alarms.clear(DRIFT, about)


def _view(name: str, facts: KeyFacts, at: str, shut: bool) -> KeyView:
    return KeyView(
        upstream=name,
        limit_nusd=facts.limit,
        remaining_nusd=facts.remaining,
        reset=facts.reset,
        used_today_nusd=facts.used_today,
        at=at,
        shut=shut,
    )
