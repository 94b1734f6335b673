"""What the operator's desk is told of the affairs with upstreams, as plain values. Every entry may be missing: then it is not
known, and is not shown as good."""

from typing import TypedDict

from agentd.gate.books.alarms import Standing


class AlarmView(TypedDict):
    """An alarm that stands: see `gate.books.alarms`."""

    code: str
    about: str
    message: str
    hint: str
    at: str  # RFC 3339, since when
    line: int | None  # where the record has it


class KeyView(TypedDict):
    """What the upstream says of a key. None: not said; of limits, also: none."""

    upstream: str
    limit_nusd: int | None
    remaining_nusd: int | None
    reset: str | None
    used_today_nusd: int | None
    at: str  # RFC 3339, when it was looked at
    shut: bool  # nothing goes there now


class PrivateView(TypedDict):
    """The list of endpoints that keep nothing, for a policy that demands some."""

    models: int  # that have one
    at: str | None  # RFC 3339, when the upstream said so; None: never


class Affairs(TypedDict, total=False):
    """The affairs now."""

    alarms: list[AlarmView]
    upstream_keys: list[KeyView]
    private: PrivateView  # missing: no tier demands it
    unsettled: dict[str, int]  # see `gate.books.settlement.Settlement.summary`


def alarm_view(standing: Standing) -> AlarmView:
    """An alarm as data."""
    alarm = standing.alarm
    return AlarmView(
        code=alarm.code, about=alarm.about, message=alarm.message, hint=alarm.hint, at=standing.at, line=standing.line
    )


def nothing_known() -> Affairs:
    """No affairs: nobody looks after them."""
    return Affairs()
