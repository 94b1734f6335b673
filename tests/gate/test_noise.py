"""Strangers' knocks: a few lines each, more by and by, none lost from the count, and none that hides another kind."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.gate.noise import BURST, MAX_KEPT, REFILL_NS, SHARE, Noise

AT = 10**18


def knocks(noise: Noise, uid: int, times: int, code: str = "token.missing", at: int = AT) -> list[int | None]:
    return [noise.heard(uid, code, at) for _ in range(times)]


def test_the_first_ones_have_a_line_each() -> None:
    assert knocks(Noise(), 1, BURST + 2) == [0] * BURST + [None, None]


def test_the_next_line_counts_what_had_none() -> None:
    noise = Noise()
    knocks(noise, 1, BURST + 7)
    assert noise.heard(1, "token.missing", AT + REFILL_NS - 1) is None
    assert noise.heard(1, "token.missing", AT + REFILL_NS) == 8
    assert noise.heard(1, "token.missing", AT + REFILL_NS) is None


def test_another_user_and_another_kind_are_heard_all_the_same() -> None:
    noise = Noise()
    knocks(noise, 1, 1000)
    assert noise.heard(2, "token.missing", AT) == 0
    assert noise.heard(1, "token.wrong_uid", AT) == 0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    noise = Noise()
    knocks(noise, 1, BURST)
    assert noise.heard(1, "token.missing", AT - 10 * REFILL_NS) is None


def test_an_account_with_many_uids_is_bounded_too() -> None:
    noise = Noise()
    lines = [noise.heard(uid, "token.missing", AT) for uid in range(100_000, 100_000 + 2 * MAX_KEPT)]
    assert sum(line is not None for line in lines) == BURST * SHARE
    assert len(noise._kept) <= MAX_KEPT
    assert noise.heard(7, "token.wrong_uid", AT) == 0


@given(st.lists(st.integers(0, 5 * REFILL_NS), max_size=200))
def test_lines_and_counts_add_up_to_the_knocks(waits: list[int]) -> None:
    noise, at, lines, counted = Noise(), AT, 0, 0
    for wait in waits:
        at += wait
        heard = noise.heard(1, "x", at)
        if heard is not None:
            lines += 1
            counted += heard
    assert lines + counted + noise._of((1, "x"), BURST, at).unheard == len(waits)
    assert lines <= BURST + (at - AT) // REFILL_NS + 1
