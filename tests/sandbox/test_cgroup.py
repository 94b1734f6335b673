"""Control groups: bounds for a tree together, removed and proven empty after each command.

The hierarchy of task numbers of version 1, where root can make a group in it.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agentd.sandbox import cgroup
from agentd.sandbox.protocol import Limits, Prepared, Profile
from sandbox.client import Sandbox, give, lacking, sandbox

PIDS = Path("/sys/fs/cgroup/pids")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (PIDS / "cgroup.procs").exists(), reason="no hierarchy of version 1 for task numbers"),
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "a cage can be had"),
]


@pytest.fixture
def group() -> Iterator[Path]:
    """A group that is handed over."""
    path = PIDS / f"agentd-test-{os.getpid()}"
    path.mkdir()
    give(path)
    yield path
    path.rmdir()


@pytest.fixture
def grouped(group: Path, profile: Profile) -> Iterator[Sandbox]:
    with sandbox("--cgroup", str(group)) as made:
        needs = replace(profile, required=("view", "seccomp", "cgroup.pids"))
        assert isinstance(made.prepare(needs), Prepared)
        yield made


def test_what_was_handed_over_is_a_ring(grouped: Sandbox) -> None:
    held = {name for name, ring in grouped.rings.items() if name.startswith("cgroup.") and ring.held}
    assert held == {"cgroup.pids"}


def test_each_command_has_a_group_that_is_removed_after_it(grouped: Sandbox, group: Path) -> None:
    number = grouped.begin("coding", ["bash", "-c", "sleep 791 & echo on; sleep 792"])
    grouped.wait_for(number, b"on")
    (made,) = (path for path in group.iterdir() if path.is_dir())
    assert int((made / "pids.current").read_text()) >= 2
    assert (made / "pids.max").read_text() == "40\n"
    grouped.kill(number)
    grouped.result(number)
    assert [path for path in group.iterdir() if path.is_dir()] == []


def test_tasks_are_bounded_by_it(grouped: Sandbox) -> None:
    many = "for i in $(seq 30); do sleep 1 & done; wait"
    done = grouped.run("coding", ["bash", "-c", many], limits=Limits(wall_s=20, tasks=10))
    assert b"Resource temporarily unavailable" in done.err


def test_a_directory_that_is_no_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no cgroup"):
        cgroup.handed_over([str(tmp_path)])
