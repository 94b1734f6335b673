"""The upstream's own vocabulary of errors: each `error_type` with its status and its name in the messages API, and each
availability code with its status and whether asking again may help. Facts of the contract, as tables."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from agentd.simulator.words import Problem


class ErrorType(NamedTuple):
    """A row: HTTP status, the `type` in the messages API, and a message as the upstream might word it."""

    status: int
    messages_type: str
    message: str


INVALID: Final = "invalid_request_error"

ERROR_TYPES: Final[Mapping[str, ErrorType]] = {
    "rate_limit_exceeded": ErrorType(429, "rate_limit_error", "Rate limit exceeded"),
    "provider_overloaded": ErrorType(503, "overloaded_error", "Provider is overloaded"),
    "provider_unavailable": ErrorType(502, "api_error", "Provider returned error"),
    "timeout": ErrorType(504, "timeout_error", "The provider took too long"),
    "server": ErrorType(500, "api_error", "Internal Server Error"),
    "unmapped": ErrorType(500, "api_error", "Internal Server Error"),
    "payment_required": ErrorType(402, "billing_error", "Insufficient credits. Add more and try again"),
    "token_limit_exceeded": ErrorType(400, INVALID, "Token limit exceeded for the credits of this account"),
    "context_length_exceeded": ErrorType(400, INVALID, "The prompt is longer than the context of this model"),
    "max_tokens_exceeded": ErrorType(400, INVALID, "max_tokens is larger than this model can produce"),
    "string_too_long": ErrorType(400, INVALID, "A string in the request is too long"),
    "authentication": ErrorType(401, "authentication_error", "No auth credentials found"),
    "permission_denied": ErrorType(403, "permission_error", "Forbidden"),
    "invalid_request": ErrorType(400, INVALID, "Invalid request"),
    "invalid_prompt": ErrorType(400, INVALID, "Invalid prompt"),
    "unprocessable": ErrorType(422, INVALID, "Unprocessable request"),
    "precondition_failed": ErrorType(412, INVALID, "Precondition failed"),
    "not_found": ErrorType(404, "not_found_error", "Not found"),
    "payload_too_large": ErrorType(413, INVALID, "Payload too large"),
    "content_policy_violation": ErrorType(400, INVALID, "The prompt violates the provider's content policy"),
    "refusal": ErrorType(400, INVALID, "The provider refused the prompt"),
    "invalid_image": ErrorType(400, INVALID, "An image cannot be read"),
    "image_too_large": ErrorType(400, INVALID, "An image is too large"),
    "image_too_small": ErrorType(400, INVALID, "An image is too small"),
    "unsupported_image_format": ErrorType(400, INVALID, "An image has an unsupported format"),
    "image_download_failed": ErrorType(400, INVALID, "An image could not be fetched"),
    "image_not_found": ErrorType(404, "not_found_error", "An image was not found"),
}

TYPE_OF_STATUS: Final[Mapping[int, str]] = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
    524: "timeout",
    529: "provider_overloaded",
}
"""The type that goes with a status where only the status is given."""


TOKEN_LIMITS: Final = frozenset(
    {"context_length_exceeded", "max_tokens_exceeded", "token_limit_exceeded", "string_too_long"}
)
"""Types that say that something was too long."""


class Availability(NamedTuple):
    """A row: HTTP status, whether trying again may help, and what excluded the endpoints."""

    status: int
    retryable: bool
    excluded_by: tuple[str, ...] = ()


AVAILABILITY: Final[Mapping[str, Availability]] = {
    "model_not_found": Availability(400, False),
    "wrong_endpoint": Availability(400, False),
    "no_endpoints": Availability(404, False),
    "model_deprecated": Availability(404, False),
    "model_unavailable_upstream": Availability(404, False),
    "free_variant_ended": Availability(404, False),
    "capacity_exhausted": Availability(429, True),
    "temporarily_unavailable": Availability(503, True),
    "region_restricted": Availability(403, False, ("geo",)),
    "privacy_restricted": Availability(404, False, ("data_policy:zdr",)),
    "constraint_filtered": Availability(404, False, ("max_price",)),
}

HINTED: Final = ("openai/gpt-5.5-pro",)
"""What an unavailable model suggests in its place: a dear one, so that following it hurts."""

RETRY_AFTER_S: Final = 12
"""What a retryable shortage suggests."""


def of_type(error_type: str, message: str = "", status: int | None = None) -> Problem:
    """A problem by its type. A plain 500 is masked: it names no provider."""
    row = ERROR_TYPES[error_type]
    metadata = {} if row.status == 500 else {"error_type": error_type, "provider_name": "Simulated"}
    return Problem(status or row.status, error_type, message or row.message, metadata=metadata)


def of_status(status: int) -> Problem:
    """A problem by its HTTP status; one that is not in the tables is worded after its class."""
    fallback = "server" if status >= 500 else "invalid_request"
    return of_type(TYPE_OF_STATUS.get(status, fallback), status=status)


def unavailable(code: str, model: str, excluded_by: tuple[str, ...] = (), affected: tuple[str, ...] = ()) -> Problem:
    """No endpoint can serve a model, in the form with `availability`."""
    row = AVAILABILITY[code]
    about: dict[str, object] = {
        "code": code,
        "retryable": row.retryable,
        "requested_models": [model],
        "affected_providers": list(affected),
        "fallback_models": list(HINTED),
        "docs_url": "https://openrouter.ai/docs",
    }
    if row.retryable:
        about["retry_after"] = RETRY_AFTER_S
    if excluded := excluded_by or row.excluded_by:
        about["excluded_by"] = list(excluded)
    headers = (("Retry-After", str(RETRY_AFTER_S)),) if row.retryable else ()
    message = f"No endpoints available for {model}: {code.replace('_', ' ')}"
    return Problem(row.status, TYPE_OF_STATUS[row.status], message, headers, {}, about)
