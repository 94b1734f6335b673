"""Faults by name, for `[[sim:fault NAME]]` and the model `sim/NAME` (there with `.` instead of `:`).

Refusals, before the first byte:
    status:CODE                 any HTTP status, with the error type that goes with it
    type:ERROR_TYPE             by the upstream's error type (`type:provider_overloaded`)
    once:CODE                   the status once per prompt and model, then a good answer
    availability:CODE           `availability:privacy_restricted` and its kin
    retry-after:FORM            429 with a Retry-After: int, float, date, negative, huge, absent, or a literal value
    afford:N                    402 "can only afford N" until the output cap is N or less
    promptlimit402 empty402     402: prompt too dear for the balance; account empty
    keylimit403 budget403       403: cap of the key; budget of the workspace
    guardrail403 moderation403 management403
    html429 html403 html502     a web page instead of JSON
    echo-key                    400 whose body repeats the Authorization header
    hang-before                 no answer at all, until the client goes away

Good answers that are written oddly:
    usage-missing usage-null-cost usage-nonempty-choices zero-usage byok unknown-fields choice-error body200error
    retried                     another provider was tried first, and saw the request
    server-tools                a tool ran at the provider, and the usage says so

On the wire:
    hang-mid cut-mid end-mid    in the middle: silence; a dropped connection; an end without the end mark
    error-mid:FORM              an error event in the middle, its code int or string; int-done, string-done add [DONE]
    split-utf8 crlf comments blank-lines lying-length done-extra
    slow                        20 ms before each piece
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Final

from agentd.simulator.problems import AVAILABILITY, ERROR_TYPES, of_status, of_type, unavailable
from agentd.simulator.words import Problem

QUIRKS: Final = frozenset(
    {"usage-missing", "usage-null-cost", "usage-nonempty-choices", "zero-usage", "byok", "unknown-fields"}
    | {"retried", "server-tools"}
)
"""Faults that a grammar carries out while it writes a good answer."""

FAILING: Final = frozenset({"choice-error", "body200error"})
"""Faults with status 200 and no success in it."""

WIRE: Final = frozenset(
    {"hang-mid", "cut-mid", "end-mid", "error-mid", "split-utf8", "crlf", "comments", "blank-lines", "lying-length"}
    | {"done-extra", "slow"}
)
"""Faults of the bytes."""

HANG: Final = "hang-before"
SLOW_MS: Final = 20
DATE_AHEAD: Final = timedelta(seconds=9)
"""How far ahead the date in `retry-after:date` lies."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a refusal may depend on: the request it answers."""

    model: str
    cap: int
    authorization: str
    now_ns: int
    first: Callable[[str], bool]  # whether a fault meets this prompt for the first time


def split(fault: str) -> tuple[str, str]:
    """A fault's name and argument: `status:429`, or `status.429` as in a model name."""
    places = [place for place in (fault.find(":"), fault.find(".")) if place > 0]
    place = min(places, default=len(fault))
    return fault[:place], fault[place + 1 :]


def refusal(fault: str, scene: Scene) -> Problem | None:
    """The refusal that a fault means for this request; None if it means none. A fault that nobody knows is refused too."""
    name, argument = split(fault)
    if name in QUIRKS | FAILING | WIRE or name == HANG:
        return None
    maker = REFUSALS.get(name)
    try:
        if maker is not None:
            return maker(argument, scene)
    except (KeyError, ValueError):
        pass
    known = ", ".join(sorted(REFUSALS.keys() | QUIRKS | FAILING | WIRE | {HANG}))
    return of_type("invalid_request", f"the simulator knows no fault {fault!r}; it knows {known}")


def _once(argument: str, scene: Scene) -> Problem | None:
    return of_status(int(argument)) if scene.first(argument) else None


def _afford(argument: str, scene: Scene) -> Problem | None:
    if scene.cap <= int(argument):
        return None
    words = "This request requires more credits, or fewer max_tokens. You requested up to {} tokens, but can only afford {}."
    problem = of_type("payment_required", words.format(scene.cap, int(argument)))
    other = {"provider": "beta", "status": 402, "message": words.format(scene.cap, int(argument) // 2)}
    return replace(problem, metadata={**problem.metadata, "previous_errors": [other]})


def _retry_after(argument: str, scene: Scene) -> Problem | None:
    now = datetime.fromtimestamp(scene.now_ns // 10**9, UTC)
    forms = {
        "int": "7",
        "float": "1.5",
        "negative": "-3",
        "huge": "86400",
        "date": format_datetime(now + DATE_AHEAD, usegmt=True),
    }
    if argument in ("", "absent"):
        return of_status(429)
    return replace(of_status(429), headers=(("Retry-After", forms.get(argument, argument)),))


def _forbidden(message: str, **metadata: object) -> Problem:
    return replace(of_type("permission_denied", message), metadata=metadata)


def _page(status: int) -> Problem:
    page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body>Sorry, you have been blocked</body></html>"
    return Problem(status, "unmapped", "", raw=("text/html; charset=UTF-8", page.encode()))


def _afford_prompt(scene: Scene) -> Problem:
    return of_type("payment_required", f"Prompt tokens limit exceeded: {scene.cap + 1000} > {scene.cap}")


REFUSALS: Final[Mapping[str, Callable[[str, Scene], Problem | None]]] = {
    "status": lambda argument, _: of_status(int(argument)),
    "type": lambda argument, _: of_type(argument if argument in ERROR_TYPES else ""),
    "once": _once,
    "availability": lambda argument, scene: unavailable(argument if argument in AVAILABILITY else "", scene.model),
    "retry-after": _retry_after,
    "afford": _afford,
    "promptlimit402": lambda _, scene: _afford_prompt(scene),
    "empty402": lambda _, __: of_type("payment_required", "Insufficient credits. Add more using the account page."),
    "keylimit403": lambda _, __: _forbidden("Key limit exceeded (daily limit). Manage it on the keys page."),
    "budget403": lambda _, __: _forbidden("Workspace monthly budget of $50 exceeded."),
    "guardrail403": lambda _, __: _forbidden("Request blocked by a guardrail.", patterns=["pii.email"]),
    "moderation403": lambda _, scene: _forbidden(
        "Your chosen model requires moderation and your input was flagged.",
        reasons=["violence"],
        flagged_input="(simulated) the flagged words",
        provider_name="Simulated",
        model_slug=scene.model,
    ),
    "management403": lambda _, __: _forbidden("Only management keys can perform this operation."),
    "html429": lambda _, __: _page(429),
    "html403": lambda _, __: _page(403),
    "html502": lambda _, __: _page(502),
    "echo-key": lambda _, scene: of_type("invalid_request", f"Invalid header Authorization: {scene.authorization}"),
}
"""Faults that refuse. Each raises KeyError or ValueError for an argument that it does not know."""
