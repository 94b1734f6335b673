"""What an upstream's error answer means for the agent, and whether another model may be tried.

The upstream's own text never goes on: it may hold its account's id or an echo of the request. What it is replaced by says
the same in agentd's words. Unknown statuses fall under their hundred, unknown texts of a 403 are a no. Of all refusals only a
timeout may be billed: there, somebody had begun to work.

Where money is the reason, the text tells three cases apart that share a status: this answer is too long for what is left (and how
long it may be), this prompt is too dear, and nothing is left at all. Where a model cannot be had, another may be tried in any
case; whether the same one can be had later, the upstream itself says best (`retryable`), better than any table of codes.

A call that failed may have been seen all the same: the providers that the upstream says it tried are facts for the record.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from agentd.core.types.errors import UpstreamFailed
from agentd.core.types.verdicts import Answer

MAX_ERROR_BYTES = 64 << 10
"""More of an error answer is not read."""

KEY_REFUSED, NO_MODEL = "upstream.key_refused", "upstream.no_model"
"""Codes that say more than that one call failed: nothing of this key, or of this model, can be served."""

MAX_TRIED, MAX_NAME = 16, 128
"""Providers, or steps, that are read of one failure, and what is kept of a name."""

MIN_RETRY_S, MAX_RETRY_S = 1, 300
"""Retry-After is brought into this range: below it clients storm, above it they give up for the day."""

_LIMIT_WORDS = re.compile(r"key limit|budget|credit|spend(ing)? limit", re.IGNORECASE)

_AFFORDABLE = re.compile(r"can only afford (\d{1,9})\b")
"""How a pre-check says that a shorter answer could be paid for: an account without money says something else."""

_PROMPT_TOO_DEAR = re.compile(r"prompt tokens limit exceeded", re.IGNORECASE)
"""This prompt cannot be paid for; a shorter one can."""

_KEY_LIMIT = re.compile(r"key limit", re.IGNORECASE)
"""The cap of the key itself, not a budget of the account's: nothing more goes by this key."""

