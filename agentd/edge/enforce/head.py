"""The head of a request for a model call, built from nothing: no header of a client is copied.

What endpoint, dialect and manner of answer decide is put together once; the key, a client's beta flags and the length come with
each call. A value that could end a header is not sent, wherever it came from: keys and flags are looked at before, but here is
where it would do harm.
"""

import re
from functools import lru_cache
from urllib.parse import urlsplit

from agentd import __version__
from agentd.core.dialects.betas import DEFAULT_VERSION
from agentd.core.types.calls import Dialect
from agentd.core.types.errors import KeyUnavailable
from agentd.edge.enforce.dial import Place
from agentd.gate.ports import Dispatch

PATHS = {Dialect.CHAT: "/chat/completions", Dialect.MESSAGES: "/messages", Dialect.RESPONSES: "/responses"}

PORTS = {"http": 80, "https": 443}

_FORMS = 256
"""Of heads and addresses that are kept: far more than a policy has upstreams."""

_PLAIN = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
"""What a header's value may be: visible ASCII, with single blanks inside."""


@lru_cache(_FORMS)
def place_of(url: str) -> Place:
    """Where the service of a base URL is."""
    parts = urlsplit(url)
    return Place(parts.hostname or "", parts.port or PORTS[parts.scheme], parts.scheme == "https")


def head_of(dispatch: Dispatch, url: str, key: str | None) -> bytes:
    """All up to the body. Raises `KeyUnavailable` for a key that cannot stand in a header."""
    rows = [_fixed(url, dispatch.endpoint.kind, dispatch.dialect, dispatch.stream)]
    if key is not None:
        if not _PLAIN.fullmatch(key):
            raise KeyUnavailable(
                "key.unusable",
                "the upstream's key holds characters that cannot be sent",
                "The operator stores it again with: agentctl key set",
            )
        rows.append(f"Authorization: Bearer {key}\r\n")
    if dispatch.dialect is Dialect.MESSAGES:
        version = dispatch.version
        rows.append(f"anthropic-version: {version if version and _PLAIN.fullmatch(version) else DEFAULT_VERSION}\r\n")
        if flags := [flag for flag in dispatch.beta if _PLAIN.fullmatch(flag)]:
            rows.append(f"anthropic-beta: {','.join(flags)}\r\n")
    rows.append(f"Content-Length: {len(dispatch.body)}\r\n\r\n")
    return "".join(rows).encode("ascii")


@lru_cache(_FORMS)
def _fixed(url: str, kind: str, dialect: Dialect, stream: bool) -> str:
    parts = urlsplit(url)
    rows = [
        f"POST {parts.path}{PATHS[dialect]} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Content-Type: application/json",
        f"Accept: {'text/event-stream' if stream else 'application/json'}",
        "Accept-Encoding: identity",
        f"User-Agent: agentd/{__version__}",
    ]
    if kind == "openrouter":
        rows.append("X-OpenRouter-Metadata: enabled")
    return "\r\n".join(rows) + "\r\n"
