"""Keys, looked at: what shuts an upstream, what opens it again, and when the bill says that somebody else has the key."""

import asyncio
import json
from typing import Any

from agentd.core.types.errors import RecordUnavailable, UpstreamFailed
from agentd.core.types.records import Kind
from agentd.core.types.verdicts import Answer
from agentd.gate.books.alarms import Alarms
from agentd.gate.books.keywatch import LOOK_S, PROBE_S, Desk, KeyWatch
from agentd.gate.books.outside import Outside
from agentd.gate.ports import Endpoint
from gate.owing import ENDPOINT, Accounts, unreachable
from gate.way import Clock, Record

USD = 10**9


def key(**data: Any) -> bytes:
    return json.dumps(
        {"data": {"limit": 50, "limit_remaining": 12.5, "limit_reset": "daily", "usage_daily": 1, **data}}
    ).encode()


def broke() -> UpstreamFailed:
    error = UpstreamFailed("upstream.limit", "no money", status=402, retryable=False, answer=Answer.BUDGET)
    error.exhausted = True
    return error


def no_entry() -> UpstreamFailed:
    return UpstreamFailed("upstream.key_refused", "no entry", status=401, retryable=False, answer=Answer.DENY)


class Scene:
    """A watch over one upstream; the clock stands."""

    def __init__(self, *scripts: Any) -> None:
        self.record, self.clock, self.outside = Record([]), Clock(), Outside()
        self.accounts = Accounts({"key": list(scripts)})
        self.alarms = Alarms(self.record, self.clock)
        self.endpoints: list[Endpoint] = [ENDPOINT]
        self.counted: tuple[int, int] | Exception = (USD, 0)
        desk = Desk(self.accounts, self.alarms, self.clock, self.outside, lambda: self.endpoints, self.today)
        self.watch = KeyWatch(desk)

    async def today(self) -> tuple[int, int]:
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted

    def round(self, after_s: float = 0) -> float:
        self.clock.now += int(after_s * USD)
        return asyncio.run(self.watch.round())

    @property
    def codes(self) -> list[str]:
        return [one.alarm.code for one in self.alarms.standing()]


def test_a_key_that_is_well_is_looked_at_every_hour_and_shown() -> None:
    it = Scene(key())
    assert it.round() == LOOK_S
    assert (it.outside.shut, it.codes) == ({}, [])
    (view,) = it.watch.views()
    assert (view["upstream"], view["remaining_nusd"], view["used_today_nusd"]) == ("or", 12_500_000_000, USD)
    assert (view["limit_nusd"], view["reset"], view["shut"]) == (50 * USD, "daily", False)


def test_an_upstream_that_is_gone_from_the_policy_is_shown_no_more() -> None:
    it = Scene(key())
    it.round()
    it.endpoints = []
    assert it.round() == LOOK_S
    assert it.watch.views() == []


def test_one_that_cannot_be_looked_at_is_tried_again_soon_and_stays_as_it_was() -> None:
    it = Scene(unreachable(), b"<html>", key())
    assert [it.round(), it.round(), it.round()] == [PROBE_S, PROBE_S, LOOK_S]
    assert (it.outside.shut, it.codes) == ({}, [])


def test_a_management_key_is_shut_until_another_takes_its_place() -> None:
    it = Scene(key(is_management_key=True), key())
    assert it.round() == PROBE_S
    deny = it.outside.shut["or"]
    assert (deny.reason.code, deny.answer) == ("key.management", Answer.DENY)
    assert it.codes == ["key.management"]
    it.watch.changed()
    assert it.outside.shut == {}
    assert it.round() == LOOK_S
    assert it.codes == []


def test_a_key_with_nothing_left_is_shut_until_it_has_money() -> None:
    it = Scene(key(limit_remaining=0), key(limit_remaining=0), key())
    assert it.round() == PROBE_S
    deny = it.outside.shut["or"]
    assert (deny.reason.code, deny.answer) == ("key.exhausted", Answer.BUDGET)
    assert "limit" in deny.reason.message
    assert not any(word in deny.reason.message for word in ("credit", "balance", "billing"))
    assert it.round() == PROBE_S
    assert it.round() == PROBE_S  # open, and looked at soon
    assert (it.outside.shut, it.codes) == ({}, ["key.exhausted"])
    assert it.round() == LOOK_S
    assert it.codes == []
    assert len(it.record.of(Kind.ALARM)) == 1


def test_a_call_that_could_not_be_paid_for_shuts_at_once_for_a_minute() -> None:
    it = Scene(key())
    it.round()
    it.watch.failed("or", broke(), it.clock.now)
    it.watch.failed("or", broke(), it.clock.now)
    assert it.outside.shut["or"].answer is Answer.BUDGET
    assert it.round(PROBE_S - 1) == PROBE_S
    assert len(it.accounts.asked) == 1  # nobody asks within that minute
    assert it.codes == ["key.exhausted"]
    assert it.watch.views()[0]["shut"]
    it.round(1)
    assert it.outside.shut == {}
    it.watch.failed("or", broke(), it.clock.now)  # the proof failed: the alarm that stands is not written again
    it.round(1)
    assert len(it.record.of(Kind.ALARM)) == 1


