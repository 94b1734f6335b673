"""Rules that span keys: each with a text that breaks it alone, and the words that are said."""

import pytest

from policies import GOOD, faults_of, good, said

ROUTINE = "routine: { owner: ops@example.org, tier: low, max_output: 500, deadline: 60s, lanes: [chat, small-*] }"
BOX = "box: { owner: ops@example.org, scope: box, window: day, limit: 2.50 }"
RARE = "rare: { owner: ops@example.org, scope: tier, of: high, window: hour, calls: 10, tokens: 1000 }"
GIVEN = "given: { uid: 65533 }"
EXPECT = "expect: { verdict: deny, code: caller.unknown }"
MATCH = "match: [{ unit: main.service }]"
NEAR = "near: { kind: openai, url: http://127.0.0.1:11434/v1 }"
SMALL = "{ id: small/one, upstream: far }"
HOME = '{ id: "home:8b", upstream: near, price: { prompt: 0, completion: 0 } }'


def test_the_good_text_is_good() -> None:
    assert said(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "where", "message"),
    [
        # names
        (
            "default_class: routine",
            "default_class: rotine",
            "agents.main.default_class",
            '"rotine" is not among `classes`',
        ),
        (
            "classes: [routine, hard]",
            "classes: [routine, herd]",
            "agents.main.classes[1]",
            '"herd" is not among `classes`',
        ),
        ("    label: private", "    label: privat", "agents.main.label", '"privat" is not among `labels`'),
        (SMALL, "{ id: small/one, upstream: fra }", "tiers.low.models[0].upstream", '"fra" is not among `upstreams`'),
        ("floor: low", "floor: lwo", "classes.hard.floor", '"lwo" is not among `tiers`'),
        (GIVEN, "given: { agent: mian }", "tests[0].given.agent", '"mian" is not among `agents`'),
        (GIVEN, "given: { uid: 1, spent: { bax: 1 } }", "tests[0].given.spent.bax", '"bax" is not among `budgets`'),
        (EXPECT, "expect: { tier: lwo }", "tests[0].expect.tier", '"lwo" is not among `tiers`'),
        # owners
        ("  main:\n    owner: ops@example.org", "  main:\n    owner: TBD", "agents.main.owner", '"TBD" is nobody'),
        ("boss@example.org", "nobody", "classes.hard.escalation.owner", '"nobody" is nobody'),
        # matchers
        (MATCH, "match: [{}]", "agents.main.match[0]", "it matches everybody"),
        (MATCH, "match: []", "agents.main.match", "it has 0 entries"),
        (
            MATCH,
            "match: [{ unit: main }]",
            "agents.main.match[0].unit",
            '"main" is not a whole unit name, like openclaw.service',
        ),
        (
            MATCH,
            'match: [{ unit: "*.service" }]',
            "agents.main.match[0].unit",
            '"*.service" is not a whole unit name, like openclaw.service',
        ),
        (
            MATCH,
            "match: [{ uid: 7 }, { uid: 7 }]",
            "agents.main.match[1]",
            "agent main has the same match",
        ),
        (
            MATCH,
            "match: [{ uid: self }, { uid: 990 }]",
            "agents.main.match[1]",
            "agent main has the same match",
        ),
        (MATCH, "match: [{ exe: / }]", "agents.main.match[0].exe", '"/" is not the path of one file'),
        (MATCH, "match: [{ exe: /usr/bin/ }]", "agents.main.match[0].exe", '"/usr/bin/" is not the path of one file'),
        (MATCH, "match: [{ exe: /usr/../x }]", "agents.main.match[0].exe", '"/usr/../x" is not the path of one file'),
        (MATCH, "match: [{ exe: /opt/* }]", "agents.main.match[0].exe", '"/opt/*" is not the path of one file'),
        (MATCH, "match: [{ exe: bin/x }]", "agents.main.match[0].exe", None),
        # what can never be served
        (
            "default_class: routine\n    classes: [routine, hard]",
            "default_class: routine\n    classes: [hard]",
            "agents.main.default_class",
            '"routine" is not among its `classes`',
        ),
        # order of tiers
        (
            "tier: low\n    floor: low",
            "tier: low\n    floor: high",
            "classes.hard.floor",
            "the floor high is above the class's tier low",
        ),
        (
            "escalation: { to: high",
            "escalation: { to: low",
            "classes.hard.escalation.to",
            "tier low is not above the class's own, low",
        ),
        (
            "    ceiling: high\n    max_output",
            "    max_output",
            "classes.hard.escalation.to",
            "tier high is above the class's ceiling, low",
        ),
        # lanes
        (
            "lanes: [code]",
            "lanes: [code, chat]",
            "classes.hard.lanes[1]",
            '"chat" never counts: lane "chat" of class routine takes it first',
        ),
        (
            "lanes: [code]",
            "lanes: [small-big]",
            "classes.hard.lanes[0]",
            '"small-big" never counts: lane "small-*" of class routine takes it first',
        ),
        (
            "lanes: [code]",
            "lanes: [small-big-*]",
            "classes.hard.lanes[0]",
            '"small-big-*" never counts: lane "small-*" of class routine takes it first',
        ),
        ("lanes: [code]", "lanes: [routine]", "classes.hard.lanes[0]", '"routine" is the name of another class'),
        ("lanes: [code]", "lanes: ['a*']", "classes.hard.lanes[0]", '"a*" takes in too much'),
        ("lanes: [code]", "lanes: ['*']", "classes.hard.lanes[0]", None),
        ("lanes: [code]", "lanes: ['a*b']", "classes.hard.lanes[0]", None),
        # budgets
        (RARE, "rare: { owner: a, scope: box, window: hour }", "budgets.rare", "it limits nothing"),
        (RARE, RARE.replace("of: high", "of: hihg"), "budgets.rare.of", '"hihg" is not among `tiers`'),
        (RARE, RARE.replace("scope: tier", "scope: box"), "budgets.rare.of", "scope box has no names to choose from"),
        (
            RARE,
            RARE.replace("scope: tier", "scope: session"),
            "budgets.rare.of",
            "scope session has no names to choose from",
        ),
        (
            RARE,
            RARE.replace("window: hour", "window: session"),
            "budgets.rare.window",
            "only scope session has sessions for a window",
        ),
        (BOX, BOX.replace("limit: 2.50", "calls: 9"), "budgets", "nothing bounds what the whole box spends"),
        (BOX, BOX.replace("scope: box", "scope: agent"), "budgets", "nothing bounds what the whole box spends"),
        # models
        (
            SMALL,
            "{ id: small/two, upstream: far }",
            "tiers.low.models[0].id",
            '"small/two" has no price: the catalogue does not list it',
        ),
        (
            HOME,
            '{ id: "home:8b", upstream: near }',
            "tiers.low.models[1].id",
            '"home:8b" has no price: no catalogue lists the models of such an upstream',
        ),
        (
            SMALL,
            "{ id: 'small/one:nitro', upstream: far }",
            "tiers.low.models[0].id",
            '"small/one:nitro" lets the upstream pick endpoint and price',
        ),
        (SMALL, "{ id: '~small/latest', upstream: far }", "tiers.low.models[0].id", None),
        (SMALL, "{ id: '@preset/x', upstream: far }", "tiers.low.models[0].id", None),
        (SMALL, "{ id: top/one, upstream: far }", "tiers.high.models[0].id", '"top/one" stands in tier low already'),
        # addresses
        (
            NEAR,
            NEAR.replace("http://127.0.0.1:11434/v1", "http://example.org"),
            "upstreams.near.url",
            "plain http to a name lets others read prompts",
        ),
        (
            NEAR,
            NEAR.replace("127.0.0.1:11434", "8.8.8.8"),
            "upstreams.near.url",
            "plain http to a public address lets others read prompts",
        ),
        (
            NEAR,
            NEAR.replace("127.0.0.1:11434/v1", "192.168.0.2, key: k"),
            "upstreams.near.url",
            "plain http would show the key to the network",
        ),
        (NEAR, NEAR.replace("http://127.0.0.1:11434/v1", "https://x.org/v1?a=b"), "upstreams.near.url", None),
        (NEAR, NEAR.replace("http://127.0.0.1:11434/v1", "ftp://x.org"), "upstreams.near.url", None),
        (", key: openrouter }", " }", "upstreams.far", "OpenRouter serves nobody without a key"),
        # tests
        (GIVEN, "given: {}", "tests[0].given", "nobody is calling"),
        (GIVEN, "given: { agent: main, uid: 7 }", "tests[0].given", "both agent and uid say who is calling"),
        (EXPECT, "expect: {}", "tests[0].expect", "it expects nothing"),
        (
            EXPECT,
            EXPECT + "\n  - { name: strangers get nothing, given: { uid: 1 }, expect: { verdict: deny } }",
            "tests[1].name",
            'another test is called "strangers get nothing"',
        ),
    ],
)
def test_each_rule(old: str, new: str, where: str, message: str | None) -> None:
    faults = faults_of(good(old, new))
    assert [fault.where for fault in faults] == [where]
    assert message is None or faults[0].message == message
    assert faults[0].hint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MATCH, "match: [{ uid: 0 }]"),
        (MATCH, "match: [{ exe: /usr/bin/node, uid: alice }]"),
        (MATCH, "match: [{ exe: /usr/local/bin/claude }]"),
        (MATCH, "match: [{ uid: 7 }, { uid: 7, unit: x.service }]"),
        (MATCH, 'match: [{ unit: "user@1000.service" }]'),
        ("lanes: [code]", "lanes: [code, 'claude-*']"),
        ("lanes: [code]", "lanes: [smal]"),
        (NEAR, NEAR.replace("127.0.0.1:11434", "localhost")),
        (NEAR, NEAR.replace("http://127.0.0.1:11434/v1", '"http://[::1]:80/v1"')),
        (NEAR, NEAR.replace("127.0.0.1:11434", "10.1.2.3")),
        (NEAR, NEAR.replace("127.0.0.1:11434/v1", "127.0.0.1, key: k")),
        (RARE, RARE.replace("of: high, ", "")),
        (RARE, RARE.replace("scope: tier, of: high, window: hour", "scope: session, window: session")),
        (SMALL, "{ id: new/one, upstream: far, price: { prompt: 1, completion: 2 } }"),
        (SMALL, "{ id: 'small/one', upstream: far, providers: [google-vertex/europe] }"),
    ],
)
def test_what_is_fine(old: str, new: str) -> None:
    assert said(good(old, new)) == []


