"""How a refusal is put, so that real clients neither storm nor write the provider off.

Measured behaviour decides the status. Chat: on 400 every client posts once and stays usable; 403 makes one disable the
provider for a minute, 401 and 5xx make several post again and again. 402 would say best that a limit is reached, but one
client takes it for an account in arrears and another leaves its provider alone for ten minutes; so a limit is 400 as well,
and `error.metadata.code` says which. Messages: 400 makes one client post six times while it drops features, 451 with
`invalid_request_error` once; 402 it takes as it is meant. A caller that policy does not know is refused like any other
denial, for the same reason: 401 and 403 would start log-ins and bans that help nobody. The one 401 is for who comes by TCP
without a valid local token: there a client is right to ask its user for another one. A body that cannot be read is 400
everywhere: no feature that a client could drop makes it readable. Responses: on 400 the client that speaks it posts once, on
every other status six times, on 5xx up to thirty; so what is final is 400, what may pass is 429.

OpenRouter's own SDKs check every field of every answer. They want whole numbers as `error.code`, and an error in the middle of
a stream in all its parts; what they cannot read they report as a fault of their own, and agentd's words are lost.

In the text that people and models see, a few words are replaced: at least one client takes them for an empty account and
disables the provider for ten minutes. The machine-readable part keeps them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentd.core.dialects.grammar import Refusal
from agentd.core.types.verdicts import Answer, Deny

WAIT_S: Final = 5
"""Seconds to wait where nobody knows better."""

MAX_WAIT_S: Final = 3_600
"""Clients may sleep as long as they are told; an hour is as long as an agent should."""


@dataclass(frozen=True, slots=True)
class Form:
    """Status and error type of one answer in one dialect; the code is that of a response that failed."""

    status: int
    type: str
    code: str = ""


CHAT: Final[Mapping[Answer, Form]] = {
    Answer.DENY: Form(400, "invalid_request_error"),
    Answer.BUDGET: Form(400, "invalid_request_error"),
    Answer.WAIT: Form(429, "rate_limit_error"),
    Answer.INVALID: Form(400, "invalid_request_error"),
    Answer.TOO_LARGE: Form(413, "invalid_request_error"),
    Answer.NOT_FOUND: Form(404, "not_found_error"),
    Answer.UNKNOWN: Form(400, "invalid_request_error"),
    Answer.UNIDENTIFIED: Form(401, "invalid_request_error"),
    Answer.UNAVAILABLE: Form(503, "api_error"),
}

MESSAGES: Final[Mapping[Answer, Form]] = {
    Answer.DENY: Form(451, "invalid_request_error"),
    Answer.BUDGET: Form(402, "billing_error"),
    Answer.WAIT: Form(429, "rate_limit_error"),
    Answer.INVALID: Form(400, "invalid_request_error"),
    Answer.TOO_LARGE: Form(413, "request_too_large"),
    Answer.NOT_FOUND: Form(404, "not_found_error"),
    Answer.UNKNOWN: Form(451, "invalid_request_error"),
    Answer.UNIDENTIFIED: Form(401, "authentication_error"),
    Answer.UNAVAILABLE: Form(503, "api_error"),
}

_FINAL: Final = Form(400, "invalid_request_error", "invalid_prompt")
_LATER: Final = Form(429, "rate_limit_error", "rate_limit_exceeded")

RESPONSES: Final[Mapping[Answer, Form]] = {
    Answer.DENY: _FINAL,
    Answer.BUDGET: _FINAL,
    Answer.WAIT: _LATER,
    Answer.INVALID: _FINAL,
    Answer.TOO_LARGE: _FINAL,
    Answer.NOT_FOUND: Form(404, "not_found_error", "not_found"),
    Answer.UNKNOWN: _FINAL,
    Answer.UNIDENTIFIED: Form(401, "invalid_request_error", "invalid_api_key"),
    Answer.UNAVAILABLE: _LATER,
}

KINDS: Final[Mapping[Answer, str]] = {
    Answer.DENY: "permission_denied",
    Answer.BUDGET: "permission_denied",
    Answer.WAIT: "rate_limit_exceeded",
    Answer.INVALID: "invalid_request",
    Answer.TOO_LARGE: "payload_too_large",
    Answer.NOT_FOUND: "not_found",
    Answer.UNKNOWN: "permission_denied",
    Answer.UNIDENTIFIED: "permission_denied",
    Answer.UNAVAILABLE: "provider_unavailable",
}
"""What the upstream would call an error of that kind. It has a word for an empty account too, which is not used: see above."""

WAITING: Final = frozenset({Answer.WAIT, Answer.UNAVAILABLE})
"""Answers that say when to come back."""

TABOO: Final[Mapping[str, str]] = {
    "credits": "allowance",
    "credit": "allowance",
    "balance": "allowance",
    "billing": "spending",
    "authentication": "identification",
}
"""Words that clients take for an empty account or a wrong key, and what stands for them."""

_TABOO: Final = re.compile("|".join(TABOO), re.IGNORECASE)


def text_of(deny: Deny, decision: str) -> str:
    """What people and models read: what was refused, by which rule, what to do, and the decision to ask about."""
    reason = deny.reason
    words = [f"agentd: {_sentence(reason.message)}", _sentence(reason.hint), f"Rule: {reason.rule}."]
    text = " ".join(word for word in words if word)
    text = _TABOO.sub(lambda found: TABOO[found.group().lower()], text)
    return f"{text} Decision: {decision}" if decision else text


def chat(deny: Deny, decision: str) -> Refusal:
    """A refusal as a chat error body; `error.code` is a whole number, since strict clients take nothing else."""
    return _refusal(CHAT[deny.answer], deny, decision, {"error": _chat_error(deny, decision)})


def chat_event(deny: Deny, decision: str) -> bytes:
    """A refusal as the last chunk of a stream. Strict clients want the upstream's own word for the kind of error here."""
    error = _chat_error(deny, decision)
    error["metadata"] = {"error_type": KINDS[deny.answer], **error["metadata"]}
    chunk = {
        "id": decision or "agentd",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "agentd",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}],
        "error": error,
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def messages(deny: Deny, decision: str) -> Refusal:
    """A refusal as a messages error body."""
    return _refusal(MESSAGES[deny.answer], deny, decision, _messages_error(deny, decision))