def test_a_key_that_a_call_found_refused_serves_nobody_until_it_is_accepted() -> None:
    it = Scene(key(), no_entry(), key())
    it.round()
    it.watch.failed("or", no_entry(), it.clock.now)
    deny = it.outside.shut["or"]
    assert (deny.reason.code, deny.answer) == ("key.refused", Answer.DENY)
    assert it.round(PROBE_S - 1) == PROBE_S
    assert len(it.accounts.asked) == 1  # nobody asks within that minute
    (alarm,) = it.alarms.standing()
    assert (alarm.alarm.code, alarm.alarm.hint.rpartition(": ")[2]) == ("key.refused", "agentctl key set or")
    assert it.round(1) == PROBE_S
    assert "or" in it.outside.shut  # asked, and refused again
    assert it.round() == PROBE_S
    assert (it.outside.shut, it.codes) == ({}, ["key.refused"])
    assert it.round() == LOOK_S
    assert it.codes == []
    assert len(it.record.of(Kind.ALARM)) == 1


def test_a_key_that_is_refused_when_it_is_looked_at_is_shut_before_any_call() -> None:
    it = Scene(no_entry())
    assert it.round() == PROBE_S
    assert (it.outside.shut["or"].reason.code, it.codes) == ("key.refused", ["key.refused"])


def test_all_upstreams_of_a_bad_key_are_shut_and_no_other() -> None:
    it = Scene(key())
    it.endpoints = [
        ENDPOINT,
        Endpoint("eu", "openrouter", "https://eu.example", "or"),
        Endpoint("x", "openrouter", "https://x", "x"),
    ]
    it.watch.failed("eu", no_entry(), it.clock.now)
    assert sorted(it.outside.shut) == ["eu", "or"]


def test_a_call_that_was_sent_with_the_old_key_says_nothing_of_the_new_one() -> None:
    it = Scene(key())
    begun = it.clock.now
    it.clock.now += 1
    it.watch.changed()
    it.watch.failed("or", no_entry(), begun)
    assert it.outside.shut == {}


def test_a_look_with_the_old_key_says_nothing_of_the_new_one() -> None:
    it = Scene(no_entry())

    async def replaced(endpoint: Endpoint, value: str | None = None) -> bytes:
        it.clock.now += 1
        it.watch.changed()
        raise no_entry()

    it.accounts.key = replaced  # type: ignore[method-assign]
    assert it.round() == PROBE_S
    assert (it.outside.shut, it.codes) == ({}, [])


def test_other_failures_shut_nothing() -> None:
    it = Scene(key())
    it.watch.failed("or", unreachable(), it.clock.now)
    assert it.outside.shut == {}


def test_a_bill_that_grows_without_calls_raises_an_alarm() -> None:
    it = Scene(key(usage_daily=5))
    it.round()
    (alarm,) = it.alarms.standing()
    assert (alarm.alarm.code, alarm.alarm.about) == ("key.drift", "or")
    assert "$5.00" in alarm.alarm.message
    assert "$1.00" in alarm.alarm.message
    it.counted = (4 * USD, USD)
    it.round()
    assert it.codes == []


def test_counts_are_compared_for_all_keys_together_and_each_key_once() -> None:
    it = Scene(key(usage_daily=2))
    it.endpoints = [
        ENDPOINT,
        Endpoint("eu", "openrouter", "https://eu.example", "or"),
        Endpoint("x", "openrouter", "https://x", "x"),
    ]
    it.counted = (4 * USD, 0)
    it.round()
    assert it.codes == []
    it.counted = (6 * USD, 0)
    it.round()
    assert it.codes == ["key.drift"]


def test_counts_that_are_not_whole_are_not_compared() -> None:
    without = Scene(key(usage_daily=None))
    without.round()
    midnight = Scene(key(usage_daily=5))
    midnight.clock.now -= midnight.clock.now % (24 * 3600 * USD)
    midnight.round()
    unread = Scene(key(usage_daily=5))
    unread.counted = RecordUnavailable("record.gone", "gone")
    unread.round()
    half = Scene(key(usage_daily=5), unreachable())
    half.endpoints = [ENDPOINT, Endpoint("x", "openrouter", "https://x", "x")]
    half.round()
    assert (without.codes, midnight.codes, unread.codes, half.codes) == ([], [], [], [])


def test_the_task_looks_at_once_when_a_key_was_changed() -> None:
    async def told() -> None:
        it = Scene(key())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(it.watch.run())
            while len(it.accounts.asked) < 1:
                await asyncio.sleep(0)
            it.watch.changed()
            while len(it.accounts.asked) < 2:
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(told())
