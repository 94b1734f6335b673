"""Estimating tokens: near enough on plain text, blind to encodings, and no body breaks it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.edge.api.estimate import MAX_DEPTH, TOKENS_PER_IMAGE, estimate_tokens

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def of(body: dict[str, Any]) -> int:
    return estimate_tokens(json.dumps(body).encode())


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_text_counts_four_characters_a_token() -> None:
    base = of({"messages": [{"role": "user", "content": ""}]})
    assert of({"messages": [{"role": "user", "content": "x" * 4000}]}) == base + 1000
    assert of({"messages": [{"role": "user", "content": "é" * 4000}]}) == base + 1000  # characters, not bytes


def test_system_and_tools_count_and_the_rest_does_not() -> None:
    bare: dict[str, Any] = {"messages": []}
    assert of({**bare, "system": "x" * 400}) - of({**bare, "system": ""}) >= 99
    assert of({**bare, "tools": [{"name": "x" * 400}]}) >= 100
    assert of({**bare, "metadata": {"user_id": "x" * 4000}}) == of(bare) == 1


def test_an_image_counts_as_an_image() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 1_000_000}
    body = {"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]}
    assert TOKENS_PER_IMAGE <= of(body) <= TOKENS_PER_IMAGE + 50


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"messages":{}}', b'{"messages":[\xff]}', b"[" * 100_000, b'{"messages":' + b"[" * 100_000]
)  # fmt: skip
def test_what_cannot_be_read(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"the body|nested"):
        estimate_tokens(body)


def test_nesting_is_bounded() -> None:
    assert of({"messages": nested(MAX_DEPTH)}) == 1
    with pytest.raises(ValueError, match="nested"):
        of({"messages": nested(MAX_DEPTH + 2)})


@given(JSON)
def test_any_content_has_an_estimate_that_more_text_does_not_lower(content: Any) -> None:
    one = of({"messages": [content]})
    assert 1 <= one <= of({"messages": [content, "x" * 8]})


@given(st.binary(max_size=200))
def test_any_bytes_are_an_estimate_or_a_value_error(body: bytes) -> None:
    try:
        assert estimate_tokens(body) >= 1
    except ValueError:
        pass
