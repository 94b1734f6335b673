"""An index answers as a search through everything would, in the same order."""

from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.index import indexed

KEYS = st.integers(0, 6)


@given(st.lists(st.lists(KEYS, max_size=3), max_size=12), st.lists(KEYS, max_size=4))
def test_what_is_found_is_what_a_search_finds(things: list[list[int]], wanted: list[int]) -> None:
    index = indexed((keys, place) for place, keys in enumerate(things))
    assert index.at(wanted) == [place for place, keys in enumerate(things) if set(keys) & set(wanted)]
