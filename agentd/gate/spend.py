"""What has been used: the sums behind the budgets, reserved before a call and settled after it.

Between reading `used` and `reserve` there is no await in the pipeline, so any number of concurrent calls see each other's
reservations and overspend nothing. The record is the authority: at start the sums are restored from it, open reservations
included. Accounts are kept whether or not a budget names them, so that a new policy knows the past.
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
SESSION_TTL_NS = 7 * 24 * NS_PER_HOUR
"""A session that was silent for this long starts anew."""


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
    """Running totals of one account in one window. `start` tells windows apart; a sum of an older window is void."""

    start: int
    spent: int = 0
    calls: int = 0
    tokens: int = 0


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
        self._sums: dict[tuple[str, Window], _Sum] = {}

    def restore(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take sums per hour from the record: hour, agent, class, tier, session, calls, tokens, nusd."""
        for row in rows:
            account = Account(row["agent"] or "", row["class"] or "", row["tier"] or "", row["session"] or "")
            self._add(account, row["hour"] * NS_PER_HOUR, row["nusd"], row["calls"], row["tokens"])

    def reserve(self, account: Account, amount: int, at_ns: int) -> Reservation:
        """Hold an amount for a call that is about to be recorded."""
        self._add(account, at_ns, amount, 1, 0)
        return Reservation(account, amount, at_ns)

    def release(self, held: Reservation) -> None:
        """Give back what was held for a call that did not happen."""
        self._add(held.account, held.at_ns, -held.amount, -1, 0)

    def settle(self, held: Reservation, cost: int | None, tokens: int) -> None:
        """Replace the reservation by the cost; without one the reservation stays."""
        self._add(held.account, held.at_ns, 0 if cost is None else cost - held.amount, 0, tokens)

    def reopen(self, held: Reservation, cost: int | None, tokens: int) -> None:
        """Take a settlement back, whose line could not be written: the reservation holds again."""
        self._add(held.account, held.at_ns, 0 if cost is None else held.amount - cost, 0, -tokens)

    def used(self, policy: Policy, account: Account, at_ns: int) -> dict[tuple[str, str], Used]:
        """The state of every budget account that a call at any tier of the policy could be charged to."""
        return {
            (budget.name, name): self.of(budget, name, at_ns)
            for budget in policy.budgets
            for name in _chargeable(budget, account, policy)
        }

    def of(self, budget: Budget, name: str, at_ns: int) -> Used:
        """What one account has used of a budget's window that holds `at_ns`."""
        resets = _resets(budget.window, at_ns // NS_PER_HOUR)
        total = self._sums.get((name, budget.window))
        if total is None or not _current(total, budget.window, at_ns):
            return Used(resets=resets)
        return Used(max(0, total.spent), total.calls, total.tokens, resets)

    def known(self, scope: Scope) -> list[str]:
        """Names of the accounts under a scope that have used anything."""
        prefix = "box" if scope is Scope.BOX else f"{scope.value}:"
        return sorted({name for name, _ in self._sums if name.startswith(prefix)})

    def forget_old(self, at_ns: int) -> None:
        """Drop sums whose window is over, so that memory does not grow with sessions."""
        self._sums = {key: total for key, total in self._sums.items() if _current(total, key[1], at_ns)}

    def _add(self, account: Account, at_ns: int, spent: int, calls: int, tokens: int) -> None:
        by = (spent, calls, tokens)
        starts = _starts(at_ns // NS_PER_HOUR)
        names = account.names()
        for window, start in zip(CALENDAR, starts, strict=True):
            for name in names:
                self._bump((name, window), start, by)
        self._bump((names[-1], Window.SESSION), at_ns, by)  # the life of a session is its own alone

    def _bump(self, key: tuple[str, Window], start: int, by: tuple[int, int, int]) -> None:
        total = self._sums.get(key)
        fresh = total is None or (
            total.start < start and (key[1] is not Window.SESSION or start - total.start > SESSION_TTL_NS)
        )
        if fresh:
            total = self._sums[key] = _Sum(start)
        elif total is not None and key[1] is not Window.SESSION and total.start > start:
            return  # belongs to a window that is over
        if total is not None:
            total.start = max(total.start, start)
            total.spent += by[0]
            total.calls += by[1]
            total.tokens += by[2]


def _current(total: _Sum, window: Window, at_ns: int) -> bool:
    if window is Window.SESSION:
        return at_ns - total.start <= SESSION_TTL_NS
    return total.start == _starts(at_ns // NS_PER_HOUR)[CALENDAR.index(window)]


def _chargeable(budget: Budget, account: Account, policy: Policy) -> tuple[str, ...]:
    """The accounts of a budget that this call could be charged to: one, or that of each tier while none is chosen."""
    if budget.scope is Scope.TIER:
        tiers = policy.tiers if budget.of is None else (budget.of,)
        return tuple(account_name(Scope.TIER, tier) for tier in tiers)
    return tuple(name for _, name in accounts((budget,), account.agent, account.task, "", account.session))


@lru_cache(maxsize=1024)
def _starts(hour: int) -> tuple[int, ...]:
    """When the calendar windows that hold an hour began. Windows begin on full hours, so an hour decides all of them."""
    return tuple(window_start(window.value, hour * NS_PER_HOUR) for window in CALENDAR)


@lru_cache(maxsize=64)
def _resets(window: Window, hour: int) -> str:
    """When a window ends, for people; a session's never."""
    return "" if window is Window.SESSION else f"{rfc3339(window_end(window.value, hour * NS_PER_HOUR))[:19]}Z"
