"""Secrets are found by their form and never repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.policy.leaks import find_leaks, without_leaks

SAMPLES = {
    "an OpenRouter key": "sk-or-v1-" + "0a" * 20,
    "an Anthropic key": "sk-ant-api03-" + "Zz9" * 10,
    "an API key": "sk-proj-" + "Ab3" * 10,
    "a GitHub token": "ghp_" + "a1" * 18,
    "an AWS key id": "AKIA" + "ABCD1234" * 2,
    "a Google API key": "AIza" + "x9" * 17,
    "a Slack token": "xoxb-" + "123456-" * 3,
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("what", SAMPLES)
def test_each_form_is_found_and_named(what: str) -> None:
    text = f"before {SAMPLES[what]} after"
    assert [(leak.what, leak.start) for leak in find_leaks(text)] == [(what, 7)]
    assert without_leaks(text) == f"before [{what}] after"


def test_a_password_in_an_address_is_found() -> None:
    assert without_leaks("https://me:hunter2@example.org/v1") == "https://[a password in an address]@example.org/v1"


@pytest.mark.parametrize(
    "text",
    [
        "key: openrouter",
        "sk-or-",
        "sk-short",
        "task-based-scheduling-and-more-words",
        "https://openrouter.ai/api/v1",
        "2026-11-20",
        "a" * 64,
        "ops@example.org",
        "AKIAlowercase0000000",
    ],
)
def test_ordinary_words_are_let_be(text: str) -> None:
    assert list(find_leaks(text)) == []
    assert without_leaks(text) == text


@given(st.text(max_size=80), st.sampled_from(sorted(SAMPLES)), st.text(max_size=80))
def test_whatever_stands_around_it_the_secret_is_gone(before: str, what: str, after: str) -> None:
    text = f"{before} {SAMPLES[what]} {after}"
    assert SAMPLES[what] not in without_leaks(text)


def test_several_are_told_in_order() -> None:
    text = f"{SAMPLES['a GitHub token']}\n{SAMPLES['an OpenRouter key']}"
    assert [leak.what for leak in find_leaks(text)] == ["a GitHub token", "an OpenRouter key"]
