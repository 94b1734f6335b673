"""What the words of the last human turn say about the kind of work: a small, local, deterministic reading.

This is the one place where text is judged. A better reader replaces `read_text` and keeps its promise: the same text gives
the same answer, it says why in names of signals (never in content), and it abstains when it does not know. Being wrong here
costs money or quality, never authority: ceilings do not depend on text.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

EDGE_CHARS = 1500
"""Of a long text only the first and the last part is read: the ask stands at an edge, pasted material between."""

LONG_PASTE_CHARS = 6000
"""From here on a text is mostly material; material alone makes no work hard."""

MAX_REPLY_CHARS = 120
"""A longer text is no mere "yes, go on"; the bound also keeps the pattern from being fed a megabyte of blanks."""

MIN_SCORE = 2
"""Fewer points than this decide nothing."""

MIN_LEAD = 1
"""By how much the best kind must lead the next."""


class WorkKind(StrEnum):
    """The kinds of work that text can be read as; a policy's class of the same name is meant."""

    ROUTINE = "routine"
    ANALYSIS = "analysis"
    IMPLEMENTATION = "implementation"


@dataclass(frozen=True, slots=True)
class Reading:
    """A kind (None: abstained), its points, and the names of the signals that were seen."""

    kind: WorkKind | None
    points: int
    signals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Signal:
    name: str
    kind: WorkKind
    points: int
    pattern: re.Pattern[str]


def _signal(name: str, kind: WorkKind, points: int, pattern: str) -> _Signal:
    return _Signal(name, kind, points, re.compile(pattern, re.IGNORECASE))


_SIGNALS: tuple[_Signal, ...] = (
    _signal(
        "code.verb",
        WorkKind.IMPLEMENTATION,
        2,
        r"\b(implement|refactor|debug|compile|deploy|rewrite|migrate|patch|hotfix|containeri[sz]e|dockeri[sz]e|lint)\b",
    ),
    _signal(
        "code.make",
        WorkKind.IMPLEMENTATION,
        2,
        r"\b(write|add|create|build|fix|update|change|remove|rename|extend)\b[^.?!\n]{0,60}"
        r"\b(function|class|method|script|test|tests|endpoint|api|module|component|query|regex|parser|pipeline|"
        r"migration|dockerfile|makefile|workflow|bug|unit|schema|cli|daemon|code)\b",
    ),
    _signal("code.fence", WorkKind.IMPLEMENTATION, 1, r"```|\bdef \w+\(|\bfunction \w+\(|#include|\bimport \w+"),
    _signal("code.file", WorkKind.IMPLEMENTATION, 1, r"\b[\w/-]+\.(py|rs|go|ts|tsx|js|c|cpp|h|java|rb|sh|sql|toml|ya?ml)\b"),
    _signal(
        "code.trace",
        WorkKind.IMPLEMENTATION,
        2,
        r"Traceback \(most recent|\bstack trace\b|"
        r"\bsegfault\b|\bexit (code|status) [1-9]",
    ),
    _signal(
        "code.run",
        WorkKind.IMPLEMENTATION,
        2,
        r"\brun (the |all |our )?(tests?|build|"
        r"linter|migrations?|benchmarks?)\b",
    ),
    _signal(
        "think.verb",
        WorkKind.ANALYSIS,
        2,
        r"\b(analy[sz]e|compare|evaluate|assess|investigate|diagnose|prove|derive|critique|prioriti[sz]e|estimate)\b",
    ),
    _signal(
        "think.noun",
        WorkKind.ANALYSIS,
        2,
        r"\b(trade-?offs?|root cause|pros and cons|strategy|architecture|risk assessment|post-?mortem|implications|"
        r"cost-benefit|feasibility|threat model)\b",
    ),
    _signal(
        "think.design",
        WorkKind.ANALYSIS,
        2,
        r"\b(design|plan|propose|outline)\b[^.?!\n]{0,60}\b(system|"
        r"approach|roadmap|plan|migration|protocol|policy)\b",
    ),
    _signal(
        "think.why",
        WorkKind.ANALYSIS,
        1,
        r"\bwhy (does|did|is|are|do|would|has|have)\b|"
        r"\bexplain (why|how)\b|\bstep by step\b",
    ),
    _signal(
        "chat.thanks",
        WorkKind.ROUTINE,
        2,
        r"^\W*(thanks?|thank you|ok(ay)?|great|perfect|nice|"
        r"hi|hello|hey|good (morning|evening|night))\b",
    ),
    _signal(
        "chat.remind",
        WorkKind.ROUTINE,
        2,
        r"\b(remind me|set (a |an )?(reminder|timer|alarm)|add .{0,40}to (my|the) (list|calendar))\b",
    ),
    _signal(
        "chat.quick",
        WorkKind.ROUTINE,
        2,
        r"^\W*(what('s| is) the (time|date|weather|capital)|what time|when is|which bin|who is|how old)\b",
    ),
    _signal(
        "chat.short_form",
        WorkKind.ROUTINE,
        2,
        r"\b(summari[sz]e|tl;?dr|translate|spell-?check|reply to|draft a (short )?(reply|message|email))\b",
    ),
)  # fmt: skip

_INHERITS = re.compile(
    r"^(?:\W*(?:yes|yep|yeah|no|nope|ok(ay)?|sure|go( on| ahead)?|continue|proceed|do it|try again|again|next|"
    r"same( for .{1,40})?|option \w{1,3}|the (first|second|third|last)( one)?|\d{1,2})\b){1,3}\W*$",
    re.IGNORECASE,
)


def inherits(text: str) -> bool:
    """Whether a text has no class of its own ("yes", "go on", "option 2") and takes its session's."""
    return len(text) <= MAX_REPLY_CHARS and bool(_INHERITS.match(text))


def edges(text: str) -> str:
    """The part of a text that is read: all of a short one, both ends of a long one."""
    return text if len(text) <= 2 * EDGE_CHARS else f"{text[:EDGE_CHARS]}\n{text[-EDGE_CHARS:]}"


def read_text(text: str) -> Reading:
    """Read the last human turn. Abstains when no kind has `MIN_SCORE` points and a lead of `MIN_LEAD`."""
    seen = [signal for signal in _SIGNALS if signal.pattern.search(edges(text))]
    points = {kind: sum(s.points for s in seen if s.kind is kind) for kind in WorkKind}
    if len(text) > LONG_PASTE_CHARS and points[WorkKind.ROUTINE]:
        points[WorkKind.ROUTINE] += 1
    ranked = sorted(WorkKind, key=lambda kind: -points[kind])
    best, second = ranked[0], ranked[1]
    decided = points[best] >= MIN_SCORE and points[best] - points[second] >= MIN_LEAD
    return Reading(best if decided else None, points[best], tuple(signal.name for signal in seen))
