"""What a body says of how hard to think, how much to say and how long to keep a prompt: read at its known places, changed there.

Each dialect has its own fields for it, and a field may hold more than that (a format, a summary). So one member of a field is
changed at a time, and the field's other members keep the client's very bytes. Which value is given is not decided here:
`core.policy.bounds` decides, and what it gives (`Clamp`) is put in its place.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentd.core.dialects import marks, splice
from agentd.core.dialects.splice import Written
from agentd.core.types.bounds import MARK, CacheTtl, Clamp, Knob
from agentd.core.types.calls import Dialect

_REASONING: Final = ("effort", "max_tokens", "enabled")
_CACHE: Final = ("ttl",)

PLACES: Final[Mapping[Dialect, Mapping[str, tuple[str, ...]]]] = {
    Dialect.CHAT: {"reasoning": _REASONING, "reasoning_effort": (), "verbosity": (), "prompt_cache_options": _CACHE},
    Dialect.MESSAGES: {"thinking": ("type", "budget_tokens"), "output_config": ("effort",)},
    Dialect.RESPONSES: {"reasoning": _REASONING, "text": ("verbosity",), "prompt_cache_options": _CACHE},
}
"""Fields by dialect, with the members that count; a field without members is a value itself."""


def asked(dialect: Dialect, fields: Mapping[str, Any]) -> tuple[Knob, ...]:
    """The settings of a body."""
    found: list[Knob] = []
    for field, keys in PLACES[dialect].items():
        value = fields.get(field)
        if value is None:
            continue
        if not keys:
            found.append(Knob(field, "", _plain(value)))
        elif not isinstance(value, dict):
            found.append(Knob(field, "", None))
        else:
            found.append(Knob(field, "", True))
            found.extend(Knob(field, key, _plain(value[key])) for key in keys if value.get(key) is not None)
    return tuple(found)


def _plain(value: object) -> str | int | None:
    """A word or whole number (true and false are kept apart by their type); anything else is no value here."""
    return value if isinstance(value, str | int) else None


def turned(client: Mapping[str, Written], clamps: Iterable[Clamp]) -> dict[str, Written]:
    """The client's members with each change in its place, new fields at the end."""
    found = dict(client)
    for clamp in clamps:
        if clamp.field == MARK:
            found = {name: marks.shortened(raw, CacheTtl(str(clamp.given)), name) for name, raw in found.items()}
        elif not clamp.key:
            _put(found, clamp.field, clamp.given)
        else:
            raw = found.get(clamp.field, b"")
            held = splice.members(raw) if raw[:1] == b"{" else {}
            _put(held, clamp.key, clamp.given)
            found[clamp.field] = splice.object_of(held)
    return found


def _put(held: dict[str, Written], name: str, given: str | int | bool | None) -> None:
    if given is None:
        held.pop(name, None)
    else:
        held[name] = splice.encode(given)
