"""Numbers and times for people."""

import pytest

from agentd.ctl.exits import CtlError
from agentd.ctl.words import count, lasted, moment, money, seq_of, since, size


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (None, {}),
        ("30s", {"ago_s": 30}),
        ("5m", {"ago_s": 300}),
        ("2h", {"ago_s": 7200}),
        ("7d", {"ago_s": 604_800}),
        ("1w", {"ago_s": 604_800}),
        ("2026-03-01", {"since_ns": 1_772_323_200 * 10**9}),
        ("2026-03-01T09:30", {"since_ns": (1_772_323_200 + 9 * 3600 + 1800) * 10**9}),
        ("2026-03-01T09:30:00+02:00", {"since_ns": (1_772_323_200 + 7 * 3600 + 1800) * 10**9}),
        ("1970-01-01", {"since_ns": 1}),
    ],
)
def test_since(text: str | None, asked: dict[str, int]) -> None:
    assert since(text) == asked


@pytest.mark.parametrize("text", ["", "2", "h", "2y", "-2h", "yesterday", "2026-13-01", "9999999h", "２h"])
def test_no_time(text: str) -> None:
    with pytest.raises(CtlError) as refused:
        since(text)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(("name", "seq"), [("d-41", 41), ("41", 41), ("o-42", 42), (" d-7 ", 7), ("halt-15", 15)])
def test_seq(name: str, seq: int) -> None:
    assert seq_of(name) == seq


@pytest.mark.parametrize("name", ["", "d-", "x.y-41", "d-4 1", "d--1", "4" * 19, "d-٤"])
def test_no_seq(name: str) -> None:
    with pytest.raises(CtlError):
        seq_of(name)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:05.9Z", "5 s"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:12:00Z", "12 min"),
        ("2026-03-01T00:00:00Z", "2026-03-01T04:12:00Z", "4 h 12 min"),
        ("2026-03-01T00:00:00Z", "2026-03-04T04:12:00Z", "3 d 4 h"),
        ("2026-03-01T00:00:05Z", "2026-03-01T00:00:00Z", "0 s"),
        (None, "2026-03-01T00:00:00Z", "unknown"),
    ],
)
def test_lasted(start: str | None, end: str, words: str) -> None:
    assert lasted(start, end) == words


def test_numbers() -> None:
    assert (money(None), money(0), money(4_300_000)) == (None, "$0.00", "$0.004300")
    assert (count(None), count(1234567)) == (None, "1,234,567")
    assert (size(80 * 2**20), size(3 * 2**30)) == ("80 MiB", "3.0 GiB")
    assert (moment(None), moment("2026-03-01T09:30:00.123456Z")) == (None, "2026-03-01 09:30:00")
