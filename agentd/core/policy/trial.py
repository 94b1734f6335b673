"""The tests inside a policy file, judged by the same functions that judge real calls. A file whose tests fail is refused.

A test sees a box in order: every key that the upstreams name is there, nothing is spent, nothing halted, and it is noon of
the day on which the file was last reviewed, so that a file which passed once passes on every later day. What differs stands
in the test. Its text travels as the last human turn of a chat request and is read back by the dialect's own reader, so that
wake-up texts of known clients are recognised as on the wire.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from agentd.core.accounting.price import Price, fixed_price, per_million
from agentd.core.dialects import grammar
from agentd.core.policy.classify import classify
from agentd.core.policy.decide import decide
from agentd.core.policy.facts import Facts, Grant, Memory, Used
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Policy, PolicyTest
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.calls import Dialect, Hints, ModelCall, Request
from agentd.core.types.classes import Classified
from agentd.core.types.errors import AgentdError, Fault
from agentd.core.types.verdicts import Allow, ModelLimits, Verdict

NOON_NS = 12 * 3600 * 10**9
DAY_NS = 86_400 * 10**9
EPOCH = date(1970, 1, 1)
NOBODY = 2**32 - 2
"""The uid of a test's caller where the test names none: an id that no account has. Its group is not known at all then."""

IMAGE = "data:image/png;base64,iVBORw0KGgo="
"""The beginning of a picture: only that there is one counts."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of a described call."""

    request: Request
    classified: Classified | None
    verdict: Verdict


class _Spent(Mapping[tuple[str, str], Used]):
    """What a test says is spent, whichever account of the budget is asked for."""

    def __init__(self, spent: Mapping[str, int]) -> None:
        self._spent = spent

    def __getitem__(self, key: tuple[str, str]) -> Used:
        return Used(spent=self._spent[key[0]])

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter((name, "") for name in self._spent)

    def __len__(self) -> int:
        return len(self._spent)


def prices_of(policy: Policy, prices: Mapping[str, Price]) -> dict[str, Price]:
    """The prices that hold under a policy: the catalogue's, and those that the policy itself states."""
    models = [model for tier in policy.tiers.values() for model in tier.models]
    stated = {m.id: fixed_price(m.price.prompt, m.price.completion) for m in models if m.price is not None}
    return {**prices, **stated}


def run_tests(policy: Policy, prices: Mapping[str, Price]) -> tuple[Fault, ...]:
    """Judge every test of a policy, and whether its tiers can pay for their models. None is good news."""
    faults = list(_unpayable(policy, prices))
    for index, test in enumerate(policy.tests):
        message = _differs(policy, test, prices)
        if message is not None:
            place = (test.place.line, test.place.column)
            hint = f"expected {_words(test.expect)}; change the rules, or the test if the rules are right"
            faults.append(Fault(*place, f"tests[{index}]", f'test "{test.name}" failed: {message}', hint))
    return tuple(faults)


def _unpayable(policy: Policy, prices: Mapping[str, Price]) -> Iterator[Fault]:
    """Models that cost more than their tier's own price ceiling: the upstream would refuse every call."""
    known = prices_of(policy, prices)
    for tier in policy.tiers.values():
        for index, model in enumerate(tier.models):
            if tier.max_price is None or model.id not in known:
                continue
            cost = per_million(known[model.id])
            if any(price > Decimal(most) for price, most in zip(cost, tier.max_price, strict=True)):
                what = (
                    f"{model.id} costs {cost[0]:f} and {cost[1]:f} USD per million tokens, above the tier's max_price"
                )
                where = f"tiers.{tier.name}.models[{index}]"
                yield Fault(model.place.line, model.place.column, where, what, "raise max_price, or take the model out")


def judge(policy: Policy, given: Mapping[str, Any], prices: Mapping[str, Price]) -> Judged:
    """The class and verdict of a call that is described by the keys of a test's `given`. Raises `Unreadable`."""
    request, classified = described(policy, given, _at_ns(policy, given))
    named = {upstream.key for upstream in policy.upstreams.values() if upstream.key is not None}
    box = Facts(at_ns=request.at_ns, prices=prices_of(policy, prices), keys=frozenset(named))
    return judged_by(policy, given, request, classified, box)