@pytest.mark.parametrize(
    "exe",
    [
        "/bin/sh",
        "/usr/bin/bash",
        "/usr/bin/python3.11",
        "/usr/bin/node",
        "/usr/bin/env",
        "/usr/bin/perl",
        "/lib64/ld-linux-x86-64.so.2",
    ],
)
def test_an_interpreter_alone_says_nothing(exe: str) -> None:
    assert said(good(MATCH, f"match: [{{ exe: {exe} }}]")) == [
        ("agents.main.match[0].exe", f'"{exe}" runs anybody\'s programs')
    ]


def test_prices_are_not_asked_where_nobody_knows_them() -> None:
    text = good(SMALL, "{ id: small/two, upstream: far }")
    assert said(text, prices=None) == []


def test_the_nearest_priced_model_is_offered() -> None:
    (fault,) = faults_of(good(SMALL, "{ id: smal/one, upstream: far }"))
    assert "did you mean `small/one`?" in fault.hint


def test_one_id_has_one_price() -> None:
    text = good(HOME, HOME + "\n      - { id: small/one, upstream: near, price: { prompt: 1, completion: 1 } }")
    assert said(text) == [("tiers.low.models[2]", '"small/one" has another price elsewhere')]


def test_a_class_above_the_agents_ceiling_is_never_served() -> None:
    text = good(
        "    ceiling: high\n    label",
        "    ceiling: low\n    label",
        "tier: low\n    floor: low",
        "tier: high\n    floor: high",
    )
    text = text.replace(
        "    escalation: { to: high, quota: 3, window: day, grant: 15m, owner: boss@example.org }\n", ""
    )
    assert said(text) == [
        ("agents.main.classes[1]", "class hard begins at tier high, above the agent's ceiling low"),
    ]


