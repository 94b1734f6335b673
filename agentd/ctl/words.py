"""Numbers and times in the words of people: money, tokens, durations, moments."""

import re
from datetime import UTC, datetime

from agentd.core.types.money import format_usd
from agentd.ctl.exits import CtlError, Exit

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
"""Seconds in a unit of `--since 2h`."""

AGO = re.compile(r"([0-9]{1,6})([smhdw])")

NS_PER_S = 10**9

FACTOR = 1024


def money(nusd: int | None) -> str | None:
    """Nano-dollars for people, or None."""
    return None if nusd is None else format_usd(nusd)


def count(number: int | None) -> str | None:
    """A number with thousands apart, or None."""
    return None if number is None else f"{number:,}"


def size(number: int) -> str:
    """Bytes in MiB or GiB."""
    mib = number / FACTOR**2
    return f"{mib:.0f} MiB" if mib < FACTOR else f"{mib / FACTOR:.1f} GiB"


def moment(at: str | None) -> str | None:
    """An RFC 3339 time in UTC to the second, `2026-03-01 09:30:00`; what is none stays as it is."""
    return None if at is None else at[:19].replace("T", " ")


def lasted(start: str | None, end: str | None) -> str:
    """The time between two moments: `3 d 4 h`, `12 min`, `5 s`."""
    if not start or not end:
        return "unknown"
    seconds = max(0, int((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def seconds_of(text: str, option: str) -> int:
    """A length of time in seconds: `30m`, `12h`, `90d`. Raises `CtlError`."""
    found = AGO.fullmatch(text)
    if not found:
        raise CtlError(Exit.USAGE, f"{option} {text} is no length of time.", "Like 30m, 12h, 90d or 52w.")
    return int(found[1]) * UNITS[found[2]]


def since(text: str | None) -> dict[str, int]:
    """`--since`: `2h` (s m h d w) ago, or a date or time in UTC, as the daemon wants it. Raises `CtlError`."""
    if text is None:
        return {}
    ago = AGO.fullmatch(text)
    if ago:
        return {"ago_s": int(ago[1]) * UNITS[ago[2]]}
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        hint = "Like 30m, 2h, 7d, 2026-03-01 or 2026-03-01T09:30."
        raise CtlError(Exit.USAGE, f"--since {text} is no time.", hint) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return {"since_ns": max(1, int(at.timestamp()) * NS_PER_S)}


def seq_of(name: str) -> int:
    """The number of a line: `d-41`, `41`, the outcome `o-42`, `halt-7`. Raises `CtlError`."""
    found = re.fullmatch(r"(?:[a-z]{1,12}-)?([0-9]{1,18})", name.strip())
    if not found:
        raise CtlError(Exit.USAGE, f"{name} names no decision.", "Like d-41; agentctl logs shows them.")
    return int(found[1])
