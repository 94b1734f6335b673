"""A secret shows itself to nobody, whatever is done to it."""

import base64
import copy
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.types.tokens import is_token
from agentd.edge.host.scrub import MIN_FORM_CHARS, Scrubber, ScrubbingFormatter, scrub_logs
from agentd.edge.host.secret import Secret
from agentd.edge.host.tokens import mint_token

VALUE = "sk-or-v1-c4nary/+&=~9f\"\\'"
KEYS = st.text(alphabet=[chr(code) for code in range(0x21, 0x7F)], min_size=MIN_FORM_CHARS, max_size=80)


@pytest.fixture
def secret() -> Secret:
    return Secret("openrouter", VALUE)


@pytest.fixture
def scrub(secret: Secret) -> Scrubber:
    scrub = Scrubber()
    scrub.learn(secret)
    return scrub


def test_it_shows_its_name_and_reveals_its_value(secret: Secret) -> None:
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>30}",
        "%s %r" % (secret, secret),  # noqa: UP031  the old way counts, too
        str([secret]),
        str({"k": secret}),
    ]
    assert not [text for text in shown if "c4nary" in text]
    assert str(secret) == "[key openrouter]"
    assert f"{secret:>20}" == "    [key openrouter]"
    assert secret.reveal() == VALUE


def test_it_has_no_attributes_to_dump(secret: Secret) -> None:
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("double", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_doubled(secret: Secret, double: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"\[key openrouter\]"):
        double(secret)


@pytest.mark.parametrize(
    "form",
    [
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        json.dumps(VALUE),
        json.dumps({"error": f"bad key {VALUE}"}),
        VALUE.encode().hex(),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
        base64.b64encode(f"Bearer {VALUE}".encode()).decode(),
        base64.b64encode(f"x {VALUE} and more".encode()).decode(),
        base64.b64encode(f"ab{VALUE}z".encode()).decode(),
    ],
)
def test_each_form_is_taken_out(scrub: Scrubber, form: str) -> None:
    cleaned = scrub(f"upstream said {form}, twice: {form}")
    assert cleaned.count("[key openrouter]") == 2
    assert cleaned.startswith("upstream said ")
    assert VALUE not in cleaned


@given(KEYS, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_of_anything_around_a_key_does_not_give_the_key(key: str, before: bytes, after: bytes) -> None:
    scrub = Scrubber()
    scrub.learn(Secret("k", key * 2))
    encoded = base64.b64encode(before + (key * 2).encode() + after).decode()
    cleaned = scrub(encoded)
    assert "[key k]" in cleaned
    left, _, right = cleaned.partition("[key k]")
    assert len(left) <= 2 + -(-8 * len(before) // 6), "only what holds other bits, too, may stay"
    assert len(right) <= 4 + -(-8 * len(after) // 6)


@given(KEYS, st.text())
def test_text_without_the_key_stays_as_it_is(key: str, text: str) -> None:
    scrub = Scrubber()
    assert scrub(text) == text
    scrub.learn(Secret("k", key))
    assert key not in scrub(text + key + text)
    innocent = "".join(letter for letter in text if letter.isspace())
    assert scrub(innocent) == innocent


@given(st.binary())
def test_bytes_of_any_encoding_pass(data: bytes) -> None:
    scrub = Scrubber()
    assert scrub.clean_bytes(data) == data
    scrub.learn(Secret("k", "a-key-that-is-long"))
    assert scrub.clean_bytes(data + b"a-key-that-is-long" + data) == data + b"[key k]" + data


def test_an_old_key_is_still_a_secret(scrub: Scrubber) -> None:
    scrub.learn(Secret("openrouter", "sk-or-v2-rotated"))
    assert scrub(f"{VALUE} sk-or-v2-rotated") == "[key openrouter] [key openrouter]"


def test_the_longer_of_two_keys_that_begin_alike_goes_whole() -> None:
    scrub = Scrubber()
    for name, value in (("short", "sk-abcdefgh"), ("long", "sk-abcdefgh-ijkl")):
        scrub.learn(Secret(name, value))
    assert scrub("sk-abcdefgh-ijkl sk-abcdefgh") == "[key long] [key short]"


def test_log_lines_are_scrubbed_with_their_traceback(scrub: Scrubber) -> None:
    formatter = ScrubbingFormatter(logging.Formatter("%(name)s %(message)s"), scrub)
    try:
        raise ValueError(f"401 for Bearer {VALUE}")
    except ValueError as error:
        record = logging.LogRecord(
            "agentd", logging.ERROR, __file__, 1, "failed: %s", (VALUE,), (ValueError, error, error.__traceback__)
        )
        assert VALUE in traceback.format_exc(), "the canary must be there to be found"
    line = formatter.format(record)
    assert line.startswith("agentd failed: [key openrouter]\nTraceback")
    assert "401 for Bearer [key openrouter]" in line
    assert "c4nary" not in line


def test_every_handler_of_a_logger_writes_scrubbed_lines(scrub: Scrubber) -> None:
    logger = logging.Logger("apart")
    streams = [io.StringIO(), io.StringIO()]
    for stream, form in zip(streams, (None, logging.Formatter("%(levelname)s %(message)s")), strict=True):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(form)
        logger.addHandler(handler)
    scrub_logs(scrub, logger)
    scrub_logs(scrub, logger)
    logger.error("key %s", VALUE)
    assert [stream.getvalue() for stream in streams] == ["key [key openrouter]\n", "ERROR key [key openrouter]\n"]


def test_a_local_token_goes_by_its_form(scrub: Scrubber) -> None:
    """Nobody taught it this one: of tokens only digests are kept."""
    token = mint_token()
    record = logging.LogRecord("x", logging.INFO, "", 0, "GET /?key=%s by %s", (token, VALUE), None)
    assert ScrubbingFormatter(logging.Formatter(), scrub).format(record) == "GET /?key=[token] by [key openrouter]"


def test_tokens_are_made_of_chance_and_have_their_form() -> None:
    made = {mint_token() for _ in range(50)}
    assert len(made) == 50
    assert all(is_token(token) for token in made)
