"""Refusals: a few lines each, more by and by, none lost from the count, and none that hides another kind."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.accounting.times import rfc3339
from agentd.core.types.records import Kind, Line
from agentd.gate.noise import AGENT_BURST, BURST, KINDS, MAX_KEPT, REFILL_NS, STRANGERS, Noise

AT = 10**18


def of(uid: int = 1, code: str = "token.missing", agent: str | None = None) -> Line:
    return Line(Kind.DECISION, rfc3339(AT), agent=agent, caller={"uid": uid}, verdict="deny", code=code)


def knocks(noise: Noise, line: Line, times: int, at: int = AT) -> list[int | None]:
    return [noise.heard(line, at) for _ in range(times)]


def test_the_first_ones_have_a_line_each() -> None:
    assert knocks(Noise(), of(), BURST + 2) == [0] * BURST + [None, None]
    assert knocks(Noise(), of(agent="main"), AGENT_BURST + 2) == [0] * AGENT_BURST + [None, None]


def test_the_next_line_counts_what_had_none() -> None:
    noise = Noise()
    knocks(noise, of(), BURST + 7)
    assert noise.heard(of(), AT + REFILL_NS - 1) is None
    assert noise.heard(of(), AT + REFILL_NS) == 8
    assert noise.heard(of(), AT + REFILL_NS) is None


def test_another_user_another_agent_and_another_kind_are_heard_all_the_same() -> None:
    noise = Noise()
    knocks(noise, of(), 1000)
    knocks(noise, of(agent="main"), 1000)
    for other in (of(2), of(code="token.wrong_uid"), of(agent="second"), of(agent="main", code="budget.spent")):
        assert noise.heard(other, AT) == 0


def test_a_clock_that_steps_back_gives_nothing() -> None:
    noise = Noise()
    knocks(noise, of(), BURST)
    assert noise.heard(of(), AT - 10 * REFILL_NS) is None


def test_an_account_with_many_uids_is_bounded_too() -> None:
    noise = Noise()
    heard = [noise.heard(of(uid), AT) for uid in range(100_000, 100_000 + 2 * MAX_KEPT)]
    assert sum(line is not None for line in heard) == BURST * STRANGERS
    assert len(noise._own) <= MAX_KEPT
    assert noise.heard(of(7, "token.wrong_uid"), AT) == 0


def test_an_agent_that_finds_ever_new_ways_to_be_refused_is_bounded_too() -> None:
    noise = Noise()
    heard = [noise.heard(of(agent="main", code=f"c{place % 10}"), AT) for place in range(10 * AGENT_BURST)]
    assert sum(line is not None for line in heard) == AGENT_BURST * KINDS
    assert noise.heard(of(agent="second"), AT) == 0


def test_who_was_forgotten_is_counted_all_the_same() -> None:
    noise = Noise()
    knocks(noise, of(1), BURST + 5)
    for uid in range(2, MAX_KEPT + 2):
        noise.heard(of(uid, "other"), AT)
    assert (noise.stands_for(of(1)), noise.due(AT)) == ("", [(of(1), 4)])


def test_what_nothing_comes_after_is_told_late_and_once() -> None:
    noise = Noise()
    knocks(noise, of(), BURST + 5)
    assert noise.due(AT + REFILL_NS - 1) == []
    assert noise.due(AT + REFILL_NS) == [(of(), 4)]
    assert noise.due(AT + 9 * REFILL_NS) == []


def test_at_the_end_everything_is_told() -> None:
    noise = Noise()
    knocks(noise, of(), BURST + 1)
    knocks(noise, of(agent="main"), AGENT_BURST + 3)
    assert noise.due(AT, everything=True) == [(of(), 0), (of(agent="main"), 2)]
    assert noise.due(AT, everything=True) == []


def test_what_could_not_be_written_is_told_by_the_next() -> None:
    noise = Noise()
    knocks(noise, of(), BURST + 5)
    assert noise.heard(of(), AT + REFILL_NS) == 5
    noise.unwritten(of(), 5)
    assert noise.heard(of(), AT + 2 * REFILL_NS) == 5
    noise.unwritten(of(), 0)
    assert noise.due(AT, everything=True) == []


def test_one_line_stands_for_the_others() -> None:
    noise = Noise()
    assert noise.stands_for(of()) == ""
    noise.heard(of(), AT)
    noise.written(of(), "d-7")
    assert (noise.stands_for(of()), noise.stands_for(of(2))) == ("d-7", "")


@given(st.lists(st.tuples(st.integers(0, 2 * REFILL_NS), st.integers(0, 3), st.booleans()), max_size=300))
def test_lines_and_counts_add_up_to_the_refusals(steps: list[tuple[int, int, bool]]) -> None:
    noise, at, lines, counted = Noise(), AT, 0, 0
    for wait, who, late in steps:
        at += wait // 10
        heard = noise.heard(of(who), at)
        told = ([heard] if heard is not None else []) + ([count for _, count in noise.due(at)] if late else [])
        lines += len(told)
        counted += sum(told)
    last = noise.due(at, everything=True)
    assert lines + counted + sum(1 + count for _, count in last) == len(steps)
    assert lines <= 4 * (BURST + (at - AT) // REFILL_NS + 1)