def messages_event(deny: Deny, decision: str) -> bytes:
    """A refusal as the last event of a stream."""
    return b"event: error\ndata: " + msgspec.json.encode(_messages_error(deny, decision)) + b"\n\n"


def responses(deny: Deny, decision: str) -> Refusal:
    """A refusal as a responses error body; `error.code` as in `chat`."""
    form = RESPONSES[deny.answer]
    error = {
        "message": text_of(deny, decision),
        "type": form.type,
        "param": None,
        "code": form.status,
        "metadata": _told(deny, decision),
    }
    return _refusal(form, deny, decision, {"error": error})


def responses_event(deny: Deny, decision: str, begun: str) -> bytes:
    """A refusal as the last event of a stream: a response that failed, whole, since strict clients read all of it. `begun` is
    the id under which the stream began, "" if it told none: one client at least takes no other id at the end."""
    failed = {
        "id": begun or decision or "agentd",
        "object": "response",
        "created_at": 0,
        "completed_at": None,
        "status": "failed",
        "model": "agentd",
        "error": {"code": RESPONSES[deny.answer].code, "message": text_of(deny, decision)},
        "incomplete_details": None,
        "instructions": None,
        "frequency_penalty": None,
        "presence_penalty": None,
        "metadata": {},
        "output": [],
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": None,
        "agentd": _told(deny, decision),
    }
    event = {"type": "response.failed", "sequence_number": 0, "response": failed}
    return b"event: response.failed\ndata: " + msgspec.json.encode(event) + b"\n\n"


def _sentence(text: str) -> str:
    """Text that ends like a sentence, so that the next one can follow."""
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _told(deny: Deny, decision: str) -> dict[str, Any]:
    """The machine-readable part, the same in every dialect."""
    reason = deny.reason
    return {
        "decision": decision or None,
        "code": reason.code,
        "rule": reason.rule,
        "message": reason.message,
        "hint": reason.hint,
    }


def _chat_error(deny: Deny, decision: str) -> dict[str, Any]:
    form = CHAT[deny.answer]
    return {
        "message": text_of(deny, decision),
        "type": form.type,
        "param": None,
        "code": form.status,
        "metadata": _told(deny, decision),
    }


def _messages_error(deny: Deny, decision: str) -> dict[str, Any]:
    form = MESSAGES[deny.answer]
    return {
        "type": "error",
        "error": {"type": form.type, "message": text_of(deny, decision)},
        "request_id": decision or None,
        "agentd": _told(deny, decision),
    }


def _refusal(form: Form, deny: Deny, decision: str, body: dict[str, Any]) -> Refusal:
    headers = [("Content-Type", "application/json")]
    if decision:
        headers.append(("X-Agentd-Decision", decision))
    if deny.answer in WAITING:
        seconds = WAIT_S if deny.retry_after_s is None else deny.retry_after_s
        headers.append(("Retry-After", str(min(max(seconds, 1), MAX_WAIT_S))))
    return Refusal(form.status, tuple(headers), msgspec.json.encode(body))
