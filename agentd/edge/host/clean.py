"""Keeps agentd's own keys out of what an upstream says: an upstream that echoes the key it was sent (in a text, an id, a header)
must show it neither to the agent nor to the record.

Error answers are put into agentd's own words anyway; this is for those that are passed on. A key may be cut in two by the
network, so the end of a piece that could be the beginning of a key is held back until the next piece decides. An event
stream loses no time by that: its pieces end in a line break, which no key holds. What a model *spells out* over several
events is not found.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.receipts import Permit
from agentd.edge.host.scrub import Scrubber
from agentd.gate.ports import Dispatch, Reply, Upstream

BLANKS = (b" ", b"\t", b"\r", b"\n")
"""Bytes that no form of a key holds."""


class Cleaner:
    """One answer's bytes, cleaned as they come."""

    def __init__(self, scrub: Scrubber) -> None:
        """Nothing is held back yet."""
        self._scrub = scrub
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be passed on now."""
        data = self._scrub.clean_bytes(self._held + piece)
        keep = self._scrub.begins_in(data[_after_blank(data) :])
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep]

    def finish(self) -> bytes:
        """What was held back and turned out to be no key."""
        held, self._held = self._held, b""
        return held


class CleanReply:
    """A `gate.ports.Reply` without keys."""

    def __init__(self, reply: Reply, scrub: Scrubber) -> None:
        """Take the reply as it comes from the network."""
        self._reply = reply
        self._scrub = scrub
        self.generation = None if reply.generation is None else scrub(reply.generation)

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `gate.ports.Reply.chunks`."""
        cleaner = Cleaner(self._scrub)
        async for piece in self._reply.chunks():
            if out := cleaner.feed(piece):
                yield out
        if rest := cleaner.finish():
            yield rest

    def abort(self) -> None:
        """See `gate.ports.Reply.abort`."""
        self._reply.abort()


class CleanUpstream:
    """A `gate.ports.Upstream` whose replies hold no key."""

    def __init__(self, upstream: Upstream, scrub: Scrubber) -> None:
        """Take the upstream that is really called."""
        self._upstream = upstream
        self._scrub = scrub

    def open(self, permit: Permit, dispatch: Dispatch) -> "CleanCall":
        """See `gate.ports.Upstream.open`."""
        return CleanCall(self._upstream.open(permit, dispatch), self._scrub)


class CleanCall:
    """One call, as a context; a generator in its place would cost each call some microseconds."""

    def __init__(self, call: AbstractAsyncContextManager[Reply], scrub: Scrubber) -> None:
        """Take the call as the upstream opens it."""
        self._call = call
        self._scrub = scrub

    async def __aenter__(self) -> CleanReply:
        """The reply, cleaned; what a failure names is cleaned as well."""
        try:
            return CleanReply(await self._call.__aenter__(), self._scrub)
        except UpstreamFailed as failed:
            failed.generation = None if failed.generation is None else self._scrub(failed.generation)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the call."""
        await self._call.__aexit__(kind, error, trace)


def _after_blank(data: bytes) -> int:
    """Where the last run without blanks begins."""
    return max(data.rfind(blank) for blank in BLANKS) + 1
