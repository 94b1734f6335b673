"""Bounds and ends: whatever a command does, it ends when it must, and nothing of it stays."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentd.sandbox.protocol import UNSAFE, Limits, Prepared, Profile, Refused
from sandbox.client import Sandbox, dropped, gone, sandbox

FORK_BOMB = "b() { b | b & b; }; b"


def test_the_wall_clock_ends_it_and_all_it_started(cage: Sandbox, profile: Profile, ws: Path) -> None:
    begun = "(setsid sleep 777 &); (setsid bash -c 'setsid sleep 778 & disown' &); trap '' TERM INT HUP; sleep 779"
    done = cage.sh(profile, begun, limits=Limits(wall_s=0.5)).exited
    assert (done.killed_by, done.signal, done.status) == ("wall", 9, -1)
    assert _with("sleep\x00777", "sleep\x00778", "sleep\x00779") == []


def test_silence_ends_it_where_there_is_an_idle_limit(cage: Sandbox, profile: Profile) -> None:
    limits = Limits(wall_s=30, idle_s=0.6)
    assert cage.sh(profile, "echo a; sleep 20", limits=limits).exited.killed_by == "idle"
    talking = cage.sh(profile, "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", limits=limits)
    assert (talking.exited.killed_by, talking.exited.status) == ("", 0)


def test_processor_time_is_bounded_for_the_tree(cage: Sandbox, profile: Profile) -> None:
    busy = "for i in 1 2 3 4; do (while :; do :; done) & done; wait"
    done = cage.sh(profile, busy, limits=Limits(wall_s=30, cpu_s=1)).exited
    assert (done.killed_by, done.wall_s < 20) == ("cpu", True)


def test_a_fork_bomb_is_bounded_and_leaves_nothing(cage: Sandbox, profile: Profile) -> None:
    other = cage.begin("coding", ["bash", "-c", "sleep 1; echo fine"])
    cage.sh(profile, FORK_BOMB, limits=Limits(wall_s=2, tasks=30))
    assert cage.result(other).text == "fine\n"
    assert cage.sh(profile, "ps -A --no-headers | wc -l").text.strip() in ("3", "4")


def test_tasks_are_counted_for_each_call_alone(cage: Sandbox, profile: Profile) -> None:
    many = "for i in $(seq 15); do sleep 1 & done; wait; echo all"
    numbers = [
        cage.begin("coding", ["bash", "-c", many], cwd="/", limits=Limits(wall_s=20, tasks=20)) for _ in range(4)
    ]
    assert [cage.result(number).text for number in numbers] == ["all\n"] * 4
    few = cage.sh(profile, many, limits=Limits(wall_s=20, tasks=10))
    assert b"Resource temporarily unavailable" in few.err


def test_memory_of_one_process_is_bounded(cage: Sandbox, profile: Profile) -> None:
    hog = "python3 -c 'x = bytearray(300 << 20); print(len(x))'"
    assert b"MemoryError" in cage.sh(profile, hog, limits=Limits(wall_s=20, memory=200 << 20)).err
    assert cage.sh(profile, hog, limits=Limits(wall_s=20, memory=400 << 20)).text == f"{300 << 20}\n"


def test_memory_of_a_tree_is_watched(cage: Sandbox, profile: Profile) -> None:
    one = "python3 -c 'import time; x = bytearray(60 << 20); time.sleep(20)'"
    tree = " & ".join([one] * 6) + "; wait"
    done = cage.sh(profile, tree, limits=Limits(wall_s=30, memory=200 << 20)).exited
    assert (done.killed_by, done.wall_s < 15) == ("memory", True)


def test_files_are_bounded(cage: Sandbox, profile: Profile, ws: Path) -> None:
    done = cage.sh(profile, "head -c 3000000 /dev/zero > big", limits=Limits(wall_s=20, file_bytes=1 << 20)).exited
    assert done.status != 0
    assert (ws / "big").stat().st_size == 1 << 20


def test_private_places_are_bounded(cage: Sandbox, ws: Path) -> None:
    small = Profile("small", str(ws), tmp_bytes=1 << 20)
    assert isinstance(cage.prepare(small), Prepared)
    assert b"No space left" in cage.sh(small, "head -c 3000000 /dev/zero > /tmp/x").err


def test_a_killed_command_tells_what_it_used(cage: Sandbox, profile: Profile) -> None:
    number = cage.begin("coding", ["bash", "-c", "echo on; while :; do :; done"])
    cage.wait_for(number, b"on")
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        continue
    cage.kill(number)
    done = cage.result(number).exited
    assert (done.killed_by, done.signal, done.program) == ("kill", 9, "/usr/bin/bash")
    assert done.usage.user_s > 0


def test_nobody_inside_can_ask_for_the_end(cage: Sandbox, profile: Profile) -> None:
    done = cage.sh(profile, "kill -TERM 1; kill -KILL 1; kill -STOP 1; kill -INT 1; sleep 0.3; echo here")
    assert (done.text, done.exited.killed_by) == ("here\n", "")


def _with(*words: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_text()
        except OSError:
            continue
        found += [line for word in words if word in line]
    return found


def _below(pid: int) -> list[int]:
    """Every descendant of a process."""
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *_below(int(child))]
    return found


@pytest.fixture
def own(profile: Profile) -> Iterator[Sandbox]:
    """A sandbox process that a test may break."""
    with sandbox() as made:
        assert isinstance(made.prepare(profile), Prepared)
        yield made


def _zygote(own: Sandbox) -> int:
    """bubblewrap, its first process, the zygote: the third generation."""
    (outer,) = _children(own.process.pid)
    (first,) = _children(outer)
    (zygote,) = _children(first)
    return zygote


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_zygote_takes_its_commands_along_and_another_serves(own: Sandbox, profile: Profile) -> None:
    number = own.begin("coding", ["bash", "-c", "echo on; setsid sleep 781 & sleep 782"])
    own.wait_for(number, b"on")
    os.kill(_zygote(own), signal.SIGKILL)
    done = own.result(number).exited
    assert (done.killed_by, done.status) == ("zygote-lost", -1)
    assert _with("sleep\x00781", "sleep\x00782") == []
    assert own.sh(profile, "echo again").text == "again\n"


def test_a_killed_zygote_leaves_no_placeholder_for_good(own: Sandbox, profile: Profile, ws: Path) -> None:
    number = own.begin("coding", ["bash", "-c", "echo on; sleep 790"])
    own.wait_for(number, b"on")
    assert (ws / ".claude").is_dir()
    os.kill(_zygote(own), signal.SIGKILL)
    assert own.result(number).exited.killed_by == "zygote-lost"
    assert list(ws.iterdir()) == []


@pytest.mark.parametrize("how", ["killed", "parent gone", "nonsense"])
def test_nothing_outlives_the_sandbox_process(own: Sandbox, profile: Profile, how: str) -> None:
    numbers = [own.begin("coding", ["bash", "-c", "echo on; (setsid sleep 783 &); sleep 784"]) for _ in range(3)]
    for number in numbers:
        own.wait_for(number, b"on")
    everything = [own.process.pid, *_below(own.process.pid)]
    assert len(everything) > 12
    if how == "killed":
        own.process.kill()
    elif how == "parent gone":
        own.sock.close()
    else:
        own.sock.sendall(b"\0\0\0\x05\0\0\0\0\0hello")
    own.process.wait(20)
    assert gone(everything[1:])


def test_a_stopped_cage_is_ended_all_the_same(own: Sandbox, profile: Profile) -> None:
    number = own.begin("coding", ["bash", "-c", "echo on; sleep 785"], limits=Limits(wall_s=1))
    own.wait_for(number, b"on")
    cage = next(pid for pid in _children(_zygote(own)) if any("sleep" in _line(below) for below in _below(pid)))
    os.kill(cage, signal.SIGSTOP)
    done = own.result(number).exited
    assert (done.killed_by, done.signal) == ("wall", 9)
    assert _with("sleep\x00785") == []


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_the_profile_without_a_cage_is_off_by_default(process: Sandbox, ws: Path) -> None:
    refused = process.prepare(Profile(UNSAFE, str(ws)))
    assert isinstance(refused, Refused)
    assert (refused.code, "--unsafe" in refused.hint) == ("unsafe-is-off", True)


@pytest.fixture
def unguarded() -> Iterator[Sandbox]:
    with sandbox("--unsafe") as made:
        yield made


def test_the_profile_without_a_cage_leaves_nothing_either(unguarded: Sandbox, ws: Path) -> None:
    process, unsafe = unguarded, Profile(UNSAFE, str(ws))
    assert isinstance(process.prepare(unsafe), Prepared)
    done = process.run(UNSAFE, ["bash", "-c", "setsid sleep 786 & disown; cat /proc/1/comm"], cwd=str(ws))
    assert done.exited.status == 0
    assert done.text == subprocess.run(["cat", "/proc/1/comm"], capture_output=True, text=True, check=True).stdout
    assert _with("sleep\x00786") == []
    late = process.run(UNSAFE, ["bash", "-c", "setsid sleep 787 & sleep 788"], limits=Limits(wall_s=0.5))
    assert late.exited.killed_by == "wall"
    assert _with("sleep\x00787", "sleep\x00788") == []


def test_the_sandbox_process_has_no_network_and_shows_nothing_of_itself(process: Sandbox) -> None:
    pid = process.process.pid
    interfaces = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
    look = f"cat /proc/{pid}/environ /proc/{pid}/maps; ls /proc/{pid}/fd"
    done = subprocess.run(["bash", "-c", look], capture_output=True, check=False, **dropped())
    assert done.stdout == b""


def test_a_view_that_was_replaced_leaves_no_trace(own: Sandbox, profile: Profile) -> None:
    for _ in range(3):
        own.say_prepare(profile)
    states = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in _below(own.process.pid)]
    assert "Z" not in states
    assert len(_children(own.process.pid)) == 1
