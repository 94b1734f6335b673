"""What a client says about its own call in headers. Nothing here says who asks: credentials are not even looked at.

Hints end in the record and in names of sessions, so they are bounded and plain: a value with a control character or one above the
bound is dropped whole, never shortened, for a shortened session would be somebody else's.
"""

from aiohttp import web

from agentd.core.types.calls import Hints

MAX_HINT = 256  # characters; what clients send has 36 to 80
MAX_FLAGS = 32  # anthropic-beta flags; clients send up to eight
MAX_CLIENT = 64  # characters of a program's name and version
SESSION_HEADERS = ("x-agentd-session", "x-claude-code-session-id", "session-id", "x-session-affinity", "x-session-id")
"""In this order: agentd's own, for clients that name none, then the client's, then those that other gateways defined."""
TRACE_PARTS = 4  # of a traceparent: version, trace id, parent id, flags
_CLIENT_EXTRA = frozenset("._/-")


def hints_of(request: web.Request) -> Hints:
    """The hints of a request; what is missing or not plain is None."""
    return Hints(
        lane=_plain(request.headers.get("X-Agentd-Class")),
        tier=_plain(request.headers.get("X-Agentd-Tier")),
        session=_session(request),
        client=_client(request.headers.get("User-Agent", "")),
    )


def beta_of(request: web.Request) -> tuple[str, ...]:
    """The anthropic-beta flags, from all headers of that name, in order."""
    listed = ",".join(request.headers.getall("anthropic-beta", [])).split(",")
    flags = [flag for flag in (_plain(item) for item in listed) if flag]
    return tuple(dict.fromkeys(flags))[:MAX_FLAGS]


def version_of(request: web.Request) -> str | None:
    """The anthropic-version, whose presence also tells which shape of answer a client reads."""
    return _plain(request.headers.get("anthropic-version"))


def _session(request: web.Request) -> str | None:
    """The name that the client correlates its calls by."""
    for name in SESSION_HEADERS:
        value = _plain(request.headers.get(name))
        if value:
            return value
    parts = (_plain(request.headers.get("traceparent")) or "").split("-")
    return parts[1] if len(parts) == TRACE_PARTS and parts[1].isalnum() else None


def _client(user_agent: str) -> str | None:
    """The first word of a user agent, if it is made of what names and versions are made of."""
    word = user_agent.split(" ", 1)[0][: MAX_CLIENT + 1]
    usual = all(char.isascii() and (char.isalnum() or char in _CLIENT_EXTRA) for char in word)
    return word if word and usual and len(word) <= MAX_CLIENT else None


def _plain(value: str | None) -> str | None:
    """A header's value if it is short, and printable in any terminal."""
    text = (value or "").strip()
    return text if 0 < len(text) <= MAX_HINT and text.isascii() and text.isprintable() else None