def test_data_that_no_tier_may_see() -> None:
    low = "low:\n    owner: ops@example.org\n    max_output: 1000\n    max_label: "
    faults = said(good(low + "private", low + "public"))
    assert faults == [
        ("agents.main.classes[0]", "no tier that may serve class routine may see data labelled private"),
    ]


def test_a_ceiling_below_the_class() -> None:
    text = good("tier: low\n    floor: low\n    ceiling: high", "tier: high\n    floor: low\n    ceiling: low")
    text = text.replace(
        "    escalation: { to: high, quota: 3, window: day, grant: 15m, owner: boss@example.org }\n", ""
    )
    assert said(text) == [("classes.hard.ceiling", "the ceiling low is below the class's tier high")]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (MATCH, "match: [{ uid: bob }]"),
        (RARE, "rare: { owner: a, scope: box, window: hour, calls: many }"),
        (GIVEN, "given: { uid: bob }"),
        (EXPECT, "expect: { verdict: perhaps }"),
        (HOME, '{ id: "home:8b", upstream: near, price: { prompt: 0, completion: free } }'),
        (BOX, BOX.replace("limit: 2.50", "limit: much")),
    ],
)
def test_a_broken_value_is_told_once_not_as_absent_too(old: str, new: str) -> None:
    assert len(said(good(old, new))) == 1


def test_a_test_without_its_call_is_told_once() -> None:
    assert said(good("    given: { uid: 65533 }\n", "")) == [("tests[0]", "`given` is missing")]


@pytest.mark.parametrize("section", ["agents", "upstreams", "tiers", "classes", "budgets"])
def test_a_missing_section_brings_no_other_fault(section: str) -> None:
    lines = GOOD.splitlines(keepends=True)
    start = lines.index(f"{section}:\n")
    end = next(index for index in range(start + 1, len(lines)) if not lines[index].startswith(" "))
    assert said("".join(lines[:start] + lines[end:])) == [("", f"`{section}` is missing")]
