"""Local tokens: what an agent that comes by TCP shows to say which agent it is. A token says that much and no more: it serves
only together with the user that owns the connection, and is worth nothing outside this box.

A token is `agentd-` and 43 url-safe characters: 32 random bytes. So it can be told from any other text, wherever it was pasted,
and its plain SHA-256 gives nothing away: there is nothing to guess. What is kept of a token is that digest alone.
"""

import hashlib
import re
from dataclasses import dataclass, field

PREFIX = "agentd-"
TOKEN_FORM = rf"{PREFIX}[A-Za-z0-9_-]{{43}}"
"""A regular expression for tokens, to find them in text."""

ID_DIGITS = 12
"""Hex digits of a digest in a token's id: 48 bits tell the tokens of a box apart."""

_TOKEN = re.compile(TOKEN_FORM)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request showed as its credentials, each distinct value once; empty: none."""

    values: tuple[str, ...] = field(default=(), repr=False)


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return _TOKEN.fullmatch(text) is not None


def digest_of(token: str) -> str:
    """What is kept of a token: its SHA-256, hex. Whatever a client sent can be digested, half of a surrogate pair included."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(digest: str) -> str:
    """The name that people use: `t-` and the first digits of the digest."""
    return f"t-{digest[:ID_DIGITS]}"


def without_tokens(text: str) -> str:
    """The text with every token in it replaced by `[token]`."""
    return _TOKEN.sub("[token]", text) if PREFIX in text else text
