"""The wrappers of real clients are taken away, the words of a person stay; wake-ups are known by their texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects.wrappers import BLOCKS, HOLDS_CHARS, WAKES, Block, peel, wake_of

PEELED = [
    ("plain", "which bin tonight?", "which bin tonight?"),
    ("space", "  which bin\ntonight?\n\n", "which bin\ntonight?"),
    ("nothing", " \n ", ""),
    ("openclaw clock", "[Mon 2026-11-23 20:39 UTC] which bin?", "which bin?"),
    ("openclaw clock with zone name", "[Sat 2026-11-28 07:05 Europe/Berlin] which bin?", "which bin?"),
    ("openclaw runtime", "which bin?\n\nRuntime: agent=main | session=agent:main:main | model=x/y", "which bin?"),
    ("openclaw runtime alone", "Runtime: agent=main | session=a | model=b", ""),
    (
        "openclaw channel",
        'Sender (untrusted metadata):\n```json\n{"name": "A"}\n```\n\n[Mon 2026-11-23 20:39 UTC] which bin?',
        "which bin?",
    ),
    (
        "openclaw two fences",
        'Conversation info (untrusted metadata):\n```json\n{"id": 1}\n```\n\n'
        "Sender (untrusted metadata):\n```json\n{}\n```\nwhich bin?",
        "which bin?",
    ),
    ("openclaw context", "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nplan, prove\n<<<END_OPENCLAW_INTERNAL_CONTEXT>>>", ""),
    ("openclaw context without end", "<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nplan, prove", ""),
    ("openclaw context behind a prompt", "which bin?\n<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>\nplan", "which bin?"),
    ("claude code reminder", "<system-reminder>\nrefactor\n</system-reminder>", ""),
    ("claude code reminders", "<system-reminder>a</system-reminder>hi<system-reminder>b</system-reminder>", "hi"),
    (
        "claude code command",
        "<command-message>init</command-message>\n<command-args>the docs</command-args>",
        "<command-args>the docs</command-args>",
    ),
    ("claude code local command", "<local-command-stdout>x</local-command-stdout>", ""),
    ("codex environment", "<environment_context>\n  <cwd>/srv</cwd>\n</environment_context>", ""),
    ("codex agents file", "# AGENTS.md instructions for /srv\n\n<INSTRUCTIONS>\nplan\n</INSTRUCTIONS>", ""),
    ("codex user instructions", "<user_instructions>plan</user_instructions>", ""),
    (
        "nanobot context",
        "[Runtime Context — metadata only, not instructions]\nCurrent Time: 1\nChannel: cli\n\nhi there",
        "hi there",
    ),
    ("nanobot context with end", "[Runtime Context]\nTime: 1\n[/Runtime Context]\n\nhi there", "hi there"),
    ("a mark that is never closed is a person's", "what does <system-reminder> do?", "what does <system-reminder> do?"),
    ("closed once, open once", "<system-reminder>a</system-reminder>x <system-reminder> y", "x <system-reminder> y"),
    (
        "a clock in the middle is a person's",
        "at [Mon 2026-11-23 20:39 UTC] it broke",
        "at [Mon 2026-11-23 20:39 UTC] it broke",
    ),
    (
        "a runtime line far above the end is a person's",
        "\nRuntime: agent=" + "x" * 3000,
        "Runtime: agent=" + "x" * 3000,
    ),
]


@pytest.mark.parametrize(("text", "left"), [case[1:] for case in PEELED], ids=[case[0] for case in PEELED])
def test_peel(text: str, left: str) -> None:
    assert peel(text) == left


WOKEN = [
    ("which bin tonight?", None, "which bin tonight?"),
    ("Read HEARTBEAT.md if it exists (workspace context). … reply HEARTBEAT_OK.", "heartbeat", None),
    ("Follow the heartbeat monitor scratch context when provided. … reply NO_REPLY.", "heartbeat", None),
    ("Run the following periodic tasks (only those due based on their intervals):\n- a", "heartbeat", None),
    ("[OpenClaw heartbeat poll]", "heartbeat", None),
    ("Look around, then call the heartbeat_respond tool.", "heartbeat", None),
    ("You are executing periodic heartbeat tasks. Read the active tasks below", "heartbeat", None),
    ("[cron:7f3a nightly] update the dependencies", "cron", "update the dependencies"),
    (
        "[cron:7f3a nightly] update the dependencies\nCurrent time: Mon\nReference UTC: 2026\n\n"
        "This is an unattended scheduled run. Do not ask.",
        "cron",
        "update the dependencies",
    ),
    ("System: [2026-11-23 20:39] water the plants", "cron", None),
    ("System: [20:39] gateway connected\nSystem: [20:40] up\n\nwhich bin?", None, "which bin?"),
    ("System: [20:39] up\n\n[Mon 2026-11-23 20:39 UTC] which bin?", None, "which bin?"),
    ("A scheduled reminder has been triggered. The reminder content is:\nplants", "cron", None),
    ("The scheduled time has arrived. Execute this scheduled cron job now: x", "cron", None),
    ("[OpenClaw cron wake]", "cron", None),
    ("An async command you ran earlier has completed. The command completion details are:\n0", "exec_event", None),
    ("[OpenClaw exec completion]", "exec_event", None),
    ("Pre-compaction memory flush. Save what matters.", "compaction", None),
    ("<conversation>long</conversation>\n\nCreate a structured context checkpoint summary that …", "compaction", None),
    ("x" * 50_000 + "\nCreate a structured context checkpoint summary", "compaction", None),
    ("Your task is to create a detailed summary of the conversation so far", "compaction", None),
    ("Please write a 5-10 word title for the following conversation:\n\nhi", "title", None),
    ("Generate a concise, 3-5 word title for this chat session", "title", None),
    ("[Subagent Task] read the logs", "subagent", "read the logs"),
    ("[Subagent Task]: read the logs", "subagent", "read the logs"),
    ("generate a title page for my thesis about the session musicians of 1960", None, None),
    ("what is the cron job [cron:1 x] for?", None, None),
    ("it printed this\nCurrent time: 12:00", None, "it printed this\nCurrent time: 12:00"),
    ("", None, ""),
]


@pytest.mark.parametrize(("text", "kind", "left"), WOKEN)
def test_wake_ups(text: str, kind: str | None, left: str | None) -> None:
    assert wake_of(text) == (kind, text if left is None else left)


def test_words_in_the_middle_of_a_long_text_are_a_persons() -> None:
    far = "x" * (HOLDS_CHARS + 100)
    assert wake_of(f"{far}Create a structured context checkpoint summary{far}")[0] is None


def test_every_row_can_be_found() -> None:
    for wake in WAKES:
        assert bool(wake.begins) != bool(wake.holds)
        assert wake_of(wake.begins or f"Now {wake.holds}.")[0] == wake.kind


@given(st.text(), st.sampled_from(BLOCKS))
def test_a_block_is_taken_out_whatever_it_holds(inner: str, block: Block) -> None:
    start, end = block.start, block.end
    if end not in inner and not any(other.start in inner for other in BLOCKS):
        assert peel(f"which bin?{start}{inner}{end}") == "which bin?"


@given(st.text(alphabet="ab[]<>:` \n\r0123Runtime", max_size=200))
def test_nothing_is_ever_added(text: str) -> None:
    assert len(peel(text)) <= len(text)
    assert len(wake_of(text)[1]) <= len(text)


def test_a_long_text_of_wrappers_is_read_in_one_pass() -> None:
    assert wake_of("System: [x] y\n" * 100_000)[0] == "cron"
    assert peel("<system-reminder>x</system-reminder>" * 50_000) == ""
    assert len(peel("[Mon 2026-11-23 20:39 UTC] " * 100_000)) > 1_000_000
