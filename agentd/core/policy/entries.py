"""The named entries of a policy file, key by key: agents, upstreams, tiers, classes, budgets. Part of `spec`."""

from agentd.core.policy.kinds import (
    Account,
    Choice,
    Day,
    Flag,
    Key,
    ListOf,
    Money,
    Number,
    Rate,
    Record,
    Ref,
    Span,
    Text,
)
from agentd.core.policy.schema import Scope, UpstreamKind, Window
from agentd.core.types.bounds import CacheTtl, Effort

NAME_PATTERN = r"[a-z0-9][a-z0-9._-]{0,47}"
"""Names of agents, tiers, classes, budgets: short, lower case, safe in tables, paths and log lines."""

MODEL_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._/:+-]*"
"""A concrete model id. `~` (moves without notice) and `@` (a preset kept elsewhere) cannot occur."""

MAX_OUTPUT = 1_000_000
"""Tokens: above what any model gives in one answer."""

DEADLINE_S = (1, 3600)
"""A single call that runs for over an hour is a fault of somebody."""

GRANT_S = (60, 86_400)
"""A grant shorter than a minute is gone before it is used; one longer than a day is a ceiling that should be written down."""

MAX_QUOTA = 10_000
MAX_CALLS = 10**9
MAX_TOKENS = 10**13
# Kinds that several keys share.
OWNER = Text("who answers for it: a person or team, best an e-mail address", r"\S.*")
NAME = Text("a name of lower-case letters, digits, `.`, `_` and `-`", NAME_PATTERN)
TEXT = Text("text")
MODEL_ID = Text("a model id, like google/gemini-2.5-flash", MODEL_PATTERN)
TIER_NAME = Ref("tiers")
CLASS_NAME = Ref("classes")
UNIT = Text("a whole unit name, like openclaw.service", r"[A-Za-z0-9:_.@\\-]+\.(service|scope)")
PATH = Text("an absolute path, like /usr/bin/openclaw", r"/.*")
NOT_ASKED = "not asked"
WINDOW = Choice(tuple(window.value for window in Window))


def owner(of: str) -> Key:
    """The key by which somebody answers for an entry."""
    return Key("owner", OWNER, f"Who answers for this {of}.", "owner: ops@example.org", required=True)


MATCH = Record(
    "match",
    (
        Key(
            "uid",
            Account(),
            "User the process runs as. `self` is whoever runs agentd: for trials only.",
            "uid: openclaw",
            absent=NOT_ASKED,
        ),
        Key("gid", Account(group=True), "Primary group the process runs as.", "gid: agents", absent=NOT_ASKED),
        Key("unit", UNIT, "systemd unit the process runs in.", "unit: openclaw.service", absent=NOT_ASKED),
        Key(
            "exe",
            PATH,
            "Executable. An interpreter needs a second fact beside it.",
            "exe: /usr/local/bin/claude",
            absent=NOT_ASKED,
        ),
    ),
)

AGENT = Record(
    "agents",
    (
        owner("agent"),
        Key(
            "expires",
            Day(),
            "Last day (UTC) on which it is served; then every call is refused until someone renews it.",
            "expires: 2027-06-30",
            required=True,
        ),
        Key(
            "match",
            ListOf(MATCH, low=1),
            "How the kernel's facts recognise it: any one entry, all facts of that entry.",
            "match: [{ unit: openclaw.service }]",
            required=True,
        ),
        Key(
            "default_class",
            CLASS_NAME,
            "What its work is when nothing says otherwise.",
            "default_class: routine",
            required=True,
        ),
        Key(
            "classes",
            ListOf(CLASS_NAME, low=1),
            "Classes it may use. No other one is ever taken, whatever is declared.",
            "classes: [heartbeat, routine]",
            required=True,
        ),
        Key("ceiling", TIER_NAME, "Tier that nothing this agent does goes above.", "ceiling: standard", required=True),
        Key(
            "label",
            Ref("labels"),
            "How its data is treated: a tier with a lower `max_label` never sees it.",
            "label: private",
            required=True,
        ),
    ),
)

UPSTREAM = Record(
    "upstreams",
    (
        Key(
            "kind",
            Choice(tuple(kind.value for kind in UpstreamKind)),
            "`openrouter`, or `openai` for any OpenAI-compatible server (chat completions only).",
            "kind: openrouter",
            required=True,
        ),
        Key(
            "url",
            Text("an http(s) address", r"https?://\S+"),
            "Base address. Plain http only to this machine or a private address, and there without a key.",
            "url: https://openrouter.ai/api/v1",
            required=True,
        ),
        Key(
            "key",
            NAME,
            "Name of its key in the keyring (`agentctl key set NAME`); never the key itself.",
            "key: openrouter",
            absent="sent without a key",
        ),
    ),
)

PRICE = Record(
    "price",
    (
        Key("prompt", Rate(), "US dollars per million tokens in.", "prompt: 0", required=True),
        Key("completion", Rate(), "US dollars per million tokens out.", "completion: 0", required=True),
    ),
)

