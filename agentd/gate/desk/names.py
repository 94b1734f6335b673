"""Names in an operator's questions, held against those that there are: a typing error must not look like "nothing found", and
what a verdict leaves out of account is said beside it."""

from collections.abc import Iterator, Mapping

from agentd.core.policy.classify import lane_matches
from agentd.core.policy.match import match_agent
from agentd.core.policy.schema import Policy
from agentd.core.types.callers import Peer
from agentd.core.types.verdicts import Answer
from agentd.gate.desk.rooms import Desk
from agentd.gate.ports import LineQuery
from agentd.gate.ports_operator import OperatorRefused

PLAIN_MODELS = ("", "agentd")
"""Model names that ask for nothing, and are not meant to."""

MAX_SHOWN = 60
"""Characters of a wrong name that are repeated."""


async def check_agent(desk: Desk, query: LineQuery) -> None:
    """Raise `OperatorRefused` for an agent that neither the policy nor the record knows."""
    held, name = desk.policies.current, query.agent
    if name is None or (held is not None and name in held.policy.agents):
        return
    if await desk.reader.lines(LineQuery(agent=name, limit=1)):
        return
    seen = {str(row["name"]) for row in await desk.reader.spend("agent", 0) if row["name"]}
    known = sorted(seen | set(held.policy.agents if held else ()))
    hint = f"There are {', '.join(known)}." if known else "There is none yet."
    message = f"Neither the policy nor the record knows an agent {name[:MAX_SHOWN]!r}."
    raise OperatorRefused("agent.none", message, hint, Answer.NOT_FOUND)


def check_described(policy: Policy, given: Mapping[str, object]) -> None:
    """Raise `OperatorRefused` for a described caller that cannot be: an agent that is not there, or not the one of the uid."""
    name, uid = given.get("agent"), given.get("uid")
    if name is not None and name not in policy.agents:
        hint = f"It has {', '.join(policy.agents)}."
        raise OperatorRefused(
            "agent.none", f"The policy has no agent {str(name)[:MAX_SHOWN]!r}.", hint, Answer.NOT_FOUND
        )
    if name is None or not isinstance(uid, int) or any(match.uid == uid for match in policy.agents[str(name)].match):
        return
    found = match_agent(policy, Peer("agent", uid))
    who = f"agent {found.name}" if found else "nobody that the policy knows"
    raise OperatorRefused(
        "agent.contradiction", f"uid {uid} is not agent {name}: by its uid it is {who}.", "Leave out --agent or --uid."
    )


def not_taken(policy: Policy, given: Mapping[str, object]) -> list[str]:
    """What of a described call names nothing in the policy, and so has no part in its verdict; each in a sentence."""
    return list(_not_taken(policy, given))


def _not_taken(policy: Policy, given: Mapping[str, object]) -> Iterator[str]:
    tier, lane, model = given.get("tier"), given.get("lane"), given.get("model")
    if tier is not None and tier not in policy.tiers:
        yield f"the policy has no tier {_short(tier)}, so none was asked for; it has {', '.join(policy.tiers)}"
    if lane is not None and lane not in policy.classes:
        yield f"no class is named {_short(lane)}, so none was declared; there are {', '.join(policy.classes)}"
    if model is not None and model not in PLAIN_MODELS and not _is_known(policy, str(model)):
        yield f"no tier lists the model {_short(model)} and no lane names it, so it asks for nothing"


def _is_known(policy: Policy, name: str) -> bool:
    listed = any(model.id == name for tier in policy.tiers.values() for model in tier.models)
    return listed or any(lane_matches(lane, name) for task in policy.classes.values() for lane in task.lanes)


def _short(name: object) -> str:
    return repr(str(name)[:MAX_SHOWN])
