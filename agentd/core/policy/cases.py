"""The tests inside a policy file, key by key: who calls with what, and which verdict must come out. Part of `spec`."""

from agentd.core.policy.entries import CLASS_NAME, NAME, PATH, TEXT, TIER_NAME, UNIT
from agentd.core.policy.kinds import (
    MAX_PROSE,
    Account,
    Choice,
    Day,
    Key,
    ListOf,
    MapOf,
    Money,
    Number,
    Record,
    Ref,
    Text,
)
from agentd.core.types.bounds import Effort
from agentd.core.types.classes import Stage

EFFORT = Choice(tuple(effort.value for effort in Effort))

GIVEN = Record(
    "given",
    (
        Key("agent", Ref("agents"), "The caller is this agent.", "agent: main"),
        Key("uid", Account(), "The caller runs as this user; policy has to recognise it.", "uid: 65533"),
        Key("gid", Account(group=True), "The caller runs as this group.", "gid: 65533"),
        Key("unit", UNIT, "The caller runs in this unit.", "unit: openclaw.service"),
        Key("exe", PATH, "The caller is this executable.", "exe: /usr/local/bin/claude"),
        Key("lane", TEXT, "Class that the client declares (`X-Agentd-Class`).", "lane: implementation"),
        Key("tier", TEXT, "Tier that the client asks for (`X-Agentd-Tier`).", "tier: frontier"),
        Key(
            "model",
            TEXT,
            "Model that the client asks for.",
            "model: claude-sonnet-4-5",
            default="agentd",
            absent="`agentd`",
        ),
        Key(
            "text",
            Text("text", max_chars=MAX_PROSE),
            "What the person said last.",
            'text: "thanks!"',
            default="",
            absent="nothing",
        ),
        Key("tools", ListOf(TEXT), "Names of the tools offered.", "tools: [Bash, Read]", default=()),
        Key("effort", EFFORT, "How hard the client wants it thought about.", "effort: high", absent="not said"),
        Key("images", Number(0, 100, "a number of images"), "Images in the last turn.", "images: 1", default=0),
        Key(
            "session_class",
            CLASS_NAME,
            "Class of the session's last call.",
            "session_class: implementation",
            absent="a new session",
        ),
        Key("grant", TIER_NAME, "An escalation to this tier was granted.", "grant: frontier", absent="none was"),
        Key(
            "spent",
            MapOf(Money(), ref="budgets"),
            "Dollars already used, by budget.",
            "spent: { box-day: 9.99 }",
            default={},
        ),
        Key(
            "keys",
            ListOf(NAME),
            "Names of the keys that are in the keyring.",
            "keys: []",
            absent="all that the upstreams name",
        ),
        Key("at", Day(), "Day of the call.", "at: 2028-01-01", absent="the day in `reviewed`"),
    ),
)

EXPECT = Record(
    "expect",
    (
        Key("verdict", Choice(("allow", "ask", "deny")), "The verdict.", "verdict: allow"),
        Key("class", CLASS_NAME, "The class of work.", "class: heartbeat"),
        Key("tier", TIER_NAME, "The tier that serves.", "tier: economy"),
        Key("model", TEXT, "The model that serves.", "model: google/gemini-2.5-flash-lite"),
        Key("effort", EFFORT, "How hard the model is told to think.", "effort: low"),
        Key("code", TEXT, "The reason's code.", "code: caller.unknown"),
        Key(
            "stage", Choice(tuple(stage.value for stage in Stage)), "Which evidence decided the class.", "stage: shape"
        ),
    ),
)

TEST = Record(
    "tests",
    (
        Key("name", TEXT, "What it shows, in a sentence.", "name: strangers get nothing", required=True),
        Key("given", GIVEN, "The call.", "given: { uid: 65533 }", required=True),
        Key(
            "expect",
            EXPECT,
            "What must come out; what is not named is not asked.",
            "expect: { verdict: deny, code: caller.unknown }",
            required=True,
        ),
    ),
)
