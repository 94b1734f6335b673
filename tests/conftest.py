"""What every test gets.

- Blocking calls in an event loop raise (see `harness.blocking`); the marker `blocks` lifts that for one test.
- Hypothesis runs in the profile `fast`; AGENTD_HYPOTHESIS=deep searches long and new ground.
- `start_agentd` starts real daemons and shows their logs when the test fails; `running_agentd` is one with the shipped policy.
- `canary` is a secret to plant and to hunt for.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from harness import blocking
from harness import canary as canaries
from harness import daemon as daemons

settings.register_profile(
    "fast", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("AGENTD_HYPOTHESIS", "fast"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root skip by name without it."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def _guard() -> Any:
    return blocking.guard()


@pytest.fixture(autouse=True)
def _no_blocking_call_in_the_loop(request: pytest.FixtureRequest, _guard: Any) -> Iterator[None]:
    if request.node.get_closest_marker("blocks"):
        yield
        return
    _guard.activate()
    yield
    _guard.deactivate()


@pytest.fixture
def canary() -> str:
    """A key that is nobody's: plant it, then see with `harness.canary` that it shows nowhere."""
    return canaries.CANARY


@pytest.fixture
def start_agentd() -> Iterator[Callable[..., daemons.Daemon]]:
    """`harness.daemon.start`, with the stopping done, and each log shown when the test fails."""
    running: list[daemons.Daemon] = []

    def start(*args: Any, **kwargs: Any) -> daemons.Daemon:
        running.append(daemons.start(*args, **kwargs))
        return running[-1]

    yield start
    for each in reversed(running):
        each.stop()
        sys.stderr.write(f"--- log of agentd, pid {each.process.pid} ---\n{each.said()}")
        daemons.discard(each)


@pytest.fixture
def running_agentd(start_agentd: Callable[..., daemons.Daemon]) -> daemons.Daemon:
    """A daemon with the shipped policy and the simulator for an upstream."""
    return start_agentd()
