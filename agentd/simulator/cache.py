"""A prompt cache like the providers' own: it remembers, per model and session, up to where prompts were equal.

Models with automatic caches remember every prompt; those that want marks (Anthropic, Qwen) only up to a mark. What is read
from the cache is billed at the read rate and renewed; what is written for the first time is billed at the write rate,
where a model has one. Providers count in steps and evict when they like; here it is exact, so that tests can be.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from agentd.simulator.words import Asked, Segment, Tally, utf8

MARKED_AUTHORS: Final = ("anthropic/", "qwen/")
LIFETIMES_S: Final = {"5m": 300, "1h": 3600}
MINIMUM: Final = 1024
"""Tokens of the shortest prefix that is kept, for most models."""

LONG_MINIMUM: Final = 4096
LONG_MODELS: Final = ("anthropic/claude-opus-4.5", "anthropic/claude-opus-4.6", "anthropic/claude-opus-4.7")
LONG_MODELS_TOO: Final = ("anthropic/claude-opus-4.8", "anthropic/claude-haiku-4.5")
MAX_PREFIXES: Final = 50_000
"""So that a long-running simulator does not grow without end; the oldest go first."""


class PromptCache:
    """What the simulated providers remember."""

    def __init__(self) -> None:
        """Start empty."""
        self._until: dict[str, int] = {}  # prefix -> nanoseconds since 1970

    def visit(self, asked: Asked, now_ns: int, caches: bool) -> Tally:
        """The prompt's share of a tally: how much of it was cached, how much is written now. `caches`: the model does at all."""
        if not caches:
            return Tally(prompt=asked.prompt_tokens)
        ends = _prefixes(asked)
        hit = max((tokens for name, tokens, _ in ends if self._until.get(name, 0) > now_ns), default=0)
        kept = [(name, tokens, mark) for name, tokens, mark in ends if mark and tokens >= _minimum(asked.model)]
        for name, _, mark in kept:
            self._keep(name, now_ns + LIFETIMES_S[mark] * 10**9)
        marked = asked.model.startswith(MARKED_AUTHORS)
        written = max((tokens for _, tokens, _ in kept if tokens > hit), default=hit) - hit if marked else 0
        hours = any(mark == "1h" for _, tokens, mark in kept if tokens > hit)
        return Tally(asked.prompt_tokens, cached=hit, written=written, written_1h=written if hours else 0)

    def _keep(self, name: str, until: int) -> None:
        """Remember a prefix, or renew it."""
        self._until.pop(name, None)
        self._until[name] = until
        while len(self._until) > MAX_PREFIXES:
            del self._until[next(iter(self._until))]


def _minimum(model: str) -> int:
    """Tokens that a prefix must have to be kept."""
    return LONG_MINIMUM if model in LONG_MODELS + LONG_MODELS_TOO else MINIMUM


def _prefixes(asked: Asked) -> list[tuple[str, int, str]]:
    """Every place where a prefix may end: its name, its tokens, and the lifetime that it is kept for ("" for none)."""
    automatic = "" if asked.model.startswith(MARKED_AUTHORS) else "5m"
    running = hashlib.sha256(utf8(f"{asked.model}\0{asked.session}\0"))
    tokens = 0
    ends: list[tuple[str, int, str]] = []
    for segment in asked.segments:
        running.update(utf8(f"{len(segment.text)}:{segment.text}"))
        tokens += segment.tokens
        ends.append((running.hexdigest(), tokens, automatic or segment.mark or ""))
    return ends


def mark_last(segments: Sequence[Segment], mark: str | None) -> tuple[Segment, ...]:
    """Segments with a mark at their end, as a mark for the whole request means it."""
    if mark is None or not segments:
        return tuple(segments)
    last = segments[-1]
    return (*segments[:-1], Segment(last.text, last.tokens, mark))
