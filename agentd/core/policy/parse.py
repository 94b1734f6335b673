"""A policy file's tree in, a frozen `Policy` out, or every fault in it at once. Nothing reads the file after this.

Three steps: read along the description (`reading`), check what spans keys (`checks`), and only when nothing at all is wrong
build the types that the rest of agentd thinks with. A policy object therefore never holds half of a file.
"""

from datetime import date
from typing import Any

from agentd.core.policy.checks import CHECKS
from agentd.core.policy.reading import Found, Reader, Value
from agentd.core.policy.schema import (
    Agent,
    Budget,
    EscalationRule,
    FixedPrice,
    Match,
    Model,
    Policy,
    PolicyTest,
    Scope,
    TaskClass,
    Tier,
    Upstream,
    UpstreamKind,
    Window,
)
from agentd.core.policy.spec import DEFAULT_RETENTION_DAYS, FILE
from agentd.core.policy.values import Names
from agentd.core.types.bounds import CacheTtl, Effort
from agentd.core.types.documents import Mapping, Mark, Node
from agentd.core.types.errors import Fault, PolicyRefused

__all__ = ["Names", "parse_policy"]

MAX_FAULTS = 200
"""So many are reported: a file with more is not a policy file."""


def parse_policy(root: Node | None, names: Names, source: str, faults: tuple[Fault, ...] = ()) -> Policy:
    """Read a policy. `faults` are those of the document itself. Raises `PolicyRefused` with all of them, in file order."""
    reader = Reader(names)
    found = _read(reader, root, broken=bool(faults))
    if found is not None:
        for check in CHECKS:
            check(reader, found)
    places = {(fault.line, fault.column) for fault in faults}
    all_faults = [*faults, *(fault for fault in reader.faults if (fault.line, fault.column) not in places)]
    if all_faults or found is None:
        ordered = sorted(all_faults, key=lambda fault: (fault.line, fault.column))
        raise PolicyRefused(source, tuple(dict.fromkeys(ordered))[:MAX_FAULTS])
    return _policy(found, source)


def _read(reader: Reader, root: Node | None, *, broken: bool) -> Found | None:
    if isinstance(root, Mapping):
        return reader.read(FILE, root, "")
    if root is not None or not broken:
        mark = Mark(1, 1) if root is None else root.mark
        reader.fault(
            mark, "", "this is no policy: a map of sections is wanted", "begin with version: 1; see docs/policy.md"
        )
    return None


def _policy(root: Found, source: str) -> Policy:
    return Policy(
        version=root.number("version") or 0,
        owner=root.text("owner"),
        reviewed=root.day("reviewed") or date.min,
        change=root.text("change"),
        labels=root.texts("labels"),
        agents={name: _agent(name, found) for name, found in root.entries("agents").items()},
        upstreams={name: _upstream(name, found) for name, found in root.entries("upstreams").items()},
        tiers={name: _tier(name, rank, found) for rank, (name, found) in enumerate(root.entries("tiers").items())},
        classes={name: _class(name, found) for name, found in root.entries("classes").items()},
        budgets=tuple(_budget(name, found) for name, found in root.entries("budgets").items()),
        retention_days=_retention(root),
        tests=tuple(_test(found) for found in root.items("tests")),
        source=source,
    )


def _agent(name: str, found: Found) -> Agent:
    return Agent(
        name=name,
        owner=found.text("owner"),
        expires=found.day("expires") or date.min,
        match=tuple(_match(item) for item in found.items("match")),
        default_class=found.text("default_class"),
        classes=found.texts("classes"),
        ceiling=found.text("ceiling"),
        label=found.text("label"),
        place=found.mark,
    )


def _match(found: Found) -> Match:
    return Match(found.number("uid"), found.number("gid"), found.text("unit") or None, found.text("exe") or None)


def _retention(root: Found) -> int:
    retention = root.get("retention")
    days = None if retention is None else retention.number("days")
    return DEFAULT_RETENTION_DAYS if days is None else days


def _upstream(name: str, found: Found) -> Upstream:
    kind = UpstreamKind(found.text("kind"))
    return Upstream(name, kind, found.text("url").rstrip("/"), found.text("key") or None, found.mark)


def _price(found: Found | None) -> FixedPrice | None:
    return None if found is None else FixedPrice(found.text("prompt"), found.text("completion"))


def _model(found: Found) -> Model:
    price = _price(found.get("price"))
    return Model(found.text("id"), found.text("upstream"), found.texts("providers"), price, found.mark)


def _tier(name: str, rank: int, found: Found) -> Tier:
    most = _price(found.get("max_price"))
    return Tier(
        name=name,
        owner=found.text("owner"),
        rank=rank,
        models=tuple(_model(item) for item in found.items("models")),
        max_output=found.number("max_output") or 0,
        max_label=found.text("max_label"),
        max_price=None if most is None else (most.prompt, most.completion),
        zdr=found.flag("zdr"),
        place=found.mark,
    )


def _class(name: str, found: Found) -> TaskClass:
    tier = found.text("tier")
    return TaskClass(
        name=name,
        owner=found.text("owner"),
        tier=tier,
        floor=found.text("floor") or tier,
        ceiling=found.text("ceiling") or tier,
        max_output=found.number("max_output") or 0,
        deadline_s=float(found.number("deadline") or 0),
        lanes=found.texts("lanes"),
        escalation=_escalation(found.get("escalation")),
        effort=Effort(effort) if (effort := found.text("effort")) else None,
        cache_ttl=CacheTtl(found.text("cache_ttl") or CacheTtl.SHORT),
        place=found.mark,
    )


def _escalation(found: Found | None) -> EscalationRule | None:
    if found is None:
        return None
    return EscalationRule(
        to=found.text("to"),
        quota=found.number("quota") or 0,
        window=Window(found.text("window")),
        grant_s=found.number("grant") or 0,
        owner=found.text("owner"),
        place=found.mark,
    )


def _budget(name: str, found: Found) -> Budget:
    return Budget(
        name=name,
        owner=found.text("owner"),
        scope=Scope(found.text("scope")),
        window=Window(found.text("window")),
        of=found.text("of") or None,
        limit=found.number("limit"),
        calls=found.number("calls"),
        tokens=found.number("tokens"),
        place=found.mark,
    )


def _test(found: Found) -> PolicyTest:
    return PolicyTest(found.text("name"), _bare(found.entries("given")), _bare(found.entries("expect")), found.mark)


def _bare(entries: dict[str, Found]) -> dict[str, Any]:
    """Values without their places, lists and maps too."""
    return {name: _value(found.value) for name, found in entries.items()}


def _value(value: Value) -> object:
    if isinstance(value, tuple):
        return tuple(_value(item.value) for item in value)
    return _bare(value) if isinstance(value, dict) else value
