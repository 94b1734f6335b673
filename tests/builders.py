"""Small values for tests of the thought: a policy with three tiers, and requests against it."""

from dataclasses import replace
from datetime import date
from typing import Any

from agentd.core.accounting.price import fixed_price
from agentd.core.policy import schema as s
from agentd.core.policy.facts import Facts
from agentd.core.types.callers import Caller, Peer
from agentd.core.types.calls import Dialect, Hints, ModelCall, Request, Shape

NOON = 1_790_000_000 * 10**9  # 2026-09-21T14:13:20Z
PEER = Peer("agent", uid=1001, gid=1001, pid=4242, start_ticks=77, unit="openclaw.service", exe="/usr/bin/node")

PRICES = {
    "small/one": fixed_price("0.10", "0.40"),
    "small/two": fixed_price("0.20", "0.80"),
    "middle/one": fixed_price("1", "4"),
    "top/one": fixed_price("5", "25"),
}


def tier(name: str, rank: int, *models: str, **more: Any) -> s.Tier:
    """A tier whose models are all at the upstream `or`."""
    made = tuple(s.Model(model, "or") for model in models)
    return replace(s.Tier(name, "ops", rank, made, max_output=4096, max_label="private"), **more)


def task(name: str, own: str, ceiling: str, **more: Any) -> s.TaskClass:
    """A class that is served at `own`, floor the same."""
    return replace(s.TaskClass(name, "ops", own, own, ceiling, max_output=2000, deadline_s=60.0), **more)


def policy(**more: Any) -> s.Policy:
    """Agent `main` with four classes; tiers economy < standard < frontier."""
    tiers = [
        tier("economy", 0, "small/one", "small/two"),
        tier("standard", 1, "middle/one"),
        tier("frontier", 2, "top/one"),
    ]
    tasks = [
        task("heartbeat", "economy", "economy", lanes=("heartbeat",)),
        task("routine", "economy", "standard", lanes=("chat", "claude-haiku-*")),
        task("analysis", "standard", "frontier"),
        task(
            "implementation",
            "standard",
            "frontier",
            lanes=("code",),
            escalation=s.EscalationRule("frontier", 2, s.Window.DAY, 900, "ops"),
        ),
    ]
    agent = s.Agent(
        "main",
        "ops",
        date(2027, 1, 1),
        (s.Match(uid=1001),),
        "routine",
        ("heartbeat", "routine", "analysis", "implementation"),
        "frontier",
        "private",
    )
    base = s.Policy(
        version=1,
        owner="ops",
        reviewed=date(2026, 9, 1),
        change="test",
        labels=("public", "private", "secret"),
        agents={"main": agent},
        upstreams={"or": s.Upstream("or", s.UpstreamKind.OPENROUTER, "https://up.example/api/v1", "or")},
        tiers={t.name: t for t in tiers},
        classes={t.name: t for t in tasks},
    )
    return replace(base, **more)


def call(text: str = "", model: str = "", **more: Any) -> ModelCall:
    """A chat call whose last human turn is `text`."""
    shape = more.pop("shape", Shape(human_text=text))
    base = ModelCall(Dialect.CHAT, b"x" * 400, model, stream=False, wants_usage=False, max_output=None, shape=shape)
    return replace(base, **more)


def request(made: ModelCall | None = None, agent: str | None = "main", **hints: Any) -> Request:
    """A request of `main` at noon."""
    return Request("r-0", NOON, Caller(PEER, agent), made or call(), Hints(**hints), session="s1")


def facts(**more: Any) -> Facts:
    """A healthy box with the key in place and nothing used."""
    return replace(Facts(NOON, PRICES, keys=frozenset({"or"})), **more)
