"""From events to what is written when. In: whole events and faults. Out: pieces: bytes to write at once, pauses, silence,
a cut. Pure, so that each fault's bytes can be tested without a socket."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from agentd.simulator.faults import SLOW_MS, split
from agentd.simulator.problems import of_type
from agentd.simulator.words import Answer, Grammar

COMMENT: Final = b": OPENROUTER PROCESSING\n\n"
DONE: Final = b"data: [DONE]\n\n"
SPLIT_PAUSE_MS: Final = 1
"""Between the halves of a split character, so that they seldom arrive in one read."""

LIE_BYTES: Final = 100
"""By how much `lying-length` promises too much."""


class Stop(Enum):
    """What ends a body before its end."""

    HANG = "hang"  # silence until the client goes
    CUT = "cut"  # the connection is dropped


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next piece."""

    ms: int


Piece = bytes | Pause | Stop


def stream_pieces(grammar: Grammar, answer: Answer, faults: Iterable[str], slow_ms: int) -> list[Piece]:
    """The pieces of a streamed answer; one piece is one event, unless a fault splits it."""
    frames = grammar.frames(answer)
    named = dict(split(fault) for fault in faults)
    if grammar.name == "chat":
        frames = [COMMENT, *frames]
    frames, stop = _broken(grammar, answer, frames, named)
    if "comments" in named:
        frames = [COMMENT, *(piece for frame in frames for piece in (frame, COMMENT))]
    if "done-extra" in named:
        frames = [*frames, DONE]
    if "crlf" in named:
        frames = [frame.replace(b"\n", b"\r\n") for frame in frames]
    pieces: list[Piece] = list(frames)
    if "split-utf8" in named:
        pieces = [piece for frame in frames for piece in _halves(frame)]
    pause = max(slow_ms, SLOW_MS if "slow" in named else 0)
    if pause:
        pieces = [part for piece in pieces for part in (Pause(pause), piece)]
    return [*pieces, stop] if stop else pieces


def whole_pieces(body: bytes, faults: Iterable[str], slow_ms: int) -> tuple[list[Piece], int | None]:
    """The pieces of an answer in one body, and its Content-Length (None: chunked)."""
    named = dict(split(fault) for fault in faults)
    if "blank-lines" in named:
        body = b"\n\n   \n" + body
    pieces: list[Piece] = [body]
    length: int | None = len(body)
    half = len(body) // 2
    if "hang-mid" in named:
        pieces = [body[:half], Stop.HANG]
    elif named.keys() & {"cut-mid", "end-mid", "error-mid"}:
        pieces = [body[:half], Stop.CUT]
    elif "lying-length" in named:
        pieces, length = [body, Stop.CUT], len(body) + LIE_BYTES
    elif "split-utf8" in named:
        pieces, length = list(_halves(body)), None
    pause = max(slow_ms, SLOW_MS if "slow" in named else 0)
    return ([Pause(pause), *pieces] if pause else pieces), length


def _broken(
    grammar: Grammar, answer: Answer, frames: list[bytes], named: dict[str, str]
) -> tuple[list[bytes], Stop | None]:
    """The frames up to where a fault breaks them off, and how it does."""
    middle = max(2, len(frames) // 2)
    if "hang-mid" in named:
        return frames[:middle], Stop.HANG
    if "cut-mid" in named or "lying-length" in named:
        return frames[:middle], Stop.CUT
    if "end-mid" in named:
        return frames[:middle], None
    if "error-mid" in named:
        return [*frames[:middle], *error_frames(grammar, answer, named["error-mid"])], None
    return frames, None


def error_frames(grammar: Grammar, answer: Answer, form: str) -> list[bytes]:
    """The events of an error after the first byte: `form` is int or string, with -done if an end mark follows."""
    code = "server_error" if form.startswith("string") else 502
    problem = of_type("provider_unavailable", "Provider disconnected unexpectedly")
    frames = grammar.error_frames(replace(problem, code=code), answer)
    return [*frames, DONE] if form.endswith("done") else frames


def _halves(data: bytes) -> Sequence[Piece]:
    """Data split inside its first character of several bytes, or in the middle if it has none."""
    place = next((index + 1 for index, byte in enumerate(data) if byte >= 0xC0), max(1, len(data) // 2))
    return (data[:place], Pause(SPLIT_PAUSE_MS), data[place:])
