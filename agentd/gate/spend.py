"""What has been used: the sums behind the budgets, reserved before a call and settled after it.

Between reading `used` and `reserve` there is no await in the pipeline, so any number of concurrent calls see each other's
reservations and overspend nothing. The record is the authority: at start the sums are restored from it, open reservations
included. Accounts are kept whether or not a budget names them, so that a new policy knows the past.

The box's clock may be set, forward and back again. So each window of an account has a sum of its own, and a window that the clock
comes back to has what was used in it: a limit cannot be had twice by way of the clock. What is over is kept for a while, measured
by the clock that never steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from agentd.core.accounting.times import NS_PER_S, rfc3339, window_end, window_start
from agentd.core.policy.facts import Used
from agentd.core.policy.model import account_name, accounts
from agentd.core.policy.schema import Budget, Policy, Scope, Window

CALENDAR = (Window.HOUR, Window.DAY, Window.WEEK, Window.MONTH)
NS_PER_HOUR = 3600 * NS_PER_S
SESSIONS = account_name(Scope.SESSION, "")
"""How the names of sessions' accounts begin."""

SESSION_TTL_NS = 7 * 24 * NS_PER_HOUR
"""A session that was silent for this long starts anew."""

KEPT_NS = 32 * 24 * NS_PER_HOUR
"""How long a sum is kept when its window is over by the wall clock, which may be wrong: as long as a month is."""

BRIEF_NS = 24 * NS_PER_HOUR
"""... of a session, or of an hour: there are many, and memory is not for ever."""

NEAR_HOURS = 50
"""Of sessions and of hours, so much of the past, and of a future if the clock was ahead, is restored at start: two days."""

LOOK_NS = 600 * NS_PER_S
"""Between two looks for what can be forgotten; each goes through all sums."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who a call is charged to, under every scope."""

    agent: str
    task: str
    tier: str
    session: str

    def names(self) -> tuple[str, ...]:
        """All account names, the box first."""
        return (
            "box",
            account_name(Scope.AGENT, self.agent),
            account_name(Scope.CLASS, self.task),
            account_name(Scope.TIER, self.tier),
            account_name(Scope.SESSION, self.session),
        )


@dataclass(slots=True)
class _Sum:
    """Running totals of one account in one window."""

    spent: int = 0
    calls: int = 0
    tokens: int = 0
    used_ns: int = 0  # when it was last added to, by the wall clock: the life of a session ends by silence
    over_ns: int | None = None  # since when its window has been over, by the clock that never steps


_Key = tuple[str, Window, int]
"""An account, a window, and when that began; a session's own life has no beginning."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Money held for one call, to be settled once."""

    account: Account
    amount: int
    at_ns: int


