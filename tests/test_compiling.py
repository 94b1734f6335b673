"""Texts become policies under prices and lists that can change meanwhile."""

import pytest

from agentd.compiling import Compiler
from agentd.core.accounting.price import fixed_price
from agentd.core.accounting.private import PrivateList
from agentd.core.types.errors import PolicyRefused
from agentd.edge.host.catalogue import load_catalogue
from agentd.settings import SHIPPED_POLICY

TEXT = SHIPPED_POLICY.read_text().replace("    max_output: 4096\n", "    max_output: 4096\n    zdr: true\n", 1)
ECONOMY = frozenset({"google/gemini-2.5-flash-lite", "deepseek/deepseek-v4-flash"})


def test_a_tier_that_demands_what_no_endpoint_offers_is_refused_where_it_stands() -> None:
    compiler = Compiler(load_catalogue().prices)
    compiler.private = PrivateList(ECONOMY - {"deepseek/deepseek-v4-flash"}, "today")
    with pytest.raises(PolicyRefused) as refused:
        compiler.compile(TEXT, "policy.yaml")
    (fault,) = refused.value.faults
    assert "deepseek/deepseek-v4-flash keeps nothing" in fault.message
    assert "deepseek/deepseek-v4-flash" in TEXT.splitlines()[fault.line - 1]


@pytest.mark.parametrize("known", [None, ECONOMY])
def test_what_is_offered_or_not_known_is_not_refused(known: frozenset[str] | None) -> None:
    compiler = Compiler(load_catalogue().prices)
    compiler.private = None if known is None else PrivateList(known, "today")
    assert compiler.compile(TEXT, "policy.yaml").tiers["economy"].zdr


def test_a_text_that_was_in_force_is_not_refused_by_a_list_that_came_later() -> None:
    compiler = Compiler(load_catalogue().prices)
    compiler.private, compiler.stood = PrivateList(frozenset(), "today"), TEXT
    assert compiler.compile(TEXT, "policy.yaml").tiers["economy"].zdr
    with pytest.raises(PolicyRefused):
        compiler.compile(TEXT + "# another\n", "policy.yaml")


def test_newer_prices_take_the_place_of_all_old_ones() -> None:
    compiler = Compiler({"a": fixed_price("1", "1"), "b": fixed_price("1", "1")})
    held = compiler.catalogue_prices
    newer = {"b": fixed_price("2", "2"), "c": fixed_price("3", "3")}
    compiler.take(newer)
    assert held == newer
    policy = Compiler(load_catalogue().prices).compile(TEXT, "policy.yaml")
    before = compiler.prices(policy)
    assert compiler.prices(policy) is before
    compiler.take(load_catalogue().prices)
    assert compiler.prices(policy) is not before
