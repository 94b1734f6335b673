"""From a policy file's text to a policy in force: document, parse, prices, tests. Joined here, because reading YAML is no
business of the pure rooms, and asking for user names is none of the gate.
"""

import grp
import os
import pwd
from collections.abc import Mapping
from typing import Any

from agentd.core.accounting.price import Price
from agentd.core.accounting.private import PrivateList
from agentd.core.policy.parse import Names, parse_policy
from agentd.core.policy.schema import Policy
from agentd.core.policy.trial import described, judged_by, prices_of, run_tests
from agentd.core.types.errors import Fault, PolicyRefused
from agentd.core.types.verdicts import Allow, Deny
from agentd.document import read_document
from agentd.gate.books.listwatch import demands
from agentd.gate.current import Held
from agentd.gate.ports_operator import Json, OperatorRefused
from agentd.gate.state import State


class Compiler:
    """Turns policy texts into policies under one catalogue of prices."""

    def __init__(self, catalogue: Mapping[str, Price]) -> None:
        """`catalogue`: prices by model id."""
        self.catalogue_prices = dict(catalogue)
        self.private: PrivateList | None = None  # models with endpoints that keep nothing; None: not known
        self.stood: str | None = None  # a text that was in force: a list that came later does not refuse it
        self._last: tuple[Policy, Mapping[str, Price]] | None = None

    def take(self, prices: Mapping[str, Price]) -> None:
        """Newer prices. Whoever looks meanwhile, in a thread of its own, sees each model's old price or its new one."""
        self.catalogue_prices.update(prices)
        for gone in self.catalogue_prices.keys() - prices.keys():
            del self.catalogue_prices[gone]
        self._last = None

    def read(self, text: str, source: str) -> Policy:
        """Parse. Blocking (user names may come from the network). Raises `PolicyRefused` with every fault."""
        root, faults = read_document(text, source)
        names = Names(self_uid=os.getuid(), uid_of=_uid_of, gid_of=_gid_of, prices=frozenset(self.catalogue_prices))
        return parse_policy(root, names, source, faults)

    def compile(self, text: str, source: str) -> Policy:
        """Parse, and judge the tests in the file. Raises `PolicyRefused`."""
        policy = self.read(text, source)
        faults = run_tests(policy, self.catalogue_prices) + (() if text == self.stood else self._kept(policy))
        if faults:
            raise PolicyRefused(source, faults)
        return policy

    def _kept(self, policy: Policy) -> tuple[Fault, ...]:
        """Models of tiers that demand endpoints which keep nothing, and have none, as far as that is known."""
        known = self.private
        missing = [(tier, model) for tier, model in demands(policy) if known is not None and model not in known.models]
        return tuple(_not_private(policy, tier, model) for tier, model in missing)

    def prices(self, policy: Policy) -> Mapping[str, Price]:
        """What models cost under a policy; the same object while the policy stays the same."""
        if self._last is None or self._last[0] is not policy:
            self._last = (policy, prices_of(policy, self.catalogue_prices))
        return self._last[1]

    def why(self, held: Held | None, given: Json, state: State, at_ns: int) -> Json:
        """The verdict that a described call would get now, with everything that led to it. Raises `OperatorRefused`.

        Sums, halts, keys and the day are the real ones, except what `given` states otherwise.
        """
        if held is None:
            raise OperatorRefused("policy.none", "No policy is in force.", "Mend the file that agentctl status names.")
        policy = held.policy
        _check(policy, given)
        request, classified = described(policy, given, at_ns)
        judged = judged_by(policy, given, request, classified, state.facts(policy, request, classified))
        verdict = judged.verdict
        told: dict[str, Any] = {
            "verdict": type(verdict).__name__.lower(),
            "code": verdict.reason.code,
            "rule": verdict.reason.rule,
            "message": verdict.reason.message,
            "hint": verdict.reason.hint,
            "agent": judged.request.caller.agent,
            "class": classified.name if classified else None,
            "stage": classified.stage.value if classified else None,
            "why": classified.why if classified else None,
            "evidence": dict(classified.evidence) if classified else {},
        }
        if isinstance(verdict, Allow):
            limits = verdict.limits
            told |= {
                "upstream": limits.upstream,
                "tier": limits.tier,
                "model": limits.model,
                "max_output": limits.max_output,
                "reserved_nusd": limits.reserved,
                "effort": limits.effort,
                "bounded": [clamp.words for clamp in limits.clamps],
            }
        elif isinstance(verdict, Deny):
            told["answer"] = verdict.answer.value
        return told


def _not_private(policy: Policy, tier: str, model: str) -> Fault:
    mark = next(entry.place for entry in policy.tiers[tier].models if entry.id == model)
    message = f"no endpoint of {model} keeps nothing, and the tier demands that (zdr: true)"
    return Fault(mark.line, mark.column, f"tiers.{tier}.models", message, "Take it out of the tier, or choose another.")


def _check(policy: Policy, given: Json) -> None:
    """A described call names things that exist; anything else would be judged as something that it is not."""
    names: dict[str, Mapping[str, object]] = {
        "agent": policy.agents,
        "session_class": policy.classes,
        "grant": policy.tiers,
    }
    for key, known in names.items():
        if given.get(key) is not None and given[key] not in known:
            raise OperatorRefused(
                "policy.no_such_name", f"There is no {key} {given[key]!r}.", f"Known: {', '.join(known)}."
            )


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _gid_of(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
