"""Putting agentd's own fields into a body.

The client's members stay in their order and bytes; agentd's own stand in the place of the client's, or at the end. The
`provider` object is agentd's whole: of the client's only what makes it tighter is honoured.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from agentd.core.dialects import firewall, splice
from agentd.core.dialects.grammar import Rewrite
from agentd.core.dialects.splice import Written
from agentd.core.dialects.tools import offered
from agentd.core.types.calls import ModelCall

PLUGINS_OFF: Final = ("web", "context-compression")
"""What an account can have switched on by default: a search that costs and tells, a rewriting of what was said."""

NATIVE_FILES: Final = {"id": "file-parser", "pdf": {"engine": "native"}}
"""For documents: no third party may parse them, which is the default where the model does not read them itself."""

MAX_IGNORED: Final = 64
"""Providers that a client may exclude in one request."""


def assemble(call: ModelCall, rewrite: Rewrite, client: Mapping[str, Written], own: Mapping[str, Written]) -> bytes:
    """The body of those client members that pass and of agentd's own; tools that may not be offered are left out."""
    tools, gone = _tools(call, client)
    own = {**own, **tools}
    kept = {
        name: raw
        for name, raw in client.items()
        if name in own or (name not in gone and firewall.passes(call.dialect, name, rewrite.openrouter))
    }
    return splice.overlay(kept, own)


def routing(call: ModelCall, rewrite: Rewrite, client: Mapping[str, Written]) -> dict[str, bytes]:
    """OpenRouter's fields beside the model: provider, plugins and the session that keeps a cache warm."""
    plugins: list[dict[str, Any]] = [{"id": name, "enabled": False} for name in PLUGINS_OFF]
    if call.shape.documents:
        plugins.append(NATIVE_FILES)
    own = {"provider": splice.object_of(_provider(rewrite, client)), "plugins": splice.encode(plugins)}
    if rewrite.session:
        own["session_id"] = splice.encode(rewrite.session)
    return own


def _provider(rewrite: Rewrite, client: Mapping[str, Written]) -> dict[str, bytes]:
    said = json.loads(bytes(client.get("provider", b"null")))
    asked: Mapping[str, Any] = said if isinstance(said, dict) else {}
    values: dict[str, Any] = {"allow_fallbacks": True, "require_parameters": True, "data_collection": "deny"}
    if rewrite.providers:
        values["only"] = rewrite.providers
    if ignored := _ignored(asked.get("ignore")):
        values["ignore"] = ignored
    if rewrite.zdr or asked.get("zdr") is True:
        values["zdr"] = True
    raw = {name: splice.encode(value) for name, value in values.items()}
    if rewrite.max_price is not None:
        prompt, completion = rewrite.max_price
        raw["max_price"] = splice.object_of({"prompt": _number(prompt), "completion": _number(completion)})
    return raw


def _ignored(names: object) -> list[str]:
    """Providers that the client excludes: fewer may see the data."""
    listed = names if isinstance(names, list) else []
    return [name for name in listed if isinstance(name, str)][:MAX_IGNORED]


def _number(text: str) -> bytes:
    """A price as it is written in the policy, as a JSON number: never by way of a float."""
    return format(Decimal(text), "f").encode()


def _tools(call: ModelCall, client: Mapping[str, Written]) -> tuple[dict[str, bytes], frozenset[str]]:
    """The tools that are left, if some go; and the fields that go with the last of them."""
    if not call.smuggled or "tools" not in client:
        return {}, frozenset()
    judged = offered(call.dialect, {"tools": json.loads(bytes(client["tools"]))})
    if not judged.gone:
        return {}, frozenset()
    if not judged.names:
        return {}, frozenset({"tools", "tool_choice", "parallel_tool_calls"})
    return {"tools": splice.without(client["tools"], judged.gone)}, frozenset()