def described(policy: Policy, given: Mapping[str, Any], at_ns: int) -> tuple[Request, Classified | None]:
    """The request that `given` describes, and its class; None for a caller that nobody knows. Raises `Unreadable`."""
    request = Request("r-trial", at_ns, _caller(policy, given), _call(given), _hints(given), "trial")
    agent = policy.agents.get(request.caller.agent or "")
    if agent is None:
        return request, None
    return request, classify(policy, agent, request.call, request.hints, _memory(policy, given))


def judged_by(
    policy: Policy, given: Mapping[str, Any], request: Request, classified: Classified | None, box: Facts
) -> Judged:
    """The verdict in a box whose facts are `box`, except for those that `given` states."""
    facts = replace(
        box,
        used=_Spent(given["spent"]) if "spent" in given else box.used,
        memory=_memory(policy, given),
        grant=_grant(given, classified),
        keys=frozenset(given["keys"]) if "keys" in given else box.keys,
    )
    return Judged(request, classified, decide(policy, request, classified, facts))


def _differs(policy: Policy, test: PolicyTest, prices: Mapping[str, Price]) -> str | None:
    """How a test came out if not as expected."""
    try:
        judged = judge(policy, test.given, prices)
    except AgentdError as error:
        return f"its call cannot be read: {error.message}"
    came = _came(judged)
    if all(came.get(key) == wanted for key, wanted in test.expect.items()):
        return None
    named = {key: came[key] for key in ("verdict", "code", *test.expect) if came.get(key) is not None}
    return f"{_words(named)} ({judged.verdict.reason.message})"


def _came(judged: Judged) -> dict[str, str | None]:
    verdict, classified = judged.verdict, judged.classified
    limits = verdict.limits if isinstance(verdict, Allow) else None
    return {
        "verdict": type(verdict).__name__.lower(),
        "class": None if classified is None else classified.name,
        "stage": None if classified is None else classified.stage.value,
        "tier": None if limits is None else limits.tier,
        "model": None if limits is None else limits.model,
        "effort": None if limits is None else _effort(judged.request.call, limits),
        "code": verdict.reason.code,
    }


def _effort(call: ModelCall, limits: ModelLimits) -> str | None:
    """The effort that is sent: what it was brought to, else what was asked."""
    brought = [str(clamp.given) for clamp in limits.clamps if "effort" in (clamp.key or clamp.field)]
    return brought[0] if brought else next((str(knob.value) for knob in call.knobs), None)


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _at_ns(policy: Policy, given: Mapping[str, Any]) -> int:
    day: date = given.get("at", policy.reviewed)
    return (day - EPOCH).days * DAY_NS + NOON_NS


def _caller(policy: Policy, given: Mapping[str, Any]) -> Caller:
    peer = Peer("agent", given.get("uid", NOBODY), given.get("gid"), pid=1, unit=given.get("unit"), exe=given.get("exe"))
    if "agent" in given:
        return Caller(peer, given["agent"])
    agent = match_agent(policy, peer)
    return Caller(peer, None if agent is None else agent.name)


def _hints(given: Mapping[str, Any]) -> Hints:
    return Hints(lane=given.get("lane"), tier=given.get("tier"))


def _call(given: Mapping[str, Any]) -> ModelCall:
    content: list[dict[str, Any]] = [{"type": "text", "text": given.get("text", "")}]
    content += [{"type": "image_url", "image_url": {"url": IMAGE}}] * given.get("images", 0)
    body: dict[str, Any] = {
        "model": given.get("model", "agentd"),
        "messages": [{"role": "user", "content": content}],
    }
    if given.get("tools"):
        schema = {"type": "object", "properties": {}}
        functions = [{"name": name, "parameters": schema} for name in given["tools"]]
        body["tools"] = [{"type": "function", "function": function} for function in functions]
    if "effort" in given:
        body["reasoning_effort"] = given["effort"]
    return grammar(Dialect.CHAT).read(json.dumps(body).encode())


def _memory(policy: Policy, given: Mapping[str, Any]) -> Memory | None:
    name = given.get("session_class")
    if name is None:
        return None
    tier = policy.tiers[policy.classes[name].tier]
    return Memory(name, tier.name, tier.models[0].id, tier.models[0].upstream)


def _grant(given: Mapping[str, Any], classified: Classified | None) -> Grant | None:
    if "grant" not in given or classified is None:
        return None
    return Grant("g-0", classified.name, given["grant"], "stated by the test")
