"""Refusals: one status a client survives for each answer, the dialect's own shape, and what was refused, why and what next."""

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseFailedEvent

from agentd.core.dialects import grammar
from agentd.core.dialects.grammar import Refusal
from agentd.core.dialects.refusals import MAX_WAIT_S, TABOO, WAIT_S
from agentd.core.types.calls import Dialect
from agentd.core.types.verdicts import Answer, Deny, Reason
from core.dialects.talk import CHAT, MESSAGES, RESPONSES, Json, body_of

REASON = Reason(
    "tier.above_ceiling",
    "classes.chat (policy.yaml:41)",
    "frontier is above the ceiling of class chat",
    "Ask for standard.",
)
TOLD = {
    "decision": "d-41",
    "code": "tier.above_ceiling",
    "rule": "classes.chat (policy.yaml:41)",
    "message": "frontier is above the ceiling of class chat",
    "hint": "Ask for standard.",
}
TEXT = (
    "agentd: frontier is above the ceiling of class chat. Ask for standard. "
    "Rule: classes.chat (policy.yaml:41). Decision: d-41"
)

# answer, chat status and type, messages status and type, Retry-After
FORMS = [
    (Answer.DENY, 400, "invalid_request_error", 451, "invalid_request_error", None),
    (Answer.BUDGET, 400, "invalid_request_error", 402, "billing_error", None),
    (Answer.WAIT, 429, "rate_limit_error", 429, "rate_limit_error", str(WAIT_S)),
    (Answer.INVALID, 400, "invalid_request_error", 400, "invalid_request_error", None),
    (Answer.TOO_LARGE, 413, "invalid_request_error", 413, "request_too_large", None),
    (Answer.NOT_FOUND, 404, "not_found_error", 404, "not_found_error", None),
    (Answer.UNKNOWN, 400, "invalid_request_error", 451, "invalid_request_error", None),
    (Answer.UNIDENTIFIED, 401, "invalid_request_error", 401, "authentication_error", None),
    (Answer.UNAVAILABLE, 503, "api_error", 503, "api_error", str(WAIT_S)),
]


def test_every_answer_has_a_row() -> None:
    assert {row[0] for row in FORMS} == set(Answer)


@pytest.mark.parametrize(("answer", "status", "kind", "_messages", "_kind", "wait"), FORMS)
def test_chat(answer: Answer, status: int, kind: str, _messages: int, _kind: str, wait: str | None) -> None:
    refusal = CHAT.refusal(Deny(REASON, answer), "d-41")
    assert refusal.status == status
    assert json.loads(refusal.body) == {
        "error": {"message": TEXT, "type": kind, "param": None, "code": status, "metadata": TOLD}
    }
    assert dict(refusal.headers) == headers(wait)


@pytest.mark.parametrize(("answer", "_chat", "_kind", "status", "kind", "wait"), FORMS)
def test_messages(answer: Answer, _chat: int, _kind: str, status: int, kind: str, wait: str | None) -> None:
    refusal = MESSAGES.refusal(Deny(REASON, answer), "d-41")
    assert refusal.status == status
    assert json.loads(refusal.body) == {
        "type": "error",
        "error": {"type": kind, "message": TEXT},
        "request_id": "d-41",
        "agentd": TOLD,
    }
    assert dict(refusal.headers) == headers(wait)


def headers(wait: str | None) -> dict[str, str]:
    known = {"Content-Type": "application/json", "X-Agentd-Decision": "d-41"}
    return known if wait is None else {**known, "Retry-After": wait}


# answer, status, type, code of a response that failed, Retry-After
RESPONSE_FORMS = [
    (Answer.DENY, 400, "invalid_request_error", "invalid_prompt", None),
    (Answer.BUDGET, 400, "invalid_request_error", "invalid_prompt", None),
    (Answer.WAIT, 429, "rate_limit_error", "rate_limit_exceeded", str(WAIT_S)),
    (Answer.INVALID, 400, "invalid_request_error", "invalid_prompt", None),
    (Answer.TOO_LARGE, 400, "invalid_request_error", "invalid_prompt", None),
    (Answer.NOT_FOUND, 404, "not_found_error", "not_found", None),
    (Answer.UNKNOWN, 400, "invalid_request_error", "invalid_prompt", None),
    (Answer.UNIDENTIFIED, 401, "invalid_request_error", "invalid_api_key", None),
    (Answer.UNAVAILABLE, 429, "rate_limit_error", "rate_limit_exceeded", str(WAIT_S)),
]


