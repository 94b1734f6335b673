"""What an upstream could make of a body, written down apart from the code that bounds it: the most that any field asks for."""

from typing import Any

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.types.bounds import Effort

BEYOND = 99
"""More than every bound: a word, a number or a form that nobody can rank."""

MINUTES = {"5m": 5, "30m": 30, "1h": 60}
SHARES = {
    Effort.NONE: 0,
    Effort.MINIMAL: 10,
    Effort.LOW: 20,
    Effort.MEDIUM: 50,
    Effort.HIGH: 80,
    Effort.XHIGH: 95,
    Effort.MAX: 100,
}


def rank(word: Any) -> int:
    """How much a word asks for."""
    return Effort(word).rank if isinstance(word, str) and word in list(Effort) else BEYOND


def share(tokens: Any, cap: int) -> int:
    """How much a budget of tokens asks for."""
    if type(tokens) is not int or not 0 <= tokens < cap:
        return BEYOND
    return next(effort.rank for effort, part in SHARES.items() if tokens * 100 <= cap * part)


def member(body: dict[str, Any], field: str, key: str) -> Any:
    """A member of a field that is an object; None otherwise."""
    held = body.get(field)
    return held.get(key) if isinstance(held, dict) else None


def openai(body: dict[str, Any], known: Reasoning | None, cap: int) -> int:
    """The effort of a body for chat completions or responses."""
    said = body.get("reasoning")
    if said is not None and not isinstance(said, dict):
        return BEYOND
    enabled, tokens = member(body, "reasoning", "enabled"), member(body, "reasoning", "max_tokens")
    words = [word for word in (member(body, "reasoning", "effort"), body.get("reasoning_effort")) if word is not None]
    seen = [rank(word) for word in words] + ([] if tokens is None else [share(tokens, cap)])
    by_itself = known.by_itself if known else said is not None
    contrary = enabled not in (None, False) and "none" in words
    if contrary or (not seen and enabled is not False and (enabled is not None or by_itself)):
        seen.append(((known.usual if known else None) or Effort.MEDIUM).rank)
    return max(seen, default=0)


def messages(body: dict[str, Any], known: Reasoning | None, cap: int) -> int:
    """The effort of a body for messages."""
    said, word = body.get("thinking"), member(body, "output_config", "effort")
    if body.get("output_config") is not None and not isinstance(body["output_config"], dict):
        return BEYOND
    if member(body, "thinking", "type") == "disabled":  # the word bounds the answer alone, and its least that is known is low
        return 0 if word is None or rank(word) <= Effort.LOW.rank else rank(word)
    seen = [] if word is None else [rank(word)]
    if said is None:
        starts = known is not None and known.by_itself
        return max(seen, default=((known.usual or Effort.HIGH).rank if known and starts else 0))
    kind = member(body, "thinking", "type")
    if kind == "enabled":
        seen.append(share(member(body, "thinking", "budget_tokens"), cap))
    elif kind != "adaptive":
        return BEYOND
    elif word is None:
        seen.append(((known.usual if known else None) or Effort.HIGH).rank)
    return max(seen, default=0)


def verbosity(body: dict[str, Any]) -> int:
    """How much is to be said."""
    words = (body.get("verbosity"), member(body, "text", "verbosity"))
    return max((rank(word) for word in words if word is not None), default=0)


def minutes(value: Any) -> int:
    """The longest that anything in a body asks to be kept."""
    if isinstance(value, list):
        return max(map(minutes, value), default=0)
    if not isinstance(value, dict):
        return 0
    asked = [member(value, name, "ttl") for name in ("cache_control", "prompt_cache_options")]
    own = [MINUTES.get(ttl, BEYOND) if isinstance(ttl, str) else BEYOND for ttl in asked if ttl is not None]
    return max([*own, *map(minutes, value.values())], default=0)
