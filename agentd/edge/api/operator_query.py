"""What an operator's request says, read into the desk's words. Each refusal names the field and what it takes."""

import json
from collections.abc import Mapping

from aiohttp import web

from agentd.core.accounting.times import NS_PER_S
from agentd.gate.ports import LineQuery
from agentd.gate.ports_operator import DEFAULT_ROWS, MAX_ROWS, HaltAsk, Json, OperatorRefused, PruneAsk, SpendAsk

MAX_NUMBER = 2**63 - 1
"""The largest number that the record can hold."""

NS_PER_HOUR = 3600 * NS_PER_S

TRUE = ("1", "true", "yes")


def line_query(query: Mapping[str, str], now_ns: int) -> LineQuery:
    """Filters of `logs`: agent class tier verdict session limit, and since_ns or ago_s (seconds before now)."""
    return LineQuery(
        agent=query.get("agent") or None,
        class_=query.get("class") or None,
        tier=query.get("tier") or None,
        verdict=query.get("verdict") or None,
        session=query.get("session") or None,
        since_ns=_since(query, now_ns),
        limit=min(number(query.get("limit", str(DEFAULT_ROWS)), "limit"), MAX_ROWS),
    )


def spend_ask(query: Mapping[str, str], now_ns: int) -> SpendAsk:
    """What `spend` asks: by compare, and since_ns or ago_s, from the start of whose hour it adds up."""
    since = _since(query, now_ns)
    hour = None if since is None else since // NS_PER_HOUR
    return SpendAsk(query.get("by", "class"), hour, flag(query, "compare"))


def _since(query: Mapping[str, str], now_ns: int) -> int | None:
    """A moment: as nanoseconds since 1970, or as seconds ago, since a client's clock may not be ours."""
    if query.get("ago_s"):
        return max(0, now_ns - number(query["ago_s"], "ago_s") * NS_PER_S)
    return number(query["since_ns"], "since_ns") if query.get("since_ns") else None


def halt_ask(body: Json) -> HaltAsk:
    """What `halt` and `resume` ask: scope name reason."""
    name = text_field(body, "name") if "name" in body else ""
    return HaltAsk(text_field(body, "scope"), name, text_field(body, "reason"))


def prune_ask(body: Json, now_ns: int) -> PruneAsk:
    """What `prune` asks: ago_s or since_ns (what is older goes), keep_lines, dry_run, reason, to, archive."""
    if ("ago_s" in body) == ("since_ns" in body):
        raise OperatorRefused("request.field", "ago_s or since_ns says which lines are old.")
    before = now_ns - whole_field(body, "ago_s") * NS_PER_S if "ago_s" in body else whole_field(body, "since_ns")
    return PruneAsk(
        before_ns=max(0, before),
        keep_lines=whole_field(body, "keep_lines") if "keep_lines" in body else 0,
        reason=text_field(body, "reason") if "reason" in body else "",
        to=whole_field(body, "to") if "to" in body else None,
        archive=text_field(body, "archive") if "archive" in body else None,
        dry_run=body.get("dry_run") is True,
    )


async def json_body(request: web.Request) -> Json:
    """The body as an object. Raises `OperatorRefused` when it is none; never repeats what was sent, which may be a key."""
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError):
        raise OperatorRefused("request.json", "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise OperatorRefused("request.json", "The body is no JSON object.")
    return body


def text_field(body: Json, name: str) -> str:
    """A field that must be text."""
    value = body.get(name)
    if not isinstance(value, str):
        raise OperatorRefused("request.field", f"{name} is missing or is no text.")
    return value


def whole_field(body: Json, name: str) -> int:
    """A field that must be a whole number, not negative."""
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_NUMBER:
        raise OperatorRefused("request.field", f"{name} is missing or is no whole number.")
    return value


def number(text: str, name: str) -> int:
    """A whole number that is not negative."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(MAX_NUMBER)) or int(text) > MAX_NUMBER:
        raise OperatorRefused("request.field", f"{name} takes a whole number.")
    return int(text)


def flag(query: Mapping[str, str], name: str) -> bool:
    """Whether a switch is on."""
    return query.get(name, "").lower() in TRUE
