"""What the operator is told about the daemon and its machine. Facts that need the disk are looked up in a thread now and
then and remembered, so that asking never blocks the loop."""

import asyncio
import grp
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentd import __version__
from agentd.core.accounting.catalogue import Catalogue
from agentd.core.accounting.times import rfc3339
from agentd.core.policy.model import account_name
from agentd.core.policy.schema import Budget, Policy, Scope, UpstreamKind
from agentd.edge.host.clock import SystemClock
from agentd.edge.host.limits import hardening
from agentd.edge.host.pulse import Pulse
from agentd.gate.current import CurrentPolicy
from agentd.gate.desk.vitals import SocketVitals, UpstreamVitals, Vitals
from agentd.gate.flight import Health
from agentd.gate.relay import Relay
from agentd.gate.spend import Spend
from agentd.settings import Settings

if TYPE_CHECKING:
    from agentd.daemon import House

OPAQUE_FILE = "installation.secret"
SECRET_BYTES = 32


class Machine:
    """Facts about this process and the disk under it."""

    def __init__(self, settings: Settings, clock: SystemClock, catalogue: Catalogue) -> None:
        """Reads nothing yet; `look` does, and `installation_secret` once."""
        self.catalogue = catalogue
        self.pulse: Pulse | None = None
        self.tcp: str | None = None  # where the door over TCP is, once it is open
        self.secret = b""
        self._settings = settings
        self._started_at = rfc3339(clock.wall_ns())
        self._seen: dict[str, Any] = {}

    async def look(self) -> None:
        """Look at the disk again, off the loop."""
        self._seen = await asyncio.to_thread(self._look)

    async def open_secret(self) -> None:
        """Read the secret behind opaque session names, or make it. The state directory exists by then."""
        self.secret = await asyncio.to_thread(installation_secret, self._settings.state / OPAQUE_FILE)

    def vitals(self, house: "House", relay: Relay) -> Vitals:
        """Everything the operator's desk asks for."""
        counters = house.ledger.counters
        told = Vitals(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            simulate=self._settings.simulate,
            user_mode=self._settings.user_mode,
            in_flight=relay.in_flight,
            sockets=self._seen.get("sockets", []),
            upstreams=_upstreams(house.policies, relay, self._settings.simulate),
            policy_path=str(self._settings.policy),
            counters={
                "lines": counters.lines,
                "pending": counters.pending,
                "commits": counters.commits,
                "recovered": counters.recovered,
                "mended": counters.mended,
            },
            ledger=house.ledger.health(),
            signing=house.signer is not None,
            state_dir=str(self._settings.state),
            core_dumps_off=hardening().sealed,
            loop_lag_ms=self.pulse.lag_ms if self.pulse else 0,
            rss=self.pulse.rss_bytes() if self.pulse else 0,
        )
        if self.tcp is not None:
            told["tcp"] = self.tcp
        if "disk_free" in self._seen:
            told["disk_free"] = self._seen["disk_free"]
            told["state_mode"] = self._seen["state_mode"]
        return told

    def _look(self) -> dict[str, Any]:
        settings = self._settings
        doors = (("agent", settings.agent_socket), ("operator", settings.operator_socket))
        sockets = [found for door, path in doors if (found := _socket(door, path)) is not None]
        seen: dict[str, Any] = {"sockets": sockets}
        try:
            disk = os.statvfs(settings.state)
            mode = settings.state.stat().st_mode
        except OSError:  # gone, or its disk is: the record says so, and what is not known is left out
            return seen
        return seen | {"disk_free": disk.f_bavail * disk.f_frsize, "state_mode": stat.S_IMODE(mode)}


def installation_secret(path: Path) -> bytes:
    """The secret of this installation, made at the first start. It protects no data: it only keeps session names opaque."""
    try:
        found = path.read_bytes()
        if len(found) == SECRET_BYTES:
            return found
    except FileNotFoundError:
        pass
    made = secrets.token_bytes(SECRET_BYTES)
    fresh = path.with_suffix(".new")
    fresh.write_bytes(made)
    fresh.chmod(0o600)
    fresh.replace(path)
    return made


def budget_rows(policies: CurrentPolicy, spend: Spend, at_ns: int) -> list[dict[str, Any]]:
    """Each budget's accounts as they stand."""
    held = policies.current
    if held is None:
        return []
    return [
        _row(budget, name, spend, at_ns)
        for budget in held.policy.budgets
        for name in _accounts(held.policy, budget, spend)
    ]


def _accounts(policy: Policy, budget: Budget, spend: Spend) -> list[str]:
    if budget.scope is Scope.BOX or budget.of is not None:
        return [account_name(budget.scope, budget.of or "")]
    by_scope: dict[Scope, Mapping[str, object]] = {
        Scope.AGENT: policy.agents,
        Scope.CLASS: policy.classes,
        Scope.TIER: policy.tiers,
    }
    named = by_scope.get(budget.scope)
    return spend.known(budget.scope) if named is None else [account_name(budget.scope, name) for name in named]


def _row(budget: Budget, name: str, spend: Spend, at_ns: int) -> dict[str, Any]:
    used = spend.of(budget, name, at_ns)
    return {
        "name": budget.name,
        "account": name,
        "window": budget.window.value,
        "spent": used.spent,
        "limit": budget.limit,
        "calls": used.calls,
        "calls_limit": budget.calls,
        "tokens": used.tokens,
        "tokens_limit": budget.tokens,
        "resets": used.resets,
    }


def _upstreams(policies: CurrentPolicy, relay: Relay, simulate: bool) -> list[UpstreamVitals]:
    held = policies.current
    told: list[UpstreamVitals] = []
    for upstream in held.policy.upstreams.values() if held is not None else ():
        simulated = simulate and upstream.kind is UpstreamKind.OPENROUTER
        seen = UpstreamVitals(name=upstream.name, url=upstream.url, simulated=simulated)
        health = relay.upstreams.get(upstream.name, Health())
        if health.last_ok:
            seen["last_ok"] = health.last_ok
        if health.last_error:
            seen["last_error"], seen["failed_at"] = health.last_error, health.failed_at
        told.append(seen)
    return told


def _socket(door: str, path: Path) -> SocketVitals | None:
    try:
        found = path.stat()
        folder = path.parent.stat()
    except OSError:
        return None
    return SocketVitals(
        door=door,
        path=str(path),
        mode=stat.S_IMODE(found.st_mode),
        group=_group(found.st_gid),
        dir_mode=stat.S_IMODE(folder.st_mode),
    )


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
