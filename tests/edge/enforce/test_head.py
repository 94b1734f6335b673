"""Heads of requests: what is in them, and that nothing from outside can add to them."""

import string

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.calls import Dialect
from agentd.core.types.errors import KeyUnavailable
from agentd.edge.enforce.dial import Place
from agentd.edge.enforce.head import head_of, place_of
from agentd.gate.ports import Dispatch, Endpoint

BASE = {"host", "content-type", "accept", "accept-encoding", "user-agent", "content-length"}


def dispatch(
    dialect: Dialect = Dialect.CHAT, *, kind: str = "openai", stream: bool = False, **more: object
) -> Dispatch:
    return Dispatch(Endpoint("far", kind, "", None), dialect, b"{}", stream, **more)  # type: ignore[arg-type]


class Reader:
    """What a server reads."""

    def __init__(self, head: bytes) -> None:
        self.rows: list[tuple[str, str]] = []
        self.path, self.whole = "", False
        httptools.HttpRequestParser(self).feed_data(head + b"{}")

    def on_url(self, url: bytes) -> None:
        self.path = url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.rows.append((name.decode().lower(), value.decode()))

    def on_message_complete(self) -> None:
        self.whole = True


@pytest.mark.parametrize(
    ("url", "place", "host", "path"),
    [
        (
            "https://openrouter.ai/api/v1",
            Place("openrouter.ai", 443, True),
            "openrouter.ai",
            "/api/v1/chat/completions",
        ),
        ("https://Far.example:8443", Place("far.example", 8443, True), "Far.example:8443", "/chat/completions"),
        ("http://127.0.0.1:11434/v1", Place("127.0.0.1", 11434, False), "127.0.0.1:11434", "/v1/chat/completions"),
        ("http://[::1]:8080/v1", Place("::1", 8080, False), "[::1]:8080", "/v1/chat/completions"),
        ("http://localhost", Place("localhost", 80, False), "localhost", "/chat/completions"),
    ],
)
def test_a_base_address_says_where_and_as_whom(url: str, place: Place, host: str, path: str) -> None:
    seen = Reader(head_of(dispatch(), url, None))
    assert (place_of(url), seen.path, dict(seen.rows)["host"], seen.whole) == (place, path, host, True)


def test_nothing_is_in_a_head_that_need_not_be() -> None:
    assert {name for name, _ in Reader(head_of(dispatch(), "http://h", None)).rows} == BASE
    full = dispatch(Dialect.MESSAGES, kind="openrouter", stream=True, beta=("a", "b"), version="2024-01-01")
    rows = Reader(head_of(full, "http://h", "sk-1")).rows
    more = {"authorization", "anthropic-version", "anthropic-beta", "x-openrouter-metadata"}
    assert sorted(name for name, _ in rows) == sorted(BASE | more)
    assert dict(rows)["anthropic-beta"] == "a,b"


@pytest.mark.parametrize("key", ["", "q7z\r\nX: 1", "q7z\n", "q7z\x00", " q7z", "q7z ", "q7z\u00e9", "q7z\u2028"])
def test_a_key_that_cannot_stand_in_a_header_is_not_sent(key: str) -> None:
    with pytest.raises(KeyUnavailable) as refused:
        head_of(dispatch(), "http://h", key)
    assert refused.value.code == "key.unusable"
    assert "q7z" not in str(refused.value)


VALUES = st.text(alphabet=string.printable + "\x00\x7f\u00e9\u2028", max_size=12)


@given(key=VALUES, beta=st.lists(VALUES, max_size=3), version=VALUES)
def test_no_value_can_add_a_header_or_end_the_head(key: str, beta: list[str], version: str) -> None:
    try:
        head = head_of(dispatch(Dialect.MESSAGES, beta=tuple(beta), version=version), "http://h", key)
    except KeyUnavailable:
        return
    seen = Reader(head)
    names = [name for name, _ in seen.rows]
    assert seen.whole
    assert len(names) == len(set(names))
    assert set(names) <= BASE | {"authorization", "anthropic-version", "anthropic-beta"}
    assert dict(seen.rows)["authorization"] == f"Bearer {key}"
