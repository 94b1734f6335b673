"""The upstream's name does not resolve.

An agent is refused (429, `upstream.unreachable`, Retry-After) after a second model was tried; it costs nothing, since nothing was
sent. When the name resolves the next call is served, without a restart. One that stops resolving is noticed within a minute (a
resolved address is used for so long), and then refused in the same way; connections that stand are used on, running streams end
whole.

The daemon has a mount namespace of its own, in which a file of the test is /etc/hosts. Without that right (root, or user
namespaces) only a name that never resolves is tried.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentd.core.types.verdicts import Answer
from chaos import agents, books
from chaos.conftest import Start
from chaos.line import Line
from harness.upstream import Upstream

NEVER = "https://upstream.invalid/api/v1"
"""No name server may ever know it (RFC 2606)."""

LOCAL = "localhost"
"""The one name that a policy may give without TLS; here it is a name like any other."""

UNKNOWN, KNOWN = "127.0.0.1 box\n", f"127.0.0.1 {LOCAL}\n"

NOBODY = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
"""Whoever is not in the file of hosts is asked for where nobody answers."""


def refused(seen: agents.Seen) -> None:
    """Told in the dialect's own shape, with the decision's name and a time to wait."""
    assert seen.told is not None, seen
    assert (seen.status, seen.told.type) == agents.form_of(seen.dialect, Answer.WAIT)
    assert (seen.told.code, seen.told.decision) == ("upstream.unreachable", seen.reply.headers["x-agentd-decision"])
    assert int(seen.reply.headers["retry-after"]) > 0


@dataclass(frozen=True)
class Names:
    """The names that a daemon knows which is started by `before`."""

    hosts: Path
    before: tuple[str, ...]


@pytest.fixture
def names(tmp_path: Path) -> Names:
    """A private /etc/hosts and /etc/resolv.conf."""
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text(UNKNOWN)
    resolver.write_text(NOBODY)
    unshare = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
    script = f'mount --bind {hosts} /etc/hosts && mount --bind {resolver} "$(realpath /etc/resolv.conf)" && exec "$@"'
    before = (*unshare, "sh", "-c", script, "sh")
    done = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no mount namespace: {done.stderr.strip()}")
    return Names(hosts, before)


def test_a_name_that_never_resolves(stage_of: Start, upstream: Upstream) -> None:
    stage = stage_of(policy=upstream.policy().replace(upstream.url, NEVER))
    for seen in agents.ended(agents.begin(stage.daemon, len(agents.KINDS), "hello")):
        refused(seen)
    closed = books.agree(stage)
    assert [(row["status"], row["cost_nusd"]) for row in closed] == [("error", 0)] * 2 * len(agents.KINDS)
    assert [arrival for arrival in upstream.arrivals() if arrival["method"] == "POST"] == []


def test_a_name_that_resolves_later(stage_of: Start, names: Names) -> None:
    stage = stage_of(before=names.before, at=LOCAL)
    refused(agents.ask(stage.daemon))
    names.hosts.write_text(KNOWN)
    assert all(seen.whole for seen in agents.ended(agents.begin(stage.daemon, len(agents.KINDS), "hello")))
    assert {row["status"] for row in books.agree(stage)} == {"error", "done"}


@pytest.mark.slow
def test_a_name_that_resolves_no_more(stage_of: Start, line: Line, names: Names) -> None:
    names.hosts.write_text(KNOWN)
    stage = stage_of(line, before=names.before, at=LOCAL)
    line.hold()
    crowd = agents.begin(stage.daemon, 12, "[[sim:long 200]] while it goes")
    agents.all_began(agent for agent in crowd if agent.stream)
    stage.until(in_flight=len(crowd))
    line.flow(later=True)
    names.hosts.write_text(UNKNOWN)
    ends = books.Patience(200)
    seen = agents.ask(stage.daemon)
    while seen.whole:
        line.drop()  # or the connections that stand would be used for ever
        ends.look("the end of the name")
        seen = agents.ask(stage.daemon)
    refused(seen)
    line.flow()
    assert [seen for seen in agents.ended(crowd) if not seen.whole] == []
    names.hosts.write_text(KNOWN)
    assert agents.ask(stage.daemon).whole
    books.agree(stage)