_CONTENT_PARTS = ("patterns", "reasons", "flagged_input")
"""What the metadata of a 403 holds when a content rule spoke; a step of type `guardrail` in its `pipeline` says the same."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    code: str
    message: str
    answer: Answer
    retryable: bool = False
    billed: bool = False


_LIMITED = _Meaning("upstream.rate_limited", "the upstream is receiving too many requests", Answer.WAIT, True)
_BUSY = _Meaning("upstream.overloaded", "the upstream has no capacity at the moment", Answer.WAIT, True)
_DOWN = _Meaning("upstream.unavailable", "the provider behind the upstream does not answer", Answer.WAIT, True)
_SLOW = _Meaning("upstream.timeout", "the upstream took too long", Answer.WAIT, True, True)
_BROKEN = _Meaning("upstream.error", "the upstream had an internal error", Answer.WAIT, True)
_FUNDS = _Meaning("upstream.limit", "the limit that the operator has at the upstream is reached", Answer.BUDGET)
_KEY = _Meaning(KEY_REFUSED, "the upstream does not accept the operator's key", Answer.DENY)
_REFUSED = _Meaning("upstream.refused", "the upstream refuses this request", Answer.DENY)
_REGION = _Meaning("upstream.refused", "the upstream does not serve this model in this region", Answer.DENY, True)
_LONG = _Meaning("upstream.too_long", "the request is longer than the model's context", Answer.INVALID)
_INVALID = _Meaning("upstream.invalid", "the upstream finds the request invalid", Answer.INVALID)
_IMAGE = _Meaning("upstream.invalid", "the upstream cannot use an image of the request", Answer.INVALID)
_CONTENT = _Meaning("upstream.content_refused", "the upstream's content rules refuse this request", Answer.DENY)
_CONSTRAINT = _Meaning("upstream.no_endpoint", "no provider fits what the request needs", Answer.DENY, True)
_MODEL = _Meaning(NO_MODEL, "the upstream does not have this model", Answer.DENY, True)
_PRIVATE = _Meaning(
    "upstream.no_private_endpoint", "no provider meets the data and price rules of the policy", Answer.DENY, True
)

_BY_TYPE: dict[str, _Meaning] = {
    "rate_limit_exceeded": _LIMITED,
    "provider_overloaded": _BUSY,
    "provider_unavailable": _DOWN,
    "timeout": _SLOW,
    "server": _BROKEN,
    "payment_required": _FUNDS,
    "token_limit_exceeded": _FUNDS,
    "context_length_exceeded": _LONG,
    "max_tokens_exceeded": _LONG,
    "string_too_long": _LONG,
    "authentication": _KEY,
    "invalid_request": _INVALID,
    "invalid_prompt": _INVALID,
    "unprocessable": _INVALID,
    "precondition_failed": _INVALID,
    "payload_too_large": _Meaning("upstream.too_large", "the request is too large for the upstream", Answer.TOO_LARGE),
    "content_policy_violation": _CONTENT,
    "refusal": _CONTENT,
    "not_found": _MODEL,
    "invalid_image": _IMAGE,
    "image_too_large": _IMAGE,
    "image_too_small": _IMAGE,
    "unsupported_image_format": _IMAGE,
    "image_download_failed": _IMAGE,
    "image_not_found": _IMAGE,
}

_BY_AVAILABILITY: dict[str, _Meaning] = {
    "model_not_found": _MODEL,
    "wrong_endpoint": _MODEL,
    "no_endpoints": _MODEL,
    "model_deprecated": _MODEL,
    "model_unavailable_upstream": _MODEL,
    "free_variant_ended": _MODEL,
    "capacity_exhausted": _BUSY,
    "temporarily_unavailable": _BUSY,
    "region_restricted": _REGION,
    "privacy_restricted": _PRIVATE,
    "constraint_filtered": _CONSTRAINT,
}

_OWN_RULES = ("data_policy:", "max_price")
"""What filtered the last provider out, where it was a rule of the policy: it did its work and is never relaxed."""

_BY_STATUS: dict[int, _Meaning] = {
    401: _KEY,
    402: _FUNDS,
    404: _MODEL,
    408: _SLOW,
    413: _BY_TYPE["payload_too_large"],
    429: _LIMITED,
    502: _DOWN,
    503: _BUSY,
    504: _SLOW,
    524: _SLOW,
    529: _BUSY,
}


def read_failure(status: int, headers: Mapping[str, str], body: bytes, at_s: int) -> UpstreamFailed:
    """The meaning of an answer whose status is not 200. `at_s`: seconds since 1970, for a Retry-After that is a date."""
    error = _error_of(body)
    meaning = _meaning(status, error)
    answer = _answer(error, meaning)
    failure = UpstreamFailed(
        meaning.code,
        f"{meaning.message} (status {status})",
        status=status,
        retryable=meaning.retryable,
        answer=answer,
        retry_after_s=_wait(headers, error, at_s) if answer is Answer.WAIT else None,
        billed=meaning.billed,
    )
    failure.recipients = tuple(_tried(error))
    if meaning is _KEY:
        failure.hint = "The operator stores a valid one with: agentctl key set"
    if meaning is _FUNDS:
        _say_how_much(failure, str(error.get("message", "")))
    return failure


def _tried(error: dict[str, Any]) -> dict[str, None]:
    """The providers that were tried, in order, each once."""
    if not error:
        return {}
    metadata, routing = error["metadata"], error["routing"]
    tried = [(entry, "provider") for entry in _listed(routing.get("attempts"))]
    tried += [(entry, "provider") for entry in _listed(metadata.get("previous_errors"))]
    names = [entry.get(key) for entry, key in (*tried, (metadata, "provider_name"))]
    return dict.fromkeys(name[:MAX_NAME] for name in names if isinstance(name, str) and name)


def _listed(value: object) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else []
    return [entry for entry in entries[:MAX_TRIED] if isinstance(entry, dict)]


def _say_how_much(failure: UpstreamFailed, text: str) -> None:
    """How bad it is about the money. Of several figures the upstream's own counts: other attempts' are deeper in the body."""
    if found := _AFFORDABLE.search(text):
        failure.affordable = int(found[1])
    elif failure.status == 402:
        failure.exhausted = not _PROMPT_TOO_DEAR.search(text)
    else:
        failure.exhausted = _KEY_LIMIT.search(text) is not None


def _answer(error: dict[str, Any], meaning: _Meaning) -> Answer:
    """Whether waiting helps is the upstream's own word, if it gives one; not against a rule of the policy, which stays."""
    told = error["availability"].get("retryable") if error else None
    if not isinstance(told, bool) or meaning is _PRIVATE:
        return meaning.answer
    return Answer.WAIT if told else Answer.DENY


