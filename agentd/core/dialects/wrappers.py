"""What clients put around the words of a person, as data: the blocks to take away and the wake-ups to know.

Agents wrap the prompt in reminders, clocks, channel metadata and internal context, differently in every release. For
classification alone these are taken away; what is forwarded stays as it came. A wake-up is a text that a machine wrote:
its kind is a hint about shape and never an authority, since a person, or a page that a person pasted, can write it too.

Everything here is found with plain searches or patterns anchored at one end, so that a long paste costs linear time.
New clients and new wordings are new rows.
"""

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Block:
    """A part between two marks. `open_ended`: without its end mark it reaches to the end of the text."""

    client: str
    start: str
    end: str
    open_ended: bool = False


@dataclass(frozen=True, slots=True)
class Wake:
    """A machine-made turn: its kind and how its text begins, or what its first part holds."""

    kind: str  # as in `Shape.wrapper`
    client: str
    begins: str = ""
    holds: str = ""


BLOCKS: Final[tuple[Block, ...]] = (
    Block("openclaw", "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>", "<<<END_OPENCLAW_INTERNAL_CONTEXT>>>", open_ended=True),
    Block("claude-code, qwen-code", "<system-reminder>", "</system-reminder>"),
    Block("claude-code", "<command-message>", "</command-message>"),
    Block("claude-code", "<local-command-caveat>", "</local-command-caveat>"),
    Block("claude-code", "<local-command-stdout>", "</local-command-stdout>"),
    Block("claude-code", "<local-command-stderr>", "</local-command-stderr>"),
    Block("claude-code", "<ide_opened_file>", "</ide_opened_file>"),
    Block("claude-code", "<ide_selection>", "</ide_selection>"),
    Block("codex", "<environment_context>", "</environment_context>"),
    Block("codex", "<user_instructions>", "</user_instructions>"),
    Block("codex", "<permissions instructions>", "</permissions instructions>"),
    Block("codex", "<turn_aborted>", "</turn_aborted>"),
    Block("codex", "<INSTRUCTIONS>", "</INSTRUCTIONS>"),
    Block("nanobot", "[Runtime Context", "[/Runtime Context]"),
)
"""Blocks that are taken out wherever they stand."""

HEADS: Final[tuple[re.Pattern[str], ...]] = (
    # openclaw: clock
    re.compile(r"\[(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?(?: [^\]\n]{1,40})?\]\s*"),
    # openclaw: channel
    re.compile(r"[A-Z][A-Za-z ]{0,60} \(untrusted metadata\):\s*```(?:json)?\n[^`]{0,20000}```\s*"),
    # nanobot, releases without an end mark
    re.compile(r"\[Runtime Context[^\]\n]{0,80}\]\n(?:[^\n]{1,300}\n){0,12}\n"),
    # codex, before its instructions
    re.compile(r"# AGENTS\.md instructions for [^\n]{0,500}\s*"),
)
"""Parts that are taken from the front, repeatedly, in any order."""

TAILS: Final = ("\nRuntime: agent=",)
"""Where a paragraph behind the prompt begins (openclaw); it is cut off if it stands within the last `TAIL_CHARS`."""

CRON_TAILS: Final = ("\nCurrent time: ", "\nReference UTC: ", "\nThis is an unattended scheduled run.")
"""The same behind a scheduled job's text, and there alone: a person's paste may well end in a clock."""

TAIL_CHARS: Final = 2_000
"""A clock, a runtime line and the note of a scheduled run together stay below."""

SYSTEM_LINE: Final = re.compile(r"System: \[[^\]\n]{1,60}\][^\n]*(?:\n+|$)")
"""An event of openclaw's main session. In front of a prompt it is a wrapper; alone it is a scheduled wake-up."""

LABELS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("cron", re.compile(r"\[cron:[^\]\n]{1,200}\]\s*")),
    ("subagent", re.compile(r"\[Subagent Task\]:?\s*")),
)
"""Labels that name a wake-up and are followed by its real text, which is what gets classified."""

