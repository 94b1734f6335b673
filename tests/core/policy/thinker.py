"""Calls that ask for effort, as they are read, bounded and sent."""

import json
from typing import Any

from agentd.core.accounting.catalogue import Reasoning
from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Rewrite
from agentd.core.policy.bounds import clamps
from agentd.core.policy.efforts import Room
from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.calls import Dialect
from core.dialects.talk import body_of, user

CAP = 10_000

ALWAYS = Reasoning(mandatory=True, efforts=(Effort.LOW, Effort.MEDIUM, Effort.HIGH), usual=Effort.MEDIUM)
"""A model that always thinks."""

BY_ITSELF = Reasoning(usual=Effort.HIGH)
"""A model that thinks unless it is told not to."""

WHEN_ASKED = Reasoning(by_itself=False)
"""A model that thinks when it is asked to."""


def room(effort: str | None = None, **more: Any) -> Room:
    """What class `beat` may have of a model of which nothing is known, if `more` does not say."""
    known = {"cache_ttl": CacheTtl.SHORT, "max_output": CAP, "model": "acme/one", **more}
    return Room("beat", None if effort is None else Effort(effort), **known)


def bounded(dialect: Dialect, given: Room, **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """The body that is sent, without what agentd writes into every body, and what is told of the changes."""
    speaks = grammar(dialect)
    call = speaks.read(body_of(dialect, [user("hello")], **fields))
    changes = clamps(call, given)
    rewrite = Rewrite("acme/one", given.max_output, openrouter=given.openrouter, clamps=changes)
    out: dict[str, Any] = json.loads(speaks.rewrite(call, rewrite))
    ours = {"model", "messages", "input", "provider", "plugins", "store"}
    caps = {"max_tokens", "max_completion_tokens", "max_output_tokens"}
    return {name: value for name, value in out.items() if name not in ours | caps}, [one.words for one in changes]
