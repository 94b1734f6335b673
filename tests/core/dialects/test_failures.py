"""What each error answer of an upstream means, in whatever shape it comes; its own text never goes on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.dialects.failures import MAX_RETRY_S, MIN_RETRY_S, read_failure, retry_after
from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer

NOW = 1_792_000_000


def failed(status: int, said: Any = None, **headers: str) -> UpstreamFailed:
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return read_failure(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, NOW)


def kind(name: str) -> dict[str, Any]:
    return {"error": {"code": 0, "message": "secret text", "metadata": {"error_type": name}}, "user_id": "user_x"}


def available(code: object) -> dict[str, Any]:
    return {"error": {"message": "secret text", "availability": {"code": code, "fallback_models": ["x"]}}}


# status, body, code, answer, may another candidate be tried
ROWS: list[tuple[int, Any, str, Answer, bool]] = [
    (429, kind("rate_limit_exceeded"), "upstream.rate_limited", Answer.WAIT, True),
    (503, kind("provider_overloaded"), "upstream.overloaded", Answer.WAIT, True),
    (502, kind("provider_unavailable"), "upstream.unavailable", Answer.WAIT, True),
    (504, kind("timeout"), "upstream.timeout", Answer.WAIT, True),
    (500, kind("server"), "upstream.error", Answer.WAIT, True),
    (402, kind("payment_required"), "upstream.limit", Answer.BUDGET, False),
    (400, kind("token_limit_exceeded"), "upstream.limit", Answer.BUDGET, False),
    (400, kind("context_length_exceeded"), "upstream.too_long", Answer.INVALID, False),
    (401, kind("authentication"), "upstream.key_refused", Answer.DENY, False),
    (400, kind("invalid_request"), "upstream.invalid", Answer.INVALID, False),
    (413, kind("payload_too_large"), "upstream.too_large", Answer.TOO_LARGE, False),
    (400, kind("refusal"), "upstream.content_refused", Answer.DENY, False),
    (400, {"error": {"error_type": "timeout"}}, "upstream.timeout", Answer.WAIT, True),
    (400, {"error": {}, "error_type": "timeout"}, "upstream.timeout", Answer.WAIT, True),
    (404, available("no_endpoints"), "upstream.no_model", Answer.DENY, True),
    (429, available("capacity_exhausted"), "upstream.overloaded", Answer.WAIT, True),
    (403, available("region_restricted"), "upstream.refused", Answer.DENY, True),
    (404, available("privacy_restricted"), "upstream.no_private_endpoint", Answer.DENY, True),
    (
        404,
        {"error": {}, "availability": {"code": "constraint_filtered"}},
        "upstream.no_endpoint",
        Answer.DENY,
        True,
    ),
    (404, available("unheard_of"), "upstream.no_model", Answer.DENY, True),
    (404, available(["no_endpoints"]), "upstream.no_model", Answer.DENY, True),
    (403, {"error": {"message": "Key limit exceeded (daily limit)"}}, "upstream.limit", Answer.BUDGET, False),
    (403, {"error": {"message": "Workspace budget of $5 exceeded"}}, "upstream.limit", Answer.BUDGET, False),
    (
        403,
        {"error": {"message": "flagged", "metadata": {"reasons": ["x"]}}},
        "upstream.content_refused",
        Answer.DENY,
        False,
    ),
    (
        403,
        {"error": {"message": "flagged", "metadata": {"patterns": ["x"]}}},
        "upstream.content_refused",
        Answer.DENY,
        False,
    ),
    (
        403,
        {"error": {"message": "no", "metadata": {"pipeline": [{"type": "cache"}, {"type": "guardrail"}]}}},
        "upstream.content_refused",
        Answer.DENY,
        False,
    ),
    (403, {"error": {"metadata": {"pipeline": ["x", {"type": "cache"}]}}}, "upstream.refused", Answer.DENY, False),
    (403, {"error": {"metadata": {"pipeline": {"type": "guardrail"}}}}, "upstream.refused", Answer.DENY, False),
    (400, kind("invalid_image"), "upstream.invalid", Answer.INVALID, False),
    (404, kind("image_not_found"), "upstream.invalid", Answer.INVALID, False),
    (500, {"error": {"availability": "x"}}, "upstream.error", Answer.WAIT, True),
    (302, b"", "upstream.error", Answer.WAIT, True),
    (204, b"", "upstream.error", Answer.WAIT, True),
    (403, {"error": {"message": "Only management keys"}}, "upstream.refused", Answer.DENY, False),
    (403, b"<html>denied</html>", "upstream.refused", Answer.DENY, False),
    (429, b"<html>slow down</html>", "upstream.rate_limited", Answer.WAIT, True),
    (408, b"", "upstream.timeout", Answer.WAIT, True),
    (529, b"", "upstream.overloaded", Answer.WAIT, True),
    (599, b"", "upstream.error", Answer.WAIT, True),
    (418, b"", "upstream.invalid", Answer.INVALID, False),
    (500, b"[" * 100_000, "upstream.error", Answer.WAIT, True),
    (500, [1], "upstream.error", Answer.WAIT, True),
    (500, {"error": "secret text"}, "upstream.error", Answer.WAIT, True),
    (500, {"error": {"metadata": "x", "error_type": ["timeout"]}}, "upstream.error", Answer.WAIT, True),
]


@pytest.mark.parametrize(("status", "said", "code", "answer", "retryable"), ROWS)
def test_meanings(status: int, said: Any, code: str, answer: Answer, retryable: bool) -> None:
    failure = failed(status, said)
    assert (failure.code, failure.answer, failure.retryable, failure.status) == (code, answer, retryable, status)
    assert str(status) in failure.message
    assert (failure.retry_after_s is not None) is (answer is Answer.WAIT)
    for secret in ("secret text", "user_x", "Workspace", "html"):
        assert secret not in str(failure)


@pytest.mark.parametrize(
    ("excluded", "code"),
    [
        (["max_price"], "upstream.no_private_endpoint"),
        (["context_length", "data_policy:zdr"], "upstream.no_private_endpoint"),
        (["data_policy:training"], "upstream.no_private_endpoint"),
        (["require_parameters", 7], "upstream.no_endpoint"),
        ("max_price", "upstream.no_endpoint"),
    ],
)
def test_a_filter_is_the_policys_own_or_the_requests(excluded: object, code: str) -> None:
    failure = failed(404, {"error": {"availability": {"code": "constraint_filtered", "excluded_by": excluded}}})
    assert (failure.code, failure.answer, failure.retryable) == (code, Answer.DENY, True)


@pytest.mark.parametrize(
    ("status", "code", "told", "answer"),
    [
        (404, "no_endpoints", True, Answer.WAIT),
        (404, "no_endpoints", False, Answer.DENY),
        (429, "capacity_exhausted", False, Answer.DENY),
        (403, "region_restricted", True, Answer.WAIT),
        (503, "unheard_of", False, Answer.DENY),
        (404, "privacy_restricted", True, Answer.DENY),
        (429, "capacity_exhausted", "no", Answer.WAIT),
    ],
)
def test_whether_waiting_helps_the_upstream_says_best(status: int, code: str, told: object, answer: Answer) -> None:
    failure = failed(status, {"error": {"availability": {"code": code, "retryable": told}}})
    assert (failure.answer, failure.retryable) == (answer, True)
    assert (failure.retry_after_s is not None) is (answer is Answer.WAIT)


AFFORD = "This request requires more credits, or fewer max_tokens. You requested up to 4096 tokens, but can only afford {}."


@pytest.mark.parametrize(
    ("status", "message", "affordable", "exhausted"),
    [
        (402, AFFORD.format(300), 300, False),
        (402, AFFORD.format(0), 0, False),
        (402, "Prompt tokens limit exceeded: 900 > 400", None, False),
        (402, "Insufficient credits. Add more.", None, True),
        (402, "", None, True),
        (403, "Key limit exceeded (daily limit).", None, True),
        (403, "Workspace monthly budget of $50 exceeded.", None, False),
        (400, AFFORD.format(7), None, False),
    ],
)
def test_how_bad_it_is_about_the_money(status: int, message: str, affordable: int | None, exhausted: bool) -> None:
    other = {"message": AFFORD.format(150)}
    failure = failed(status, {"error": {"message": message, "metadata": {"previous_errors": [other]}}})
    assert (failure.affordable, failure.exhausted) == (affordable, exhausted)


@pytest.mark.parametrize(("status", "billed"), [(504, True), (524, True), (408, True), (429, False), (500, False)])
def test_only_an_upstream_that_began_to_work_may_bill(status: int, billed: bool) -> None:
    assert failed(status).billed is billed


TRIED = {"attempts": [{"provider": "Beta", "status": 429}, {"provider": "Acme", "status": 503}, "x", {"provider": 7}]}


@pytest.mark.parametrize(
    ("said", "recipients"),
    [
        ({"error": {"code": 503, "metadata": {"provider_name": "Acme"}}}, ("Acme",)),
        (
            {"error": {"code": 429, "metadata": {"previous_errors": [{"provider": "beta"}], "provider_name": "Acme"}}},
            ("beta", "Acme"),
        ),
        ({"error": {"code": 503}, "openrouter_metadata": TRIED}, ("Beta", "Acme")),
        ({"error": {"code": 503, "metadata": {"provider_name": "Acme"}}, "openrouter_metadata": TRIED}, ("Beta", "Acme")),
        ({"error": {"code": 404, "availability": {"code": "no_endpoints", "affected_providers": ["Beta"]}}}, ()),
        ({"error": "no"}, ()),
        ([], ()),
    ],
)
def test_who_saw_a_call_that_failed(said: Any, recipients: tuple[str, ...]) -> None:
    assert read_failure(503, {}, json.dumps(said).encode(), 0).recipients == recipients


def test_very_many_names_are_not_kept() -> None:
    said = {"error": {"metadata": {"previous_errors": [{"provider": f"{number:02d}" + "x" * 200} for number in range(99)]}}}
    names = read_failure(503, {}, json.dumps(said).encode(), 0).recipients
    assert (len(names), max(map(len, names))) == (16, 128)


def test_a_guardrail_is_told_by_the_routing_too() -> None:
    said = {"error": {"code": 403, "message": "no budget"}, "openrouter_metadata": {"pipeline": [{"type": "guardrail"}]}}
    assert read_failure(403, {}, json.dumps(said).encode(), 0).code == "upstream.content_refused"


def test_a_refused_key_says_what_the_operator_does() -> None:
    assert "agentctl key set" in failed(401).hint


AFTER: list[tuple[str | None, int | None]] = [
    (None, None),
    ("7", 7),
    ("2.4", 2),
    ("0", MIN_RETRY_S),
    ("0.2", MIN_RETRY_S),
    ("99999999", MAX_RETRY_S),
    ("-3", None),
    ("nan", None),
    ("inf", None),
    ("soon", None),
    ("", None),
    ("Wed, 14 Oct 2026 17:46:50 GMT", 10),
    ("Wed, 14 Oct 2020 17:46:50 GMT", None),
    ("Wed, 14 Oct 2026 17:46:50 -9999", None),
    ("Mon, 01 Jan 0001 00:00:00 +2300", None),
    ("Fri, 31 Dec 9999 23:59:59 -2300", MAX_RETRY_S),
]


@pytest.mark.parametrize(("value", "seconds"), AFTER)
def test_retry_after(value: str | None, seconds: int | None) -> None:
    assert retry_after(value, NOW) == seconds
    expected = MIN_RETRY_S if seconds is None else seconds
    assert failed(429, None, **({} if value is None else {"Retry_After": value})).retry_after_s == expected


@pytest.mark.parametrize(
    ("told", "seconds"), [(12, 12), (1.6, 2), (-1, MIN_RETRY_S), (True, MIN_RETRY_S), ("9", MIN_RETRY_S)]
)
def test_the_body_says_when_to_come_back_where_no_header_does(told: object, seconds: int) -> None:
    said = {"error": {"availability": {"code": "capacity_exhausted", "retry_after": told}}}
    assert failed(429, said).retry_after_s == seconds
    assert failed(429, said, Retry_After="7").retry_after_s == 7


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} Oct [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-]?[0-9A-Z]{3,4}"))
def test_no_header_is_too_odd(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or MIN_RETRY_S <= seconds <= MAX_RETRY_S
