"""What an upstream sees of a call, held against the verdict: whatever a client wrote, the answer is agentd's."""

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

CAPS = {"max_completion_tokens", "max_tokens", "max_output_tokens"}

NEVER = frozenset(
    {
        "models", "fallbacks", "route", "preset", "prompt", "speed", "service_tier", "trace", "debug", "transforms",
        "stop_server_tools_when", "max_tool_calls", "web_search_options", "previous_response_id", "background",
        "conversation", "mcp_servers", "n", "best_of", "modalities", "image_config", "audio", "safety_identifier",
    }
)  # fmt: skip
"""Fields that choose another model, price, provider, tool or memory: none of them may be there, whatever its value."""

PLUGINS_OFF = [{"id": "web", "enabled": False}, {"id": "context-compression", "enabled": False}]
NATIVE = {"id": "file-parser", "pdf": {"engine": "native"}}

OWN_TOOLS: dict[str, set[str | None]] = {
    "chat": {"function"},
    "messages": {None, "custom"},
    "responses": {"function", "custom", "namespace", "local_shell"},
}


@dataclass(frozen=True)
class Verdict:
    """What was decided of a call."""

    model: str
    max_output: int
    providers: tuple[str, ...] = ()
    max_price: tuple[float, float] | None = None
    zdr: bool = False
    openrouter: bool = True


def once(pairs: list[tuple[str, Any]]) -> Json:
    """An object, each of whose keys is there once: parsers differ in which of two counts."""
    assert len(dict(pairs)) == len(pairs), f"a key twice among {[key for key, _ in pairs]}"
    return dict(pairs)


def differences(dialect: str, body: bytes, verdict: Verdict) -> list[str]:
    """What in the bytes that an upstream gets is not the verdict's, in words; none is good."""
    seen = json.loads(body, object_pairs_hook=once)
    found = [f"{name} is there" for name in sorted(NEVER & seen.keys())]
    if seen.get("model") != verdict.model:
        found.append(f"model {seen.get('model')!r}")
    caps = [seen[name] for name in CAPS & seen.keys()]
    if caps != [verdict.max_output]:
        found.append(f"caps {caps}")
    if dialect == "responses" and seen.get("store") is not False:
        found.append(f"store {seen.get('store')!r}")
    if dialect != "messages" and "metadata" in seen:
        found.append("metadata is there")
    kinds = {tool.get("type") for tool in seen.get("tools") or []}
    found += [f"a tool of kind {kind!r}" for kind in kinds - OWN_TOOLS[dialect]]
    return found + (_routing(seen, verdict) if verdict.openrouter else _plain(seen))


def _plain(seen: Json) -> list[str]:
    """A plain server gets nothing that chooses anything."""
    return [f"{name} is there" for name in ("provider", "plugins", "session_id", "user", "metadata") if name in seen]


def _routing(seen: Json, verdict: Verdict) -> list[str]:
    found = []
    if seen.get("plugins") not in (PLUGINS_OFF, [*PLUGINS_OFF, NATIVE]):
        found.append(f"plugins {seen.get('plugins')!r}")
    provider = dict(seen.get("provider") or {})
    expected: Json = {"allow_fallbacks": True, "require_parameters": True, "data_collection": "deny"}
    if verdict.providers:
        expected["only"] = list(verdict.providers)
    if verdict.max_price is not None:
        expected["max_price"] = dict(zip(("prompt", "completion"), verdict.max_price, strict=True))
    if verdict.zdr:
        expected["zdr"] = True
    tighter = {"zdr": provider.pop("zdr", True), "ignore": provider.pop("ignore", [])}
    if tighter["zdr"] is not True or not all(isinstance(name, str) for name in tighter["ignore"]):
        found.append(f"tightened by {tighter!r}")
    if verdict.zdr and "zdr" not in seen["provider"]:
        found.append("zdr is not demanded")
    expected.pop("zdr", None)
    if provider != expected:
        found.append(f"provider {provider!r}")
    return found
