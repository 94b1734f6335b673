"""The upstream's lists in a real daemon: kept, named in each decision, shown to agents, asked for who keeps nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.stage import ASKS, Stage
from harness import daemon as daemons
from harness import upstream as upstreams

Start = Callable[..., daemons.Daemon]


def private(upstream: upstreams.Upstream) -> str:
    """The policy with a first tier that only endpoints which keep nothing may serve."""
    return upstream.policy().replace("    max_output: 4096\n", "    max_output: 4096\n    zdr: true\n", 1)


def until(what: Callable[[], Any]) -> Any:
    for _ in range(ASKS):
        if found := what():
            return found
    raise AssertionError("it does not come about")


def test_the_list_is_kept_and_named_and_its_sizes_are_shown(start_agentd: Start, upstream: upstreams.Upstream) -> None:
    stage = Stage(start_agentd(upstream.policy(), env=upstream.environment(), simulate=False), upstream)
    kept = stage.daemon.state / "catalogue.json"
    until(lambda: stage.in_flight() == 0 and kept.exists())
    assert len(json.loads(kept.read_bytes())["models"]) >= 100
    assert stage.send("chat", "hello").reply.status == 200
    (row,) = (row for row in stage.rows(5) if row["kind"] == "decision")
    digest = row["detail"]["catalogue"]
    assert len(digest) == 64
    assert f"catalogue {digest[:12]}" in stage.daemon.ctl("explain", f"d-{row['seq']}").stdout
    listed = {entry["id"]: entry for entry in stage.daemon.ask("GET", "/v1/models").json()["data"]}
    assert listed["google/gemini-2.5-flash-lite"]["context_length"] > 100_000
    assert listed["code"]["context_length"] > 0
    again = start_agentd(upstream.policy(), env=upstream.environment(), simulate=False, home=restarted(stage))
    assert Stage(again, upstream).send("chat", "hello").reply.status == 200


def restarted(stage: Stage) -> Path:
    stage.daemon.stop()
    return stage.daemon.home


def test_a_request_that_no_context_holds_is_refused_before_it_is_sent(
    start_agentd: Start, upstream: upstreams.Upstream
) -> None:
    stage = Stage(start_agentd(upstream.policy(), env=upstream.environment(), simulate=False), upstream)
    played = stage.send("messages", "many words " * 900_000)
    assert (played.reply.status, played.error()[2]["code"]) == (400, "model.context")
    assert not any(arrival["method"] == "POST" for arrival in upstream.arrivals())


def test_a_tier_that_demands_endpoints_that_keep_nothing_is_checked(
    start_agentd: Start, upstream: upstreams.Upstream
) -> None:
    stage = Stage(start_agentd(private(upstream), env=upstream.environment(), simulate=False), upstream)
    until(lambda: stage.in_flight() == 0 and any(row["path"].endswith("/endpoints/zdr") for row in upstream.arrivals()))
    assert stage.send("chat", "hello").reply.status == 200
    found = stage.daemon.operate("GET", "/operator/v1/status").json()
    assert (found["policy"]["fault"], found["alarms"]) == (None, [])
    private_row = "zero retention"
    assert private_row in stage.daemon.ctl("status").stdout
    (check,) = (
        row for row in json.loads(stage.daemon.ctl("doctor", "--json").stdout)["checks"] if row["name"] == private_row
    )
    assert check["state"] == "ok"


def test_a_start_without_a_network_still_knows_who_keeps_nothing(
    start_agentd: Start, upstream: upstreams.Upstream
) -> None:
    """The kept list refuses a new policy that demands what nobody offers; the one that was in force stays."""
    stage = Stage(start_agentd(private(upstream), env=upstream.environment(), simulate=False), upstream)
    kept = stage.daemon.state / "private.json"
    until(lambda: stage.in_flight() == 0 and kept.exists())
    home = restarted(stage)
    upstream.stop()
    known = json.loads(kept.read_bytes())
    kept.write_text(json.dumps({**known, "models": ["deepseek/deepseek-v4-flash"]}))
    same = start_agentd(private(upstream), env=upstream.environment(), simulate=False, home=home)
    assert same.operate("GET", "/operator/v1/status").json()["policy"]["fault"] is None
    same.stop()
    other = start_agentd("# another\n" + private(upstream), env=upstream.environment(), simulate=False, home=home)
    found = other.operate("GET", "/operator/v1/status").json()
    assert "google/gemini-2.5-flash-lite keeps nothing" in found["policy"]["fault"]["message"]
    assert found["policy"]["digest"] is not None  # the last good one stays in force
    assert found["private"]["at"] == known["at"]
