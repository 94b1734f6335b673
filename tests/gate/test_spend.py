"""The sums behind the budgets: reserve, settle, release, restore, windows."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.times import NS_PER_S
from agentd.core.policy import schema as s
from agentd.gate.spend import KEPT_NS, LOOK_NS, NS_PER_HOUR, SESSION_TTL_NS, Account, Spend
from builders import NOON, policy

MAIN = Account("main", "routine", "economy", "s1")
DAY = s.Budget("day", "ops", s.Scope.BOX, s.Window.DAY, limit=100)
SESSION = s.Budget("session", "ops", s.Scope.SESSION, s.Window.SESSION, limit=100)


def spent(spend: Spend, budget: s.Budget = DAY, name: str = "box", at: int = NOON) -> int:
    return spend.of(budget, name, at).spent


def test_a_reservation_counts_until_it_is_settled() -> None:
    spend = Spend()
    held = spend.reserve(MAIN, 70, NOON)
    assert spent(spend) == 70
    spend.settle(held, 12, 500)
    assert (spent(spend), spend.of(DAY, "box", NOON).calls, spend.of(DAY, "box", NOON).tokens) == (12, 1, 500)


def test_an_unknown_cost_keeps_the_reservation() -> None:
    spend = Spend()
    spend.settle(spend.reserve(MAIN, 70, NOON), None, 0)
    assert spent(spend) == 70


def test_what_did_not_happen_is_given_back() -> None:
    spend = Spend()
    spend.release(spend.reserve(MAIN, 70, NOON))
    assert (spent(spend), spend.of(DAY, "box", NOON).calls) == (0, 0)


def test_windows_begin_anew_and_say_when() -> None:
    spend = Spend()
    spend.reserve(MAIN, 70, NOON)
    tomorrow = NOON + 24 * NS_PER_HOUR
    assert spent(spend, at=tomorrow) == 0
    assert spend.of(DAY, "box", NOON).resets == "2026-09-22T00:00:00Z"
    spend.reserve(MAIN, 5, tomorrow)
    assert spent(spend, at=tomorrow) == 5


def test_a_settlement_after_midnight_does_not_touch_the_new_day() -> None:
    spend = Spend()
    held = spend.reserve(MAIN, 70, NOON)
    tomorrow = NOON + 24 * NS_PER_HOUR
    spend.reserve(MAIN, 5, tomorrow)
    spend.settle(held, 1, 1)
    assert spent(spend, at=tomorrow) == 5


def test_a_session_counts_over_days_and_ends_by_silence() -> None:
    spend = Spend()
    spend.reserve(MAIN, 70, NOON)
    spend.reserve(MAIN, 5, NOON + 30 * NS_PER_HOUR)
    assert spent(spend, SESSION, "session:s1", NOON + 30 * NS_PER_HOUR) == 75
    later = NOON + 30 * NS_PER_HOUR + SESSION_TTL_NS + NS_PER_S
    assert spent(spend, SESSION, "session:s1", later) == 0
    spend.reserve(MAIN, 1, later)
    assert spent(spend, SESSION, "session:s1", later) == 1


def test_the_record_restores_the_sums() -> None:
    spend = Spend()
    row: dict[str, Any] = {
        "hour": NOON // NS_PER_HOUR,
        "agent": "main",
        "class": "routine",
        "tier": "economy",
        "session": "s1",
        "calls": 2,
        "tokens": 9,
        "nusd": 33,
    }
    spend.restore([row, {**row, "hour": row["hour"] - 24, "nusd": 1000}], NOON)
    assert spent(spend) == 33
    assert spent(spend, replace(DAY, scope=s.Scope.CLASS), "class:routine") == 33


def test_used_lists_each_account_that_could_be_charged() -> None:
    spend = Spend()
    spend.reserve(MAIN, 70, NOON)
    tiers = s.Budget("tiers", "ops", s.Scope.TIER, s.Window.DAY, limit=5)
    state = spend.used(replace(policy(), budgets=(DAY, tiers)), MAIN, NOON)
    assert {key: used.spent for key, used in state.items()} == {
        ("day", "box"): 70,
        ("tiers", "tier:economy"): 70,
        ("tiers", "tier:standard"): 0,
        ("tiers", "tier:frontier"): 0,
    }


def test_old_sums_are_forgotten() -> None:
    spend = Spend()
    spend.reserve(MAIN, 70, NOON)
    assert spend.known(s.Scope.AGENT) == ["agent:main"]
    later = NOON + 400 * 24 * NS_PER_HOUR
    spend.forget_old(later, 0)
    assert spend.known(s.Scope.BOX) == []
    assert spent(spend) == 70, "kept for a clock that is put right"
    spend.forget_old(later, KEPT_NS + 1)
    assert spent(spend) == 0


def test_a_settlement_of_what_is_forgotten_changes_nothing() -> None:
    spend = Spend()
    held = spend.reserve(MAIN, 70, NOON)
    spend.forget_old(NOON + 400 * 24 * NS_PER_HOUR, 0)
    spend.forget_old(NOON + 400 * 24 * NS_PER_HOUR, KEPT_NS + 1)
    spend.settle(held, 1, 1)
    spend.reserve(MAIN, 5, NOON)
    assert spent(spend) == 5


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 9)), max_size=30), st.integers(-3, 3))
def test_a_clock_that_jumps_gives_nobody_a_window_twice(calls: list[tuple[int, int]], today: int) -> None:
    """Whatever way the days come, each counts what was reserved in it; and so after a restart."""
    spend, record = Spend(), []
    for mono, (day, amount) in enumerate(calls):
        at = NOON + day * 24 * NS_PER_HOUR
        spend.reserve(MAIN, amount, at)
        spend.forget_old(at, mono * LOOK_NS)
        names = {"agent": "main", "class": "routine", "tier": "economy", "session": "s1"}
        record.append({"hour": at // NS_PER_HOUR, "calls": 1, "tokens": 0, "nusd": amount, **names})
    again = Spend()
    again.restore(sorted(record, key=lambda row: row["hour"]), NOON + today * 24 * NS_PER_HOUR)
    for day in range(-3, 4):
        at = NOON + day * 24 * NS_PER_HOUR
        booked = sum(amount for on, amount in calls if on == day)
        assert spent(spend, at=at) == spent(again, at=at) == booked


@given(st.lists(st.tuples(st.integers(0, 1000), st.none() | st.integers(0, 1000), st.booleans()), max_size=40))
def test_the_sum_is_exact_in_any_order(calls: list[tuple[int, int | None, bool]]) -> None:
    spend = Spend()
    held = [(spend.reserve(MAIN, amount, NOON), cost, happened) for amount, cost, happened in calls]
    for money, cost, happened in reversed(held):
        if happened:
            spend.settle(money, cost, 0)
        else:
            spend.release(money)
    assert spent(spend) == sum((amount if cost is None else cost) for amount, cost, happened in calls if happened)
