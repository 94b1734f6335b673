"""Local tokens: which there are, whose, and until when. The record is their only store: each act is a line, the lines are read
again at start, and what was never written down is no token. A line holds the SHA-256 of a token, never the token.

A lookup goes by digest. How long it takes depends on the digest of what was shown, which nobody can steer towards a token.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from agentd.core.accounting.times import from_rfc3339
from agentd.core.types.tokens import digest_of, id_of


class Standing(StrEnum):
    """What a token is worth now."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept. Times are UTC nanoseconds."""

    id: str
    agent: str
    digest: str
    made_at: str  # RFC 3339
    by_uid: int | None  # the operator who made it
    expires_ns: int
    revoked: bool = False
    replaced: bool = False  # by another one; it still serves until it expires

    def standing(self, at_ns: int) -> Standing:
        """Whether it serves."""
        if self.revoked:
            return Standing.REVOKED
        return Standing.VALID if at_ns < self.expires_ns else Standing.EXPIRED


@dataclass(frozen=True, slots=True)
class Misuse:
    """Valid tokens in the hands of the wrong user, since the daemon started."""

    count: int
    at: str  # the newest: when (RFC 3339), which token, whose, used by which uid
    token: str
    agent: str
    uid: int


class Tokens:
    """The tokens of the box."""

    def __init__(self, mint: Callable[[], str]) -> None:
        """`mint` makes a new token out of chance."""
        self.mint = mint
        self.misuse: Misuse | None = None
        self._by_id: dict[str, Token] = {}
        self._used: dict[str, int] = {}

    def restore(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take up what the record says, oldest line first."""
        for line in lines:
            self.learn(line)

    def learn(self, line: Mapping[str, Any]) -> None:
        """Take up one act, as its line tells it: `code`, `agent`, `at`, `caller` and the detail."""
        detail: Mapping[str, Any] = line.get("detail") or {}
        if line.get("code") == "token.revoke":
            self._change(str(detail.get("id")), lambda token: replace(token, revoked=True))
            return
        until = from_rfc3339(str(detail["until"])) if detail.get("until") else 0
        for old in detail.get("replaces") or ():
            self._change(str(old), lambda t: replace(t, expires_ns=min(t.expires_ns, until), replaced=True))
        digest, caller = str(detail["sha256"]), line.get("caller") or {}
        expires = from_rfc3339(str(detail["expires"]))
        made = Token(id_of(digest), str(line["agent"]), digest, str(line["at"]), caller.get("uid"), expires)
        self._by_id[made.id] = made

    def find(self, shown: str) -> Token | None:
        """The token that was shown, whatever it is worth; None: there is no such token."""
        digest = digest_of(shown)
        token = self._by_id.get(id_of(digest))
        return token if token is not None and hmac.compare_digest(token.digest, digest) else None

    def get(self, name: str) -> Token | None:
        """The token of an id."""
        return self._by_id.get(name)

    def live(self, agent: str, at_ns: int) -> list[Token]:
        """The tokens that an agent can use now."""
        return [t for t in self._by_id.values() if t.agent == agent and t.standing(at_ns) is Standing.VALID]

    def all(self) -> list[Token]:
        """Every token that the record tells of, oldest first."""
        return list(self._by_id.values())

    def used(self, token: Token, at_ns: int) -> None:
        """Note that a token served."""
        self._used[token.id] = at_ns

    def last_used(self, token: Token) -> int | None:
        """When a token last served, since the daemon started."""
        return self._used.get(token.id)

    def misused(self, token: Token, uid: int, at: str) -> None:
        """Note that somebody else used a token."""
        count = self.misuse.count + 1 if self.misuse else 1
        self.misuse = Misuse(count, at, token.id, token.agent, uid)

    def _change(self, name: str, change: Callable[[Token], Token]) -> None:
        known = self._by_id.get(name)
        if known is not None:
            self._by_id[name] = change(known)
