"""A good policy text and ways to spoil it: for tests of what is said about policy files."""

from agentd.core.policy.parse import parse_policy
from agentd.core.policy.schema import Policy
from agentd.core.policy.values import Names
from agentd.core.types.errors import Fault, PolicyRefused
from agentd.document import read_document

GOOD = """\
version: 1
owner: ops@example.org
reviewed: 2026-11-20
change: first
labels: [public, private]
agents:
  main:
    owner: ops@example.org
    expires: 2027-06-30
    match: [{ unit: main.service }]
    default_class: routine
    classes: [routine, hard]
    ceiling: high
    label: private
upstreams:
  far: { kind: openrouter, url: https://openrouter.ai/api/v1, key: openrouter }
  near: { kind: openai, url: http://127.0.0.1:11434/v1 }
tiers:
  low:
    owner: ops@example.org
    max_output: 1000
    max_label: private
    models:
      - { id: small/one, upstream: far }
      - { id: "home:8b", upstream: near, price: { prompt: 0, completion: 0 } }
  high:
    owner: ops@example.org
    max_output: 2000
    max_label: private
    max_price: { prompt: 5.00, completion: 25 }
    models:
      - { id: top/one, upstream: far, providers: [first, second] }
classes:
  routine: { owner: ops@example.org, tier: low, max_output: 500, deadline: 60s, lanes: [chat, small-*] }
  hard:
    owner: ops@example.org
    tier: low
    floor: low
    ceiling: high
    max_output: 1500
    deadline: 10m
    lanes: [code]
    escalation: { to: high, quota: 3, window: day, grant: 15m, owner: boss@example.org }
budgets:
  box: { owner: ops@example.org, scope: box, window: day, limit: 2.50 }
  rare: { owner: ops@example.org, scope: tier, of: high, window: hour, calls: 10, tokens: 1000 }
retention: { days: 200 }
tests:
  - name: strangers get nothing
    given: { uid: 65533 }
    expect: { verdict: deny, code: caller.unknown }
...
"""

USERS = {"alice": 1001}
GROUPS = {"agents": 2001}
PRICED = frozenset({"small/one", "top/one", "other/one"})


def names(prices: frozenset[str] | None = PRICED) -> Names:
    """A machine with one user and one group, on which agentd runs as 990."""
    return Names(990, USERS.get, GROUPS.get, prices)


def parse(text: str, prices: frozenset[str] | None = PRICED) -> Policy:
    """Read a text as the daemon does."""
    root, faults = read_document(text, "p.yaml")
    return parse_policy(root, names(prices), "p.yaml", faults)


def good(old: str = "", new: str = "", *more: str) -> str:
    """The good text, with one place changed. Further arguments are more pairs of old and new."""
    text = GOOD
    pairs = [old, new, *more]
    for before, after in zip(pairs[::2], pairs[1::2], strict=True):
        if before:
            if text.count(before) != 1:
                raise ValueError(f"{before!r} stands {text.count(before)} times in the text")
            text = text.replace(before, after)
    return text


def faults_of(text: str, prices: frozenset[str] | None = PRICED) -> list[Fault]:
    """Everything that is said about a text; empty if it is good."""
    try:
        parse(text, prices)
    except PolicyRefused as refused:
        return list(refused.faults)
    return []


def said(text: str, prices: frozenset[str] | None = PRICED) -> list[tuple[str, str]]:
    """(where, message) of each fault."""
    return [(fault.where, fault.message) for fault in faults_of(text, prices)]
