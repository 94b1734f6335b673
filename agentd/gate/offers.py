"""What a caller may ask for: the lanes of its classes, then the models of its tiers, each with its sizes as far as they are
known. A lane is as large as the model that serves it first."""

from collections.abc import Mapping
from typing import Any

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.policy.model import ceiling_of
from agentd.core.policy.schema import Agent, Policy, TaskClass


def offers(policy: Policy, agent: Agent, known: Mapping[str, ModelEntry]) -> list[dict[str, Any]]:
    """The entries of the list, in order: id, name, created, and context_length and max_output where they are known."""
    tasks = [policy.classes[name] for name in agent.classes]
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        for lane in task.lanes:
            if not lane.endswith("*"):
                found[lane] = _lane(policy, task, lane, known)
    top = max((ceiling_of(policy, agent, task).rank for task in tasks), default=-1)
    for tier in policy.tiers.values():
        for model in tier.models if tier.rank <= top else ():
            found[model.id] = _entry(model.id, f"tier {tier.name}", known.get(model.id), tier.max_output)
    return list(found.values())


def _lane(policy: Policy, task: TaskClass, lane: str, known: Mapping[str, ModelEntry]) -> dict[str, Any]:
    tier = policy.tiers[task.tier]
    first = known.get(tier.models[0].id) if tier.models else None
    return _entry(lane, f"class {task.name}", first, min(task.max_output, tier.max_output))


def _entry(name: str, what: str, size: ModelEntry | None, cap: int) -> dict[str, Any]:
    base: dict[str, Any] = {"id": name, "name": f"{name} ({what})", "created": 0, "max_output": cap}
    if size is None:
        return base
    return {**base, "context_length": size.context_length, "max_output": min(cap, size.max_output)}