def test_every_answer_has_a_row_for_responses() -> None:
    assert {row[0] for row in RESPONSE_FORMS} == set(Answer)


@pytest.mark.parametrize(("answer", "status", "kind", "code", "wait"), RESPONSE_FORMS)
def test_responses(answer: Answer, status: int, kind: str, code: str, wait: str | None) -> None:
    refusal = RESPONSES.refusal(Deny(REASON, answer), "d-41")
    assert refusal.status == status
    assert json.loads(refusal.body) == {
        "error": {"message": TEXT, "type": kind, "param": None, "code": status, "metadata": TOLD}
    }
    assert dict(refusal.headers) == headers(wait)
    assert event(RESPONSES.stream_error(Deny(REASON, answer), "d-41"))["response"]["error"]["code"] == code


@pytest.mark.parametrize("dialect", list(Dialect))
def test_no_status_that_makes_a_client_storm_or_leave(dialect: Dialect) -> None:
    """401 is for a missing local token alone: see the head of `refusals`."""
    others = set(Answer) - {Answer.UNIDENTIFIED}
    statuses = {grammar(dialect).refusal(Deny(REASON, answer), "d-1").status for answer in others}
    assert not statuses & {401, 403, 408, 409, 422, 500, 502, 504, 529}


@pytest.mark.parametrize(("told", "sent"), [(None, WAIT_S), (0, 1), (-7, 1), (12, 12), (10**9, MAX_WAIT_S)])
@pytest.mark.parametrize("dialect", list(Dialect))
def test_waiting_times_are_bounded(dialect: Dialect, told: int | None, sent: int) -> None:
    refusal = grammar(dialect).refusal(Deny(REASON, Answer.WAIT, told), "d-1")
    assert dict(refusal.headers)["Retry-After"] == str(sent)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_without_a_line_there_is_no_decision_to_name(dialect: Dialect) -> None:
    refusal = grammar(dialect).refusal(Deny(REASON), "")
    assert "X-Agentd-Decision" not in dict(refusal.headers)
    said = json.loads(refusal.body)
    assert told_in(said)["decision"] is None
    assert "Decision" not in said["error"]["message"]
    assert said.get("request_id") is None


def told_in(said: Json) -> Json:
    told: Json = said["agentd"] if "agentd" in said else said["error"]["metadata"]
    return told


@pytest.mark.parametrize("dialect", list(Dialect))
def test_words_that_make_clients_leave_are_not_in_the_text(dialect: Dialect) -> None:
    reason = Reason("x", "budgets.billing (p:1)", "Credits: no credit, your Balance and AUTHENTICATION", "See billing!")
    said = json.loads(grammar(dialect).refusal(Deny(reason, Answer.BUDGET), "d-2").body)
    text = said["error"]["message"]
    assert not [word for word in TABOO if word in text.lower()]
    assert text == (
        "agentd: allowance: no allowance, your allowance and identification. See spending! "
        "Rule: budgets.spending (p:1). Decision: d-2"
    )
    assert told_in(said)["message"] == reason.message


def test_an_empty_hint_leaves_no_gap() -> None:
    refusal = CHAT.refusal(Deny(Reason("x", "agentd", "it is no.")), "d-3")
    assert json.loads(refusal.body)["error"]["message"] == "agentd: it is no. Rule: agentd. Decision: d-3"


# -- after the first byte


def event(raw: bytes) -> Any:
    assert raw.endswith(b"\n\n")
    return json.loads(raw.partition(b"data: ")[2])