def _wait(headers: Mapping[str, str], error: dict[str, Any], at_s: int) -> int:
    """Seconds: of the header, else of the body, which repeats it, else the least."""
    told = error["availability"].get("retry_after") if error else None
    in_body = None if isinstance(told, bool) or not isinstance(told, int | float) else retry_after(str(told), at_s)
    return retry_after(headers.get("Retry-After"), at_s) or in_body or MIN_RETRY_S


def retry_after(value: str | None, at_s: int) -> int | None:
    """Seconds to wait from a Retry-After header: a whole or broken number, or a date; None if absent or in the past."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - at_s
        except (ValueError, OverflowError):
            return None
    if not 0 <= seconds < float("inf"):
        return None
    return min(MAX_RETRY_S, max(MIN_RETRY_S, round(seconds)))


def _error_of(body: bytes) -> dict[str, Any]:
    """The error object, with the places folded in where contracts differ; empty when there is none."""
    try:
        whole = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(whole, dict):
        return {}
    error = whole.get("error")
    folded: dict[str, Any] = dict(error) if isinstance(error, dict) else {"message": str(error or "")}
    metadata = folded.get("metadata")
    folded["metadata"] = metadata if isinstance(metadata, dict) else {}
    availability = folded.get("availability") or whole.get("availability")
    folded["availability"] = availability if isinstance(availability, dict) else {}
    routing = whole.get("openrouter_metadata")
    folded["routing"] = routing if isinstance(routing, dict) else {}
    folded["type"] = folded["metadata"].get("error_type") or folded.get("error_type") or whole.get("error_type")
    return folded


def _meaning(status: int, error: dict[str, Any]) -> _Meaning:
    availability = error["availability"] if error else {}
    code = availability.get("code")
    if code == "constraint_filtered" and _by_own_rules(availability.get("excluded_by")):
        return _PRIVATE
    if isinstance(code, str) and code in _BY_AVAILABILITY:
        return _BY_AVAILABILITY[code]
    if status == 403:
        return _forbidden(error)
    kind = error.get("type")
    if isinstance(kind, str) and kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return _INVALID if 400 <= status < 500 else _BROKEN


def _by_own_rules(excluded: object) -> bool:
    """Whether a data or price rule of the policy was among what left no provider."""
    names = excluded if isinstance(excluded, list) else []
    return any(isinstance(name, str) and name.startswith(_OWN_RULES) for name in names)


def _forbidden(error: dict[str, Any]) -> _Meaning:
    """A 403 is a content rule, a limit of the key, or a no; only its parts tell which."""
    metadata: dict[str, Any] = error.get("metadata") or {}
    steps = [*_listed(metadata.get("pipeline")), *_listed((error.get("routing") or {}).get("pipeline"))]
    if any(step.get("type") == "guardrail" for step in steps) or any(metadata.get(part) for part in _CONTENT_PARTS):
        return _CONTENT
    return _FUNDS if _LIMIT_WORDS.search(str(error.get("message", ""))) else _REFUSED
