"""The form of local tokens: told from other text wherever it stands, kept as a digest alone."""

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.tokens import ID_DIGITS, Presented, digest_of, id_of, is_token, without_tokens

TOKEN = "agentd-" + "Ab3_-" * 8 + "xyz"


def test_a_token_is_32_random_bytes_behind_its_name() -> None:
    assert len(TOKEN) == len("agentd-" + secrets.token_urlsafe(32))
    assert is_token(TOKEN)
    assert is_token("agentd-" + secrets.token_urlsafe(32))


@pytest.mark.parametrize(
    "text", ["", "agentd-", "agentd-box", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), " " + TOKEN, TOKEN[:-1] + "/"]
)
def test_what_is_none(text: str) -> None:
    assert not is_token(text)


def test_its_name_tells_nothing_but_a_piece_of_the_digest() -> None:
    digest = digest_of(TOKEN)
    assert id_of(digest) == "t-" + digest[:ID_DIGITS]
    assert TOKEN[7:] not in digest


@given(st.text(st.characters()))
def test_whatever_was_shown_can_be_digested(text: str) -> None:
    assert len(digest_of(text)) == 64


def test_half_of_a_surrogate_pair_too() -> None:
    assert len(digest_of("\udcff")) == 64


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "GET /?key={}&x HTTP/1.1", '{{"k":"{}"}}', "'{}'{}"])
def test_it_is_taken_out_of_text(form: str) -> None:
    cleaned = without_tokens(form.replace("{}", TOKEN))
    assert TOKEN[7:] not in cleaned
    assert "[token]" in cleaned


def test_other_text_stays() -> None:
    assert without_tokens("agentd-agents and /run/agentd-keyring/bus") == "agentd-agents and /run/agentd-keyring/bus"


def test_what_was_shown_is_not_shown_by_printing() -> None:
    assert TOKEN not in repr(Presented((TOKEN,)))
