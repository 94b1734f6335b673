"""Points in time as text, and the calendar windows in which limits count. All of it is UTC and integers of nanoseconds.

UTC, because a box whose local clock jumps twice a year would have a 23-hour and a 25-hour day to spend in. Integers, because
a float cannot hold today's nanoseconds: two lines of the record would get the same time, or swap. `datetime` is used as a
calendar only; the present comes from the caller.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000
US_PER_S = 1_000_000

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(at_ns: int) -> str:
    """UTC nanoseconds since 1970 as `2026-03-01T09:30:00.000001Z`: always six digits, so that text sorts as time does.

    Finer than a microsecond is cut off, never rounded up into the future. Raises `OverflowError` outside the years 1 to 9999.
    """
    return f"{_second(at_ns // NS_PER_S)}.{at_ns // NS_PER_US % US_PER_S:06d}Z"


def from_rfc3339(text: str) -> int:
    """The nanoseconds of an RFC 3339 time, in any zone. Raises `ValueError` when it is none, or names no zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone: write it with a trailing Z for UTC")
    return _nanoseconds(moment.astimezone(UTC))


def window_start(window: str, at_ns: int) -> int:
    """When the hour, day, week (from Monday) or month that holds `at_ns` began, in nanoseconds.

    Raises `ValueError` for any other window: the life of a session is no calendar window.
    """
    return _nanoseconds(_start_of(window)(_moment(at_ns)))


def window_end(window: str, at_ns: int) -> int:
    """When that window ends and the next begins, in nanoseconds: the first instant that no longer counts. See `window_start`."""
    start_of = _start_of(window)
    return _nanoseconds(start_of(start_of(_moment(at_ns)) + _PAST_END[window]))


@lru_cache(maxsize=64)
def _second(since: int) -> str:
    """A second as text. Each call of a model writes three times down, most of them in the same second."""
    return (EPOCH + timedelta(seconds=since)).isoformat().removesuffix("+00:00")


def _moment(at_ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_ns // NS_PER_US)


def _nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * NS_PER_US


def _start_of(window: str) -> Callable[[datetime], datetime]:
    try:
        return _STARTS[window]
    except KeyError:
        raise ValueError(f"{window!r} is no calendar window: it is one of {', '.join(_STARTS)}") from None


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _day(moment: datetime) -> datetime:
    return _hour(moment).replace(hour=0)


def _week(moment: datetime) -> datetime:
    return _day(moment) - timedelta(days=moment.weekday())


def _month(moment: datetime) -> datetime:
    return _day(moment).replace(day=1)


_STARTS: dict[str, Callable[[datetime], datetime]] = {"hour": _hour, "day": _day, "week": _week, "month": _month}

# Added to a start, each lands inside the next window, whose own start is then the end: 31 days after the first of a month
# is always in the next month.
_PAST_END: dict[str, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=31),
}
