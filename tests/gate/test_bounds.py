"""A class's bounds on the way: what is brought within them is what is sent, and the line of the decision says so."""

import json
from dataclasses import replace
from typing import Any

from agentd.core.types.bounds import CacheTtl, Effort
from builders import policy
from gate.way import Box, play

BASE = policy()
MARKED = {"type": "text", "text": "the blue one", "cache_control": {"type": "ephemeral", "ttl": "1h"}}


def sent_and_told(effort: Effort | None, ttl: CacheTtl, **asked: Any) -> tuple[dict[str, Any], list[str]]:
    """The body at the upstream, and what the line of the decision tells of it."""
    routine = replace(BASE.classes["routine"], effort=effort, cache_ttl=ttl)

    async def scene(box: Box) -> None:
        await box.ask(messages=[{"role": "user", "content": [MARKED]}], **asked)

    box = play(scene, replace(BASE, classes={**BASE.classes, "routine": routine}))
    detail = box.record.lines[0].detail or {}
    return json.loads(box.upstream.sent[0].body), detail.get("bounded", [])


def test_what_is_sent_is_within_the_bounds_and_the_line_says_what_was_changed() -> None:
    asked = {"reasoning": {"effort": "xhigh", "summary": "auto"}, "verbosity": "high", "reasoning_effort": "xhigh"}
    sent, told = sent_and_told(Effort.LOW, CacheTtl.SHORT, **asked)
    assert sent["reasoning"] == {"effort": "low", "summary": "auto"}
    assert (sent["reasoning_effort"], sent["verbosity"]) == ("low", "low")
    assert sent["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}
    assert told == [
        "reasoning_effort xhigh -> low (class routine)",
        "verbosity high -> low (class routine)",
        "reasoning.effort xhigh -> low (class routine)",
        "cache_control.ttl 1h -> 5m (class routine)",
    ]


def test_what_the_class_allows_is_sent_as_it_came() -> None:
    sent, told = sent_and_told(None, CacheTtl.HOUR, reasoning={"effort": "xhigh"})
    assert sent["reasoning"] == {"effort": "xhigh"}
    assert sent["messages"][0]["content"] == [MARKED]
    assert told == []
