"""What every request to an upstream shares: what a connection that fails means, in words and in money.

Before there is a connection nothing can have been billed, so one that does not come about is another failure than an answer that
does not. Certificates and names are faults that an operator can mend, so their words say which it is.
"""

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer
from agentd.edge.enforce.wire import WireError

READ_BYTES = 1 << 16
"""Of one read beside the calls: a list takes few."""

KEEPALIVE_S = 60.0

CERTIFICATE_HINT = (
    "The operator looks at the machine's clock, and whether it knows the authority that signed the certificate "
    "(Debian: ca-certificates)."
)

NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
DESCRIPTORS_HINT = (
    "agentd has no descriptor left: the operator raises LimitNOFILE of its unit, or ends some of its callers."
)


@dataclass(frozen=True, slots=True)
class Sessions:
    """aiohttp's connections, for what is asked beside the calls. `simulated` leads to the simulator's socket."""

    real: aiohttp.ClientSession
    simulated: aiohttp.ClientSession | None

    @classmethod
    def begin(cls, simulator: str | None) -> Self:
        """Nothing is connected until something is asked."""
        real = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60)
        if simulator is None:
            return cls(_session(real), None)
        unix = aiohttp.UnixConnector(simulator, limit=0, keepalive_timeout=KEEPALIVE_S)
        return cls(_session(real), _session(unix))

    async def __aenter__(self) -> Self:
        """Nothing to do."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        for session in (self.real, self.simulated):
            if session is not None:
                await session.close()


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
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
    """No connection came about, or the request did not leave whole: nobody has worked, so nothing is billed."""
    cause = _cause(error)
    failed = UpstreamFailed(
        "upstream.unreachable",
        f"the upstream cannot be reached: {_why(cause)}",
        status=0,
        retryable=True,
        answer=Answer.WAIT,
        retry_after_s=10,
    )
    if isinstance(cause, ssl.SSLCertVerificationError):
        failed.hint = CERTIFICATE_HINT
    if isinstance(cause, OSError) and cause.errno in NO_DESCRIPTORS:
        failed.hint = DESCRIPTORS_HINT
    return failed


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
    why = str(error) if isinstance(error, WireError) else type(error).__name__
    return UpstreamFailed(
        "upstream.cut",
        f"the upstream's answer broke off ({why})",
        status=0,
        retryable=False,
        answer=Answer.WAIT,
        retry_after_s=2,
        billed=True,
    )


def _cause(error: Exception) -> Exception:
    """What lies behind an error of aiohttp's."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _why(cause: Exception) -> str:
    """The reason in words of agentd, OpenSSL or the kernel; never the peer's."""
    if isinstance(cause, WireError):
        return str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection came about ({cause.reason or 'no reason given'})"
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, TimeoutError | aiohttp.ConnectionTimeoutError):
        return "no connection came about in time"
    if isinstance(cause, OSError) and cause.errno:
        return os.strerror(cause.errno).lower()
    return type(cause).__name__
