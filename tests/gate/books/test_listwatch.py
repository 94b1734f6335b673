"""The upstream's lists, looked at: taken in, kept, told of, and never missed."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from agentd.core.accounting.catalogue import ModelEntry
from agentd.core.accounting.market import digest_of
from agentd.core.accounting.price import Price
from agentd.core.accounting.private import PrivateList
from agentd.core.policy.schema import Policy
from agentd.core.types.records import Kind
from agentd.gate.books.alarms import Alarms
from agentd.gate.books.listwatch import AGAIN_S, DAY_S, Desk, ListWatch
from agentd.gate.books.outside import Outside
from builders import policy
from gate.owing import ENDPOINT, Accounts, unreachable
from gate.way import Clock, Record

NAMES = ("small/one", "small/two", "middle/one", "top/one")


def pricing(prompt: str = "0.000001") -> dict[str, str]:
    return {"prompt": prompt, "completion": "0.000004"}


HELD = {name: ModelEntry(1_000, 100, name, 0, ("text",), pricing()) for name in NAMES}


def models(prices: dict[str, str] | None = None, names: tuple[str, ...] = NAMES) -> bytes:
    rows = [
        {"id": name, "name": name, "context_length": 2_000, "pricing": pricing((prices or {}).get(name, "0.000001"))}
        for name in names
    ]
    return json.dumps({"data": rows}).encode()


def private(*names: str) -> bytes:
    return json.dumps({"data": [{"model_id": name} for name in names]}).encode()


def secret(by: Policy) -> Policy:
    """The same policy with a tier that demands endpoints which keep nothing."""
    return replace(by, tiers={**by.tiers, "frontier": replace(by.tiers["frontier"], zdr=True)})


class Scene:
    def __init__(self, *lists: Any, zdr: Any = None, by: Policy | None = None) -> None:
        self.record, self.outside = Record([]), Outside(models=HELD, catalogue="first")
        self.accounts = Accounts({"models": list(lists), "private": [private() if zdr is None else zdr]})
        self.alarms = Alarms(self.record, Clock())
        self.by: Policy | None = by or policy()
        self.prices: dict[str, Price] = {}
        self.kept: list[dict[str, ModelEntry]] = []
        self.known: list[PrivateList] = []
        self.watch = ListWatch(
            Desk(
                self.accounts,
                self.alarms,
                self.outside,
                lambda: [ENDPOINT],
                lambda: self.by,
                lambda prices: self.prices.update(prices),
                self.keep,
                self.private,
                lambda: self.known[-1] if self.known else None,
            )
        )

    async def keep(self, entries: Any) -> None:
        self.kept.append(dict(entries))

    async def private(self, found: frozenset[str]) -> None:
        self.known.append(PrivateList(found, "today"))

    def round(self) -> float:
        return asyncio.run(self.watch.round())

    @property
    def standing(self) -> list[tuple[str, str]]:
        return [(one.alarm.code, one.alarm.about) for one in self.alarms.standing()]


def test_a_newer_list_is_in_force_kept_and_named() -> None:
    it = Scene(models({"small/one": "0.0000005"}, (*NAMES, "new/one")))
    assert it.round() == DAY_S
    assert it.outside.models["small/one"].context_length == 2_000
    assert it.outside.catalogue == digest_of(it.outside.models)
    assert str(it.prices["small/one"].prompt) == "5E-7"
    assert it.kept == [it.outside.models]
    assert it.standing == []


def test_a_price_that_jumped_is_held_until_a_start_and_told() -> None:
    it = Scene(models({"small/one": "0.000002"}), models())
    assert it.round() == DAY_S
    assert str(it.prices["small/one"].prompt) == "0.000001"
    assert it.kept[0]["small/one"].pricing["prompt"] == "0.000002"  # what the next start takes
    assert it.standing == [("catalogue.price", "small/one")]
    it.round()
    assert it.standing == []
    assert [line.code for line in it.record.of(Kind.ALARM)] == ["catalogue.price"]


def test_a_model_that_vanished_stays_and_is_told() -> None:
    it = Scene(models(names=("small/one",)))
    it.round()
    assert it.outside.models["top/one"] == HELD["top/one"]
    assert it.standing == [("catalogue.vanished", name) for name in ("middle/one", "small/two", "top/one")]


def test_a_list_that_cannot_be_had_changes_nothing() -> None:
    it = Scene(unreachable(), b"<html>", models())
    assert [it.round(), it.round()] == [AGAIN_S, AGAIN_S]
    assert (it.outside.models, it.outside.catalogue, it.kept) == (HELD, "first", [])
    assert it.round() == DAY_S


def test_without_policy_or_upstream_nobody_is_asked() -> None:
    it = Scene(models())
    it.by = None
    assert it.round() == AGAIN_S
    assert it.accounts.asked == []


def test_tiers_that_demand_it_are_checked_for_endpoints_that_keep_nothing() -> None:
    it = Scene(models(), zdr=private("small/one"), by=secret(policy()))
    assert it.round() == DAY_S
    assert it.known == [PrivateList(frozenset({"small/one"}), "today")]
    assert it.standing == [("zdr.no_endpoint", "top/one")]
    it.accounts.scripts["private"] = [private("top/one")]
    it.round()
    assert it.standing == []


def test_not_knowing_it_is_told_and_refuses_nothing() -> None:
    it = Scene(models(), zdr=unreachable(), by=secret(policy()))
    assert it.round() == AGAIN_S
    assert (it.standing, it.known) == ([("zdr.unknown", "or")], [])
    it.accounts.scripts["private"] = [private("top/one")]
    assert it.round() == DAY_S
    assert it.standing == []


def test_a_policy_that_demands_nothing_has_the_list_asked_for_all_the_same() -> None:
    """The next policy may demand it, and is then judged when it is loaded."""
    it = Scene(models(), zdr=private("top/one"))
    it.round()
    assert [known.models for known in it.known] == [{"top/one"}]
    without = Scene(models(), zdr=unreachable())
    assert (without.round(), without.standing) == (AGAIN_S, [])


def test_without_the_list_the_one_of_an_earlier_run_tells() -> None:
    it = Scene(models(), zdr=unreachable(), by=secret(policy()))
    it.known.append(PrivateList(frozenset({"small/one"}), "2026-01-01"))
    it.round()
    assert it.standing == [("zdr.unknown", "or"), ("zdr.no_endpoint", "top/one")]
    assert "2026-01-01" in it.alarms.standing()[0].alarm.message


def test_the_task_looks_again_when_a_key_was_set() -> None:
    async def told() -> None:
        it = Scene(models())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(it.watch.run())
            while not it.kept:
                await asyncio.sleep(0)
            it.watch.changed()
            while len(it.kept) < 2:
                await asyncio.sleep(0)
            task.cancel()

    asyncio.run(told())
