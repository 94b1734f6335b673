"""Takes known secrets out of text, for log lines and for what an upstream said.

agentd never writes a key on purpose. An upstream may echo it in an error, though, and a library may put a header into an
exception. So the last step before text leaves the process looks for every value that this process ever held, rotated ones
included, as it is and in the forms that software turns it into: percent-encoded, JSON-escaped, base64 and hex.

Base64 of a longer text ("Bearer KEY") holds the key at one of three alignments; of each, those characters are sought that
depend on the key alone. A key that was compressed, encrypted, or broken over two lines is not found.
"""

import base64
import json
import logging
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from agentd.core.types.tokens import without_tokens
from agentd.edge.host.secret import Secret

MIN_FORM_CHARS = 8
"""Shorter forms would be found in innocent text. `keys.MIN_KEY_CHARS` keeps every accepted key findable as it is."""


class Scrubber:
    """Replaces each known secret in a text by `[key NAME]`. Learns, never forgets: an old key is still a secret."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._names: dict[str, str] = {}  # form -> name of its key
        self._pattern: re.Pattern[str] | None = None
        self._forms: tuple[bytes, ...] = ()
        self._first: frozenset[int] = frozenset()
        self._longest = 0

    def learn(self, secret: Secret) -> None:
        """Look for this one, too, from now on."""
        for form in _forms(secret.reveal()):
            if len(form) >= MIN_FORM_CHARS:
                self._names[form] = secret.name
        # Longest first: of two forms that begin alike, the longer leaves less behind.
        forms = sorted(self._names, key=len, reverse=True)
        self._forms = tuple(form.encode() for form in forms)
        self._first = frozenset(form[0] for form in self._forms)
        self._longest = len(self._forms[0]) if self._forms else 0
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None

    def __call__(self, text: str) -> str:
        """The text without known secrets."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda found: f"[key {self._names[found[0]]}]", text)

    def clean_bytes(self, data: bytes) -> bytes:
        """The same for bytes of any encoding that ASCII is part of; all else stays as it is."""
        if not any(form in data for form in self._forms):  # far faster than the pattern, and nearly always the answer
            return data
        return self(data.decode("latin-1")).encode("latin-1")

    def begins_in(self, tail: bytes) -> int:
        """How many bytes at the end of `tail` could be the beginning of a secret whose rest is still to come."""
        for start in range(max(0, len(tail) - self._longest + 1), len(tail)):
            if tail[start] in self._first and any(form.startswith(tail[start:]) for form in self._forms):
                return len(tail) - start
        return 0


class ScrubbingFormatter(logging.Formatter):
    """Lets another formatter write the line, traceback and all, and takes the secrets out of what came of it."""

    def __init__(self, inner: logging.Formatter, scrub: Scrubber) -> None:
        """Wrap the formatter of a handler; `scrub_logs` does it for all of a logger."""
        super().__init__()
        self._inner = inner
        self._scrub = scrub

    def format(self, record: logging.LogRecord) -> str:
        """The line, scrubbed; local tokens, of which only digests are known, go by their form."""
        return without_tokens(self._scrub(self._inner.format(record)))


def scrub_logs(scrub: Scrubber, logger: logging.Logger | None = None) -> None:
    """Let every handler of the root logger (or of `logger`) write scrubbed lines. Call after the handlers are set up."""
    for handler in (logger or logging.getLogger()).handlers:
        if not isinstance(handler.formatter, ScrubbingFormatter):
            handler.setFormatter(ScrubbingFormatter(handler.formatter or logging.Formatter(), scrub))


def _forms(value: str) -> Iterator[str]:
    data = value.encode()
    yield value
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    yield from (json.dumps(value)[1:-1], json.dumps(value)[1:-1].replace("/", "\\/"))
    yield from (data.hex(), data.hex().upper())
    for before in range(3):
        yield from _base64_core(data, before)


def _base64_core(data: bytes, before: int) -> Iterator[str]:
    """The characters that `data` alone decides when `before` (mod 3) bytes stand in front of it: six bits each."""
    first, end = -(-8 * before // 6), 8 * (before + len(data)) // 6
    core = base64.b64encode(bytes(before) + data).decode()[first:end]
    yield from (core, core.translate(str.maketrans("+/", "-_")))
