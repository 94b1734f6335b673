"""Pieces of the page that `explain` makes: rows, the words for stages and endings, and reading of values from the record.

A line of the record is data of another time and maybe another version: whatever stands where a map or list was expected
reads as empty, and nothing here raises."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentd.core.types.money import format_usd

Row = tuple[str, str]
"""A label and its text; an empty label continues the row above."""

STAGES = {
    "lane": "the client's own declaration",
    "continuation": "an open tool loop, which keeps its class and model",
    "shape": "the structure of the request",
    "text": "the last human turn",
    "session": "the session's earlier class",
    "abstained": "nothing: the agent's default class",
}
"""What decided a class, in words."""

ENDINGS = {
    "done": "finished",
    "error": "the upstream reported an error",
    "cut": "the upstream broke off before its end mark",
    "client_gone": "the agent hung up before the end",
    "timeout": "no end within the deadline",
    "halted": "cut: an operator stopped it",
    "stopped": "cut by agentd, which was told to stop",
    "unknown": "agentd ended in between; closed by recovery, the reservation is kept",
}
"""How an answer ended, in words."""


def tokens(counts: Mapping[str, Any]) -> str:
    """Token counts in words, those that are known."""
    known = ((counts.get(key), word, key) for key, word in TOKEN_WORDS)
    return ", ".join(f"{count} {word}" for count, word, key in known if count or (count == 0 and key in WHOLES))


TOKEN_WORDS = (
    ("prompt", "in"),
    ("cached", "of them cached"),
    ("cache_write", "of them written to the cache"),
    ("completion", "out"),
    ("reasoning", "of them reasoning"),
)
"""Counts of an outcome, in the order in which people read them."""

WHOLES = frozenset({"prompt", "completion"})
"""Counts that are told when they are 0; a part of them that is 0 tells nothing."""


def latency(outcome: Mapping[str, Any]) -> str:
    """The upstream's and agentd's own share of the time, those that are known."""
    parts = []
    if outcome.get("upstream_ms") is not None:
        parts.append(f"{outcome['upstream_ms']} ms upstream")
    if outcome.get("overhead_us") is not None:
        parts.append(f"{outcome['overhead_us'] / 1000:.1f} ms agentd")
    return ", ".join(parts)


def begun(detail: Mapping[str, Any]) -> str:
    """What the first line of a record tells: of one that replaces another, why, and where that ended."""
    before = as_map(detail.get("previous"))
    if not before:
        return "genesis: the record begins"
    end = (
        f"line {before['seq']} ({str(before.get('digest'))[:12]})" if before.get("seq") else "a line that nobody knows"
    )
    return (
        f"genesis: the record begins anew ({before.get('reason') or 'no reason given'}); the one before ended at {end}"
    )


def charge_words(item: object, reserved: int | None, cost: int | None) -> str:
    """A budget that pays: what was used before and is after the call, at its cost or else at what is reserved for it."""
    charge = as_map(item)
    if not charge:
        budget, _, account = str(item).partition(":")
        return f"{budget} ({account})"
    name, before, limit = (
        f"{charge.get('budget')} ({charge.get('account')})",
        charge.get("before_nusd"),
        charge.get("limit_nusd"),
    )
    if before is None:
        return name
    after = before + (cost if cost is not None else reserved or 0)
    of = f" of {format_usd(limit)}" if limit is not None else ""
    return f"{name}: {format_usd(before)} before, {format_usd(after)} after{of}"


def fault_words(item: object) -> str:
    """A fault of a policy file as `line:column: where: message (hint)`; anything else as it stands."""
    fault = as_map(item)
    if "message" not in fault:
        return str(item)
    where = f"{fault['where']}: " if fault.get("where") else ""
    hint = f" ({fault['hint']})" if fault.get("hint") else ""
    return f"{fault.get('line')}:{fault.get('column')}: {where}{fault['message']}{hint}"


def row(label: str, value: object) -> Iterator[Row]:
    """One row, or none when there is nothing to say."""
    if value not in (None, ""):
        yield label, str(value)


def rows(label: str, texts: Iterable[str]) -> Iterator[Row]:
    """Several texts under one label; the rows after the first carry none."""
    for number, text in enumerate(texts):
        yield ("" if number else label), text


def as_map(value: object) -> Mapping[str, Any]:
    """A map, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: object) -> list[Any]:
    """A list, or an empty one."""
    return list(value) if isinstance(value, list | tuple) else []


def pairs(value: object) -> list[tuple[str, Any]]:
    """Evidence as a map, or as a list of pairs, which is how a tuple of pairs comes back from JSON."""
    if isinstance(value, Mapping):
        return list(value.items())
    return [(str(item[0]), item[1]) for item in as_list(value) if isinstance(item, list | tuple) and len(item) == 2]
