"""What every request to an upstream shares: the connection pool, and what a connection that fails means.

Before there is a connection nothing can have been billed, so one that does not come about is another failure than an answer that
does not.
"""

import aiohttp

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer

READ_BYTES = 1 << 16
"""Of one read: an event of a stream is far below, a whole answer takes few."""


def session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """A pool without cookies, proxies or a client's name of its own."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=True,
        read_bufsize=READ_BYTES,
        skip_auto_headers=("User-Agent",),
        trust_env=False,
    )


def unreachable(error: Exception) -> UpstreamFailed:
    """No connection came about: nobody has worked, so nothing is billed."""
    kind = type(error).__name__
    return UpstreamFailed(
        "upstream.unreachable",
        f"the upstream cannot be reached ({kind})",
        status=0,
        retryable=True,
        answer=Answer.WAIT,
        retry_after_s=10,
    )


def timed_out() -> UpstreamFailed:
    """No answer in time: it may have been worked on."""
    return UpstreamFailed(
        "upstream.timeout",
        "the upstream took too long",
        status=0,
        retryable=False,
        answer=Answer.WAIT,
        retry_after_s=10,
        billed=True,
    )


def broke(error: Exception) -> UpstreamFailed:
    """The answer broke off."""
    kind = type(error).__name__
    return UpstreamFailed(
        "upstream.cut",
        f"the upstream's answer broke off ({kind})",
        status=0,
        retryable=False,
        answer=Answer.WAIT,
        retry_after_s=2,
        billed=True,
    )
