"""Secrets that were pasted where they do not belong: found by the public forms that issuers give them.

Used on policy text, which is kept whole in the record, shown to operators and quoted in faults. What is found is never
repeated: callers get its place and the issuer's name. Keys belong into the keyring (`agentctl key set NAME`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agentd.core.types.tokens import TOKEN_FORM

_FORMS: tuple[tuple[str, str], ...] = (
    ("an OpenRouter key", r"sk-or-[A-Za-z0-9_-]{8,}"),
    ("an Anthropic key", r"sk-ant-[A-Za-z0-9_-]{8,}"),
    ("an API key", r"(?<![A-Za-z0-9])sk-(?!or-|ant-)[A-Za-z0-9_-]{20,}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"),
    ("an AWS key id", r"(?<![A-Z0-9])A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Z0-9])"),
    ("a Google API key", r"AIza[A-Za-z0-9_-]{30,}"),
    ("a Slack token", r"xox[abeprs]-[A-Za-z0-9-]{10,}"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a local token of agentd", TOKEN_FORM),
    ("a password in an address", r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
)
_ANY = re.compile("|".join(f"(?P<f{index}>{form})" for index, (_, form) in enumerate(_FORMS)))


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a secret stands, in characters of the text, and whose form it has. Never the secret itself."""

    start: int
    end: int
    what: str


def find_leaks(text: str) -> Iterator[Leak]:
    """Every secret in a text, in order."""
    for match in _ANY.finditer(text):
        index = int((match.lastgroup or "f0")[1:])
        yield Leak(match.start(), match.end(), _FORMS[index][0])


def without_leaks(text: str) -> str:
    """The text with each secret replaced by what it was: `[an API key]`."""
    return _ANY.sub(lambda match: f"[{_FORMS[int((match.lastgroup or 'f0')[1:])][0]}]", text)
