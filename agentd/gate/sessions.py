"""What a session was given last, so that an open tool loop keeps its class and model.

A session is what the client correlates by, hashed together with its agent: it cannot reach another agent's session, and
what travels upstream tells nobody who the client is. Memory only: after a restart a loop may be decided anew.
"""

import hashlib
from collections import OrderedDict

from agentd.core.accounting.times import NS_PER_S
from agentd.core.policy.facts import Memory
from agentd.core.types.calls import Hints, ModelCall

MAX_SESSIONS = 10_000
"""The oldest is forgotten beyond this; about 3 MB."""

IDLE_NS = 3600 * NS_PER_S
"""A loop that was silent for an hour is over."""

SESSION_HEX = 24


def session_of(agent: str, hints: Hints, call: ModelCall) -> str:
    """The name of the call's session: by the client's own correlation, else by how the conversation began."""
    return session_named(agent, hints.session or call.shape.conversation)


def session_named(agent: str, key: str) -> str:
    """The name of an agent's session, by what it is correlated by."""
    return hashlib.sha256(f"{agent}\0{key}".encode("utf-8", "surrogatepass")).hexdigest()[:SESSION_HEX]


def opaque(secret: bytes, session: str) -> str:
    """What the upstream may know of a session: stable, and meaningless without this box's secret."""
    return "s-" + hashlib.blake2b(session.encode(), key=secret, digest_size=SESSION_HEX // 2).hexdigest()


class Sessions:
    """The last memory per session, bounded."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: OrderedDict[str, tuple[int, Memory]] = OrderedDict()

    def recall(self, session: str, at_ns: int) -> Memory | None:
        """What the session was given last, if it was within the idle time."""
        at, memory = self._known.get(session, (0, None))
        return (
            memory if abs(at_ns - at) <= IDLE_NS else None
        )  # a clock that is set back does not lengthen what it was given

    def remember(self, session: str, memory: Memory, at_ns: int) -> None:
        """Keep what a call was given."""
        self._known[session] = (at_ns, memory)
        self._known.move_to_end(session)
        while len(self._known) > MAX_SESSIONS:
            self._known.popitem(last=False)
