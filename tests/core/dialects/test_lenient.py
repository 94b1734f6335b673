"""What an upstream says is read if anybody could read it, and not at any price."""

import math
from typing import Any

import pytest

from agentd.core.dialects.lenient import MAX_BRACKETS, MAX_COMMAS, SLOW_BYTES, object_of, too_many_values


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b' \n{"a": 1}\r\n', {"a": 1}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 1e999}', {"a": math.inf}),
        (b"[1]", None),
        (b"null", None),
        (b"", None),
        (b'{"a"', None),
        (b"[" * 100_000, None),
        (b'{"a": ' + b"9" * 100_000 + b"}", None),
        (b"\xef\xbb\xbf{}", None),
    ],
)
def test_objects(raw: bytes, said: dict[str, Any] | None) -> None:
    assert object_of(raw) == said


def test_a_large_one_must_be_sound() -> None:
    room = b"x" * SLOW_BYTES
    assert object_of(b'{"a": "' + room + b'"}') == {"a": room.decode()}
    assert object_of(b'{"b": NaN, "a": "' + room + b'"}') is None


@pytest.mark.parametrize("value", [b"[", b"{"])
def test_values_are_bounded_by_brackets(value: bytes) -> None:
    assert not too_many_values(value * MAX_BRACKETS)
    assert too_many_values(value * (MAX_BRACKETS + 1))


def test_values_are_bounded_by_commas() -> None:
    assert not too_many_values(b"," * MAX_COMMAS)
    assert too_many_values(b"," * (MAX_COMMAS + 1))
