"""Alarms: written down once, standing until they are over, not lost with a record that takes no line."""

import asyncio

from agentd.core.types.records import Kind
from agentd.gate.books.alarms import MAX_STANDING, Alarm, Alarms
from gate.way import Clock, Record

DRIFT = Alarm("key.drift", "or", "the bill drifts", "look")


def test_an_alarm_is_written_once_and_stands_until_it_is_over() -> None:
    record, clock = Record([]), Clock()
    alarms = Alarms(record, clock)

    async def told() -> None:
        await alarms.sound(DRIFT)
        first = alarms.standing()[0].at
        clock.now += 10**9
        await alarms.sound(Alarm("key.drift", "or", "it drifts more"))
        await alarms.sound(Alarm("key.drift", "other", "it drifts too"))
        assert [(one.alarm.message, one.line) for one in alarms.standing()] == [
            ("it drifts more", 1),
            ("it drifts too", 2),
        ]
        assert alarms.standing()[0].at == first
        alarms.clear("key.drift", "or")
        alarms.clear("key.drift", "nobody")
        await alarms.sound(DRIFT)

    asyncio.run(told())
    assert [line.detail["message"] for line in record.of(Kind.ALARM) if line.detail] == [
        "the bill drifts",
        "it drifts too",
        "the bill drifts",
    ]


def test_a_record_that_takes_no_line_silences_nothing() -> None:
    record = Record([], broken=True)
    alarms = Alarms(record, Clock())

    async def told() -> None:
        await alarms.sound(DRIFT)
        assert [one.line for one in alarms.standing()] == [None]
        record.broken = False
        await alarms.sound(DRIFT)
        assert [one.line for one in alarms.standing()] == [1]

    asyncio.run(told())


def test_beyond_a_bound_they_are_recorded_only() -> None:
    record = Record([])
    alarms = Alarms(record, Clock())

    async def told() -> None:
        for number in range(MAX_STANDING + 5):
            await alarms.sound(Alarm("settlement.unasked", f"d-{number}", "no"))

    asyncio.run(told())
    assert (len(alarms.standing()), len(record.lines)) == (MAX_STANDING, MAX_STANDING + 5)