WAKES: Final[tuple[Wake, ...]] = (
    Wake("heartbeat", "openclaw", "Read HEARTBEAT.md if it exists"),
    Wake("heartbeat", "openclaw", "Follow the heartbeat monitor scratch context"),
    Wake("heartbeat", "openclaw", "Run the following periodic tasks (only those due"),
    Wake("heartbeat", "openclaw", "Heartbeat monitor scratch:"),
    Wake("heartbeat", "openclaw", "[OpenClaw heartbeat poll]"),
    Wake("heartbeat", "nanobot", "You are executing periodic heartbeat tasks."),
    Wake("cron", "openclaw", "[OpenClaw cron wake]"),
    Wake("cron", "openclaw", "A scheduled reminder has been triggered."),
    Wake("cron", "nanobot", "The scheduled time has arrived. Execute this scheduled cron job now"),
    Wake("exec_event", "openclaw", "[OpenClaw exec completion]"),
    Wake("exec_event", "openclaw", "[OpenClaw session event]"),
    Wake("exec_event", "openclaw", "An async command you ran earlier has completed."),
    Wake("compaction", "openclaw", "Pre-compaction memory flush."),
    Wake("compaction", "openclaw", holds="Create a structured context checkpoint summary"),
    Wake("compaction", "claude-code", "Your task is to create a detailed summary of the conversation"),
    Wake("compaction", "codex", "You are performing a CONTEXT CHECKPOINT COMPACTION"),
    Wake("title", "claude-code", "Please write a 5-10 word title for the following conversation"),
    Wake("heartbeat", "openclaw", holds="call the heartbeat_respond tool"),
)
"""Texts that clients send by themselves; the first that fits decides."""

HOLDS_CHARS: Final = 4_000
"""How far from either end a wake-up's words are looked for: the conversation to summarise may stand before or behind."""

TITLE: Final = re.compile(
    r"(?:please )?(?:write|generate|create|suggest) (?:a|an|the) [^.\n]{0,60}\btitle (?:for|of|that summari[sz]es) "
    r"(?:this|the|our)(?: following| above)? (?:conversation|chat|session|thread)\b",
    re.IGNORECASE,
)
"""A request for a title, as chat clients word it."""


def peel(text: str) -> str:
    """The text without any client's wrappers, stripped. Empty if a client wrote all of it."""
    for block in BLOCKS:
        if block.start in text:
            text = _without(text, block)
    text = text.strip()
    for _ in HEADS:
        rest = _behind_heads(text)
        if rest == text:
            break
        text = rest
    return _before(text, TAILS)


def wake_of(text: str) -> tuple[str | None, str]:
    """A peeled text's wake-up kind, or None, and the text that is left to classify."""
    place = 0
    while line := SYSTEM_LINE.match(text, place):
        place = line.end()
    rest = text[place:]
    if not rest.strip():
        return ("cron" if text else None), text
    rest = _behind_heads(rest)
    for kind, label in LABELS:
        if found := label.match(rest):
            return kind, _before(rest[found.end() :], CRON_TAILS)
    return _known(rest), rest


def _known(text: str) -> str | None:
    """The kind of a text that a client sends word by word."""
    ends = text if len(text) <= 2 * HOLDS_CHARS else text[:HOLDS_CHARS] + "\n" + text[-HOLDS_CHARS:]
    for wake in WAKES:
        if (wake.begins and text.startswith(wake.begins)) or (wake.holds and wake.holds in ends):
            return wake.kind
    return "title" if TITLE.match(text) else None


def _without(text: str, block: Block) -> str:
    """The text with every such block taken out. A start mark without its end is the person's own unless open-ended."""
    kept: list[str] = []
    place = 0
    while (start := text.find(block.start, place)) >= 0:
        end = text.find(block.end, start)
        if end < 0:
            if block.open_ended:
                return "".join([*kept, text[place:start]])
            break
        kept.append(text[place:start])
        place = end + len(block.end)
    return "".join([*kept, text[place:]])


def _behind_heads(text: str) -> str:
    for head in HEADS:
        if found := head.match(text):
            text = text[found.end() :]
    return text


def _before(text: str, tails: tuple[str, ...]) -> str:
    """The text up to the first of the tails that stands near its end."""
    lined = "\n" + text
    floor = max(0, len(lined) - TAIL_CHARS)
    starts = [place for tail in tails if (place := lined.find(tail, floor)) >= 0]
    return lined[: min(starts)].strip() if starts else text
