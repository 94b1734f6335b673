"""The fields of a body, and what becomes of each: the list of what passes, not of what is forbidden.

The upstream adds fields that change model, price, provider or what is kept, and announces none of them. So a field passes
only if it is on the list of its dialect; one that is on no list is left out, and that is recorded. Fields that are known as
side doors are left out, replaced or refused by name, so that the record says what was tried. Refused is what cannot be
left out without changing what the call means, or what only makes sense as a way round the rules.

Values do not go into the record, unless a rule says that they are words of the API and not of a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from agentd.core.types.calls import Dialect, Smuggled

MAX_TOLD: Final = 64
"""Fields and findings that one request can put into the record; what is refused comes first."""

VALUE_CHARS: Final = 64
"""What of a value is recorded."""


class Fate(StrEnum):
    """What becomes of a field."""

    PASS = "pass"  # noqa: S105 - no password
    OURS = "ours"  # agentd writes its own value; that the client sent one is usual
    REPLACED = "replaced"  # agentd writes its own, and the client's attempt is recorded
    REMOVED = "removed"  # left out and recorded
    REFUSED = "refused"  # the call is denied


@dataclass(frozen=True, slots=True)
class Rule:
    """A field's fate. A `harmless` value (null always is) means what its absence means: left out without a word."""

    fate: Fate
    harmless: tuple[Any, ...] = ()
    shown: bool = False  # the value is a word of the API and may be recorded
    plain: bool = True  # OpenAI-compatible servers beside OpenRouter take it too


_PASS = Rule(Fate.PASS)
_ROUTED = Rule(Fate.PASS, plain=False)
_OURS = Rule(Fate.OURS)

_DOORS: Final[Mapping[str, Rule]] = {
    "model": _OURS,
    "session_id": _OURS,
    "user": _OURS,
    "provider": Rule(Fate.REPLACED),
    "plugins": Rule(Fate.REPLACED, ([],)),
    "models": Rule(Fate.REMOVED, ([],)),
    "fallbacks": Rule(Fate.REMOVED, ([],)),
    "route": Rule(Fate.REMOVED, shown=True),
    "service_tier": Rule(Fate.REMOVED, shown=True),
    "speed": Rule(Fate.REMOVED, shown=True),
    "trace": Rule(Fate.REMOVED),
    "debug": Rule(Fate.REMOVED),
    "stop_server_tools_when": Rule(Fate.REMOVED, ([],)),
    "max_tool_calls": Rule(Fate.REMOVED, shown=True),
    "web_search_options": Rule(Fate.REMOVED),
    "transforms": Rule(Fate.REMOVED, ([],)),
    "store": Rule(Fate.REMOVED, (False,), shown=True),
    "preset": Rule(Fate.REFUSED, shown=True),
    "prompt": Rule(Fate.REFUSED),
    "previous_response_id": Rule(Fate.REFUSED, shown=True),
    "background": Rule(Fate.REFUSED, (False,), shown=True),
    "mcp_servers": Rule(Fate.REFUSED, ([],)),
}
"""Doors that are the same in every dialect."""

_CHAT: Final[Mapping[str, Rule]] = {
    **_DOORS,
    "messages": _PASS,
    "stream": _PASS,
    "stream_options": _PASS,
    "temperature": _PASS,
    "top_p": _PASS,
    "top_k": _PASS,
    "top_a": _ROUTED,
    "min_p": _PASS,
    "frequency_penalty": _PASS,
    "presence_penalty": _PASS,
    "repetition_penalty": _PASS,
    "seed": _PASS,
    "stop": _PASS,
    "logit_bias": _PASS,
    "logprobs": _PASS,
    "top_logprobs": _PASS,
    "response_format": _PASS,
    "tools": _PASS,
    "tool_choice": _PASS,
    "parallel_tool_calls": _PASS,
    "prediction": _PASS,
    "reasoning": _ROUTED,
    "reasoning_effort": _PASS,
    "verbosity": _PASS,
    "usage": _ROUTED,
    "cache_control": _ROUTED,
    "prompt_cache_options": _ROUTED,
    "max_tokens": _OURS,
    "max_completion_tokens": _OURS,
    "prompt_cache_key": _OURS,
    "safety_identifier": _OURS,
    "metadata": Rule(Fate.REMOVED, ({},)),  # copied to whatever the account broadcasts to
    "n": Rule(Fate.REMOVED, (1,), shown=True),
    "best_of": Rule(Fate.REMOVED, (1,), shown=True),
    "modalities": Rule(Fate.REFUSED, (["text"], [])),
    "image_config": Rule(Fate.REFUSED),
    "audio": Rule(Fate.REFUSED),
}

