"""The policy file, described once: every key with its kind, default, meaning and an example.

`parse` reads files by it, the editor's JSON Schema and the key tables of `docs/policy.md` are generated from it; there is no
second list of keys. The entries stand in `entries`, the tests in `cases`; rules that span several keys are in `checks`.
"""

from agentd.core.policy.cases import EXPECT, GIVEN, TEST
from agentd.core.policy.entries import (
    AGENT,
    BUDGET,
    CLASS,
    ESCALATION,
    MATCH,
    MODEL,
    NAME,
    PRICE,
    TEXT,
    TIER,
    UPSTREAM,
    owner,
)
from agentd.core.policy.kinds import Day, Key, ListOf, MapOf, Number, Record

END_MARK = "..."
"""The last line of the file. YAML's end-of-document mark, demanded so that a half written file is never taken for a whole."""

DEFAULT_LABELS = ("public", "internal", "private", "secret")
RETENTION_DAYS = (183, 36_500)
"""Six months at least: what the EU AI Act (articles 19 and 26) asks of logs of high-risk systems, taken as the floor."""

DEFAULT_RETENTION_DAYS = 400
UNENFORCED: tuple[str, ...] = ("tools", "sandboxes", "egress", "browser", "approvals", "flows")
"""Sections that are planned. Writing rules that nothing enforces would be worse than having none."""

RETENTION = Record(
    "retention",
    (
        Key(
            "days",
            Number(*RETENTION_DAYS, "a number of days"),
            "Days that the record is kept at least.",
            "days: 400",
            required=True,
        ),
    ),
)

FILE = Record(
    "file",
    (
        Key("version", Number(1, 1, "1"), "Version of this format.", "version: 1", required=True),
        owner("file"),
        Key(
            "reviewed",
            Day(),
            "When a person last went through it. Tests are judged as of this day.",
            "reviewed: 2026-11-20",
            required=True,
        ),
        Key(
            "change",
            TEXT,
            "What this version changes, in a sentence. It stands in the record.",
            "change: more room for code",
            required=True,
        ),
        Key(
            "labels",
            ListOf(NAME, low=1),
            "Data labels, lowest first.",
            "labels: [public, internal, private, secret]",
            default=DEFAULT_LABELS,
        ),
        Key(
            "agents",
            MapOf(AGENT, low=1),
            "Who may ask. A caller that matches none gets only a refusal.",
            "agents: { main: { ... } }",
            required=True,
        ),
        Key(
            "upstreams",
            MapOf(UPSTREAM, low=1),
            "Where models are reached.",
            "upstreams: { openrouter: { ... } }",
            required=True,
        ),
        Key(
            "tiers",
            MapOf(TIER, low=1),
            "Levels of model privilege, cheapest first.",
            "tiers: { economy: { ... } }",
            required=True,
        ),
        Key("classes", MapOf(CLASS, low=1), "Kinds of work.", "classes: { routine: { ... } }", required=True),
        Key(
            "budgets",
            MapOf(BUDGET, low=1),
            "Ceilings. At least one bounds the money of the whole box.",
            "budgets: { box-day: { ... } }",
            required=True,
        ),
        Key(
            "retention",
            RETENTION,
            "How long the record is kept.",
            "retention: { days: 400 }",
            absent=f"{DEFAULT_RETENTION_DAYS} days",
        ),
        Key(
            "tests",
            ListOf(TEST),
            "Cases that are judged at every load; one that fails refuses the file.",
            "tests: [{ ... }]",
            default=(),
        ),
    ),
)

SECTIONS: tuple[Record, ...] = (
    FILE,
    AGENT,
    MATCH,
    UPSTREAM,
    TIER,
    MODEL,
    PRICE,
    CLASS,
    ESCALATION,
    BUDGET,
    RETENTION,
    TEST,
    GIVEN,
    EXPECT,
)
"""Every record of the file, in the order of the reference."""
