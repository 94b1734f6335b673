"""The keys themselves, looked at: at the start, every hour, and whenever an upstream says that one is of no use any more.

An upstream that has no money left, or does not accept the key, refuses every call, each after a round trip, and some agents
call by the thousand; so it is shut here: nothing more goes there by that key, callers are told that a limit is reached or that
the operator's key does not serve, and once a minute the key is asked about until it may be tried again. The next call is then
the proof, since the key says nothing of an account that is empty. A call that was sent before the key was changed says nothing
of the new one. A key that may manage other keys is shut in any case: whoever got hold of it could make himself more. And what
the upstream counts for today is held against the record, because a bill that grows without calls means that somebody else has
the key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentd.core.accounting.keyfacts import KeyFacts, drift, parse_key
from agentd.core.accounting.times import NS_PER_S, rfc3339, window_start
from agentd.core.dialects.failures import KEY_REFUSED
from agentd.core.types.errors import KeyUnavailable, RecordUnavailable, UpstreamFailed
from agentd.core.types.verdicts import Answer, Deny, Reason
from agentd.gate.books.affairs import KeyView
from agentd.gate.books.alarms import Alarm, Alarms
from agentd.gate.books.outside import Outside
from agentd.gate.books.rounds import rounds
from agentd.gate.ports import Clock, Endpoint
from agentd.gate.ports_accounts import Accounts

LOOK_S = 3600.0
"""Between two looks at keys that are well."""

PROBE_S = 60.0
"""... and while one is shut, or could not be looked at."""

FIRST_HOUR_NS = 3600 * NS_PER_S
"""So long after midnight the counts of a day are not compared: calls of the evening are billed into the new day."""

EXHAUSTED, REFUSED, MANAGEMENT, DRIFT = "key.exhausted", "key.refused", "key.management", "key.drift"

NO_MONEY = "the limit that the operator has at upstream {} is reached; it is looked at again every minute"
NO_ENTRY = "upstream {} does not accept the operator's key; it is looked at again every minute"
MANAGES = "the key of upstream {} is a management key, which no call may be made with"

_TOLD = {EXHAUSTED: (NO_MONEY, Answer.BUDGET), REFUSED: (NO_ENTRY, Answer.DENY), MANAGEMENT: (MANAGES, Answer.DENY)}
"""What callers of a shut upstream are told, and how."""

_BY_CALL = {
    EXHAUSTED: "a call was refused because nothing is left of the account or of the key's limit",
    REFUSED: "a call was refused because the upstream does not accept the key",
}
"""What the operator is told of what a call found."""

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
        self._found: dict[str, tuple[str, int]] = {}  # what a call found wrong, and when
        self._changed_ns = desk.clock.mono_ns()
        self._seen: dict[str, tuple[KeyFacts, str]] = {}
        self._news = asyncio.Event()

    def failed(self, upstream: str, error: UpstreamFailed, started_ns: int) -> None:
        """A call that was begun then failed. If nothing more can be paid for, or the key is not accepted, no call goes there from
        now on."""
        code = EXHAUSTED if error.exhausted else REFUSED if error.code == KEY_REFUSED else None
        if code is None or started_ns < self._changed_ns:
            return
        for name in self._same_key(upstream):
            if name not in self._desk.outside.shut:
                log.error("upstream %s: %s: nothing more is sent there until its key is good again", name, code)
                self._found[name] = (code, self._desk.clock.mono_ns())
                self._close(name, code)
                self._news.set()

    def changed(self) -> None:
        """A key was set or deleted: what was shut is open, and looked at anew."""
        self._desk.outside.shut = {}
        self._found = {}
        self._changed_ns = self._desk.clock.mono_ns()
        self._news.set()

    def look(self) -> None:
        """The policy changed: look at its keys now. What is shut stays shut."""
        self._news.set()

    def views(self) -> list[KeyView]:
        """What is known of each key, for the operator."""
        return [_view(name, facts, at, name in self._desk.outside.shut) for name, (facts, at) in self._seen.items()]

    async def run(self) -> None:
        """Look until cancelled."""
        await rounds(self._news, self.round)

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
        code, since_ns = self._found.get(name, ("", 0))
        if code and self._desk.clock.mono_ns() - since_ns < PROBE_S * NS_PER_S:
            await self._sound(name, code, _BY_CALL[code])
            return False
        asked_ns = self._desk.clock.mono_ns()
        try:
            facts = parse_key(await self._desk.accounts.key(endpoint))
        except (UpstreamFailed, KeyUnavailable) as failed:
            log.info("the key of upstream %s could not be looked at: %s", name, failed)
            if failed.code == KEY_REFUSED and asked_ns >= self._changed_ns:
                self._close(name, REFUSED)
                await self._sound(name, REFUSED, "the upstream does not accept the key")
            return False
        if facts is None:
            log.warning("upstream %s says nothing of its key that can be read", name)
            return False
        self._seen[name] = (facts, rfc3339(self._desk.clock.wall_ns()))
        return asked_ns >= self._changed_ns and await self._judge(name, facts)

    async def _judge(self, name: str, facts: KeyFacts) -> bool:
        if facts.management:
            self._close(name, MANAGEMENT)
            hint = "Make a key for calls only, and store it with: agentctl key set"
            await self._desk.alarms.sound(Alarm(MANAGEMENT, name, MANAGES.format(name), hint))
            return False
        self._desk.alarms.clear(MANAGEMENT, name)
        if facts.empty:
            self._close(name, EXHAUSTED)
            await self._sound(name, EXHAUSTED, "the limit of the key is used up")
            return False
        self._found.pop(name, None)
        shut = self._desk.outside.shut
        if name in shut:
            log.warning("upstream %s is open for calls again", name)
            self._desk.outside.shut = {other: deny for other, deny in shut.items() if other != name}
            return False  # the alarm stands until it has stayed open for a while
        for code in (EXHAUSTED, REFUSED):
            self._desk.alarms.clear(code, name)
        return True

    async def _sound(self, name: str, code: str, message: str) -> None:
        hint = "Buy credits or raise the key's limit at the upstream, or wait for its reset."
        if code == REFUSED:
            key = next((it.key for it in self._desk.endpoints() if it.name == name), None)
            hint = f"Store a key that is valid there: agentctl key set {key or 'NAME'}"
        await self._desk.alarms.sound(Alarm(code, name, message, hint))

    def _same_key(self, upstream: str) -> list[str]:
        """The upstream and those that are called by the same key."""
        endpoints = self._desk.endpoints()
        key = next((it.key for it in endpoints if it.name == upstream), None)
        return [upstream, *(it.name for it in endpoints if key is not None and it.key == key and it.name != upstream)]

    def _close(self, name: str, code: str) -> None:
        words, answer = _TOLD[code]
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
