"""Sessions: named by agent and correlation, remembered for a while, opaque upstream."""

from agentd.core.policy.facts import Memory
from agentd.core.types.calls import Hints, Shape
from agentd.gate.sessions import IDLE_NS, MAX_SESSIONS, Sessions, opaque, session_of
from builders import NOON, call

MEMORY = Memory("routine", "economy", "small/one", "or")


def test_a_session_belongs_to_its_agent() -> None:
    assert session_of("a", Hints(session="x"), call()) != session_of("b", Hints(session="x"), call())


def test_without_a_hint_the_beginning_of_the_conversation_names_it() -> None:
    first = call(shape=Shape(conversation="aa"))
    assert session_of("a", Hints(), first) == session_of("a", Hints(), call(shape=Shape(conversation="aa", turns=9)))
    assert session_of("a", Hints(), first) != session_of("a", Hints(), call(shape=Shape(conversation="bb")))


def test_a_lone_surrogate_in_a_hint_does_no_harm() -> None:
    assert len(session_of("a", Hints(session="\ud800"), call())) == 24


def test_memory_ends_after_an_idle_hour() -> None:
    sessions = Sessions()
    sessions.remember("s", MEMORY, NOON)
    assert sessions.recall("s", NOON + IDLE_NS) == MEMORY
    assert sessions.recall("s", NOON + IDLE_NS + 1) is None
    assert sessions.recall("other", NOON) is None


def test_memory_ends_when_the_clock_is_set_back() -> None:
    """What a session was given by a grant is not had for longer; calls that overtake each other are no such thing."""
    sessions = Sessions()
    sessions.remember("s", MEMORY, NOON)
    assert sessions.recall("s", NOON - IDLE_NS) == MEMORY
    assert sessions.recall("s", NOON - IDLE_NS - 1) is None


def test_memory_is_bounded_and_keeps_the_newest() -> None:
    sessions = Sessions()
    for number in range(MAX_SESSIONS + 10):
        sessions.remember(str(number), MEMORY, NOON)
    assert sessions.recall("0", NOON) is None
    assert sessions.recall(str(MAX_SESSIONS + 9), NOON) == MEMORY


def test_what_goes_upstream_is_stable_and_says_nothing() -> None:
    assert opaque(b"k", "s1") == opaque(b"k", "s1") != opaque(b"l", "s1")
    assert "s1" not in opaque(b"k", "s1")
