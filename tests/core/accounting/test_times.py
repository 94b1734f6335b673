"""Times as text and calendar windows: known dates in a table, and what must hold for every instant."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting import times

WINDOWS = ("hour", "day", "week", "month")
INSTANTS = st.integers(min_value=0, max_value=4_000_000_000 * times.NS_PER_S)  # to the year 2096


def ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * times.NS_PER_S


@pytest.mark.parametrize(
    ("at_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999, "1970-01-01T00:00:00.000000Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (1_772_357_400_123_456_789, "2026-03-01T09:30:00.123456Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_text_of_an_instant(at_ns: int, text: str) -> None:
    assert times.rfc3339(at_ns) == text


def test_a_year_that_the_calendar_does_not_have() -> None:
    with pytest.raises(OverflowError):
        times.rfc3339(400_000 * 366 * 86_400 * times.NS_PER_S)


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("1970-01-01T00:00:00.000001Z", 1_000),
        ("2026-03-01T09:30:00Z", ns("2026-03-01T09:30:00")),
        ("2026-03-01T10:30:00+01:00", ns("2026-03-01T09:30:00")),
    ],
)
def test_instant_of_a_text(text: str, at_ns: int) -> None:
    assert times.from_rfc3339(text) == at_ns


@pytest.mark.parametrize("text", ["2026-03-01T09:30:00", "yesterday", ""])
def test_text_that_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError):
        times.from_rfc3339(text)


@pytest.mark.parametrize(
    ("window", "at", "start", "end"),
    [
        ("hour", "2026-03-01T09:30:15", "2026-03-01T09:00:00", "2026-03-01T10:00:00"),
        ("hour", "2026-12-31T23:59:59", "2026-12-31T23:00:00", "2027-01-01T00:00:00"),
        ("day", "2026-03-29T02:30:00", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),  # 24 h on every day of the year
        ("week", "2026-03-01T23:59:59", "2026-02-23T00:00:00", "2026-03-02T00:00:00"),  # a Sunday
        ("week", "2026-03-02T00:00:00", "2026-03-02T00:00:00", "2026-03-09T00:00:00"),  # a Monday
        ("week", "2027-01-01T12:00:00", "2026-12-28T00:00:00", "2027-01-04T00:00:00"),
        ("month", "2026-02-14T09:00:00", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
        ("month", "2028-02-29T09:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"),
        ("month", "2026-12-31T23:00:00", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_window(window: str, at: str, start: str, end: str) -> None:
    assert times.window_start(window, ns(at)) == ns(start)
    assert times.window_end(window, ns(at)) == ns(end)


@pytest.mark.parametrize("window", ["session", "", "year", "Day"])
def test_no_calendar_window(window: str) -> None:
    with pytest.raises(ValueError, match="hour, day, week, month"):
        times.window_start(window, 0)
    with pytest.raises(ValueError, match="hour, day, week, month"):
        times.window_end(window, 0)


@given(st.sampled_from(WINDOWS), INSTANTS)
def test_windows_tile_time(window: str, at_ns: int) -> None:
    start, end = times.window_start(window, at_ns), times.window_end(window, at_ns)
    assert start <= at_ns < end
    assert times.window_start(window, start) == times.window_start(window, end - 1) == start
    assert times.window_end(window, start) == times.window_end(window, end - 1) == end
    assert times.window_start(window, end) == end


@given(INSTANTS, INSTANTS)
def test_text_sorts_as_time_does_and_reads_back(one: int, other: int) -> None:
    one, other = one // 1000 * 1000, other // 1000 * 1000
    assert (times.rfc3339(one) < times.rfc3339(other)) == (one < other)
    assert times.from_rfc3339(times.rfc3339(one)) == one
