"""What a new version gives and takes, in words."""

import pytest

from agentd.core.policy.change import Change, summarise_change
from policies import GOOD, good, parse

ESCALATION = "    escalation: { to: high, quota: 3, window: day, grant: 15m, owner: boss@example.org }\n"
RARE = "  rare: { owner: ops@example.org, scope: tier, of: high, window: hour, calls: 10, tokens: 1000 }\n"
SMALL = "      - { id: small/one, upstream: far }\n"
OTHER = "      - { id: other/one, upstream: far }\n"


@pytest.mark.parametrize(
    ("old", "new", "widened", "narrowed"),
    [
        ("    ceiling: high\n    label", "    ceiling: low\n    label", [], ["agents.main: ceiling high -> low"]),
        ("    label: private", "    label: public", ["agents.main: label private -> public"], []),
        ("expires: 2027-06-30", "expires: 2028-01-01", ["agents.main: expires 2027-06-30 -> 2028-01-01"], []),
        ("classes: [routine, hard]", "classes: [routine]", [], ["agents.main: class hard removed"]),
        (
            "match: [{ unit: main.service }]",
            "match: [{ uid: 7 }]",
            ["agents.main: match uid 7 added"],
            ["agents.main: match unit main.service removed"],
        ),
        ("11434", "8080", ["upstreams.near: now openai at http://127.0.0.1:8080/v1"], []),
        (SMALL, SMALL + OTHER, ["tiers.low: model other/one added"], []),
        ("max_output: 1000", "max_output: 999", [], ["tiers.low: max_output 1000 -> 999"]),
        ("max_output: 2000", "zdr: true\n    max_output: 2000", [], ["tiers.high: zdr false -> true"]),
        ("prompt: 5.00", "prompt: 6", ["tiers.high: max_price prompt 5.0 -> 6.0"], []),
        (
            "    max_price: { prompt: 5.00, completion: 25 }\n",
            "",
            ["tiers.high: max_price prompt 5.0 -> none", "tiers.high: max_price completion 25.0 -> none"],
            [],
        ),
        ("max_output: 500", "max_output: 600", ["classes.routine: max_output 500 -> 600"], []),
        ("deadline: 60s", "deadline: 30s", [], ["classes.routine: deadline 60s -> 30s"]),
        (
            "tier: low, max_output: 500",
            "tier: high, max_output: 500",
            ["classes.routine: tier low -> high", "classes.routine: ceiling low -> high"],
            [],
        ),
        ("max_output: 500", "effort: low, max_output: 500", [], ["classes.routine: effort not bounded -> low"]),
        ("max_output: 500", "cache_ttl: 1h, max_output: 500", ["classes.routine: cache_ttl 5m -> 1h"], []),
        ("quota: 3", "quota: 4", ["classes.hard: escalation quota 3 -> 4"], []),
        ("grant: 15m", "grant: 10m", [], ["classes.hard: escalation grant 900s -> 600s"]),
        ("window: day, grant", "window: hour, grant", ["classes.hard: escalation window day -> hour"], []),
        (ESCALATION, "", [], ["classes.hard: escalation removed"]),
        ("limit: 2.50", "limit: 3.00", ["budgets.box: limit $2.50 -> $3.00"], []),
        ("calls: 10, ", "", ["budgets.rare: calls 10 -> none"], []),
        ("tokens: 1000", "tokens: 999", [], ["budgets.rare: tokens 1000 -> 999"]),
        (
            "of: high, window: hour",
            "of: high, window: day",
            ["budgets.rare: counts tier high per hour -> tier high per day"],
            [],
        ),
        ("of: high, ", "", ["budgets.rare: counts tier high per hour -> tier each per hour"], []),
        (RARE, "", ["budgets.rare: removed"], []),
        ("days: 200", "days: 190", ["retention: days 200 -> 190"], []),
        ("days: 200", "days: 400", [], ["retention: days 200 -> 400"]),
    ],
)
def test_each_limit(old: str, new: str, widened: list[str], narrowed: list[str]) -> None:
    before, after = parse(GOOD), parse(good(old, new))
    assert summarise_change(before, after) == Change(tuple(widened), tuple(narrowed))
    back = summarise_change(after, before)
    if "counts" not in str(widened) and "now" not in str(widened) and "window" not in str(widened):
        assert (len(back.widened), len(back.narrowed)) == (len(narrowed), len(widened))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("change: first", "change: second"),
        ("boss@example.org", "other@example.org"),
        ("lanes: [code]", "lanes: [kode]"),
    ],
)
def test_what_has_no_direction_is_not_told(old: str, new: str) -> None:
    assert summarise_change(parse(GOOD), parse(good(old, new))) == Change()


def test_effort_has_an_order() -> None:
    low, max_ = (parse(good("max_output: 500", f"effort: {word}, max_output: 500")) for word in ("minimal", "xhigh"))
    assert summarise_change(low, max_) == Change(("classes.routine: effort minimal -> xhigh",), ())


def test_a_removed_tier_counts_as_lowest() -> None:
    text = good("  high:\n    owner", "  top:\n    owner").replace(": high", ": top")
    change = summarise_change(parse(GOOD), parse(text))
    assert "tiers.top: added" in change.widened
    assert "tiers.high: removed" in change.narrowed
    assert "agents.main: ceiling high -> top" in change.widened


def test_the_first_version_has_nothing_to_be_compared_with() -> None:
    assert summarise_change(None, parse(GOOD)) == Change()