def test_a_chat_stream_ends_in_an_error_chunk_without_end_mark() -> None:
    raw = CHAT.stream_error(Deny(REASON, Answer.WAIT), "d-41")
    said = event(raw)
    assert said["error"]["code"] == 429
    assert said["error"]["metadata"] == {"error_type": "rate_limit_exceeded", **TOLD}
    assert None not in said.values()  # a strict client takes no null here
    assert said["choices"][0]["finish_reason"] == "error"
    assert b"[DONE]" not in raw
    said["choices"][0]["finish_reason"] = "stop"  # the one word that OpenAI's own types do not have
    ChatCompletionChunk.model_validate(said)
    assert event(CHAT.stream_error(Deny(REASON), ""))["id"] == "agentd"


def test_a_messages_stream_ends_in_an_error_event() -> None:
    raw = MESSAGES.stream_error(Deny(REASON, Answer.WAIT), "d-41")
    assert raw.startswith(b"event: error\ndata: ")
    assert event(raw)["error"] == {"type": "rate_limit_error", "message": TEXT}
    assert event(raw)["agentd"] == TOLD


def test_a_responses_stream_ends_in_a_response_that_failed() -> None:
    raw = RESPONSES.stream_error(Deny(REASON, Answer.WAIT), "d-41")
    assert raw.startswith(b"event: response.failed\ndata: ")
    said = ResponseFailedEvent.model_validate(event(raw))
    assert said.response.error is not None
    assert (said.response.error.code, said.response.error.message) == ("rate_limit_exceeded", TEXT)
    assert (said.response.status, event(raw)["response"]["agentd"]) == ("failed", TOLD)
    assert b"[DONE]" not in raw
    ended = event(RESPONSES.stream_error(Deny(REASON), ""))["response"]
    assert (ended["id"], ended["error"]["code"]) == ("agentd", "invalid_prompt")


def test_a_response_that_began_fails_under_its_own_id() -> None:
    reader = RESPONSES.reader(RESPONSES.read(body_of(Dialect.RESPONSES, stream=True)))
    created = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
    reader.feed(b"data: " + json.dumps(created).encode() + b"\n\n")
    assert (reader.facts.begun, reader.facts.generation) == ("resp_1", None)
    ended = event(RESPONSES.stream_error(Deny(REASON, Answer.WAIT), "d-41", reader.facts.begun or ""))
    assert ended["response"]["id"] == "resp_1"


@pytest.mark.parametrize("dialect", list(Dialect))
def test_our_own_reader_knows_our_own_stream_error(dialect: Dialect) -> None:
    each = grammar(dialect)
    reader = each.reader(each.read(body_of(dialect, stream=True)))
    assert reader.feed(each.stream_error(Deny(REASON, Answer.WAIT), "d-1")) == b""
    assert reader.facts.error in ("429", "rate_limit_error", "rate_limit_exceeded")


def client(library: Any, refusal: Refusal, base_url: str) -> Any:
    """An official client whose transport answers with a refusal."""
    response = httpx2.Response(refusal.status, headers=dict(refusal.headers), content=refusal.body)
    return library(
        base_url=base_url, api_key="x", http_client=httpx2.Client(transport=httpx2.MockTransport(lambda _: response))
    )


def test_the_official_clients_show_our_words() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "q"}]}
    chat = client(openai.OpenAI, CHAT.refusal(Deny(REASON), "d-41"), "http://agentd/v1")
    with chat as speaker, pytest.raises(openai.BadRequestError) as said:
        speaker.chat.completions.create(**asked)
    assert TEXT in str(said.value)
    assert said.value.response.headers["x-agentd-decision"] == "d-41"
    responses = client(openai.OpenAI, RESPONSES.refusal(Deny(REASON), "d-41"), "http://agentd/v1")
    with responses as speaker, pytest.raises(openai.BadRequestError) as told:
        speaker.responses.create(model="m", input="q")
    assert TEXT in str(told.value)
    assert told.value.code == "400"
    messages = client(anthropic.Anthropic, MESSAGES.refusal(Deny(REASON), "d-41"), "http://agentd")
    with messages as speaker, pytest.raises(anthropic.APIStatusError) as heard:
        speaker.messages.create(max_tokens=5, **asked)
    assert TEXT in str(heard.value)
    assert heard.value.status_code == 451
