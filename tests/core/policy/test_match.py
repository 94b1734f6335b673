"""Who a caller is: every fact named has to be the kernel's, and what is not known matches nothing."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.match import holds, match_agent, serves_tcp
from agentd.core.policy.schema import Agent, Match, Policy
from agentd.core.types.callers import Peer

PEER = Peer("agent", uid=1001, gid=2001, pid=7, unit="main.service", exe="/usr/bin/main")
ROOT = Match(uid=0)


def policy(**agents: Match | tuple[Match, ...]) -> Policy:
    made = {
        name: Agent(name, "ops", date(2030, 1, 1), m if isinstance(m, tuple) else (m,), "c", ("c",), "t", "l")
        for name, m in agents.items()
    }
    return Policy(1, "ops", date(2026, 1, 1), "", ("l",), made, {}, {}, {})


@pytest.mark.parametrize(
    ("match", "peer", "name"),
    [
        (Match(uid=1001), PEER, "main"),
        (Match(uid=1002), PEER, None),
        (Match(gid=2001), PEER, "main"),
        (Match(unit="main.service"), PEER, "main"),
        (Match(unit="main.servic"), PEER, None),
        (Match(exe="/usr/bin/main"), PEER, "main"),
        (Match(exe="/usr/bin"), PEER, None),
        (Match(uid=1001, unit="main.service"), PEER, "main"),
        (Match(uid=1001, unit="other.service"), PEER, None),
        (Match(unit="main.service"), replace(PEER, unit=None), None),
        (Match(exe="/usr/bin/main"), replace(PEER, exe=None), None),
        (ROOT, PEER, None),
        (ROOT, replace(PEER, uid=0), "main"),
        (Match(), PEER, None),
        (Match(), replace(PEER, unit=None, exe=None), None),
    ],
)
def test_one_match(match: Match, peer: Peer, name: str | None) -> None:
    agent = match_agent(policy(main=match), peer)
    assert (agent and agent.name) == name


def test_any_of_several_matches_will_do() -> None:
    agent = match_agent(policy(main=(Match(uid=5), Match(unit="main.service"))), PEER)
    assert agent is not None


def test_an_agent_without_matches_is_nobody() -> None:
    assert match_agent(policy(main=()), PEER) is None


def test_the_first_in_the_file_wins() -> None:
    both = policy(narrow=Match(uid=1001, unit="main.service"), wide=Match(uid=1001))
    assert (match_agent(both, PEER) or both.agents["wide"]).name == "narrow"
    other = match_agent(both, replace(PEER, unit="x.service"))
    assert other is not None
    assert other.name == "wide"


def test_no_agents_no_match() -> None:
    assert match_agent(policy(), PEER) is None


@given(st.lists(st.sampled_from(["uid", "gid", "unit", "exe"]), min_size=1, unique=True))
def test_one_wrong_fact_is_enough(asked: list[str]) -> None:
    good = Match(**{name: getattr(PEER, name) for name in asked})
    assert holds(good, PEER)
    for name in asked:
        wrong: Any = 0 if name in ("uid", "gid") else "/wrong"
        assert not holds(replace(good, **{name: wrong}), PEER)


TCP = Peer("agent", uid=1001, transport="tcp", token="t-1", token_agent="main")


def test_over_tcp_the_token_names_the_agent_and_the_user_must_fit() -> None:
    both = policy(other=(Match(uid=1001),), main=(Match(uid=1001),))
    assert (match_agent(both, TCP) or both.agents["other"]).name == "main"
    assert match_agent(both, replace(TCP, uid=1002)) is None
    assert match_agent(both, replace(TCP, token_agent="nobody")) is None


def test_over_tcp_nobody_is_anybody_without_a_token() -> None:
    assert match_agent(policy(main=(Match(uid=1001),)), replace(TCP, token=None, token_agent=None)) is None


@pytest.mark.parametrize(
    "match",
    [Match(gid=2001), Match(unit="main.service"), Match(exe="/usr/bin/main"), Match(uid=1001, unit="main.service")],
)
def test_what_tcp_cannot_tell_fits_nobody(match: Match) -> None:
    made = policy(main=(match,))
    assert match_agent(made, TCP) is None
    assert not serves_tcp(made.agents["main"])


def test_one_entry_with_the_user_alone_is_enough() -> None:
    made = policy(main=(Match(unit="main.service"), Match(uid=1001)))
    assert match_agent(made, TCP) is not None
    assert serves_tcp(made.agents["main"])


def test_a_token_changes_nothing_on_a_unix_socket() -> None:
    made = policy(main=(Match(uid=1001),), other=(Match(uid=7),))
    assert (match_agent(made, replace(PEER, token_agent="other")) or made.agents["other"]).name == "main"