_MESSAGES: Final[Mapping[str, Rule]] = {
    **_DOORS,
    "messages": _PASS,
    "system": _PASS,
    "stream": _PASS,
    "stop_sequences": _PASS,
    "temperature": _PASS,
    "top_p": _PASS,
    "top_k": _PASS,
    "tools": _PASS,
    "tool_choice": _PASS,
    "thinking": _PASS,
    "output_config": _PASS,
    "context_management": _PASS,  # left out by the rewriting unless the provider is Anthropic itself
    "cache_control": _PASS,
    "max_tokens": _OURS,
    "metadata": _OURS,  # clients put device and session ids there
}

_RESPONSES: Final[Mapping[str, Rule]] = {
    **_DOORS,
    "input": _PASS,
    "instructions": _PASS,
    "stream": _PASS,
    "include": _PASS,
    "text": _PASS,
    "truncation": _PASS,
    "temperature": _PASS,
    "top_p": _PASS,
    "top_k": _PASS,
    "top_logprobs": _PASS,
    "frequency_penalty": _PASS,
    "presence_penalty": _PASS,
    "tools": _PASS,
    "tool_choice": _PASS,
    "parallel_tool_calls": _PASS,
    "reasoning": _PASS,
    "cache_control": _ROUTED,
    "prompt_cache_options": _ROUTED,
    "max_output_tokens": _OURS,
    "prompt_cache_key": _OURS,
    "safety_identifier": _OURS,
    "store": Rule(Fate.REPLACED, (False,), shown=True),  # left out it would mean true
    "metadata": Rule(Fate.REMOVED, ({},)),  # copied to whatever the account broadcasts to
    "conversation": Rule(Fate.REFUSED),  # what was said before would be the upstream's to know
    "modalities": Rule(Fate.REFUSED, (["text"], [])),
    "image_config": Rule(Fate.REFUSED),
}

RULES: Final[Mapping[Dialect, Mapping[str, Rule]]] = {
    Dialect.CHAT: _CHAT,
    Dialect.MESSAGES: _MESSAGES,
    Dialect.RESPONSES: _RESPONSES,
}
"""Every known field of every dialect; what is not here is left out."""

ROUTERS: Final = "openrouter/"
"""Names in front of models that choose another model, at its price."""

SUFFIXES: Final = frozenset({"nitro", "floor", "online", "free", "thinking", "extended", "exacto", "batch"})
"""Endings of a model's name that choose other endpoints, prices or data terms. Other endings (`llama3:8b`) are names."""


def inspect(dialect: Dialect, fields: Mapping[str, Any]) -> tuple[list[Smuggled], tuple[str, ...]]:
    """What the top-level fields try, and the names of the unknown ones."""
    found: list[Smuggled] = []
    dropped: list[str] = []
    for name, value in fields.items():
        rule = RULES[dialect].get(name)
        if rule is None:
            dropped.append(_short(name))
        elif rule.fate in (Fate.PASS, Fate.OURS) or value is None or value in rule.harmless:
            continue
        else:
            what = _short(str(value)) if rule.shown and isinstance(value, (str, int)) else _kind(value)
            found.append(Smuggled(name, what, rule.fate is Fate.REFUSED))
    return found, tuple(dropped[:MAX_TOLD])


def model_asked(model: str) -> list[Smuggled]:
    """What a model's name would switch on at the upstream. The name is only a hint: agentd writes its own, so that all but a
    stored configuration, by which the client means more than a model, is told and ignored."""
    if "@preset" in model:
        return [Smuggled("model", _short(model), refused=True)]
    suffix = model.rpartition(":")[2] if ":" in model else ""
    if model.startswith(("~", ROUTERS)) or suffix in SUFFIXES:
        return [Smuggled("model", _short(model), refused=False)]
    return []


def told(found: list[Smuggled]) -> tuple[Smuggled, ...]:
    """The findings for the record, bounded; what is refused is never lost to the bound."""
    return tuple(sorted(found, key=lambda one: not one.refused)[:MAX_TOLD])


def passes(dialect: Dialect, name: str, openrouter: bool) -> bool:
    """Whether the client's own value of a field travels on."""
    rule = RULES[dialect].get(name)
    return rule is not None and rule.fate is Fate.PASS and (rule.plain or openrouter)


_KINDS: Final = {str: "text", list: "list", dict: "object"}


def _short(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"


def _kind(value: object) -> str:
    """A value in words that give nothing away."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, list, dict)):
        return f"{_KINDS[type(value)]} of {len(value)}"
    return "number"
