"""What tests of faults start from: an upstream with books, the network before it, a daemon."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.line import Line
from daemon.stage import Stage
from harness import daemon as daemons
from harness import upstream as upstreams

Start = Callable[..., Stage]


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[upstreams.Upstream]:
    """A simulator of its own, whose accounting knows a call at once."""
    made = upstreams.start(tmp_path, "--late", "0")
    yield made
    made.stop()


@pytest.fixture
def line(upstream: upstreams.Upstream) -> Iterator[Line]:
    """The network before the upstream."""
    made = Line(upstream.url).begin()
    yield made
    made.end()


@pytest.fixture
def stage_of(start_agentd: Callable[..., daemons.Daemon], upstream: upstreams.Upstream) -> Start:
    """Starts a daemon before the upstream, or before the line to it; `at` is a name for the address."""

    def start(line: Line | None = None, *flags: str, policy: str | None = None, **more: object) -> Stage:
        text = policy or upstream.policy()
        text = text if line is None else text.replace(upstream.url, line.url)
        text = text.replace("127.0.0.1", str(more.pop("at", "127.0.0.1")))
        environment = {**upstream.environment(), **more.pop("env", {})}  # type: ignore[dict-item]
        return Stage(start_agentd(text, *flags, env=environment, simulate=False, **more), upstream)

    return start