MODEL = Record(
    "models",
    (
        Key("id", MODEL_ID, "The id that the upstream knows it by.", "id: google/gemini-2.5-flash", required=True),
        Key("upstream", Ref("upstreams"), "Where it is called.", "upstream: openrouter", required=True),
        Key(
            "providers",
            ListOf(Text("a provider's slug, like google-vertex", r"[a-z0-9][a-z0-9/._-]*"), low=1),
            "The only providers that may serve it, in order of preference (OpenRouter).",
            "providers: [google-vertex]",
            absent="any provider the upstream picks",
        ),
        Key(
            "price",
            PRICE,
            "What it costs, for models that the catalogue does not list: local ones.",
            "price: { prompt: 0, completion: 0 }",
            absent="the catalogue's price",
        ),
    ),
)

TIER = Record(
    "tiers",
    (
        owner("tier"),
        Key(
            "models",
            ListOf(MODEL, low=1),
            "Its models, the preferred one first; the next one serves when one fails.",
            "models: [{ id: google/gemini-2.5-flash, upstream: openrouter }]",
            required=True,
        ),
        Key(
            "max_output",
            Number(1, MAX_OUTPUT, "a number of tokens"),
            "Most tokens of one answer. The lower of tier and class holds.",
            "max_output: 4096",
            required=True,
        ),
        Key(
            "max_label",
            Ref("labels"),
            "The most sensitive data that may be sent here.",
            "max_label: private",
            required=True,
        ),
        Key(
            "max_price",
            PRICE,
            "Price ceiling, sent along so that the upstream holds it too.",
            "max_price: { prompt: 1.00, completion: 4.00 }",
            absent="none beyond the model's price",
        ),
        Key("zdr", Flag(), "Only endpoints that keep no data (OpenRouter).", "zdr: true", default=False),
    ),
)

ESCALATION = Record(
    "escalation",
    (
        Key(
            "to",
            TIER_NAME,
            "Tier that a grant reaches. Above `tier`, not above `ceiling`.",
            "to: frontier",
            required=True,
        ),
        Key("quota", Number(1, MAX_QUOTA, "a number of grants"), "Grants per window.", "quota: 10", required=True),
        Key("window", WINDOW, "What the quota counts over.", "window: day", required=True),
        Key("grant", Span(*GRANT_S), "How long an unused grant holds.", "grant: 15m", required=True),
        owner("exception"),
    ),
)

CLASS = Record(
    "classes",
    (
        owner("class"),
        Key("tier", TIER_NAME, "Tier that serves it.", "tier: standard", required=True),
        Key(
            "floor",
            TIER_NAME,
            "Lowest tier that a client may ask down to.",
            "floor: economy",
            absent="the same as `tier`",
        ),
        Key(
            "ceiling",
            TIER_NAME,
            "Highest tier, whatever is asked or granted.",
            "ceiling: frontier",
            absent="the same as `tier`",
        ),
        Key(
            "max_output",
            Number(1, MAX_OUTPUT, "a number of tokens"),
            "Most tokens of one answer. The lower of tier and class holds.",
            "max_output: 8192",
            required=True,
        ),
        Key("deadline", Span(*DEADLINE_S), "Longest time for one call, start to end.", "deadline: 5m", required=True),
        Key(
            "lanes",
            ListOf(Text("a model name, which may end in `*`", r"[A-Za-z0-9][A-Za-z0-9._/:-]*\*?")),
            "Model names by which a client declares this class. `*` at the end stands for any ending.",
            "lanes: [code, claude-sonnet-*]",
            default=(),
        ),
        Key(
            "effort",
            Choice(tuple(effort.value for effort in Effort)),
            "Most that a model may think about a call. What asks for more gets this; verbosity of answers, too.",
            "effort: low",
            absent="not bounded",
        ),
        Key(
            "cache_ttl",
            Choice(tuple(ttl.value for ttl in CacheTtl)),
            "Longest that a marked prompt is kept by a provider. An hour is written at twice the price of the prompt.",
            "cache_ttl: 1h",
            default=CacheTtl.SHORT.value,
        ),
        Key(
            "escalation",
            ESCALATION,
            "How its work may be granted a higher tier.",
            "escalation: { to: frontier, quota: 10, window: day, grant: 15m, owner: ops@example.org }",
            absent="it may not",
        ),
    ),
)

BUDGET = Record(
    "budgets",
    (
        owner("budget"),
        Key(
            "scope",
            Choice(tuple(scope.value for scope in Scope)),
            "Whose calls are added up.",
            "scope: class",
            required=True,
        ),
        Key(
            "window",
            WINDOW,
            "Over which time; calendar windows are UTC, `session` is a session's life (scope session).",
            "window: day",
            required=True,
        ),
        Key(
            "of",
            NAME,
            "One agent, class or tier by name.",
            "of: heartbeat",
            absent="each of them has an account of its own",
        ),
        Key(
            "limit",
            Money(),
            "Most dollars. Calls reserve their highest possible cost first.",
            "limit: 0.25",
            absent="money is not limited here",
        ),
        Key(
            "calls",
            Number(0, MAX_CALLS, "a number of calls"),
            "Most calls.",
            "calls: 200",
            absent="calls are not limited here",
        ),
        Key(
            "tokens",
            Number(0, MAX_TOKENS, "a number of tokens"),
            "Most tokens, in and out together.",
            "tokens: 2000000",
            absent="tokens are not limited here",
        ),
    ),
)
