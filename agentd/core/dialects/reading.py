"""Strict JSON: one reading of the bytes that every later parser will share, or none.

Parsers differ in what they do with a duplicate key, with NaN, with half a surrogate pair or a number of a thousand digits.
What agentd checks must be what the upstream executes, so whatever two parsers could read differently is refused, each
kind with its own code and place. The standard parser is used because it lets every object, constant and number be seen.

It is also the slow one, and hardly any body is ever refused. So a quick reading comes first (`plain`), which takes only what
it can show to be beyond doubt; what it does not take is read here from the beginning.
"""

import json
import math
import re
from collections import Counter
from itertools import islice
from typing import Any, Final, NoReturn

from agentd.core.dialects import plain
from agentd.core.dialects.plain import MAX_DEPTH, MAX_DIGITS
from agentd.core.types.errors import Unreadable
from agentd.core.types.verdicts import Answer

MAX_BODY_BYTES: Final = 32 << 20
"""32 MiB. A session of a million tokens with images stays far below; every copy of a body costs memory."""

MAX_BRACKETS: Final = 400_000
MAX_COMMAS: Final = 1_500_000
"""See `check_values`."""

_LOCATE_BYTES: Final = 1 << 20
"""Above 1 MiB the place of a duplicate key is not searched for: a hostile body must not cost more than its reading."""

_PAIRED: Final = re.compile(r"(?:[^\\]++|\\[^u]|\\u(?![dD][89a-fA-F])|\\u[dD][89abAB]..\\u[dD][c-fC-F])*+", re.DOTALL)
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\}', re.DOTALL)


class _Duplicate(Exception):
    """A key that occurs twice in one object; `place` counts objects in the order in which they end."""

    def __init__(self, key: str, place: int) -> None:
        super().__init__(key)
        self.key = key
        self.place = place


class _Number(Exception):
    """A number that other parsers would read differently."""


def load(body: bytes) -> dict[str, Any]:
    """The body as an object. Raises `Unreadable` with one of the codes `body.too_large` and `json.*`."""
    if len(body) > MAX_BODY_BYTES:
        raise Unreadable(
            "body.too_large",
            f"The body has {len(body)} bytes, more than {MAX_BODY_BYTES}.",
            "Shorten or compact the conversation.",
            Answer.TOO_LARGE,
        )
    check_values(body)
    value = plain.read(body)
    return _strict(body) if value is None else value


def check_values(body: bytes) -> None:
    """Refuse a body of very many values: made for its reader, thirty megabytes of them cost seconds and a gigabyte. Characters
    are counted, also within text, so the bounds are far above what a session of a million tokens holds."""
    if len(body) <= MAX_BRACKETS:  # it cannot hold so many
        return
    if body.count(b"[") + body.count(b"{") > MAX_BRACKETS or body.count(b",") > MAX_COMMAS:
        message = f"The body has more values than a conversation: over {MAX_BRACKETS} brackets or {MAX_COMMAS} commas."
        raise Unreadable("json.too_many_values", message, "Shorten or compact the conversation.", Answer.TOO_LARGE)


def _strict(body: bytes) -> dict[str, Any]:
    """The same by the parser that sees everything; it alone refuses."""
    text = _text(body)
    value = _parse(text)
    if not isinstance(value, dict):
        _refuse("json.not_object", f"The body is a {_kind(value)}, not an object.", "Send one JSON object.")
    if "\\ud" in text or "\\uD" in text:
        _check_surrogates(text)
    _check_depth(value)
    return value


def _refuse(code: str, message: str, hint: str) -> NoReturn:
    raise Unreadable(code, message, hint)


def _kind(value: object) -> str:
    """A JSON value's kind in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return {list: "list", str: "string", int: "number", float: "number", dict: "object"}[type(value)]


def _text(body: bytes) -> str:
    place = body.find(b"\0")
    if place >= 0:
        _refuse("json.nul", f"The body has a NUL byte at byte {place}.", "Escape it or leave it out.")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8: byte {error.start} cannot be read."
        raise Unreadable("json.encoding", message, "Send JSON in UTF-8.") from None


def _parse(text: str) -> object:
    reader = _Reader()
    try:
        return reader.decode(text)
    except _Duplicate as error:
        key = error.key[:64].encode("ascii", "backslashreplace").decode()
        message = f'The key "{key}" occurs twice in one object{_end_of_object(text, error.place)}.'
        hint = "Send each key once: parsers differ in which one counts."
    except _Number as error:
        _refuse(
            "json.number", f"The body has a number that JSON does not share: {error}.", "Send plain finite numbers."
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        message = f"The body is not JSON: {error.msg} at {where}."
        raise Unreadable("json.malformed", message, "Send one JSON object.") from None
    except RecursionError:
        _too_deep()
    raise Unreadable("json.duplicate_key", message, hint)


def _too_deep() -> NoReturn:
    _refuse("json.too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.", "Flatten it.")


class _Reader:
    """One reading: the parser with its hooks, counting objects as they end."""

    def __init__(self) -> None:
        self._objects = 0
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_int=_whole, parse_float=_decimal, parse_constant=_constant
        )

    def decode(self, text: str) -> object:
        """The value. Raises what the hooks raise."""
        return self._decoder.decode(text)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._objects += 1
        value = dict(pairs)
        if len(value) != len(pairs):
            raise _Duplicate(_twice([key for key, _ in pairs]), self._objects)
        return value


def _twice(keys: list[str]) -> str:
    """A key that is there more than once, the most frequent one."""
    return Counter(keys).most_common(1)[0][0]


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _Number(f"a whole number of {len(digits)} digits")
    return int(digits)


def _decimal(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _Number(f"{digits[:16]} is beyond every float")
    return value


def _constant(name: str) -> NoReturn:
    raise _Number(name)


def _end_of_object(text: str, place: int) -> str:
    """Where the object that ends as number `place` ends, in words; empty for bodies too large to search."""
    if len(text) > _LOCATE_BYTES:
        return ""
    ends = (token.start() for token in _TOKENS.finditer(text) if token.group() == "}")
    end = next(islice(ends, place - 1, None))
    line = text.count("\n", 0, end) + 1
    return f", which ends at line {line} column {end - text.rfind(chr(10), 0, end)}"


def _check_surrogates(text: str) -> None:
    """Half of a surrogate pair, escaped: no UTF-8 can carry it. The pattern goes on for as long as there are only pairs."""
    paired = _PAIRED.match(text)
    end = paired.end() if paired else 0
    if end < len(text):
        _refuse(
            "json.surrogate", f"The body has half of a surrogate pair at character {end}.", "Send whole characters."
        )


def _check_depth(value: dict[str, Any]) -> None:
    """Level by level, since recursion is what a deep body attacks."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for holder in level
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return
    _too_deep()