class Spend:
    """Totals per account and window, in memory."""

    def __init__(self) -> None:
        """Begin with nothing used; `restore` brings the past."""
        self._sums: dict[_Key, _Sum] = {}
        self._looked_ns: int | None = None

    def restore(self, rows: Iterable[Mapping[str, Any]], at_ns: int) -> None:
        """Take sums per hour from the record: hour, agent, class, tier, session, calls, tokens, nusd. `at_ns` is now."""
        for row in rows:
            account = Account(row["agent"] or "", row["class"] or "", row["tier"] or "", row["session"] or "")
            near = abs(row["hour"] - at_ns // NS_PER_HOUR) <= NEAR_HOURS
            kept = [key for key in _keys(account, row["hour"]) if near or not _brief(key)]
            self._bump(kept, row["hour"] * NS_PER_HOUR, (row["nusd"], row["calls"], row["tokens"]))

    def reserve(self, account: Account, amount: int, at_ns: int) -> Reservation:
        """Hold an amount for a call that is about to be recorded."""
        self._bump(_keys(account, at_ns // NS_PER_HOUR), at_ns, (amount, 1, 0))
        return Reservation(account, amount, at_ns)

    def release(self, held: Reservation) -> None:
        """Give back what was held for a call that did not happen."""
        self._change(held, (-held.amount, -1, 0))

    def settle(self, held: Reservation, cost: int | None, tokens: int) -> None:
        """Replace the reservation by the cost; without one the reservation stays."""
        self._change(held, (0 if cost is None else cost - held.amount, 0, tokens))

    def reopen(self, held: Reservation, cost: int | None, tokens: int) -> None:
        """Take a settlement back, whose line could not be written: the reservation holds again."""
        self._change(held, (0 if cost is None else held.amount - cost, 0, -tokens))

    def used(self, policy: Policy, account: Account, at_ns: int) -> dict[tuple[str, str], Used]:
        """The state of every budget account that a call at any tier of the policy could be charged to."""
        charged = accounts(policy, account.agent, account.task, policy.tiers, account.session)
        return {(budget.name, name): self.of(budget, name, at_ns) for budget, name in charged}

    def of(self, budget: Budget, name: str, at_ns: int) -> Used:
        """What one account has used of a budget's window that holds `at_ns`."""
        resets = _resets(budget.window, at_ns // NS_PER_HOUR)
        key = (name, budget.window, _start(budget.window, at_ns))
        total = self._sums.get(key)
        if total is None or not _current(key, total, at_ns):
            return Used(resets=resets)
        return Used(max(0, total.spent), total.calls, total.tokens, resets)

    def known(self, scope: Scope) -> list[str]:
        """Names of the accounts under a scope that have used anything."""
        prefix = "box" if scope is Scope.BOX else f"{scope.value}:"
        return sorted(
            {key[0] for key, total in self._sums.items() if total.over_ns is None and key[0].startswith(prefix)}
        )

    def forget_old(self, at_ns: int, mono_ns: int) -> None:
        """Drop sums whose window has been over for long, so that memory does not grow with sessions."""
        if self._looked_ns is not None and mono_ns - self._looked_ns < LOOK_NS:
            return
        self._looked_ns = mono_ns
        for key, total in tuple(self._sums.items()):
            if _current(key, total, at_ns):
                total.over_ns = None
            elif total.over_ns is None:
                total.over_ns = mono_ns
            elif mono_ns - total.over_ns > (BRIEF_NS if _brief(key) else KEPT_NS):
                del self._sums[key]

    def _change(self, held: Reservation, by: tuple[int, int, int]) -> None:
        """Correct what a reservation was counted as, where that is still known."""
        keys = _keys(held.account, held.at_ns // NS_PER_HOUR)
        self._bump([key for key in keys if key in self._sums], held.at_ns, by)

    def _bump(self, keys: Iterable[_Key], at_ns: int, by: tuple[int, int, int]) -> None:
        """Add to all these sums, in one pass: every call does this twice."""
        spent, calls, tokens = by
        for key in keys:
            total = self._sums.get(key)
            if total is None or (key[1] is Window.SESSION and at_ns - total.used_ns > SESSION_TTL_NS):
                total = self._sums[key] = _Sum(used_ns=at_ns)
            if total.used_ns < at_ns:
                total.used_ns = at_ns
            total.spent += spent
            total.calls += calls
            total.tokens += tokens


@lru_cache(maxsize=1024)
def _keys(account: Account, hour: int) -> tuple[_Key, ...]:
    """All sums that a call of this hour counts in. A call asks twice, when it begins and when it ends."""
    names = account.names()
    windows = tuple(zip(CALENDAR, _starts(hour), strict=True))
    own = (names[-1], Window.SESSION, 0)  # the life of a session is its own alone
    return (*((name, window, start) for window, start in windows for name in names), own)


def _brief(key: _Key) -> bool:
    """Whether there are many of its kind."""
    return key[1] is Window.HOUR or key[0].startswith(SESSIONS)


def _start(window: Window, at_ns: int) -> int:
    return 0 if window is Window.SESSION else _starts(at_ns // NS_PER_HOUR)[CALENDAR.index(window)]


def _current(key: _Key, total: _Sum, at_ns: int) -> bool:
    """Whether it is now, for the sum of a window."""
    if key[1] is Window.SESSION:
        return at_ns - total.used_ns <= SESSION_TTL_NS
    return key[2] == _start(key[1], at_ns)


@lru_cache(maxsize=1024)
def _starts(hour: int) -> tuple[int, ...]:
    """When the calendar windows that hold an hour began. Windows begin on full hours, so an hour decides all of them."""
    return tuple(window_start(window.value, hour * NS_PER_HOUR) for window in CALENDAR)


@lru_cache(maxsize=64)
def _resets(window: Window, hour: int) -> str:
    """When a window ends, for people; a session's never."""
    return "" if window is Window.SESSION else f"{rfc3339(window_end(window.value, hour * NS_PER_HOUR))[:19]}Z"
