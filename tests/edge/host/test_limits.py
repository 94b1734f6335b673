"""A sealed process, looked at by another process of the same uid, which is what an agent beside a trial daemon is."""

import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.edge.host.limits import Hardening, hardening

STAGE = """
import os, signal, sys
from agentd.edge.host import limits

def step_down():
    if os.geteuid() == 0:  # root may look at anything: play it as nobody
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    limits._prctl(limits.PR_SET_DUMPABLE, 1)  # what a freshly executed program is

def sees(path):
    try:
        os.readlink(path) if path.endswith("exe") else os.close(os.open(path, os.O_RDONLY))
        return "open"
    except OSError:
        return "shut"

ready, say_ready = os.pipe()
victim = os.fork()
if victim == 0:
    step_down()
    if sys.argv[1] == "sealed":
        limits.harden_process()
    os.write(say_ready, b"x")
    signal.pause()
os.read(ready, 1)
intruder = os.fork()
if intruder == 0:
    step_down()
    for name in ("environ", "maps", "fd/0", "exe", "mem", "stat"):
        print(name, sees(f"/proc/{victim}/{name}"), flush=True)
    os._exit(0)
os.waitpid(intruder, 0)
os.kill(victim, signal.SIGABRT)
print("core", os.WCOREDUMP(os.waitpid(victim, 0)[1]), flush=True)
"""


def play(part: str) -> dict[str, str]:
    """What the intruder sees, by name under /proc/PID."""
    run = subprocess.run([sys.executable, "-c", STAGE, part], capture_output=True, text=True, check=True, timeout=60)
    return dict(line.split() for line in run.stdout.splitlines())


def test_a_sealed_process_shows_nothing_of_its_memory() -> None:
    seen = play("sealed")
    assert seen == {
        "environ": "shut",
        "maps": "shut",
        "fd/0": "shut",
        "exe": "shut",
        "mem": "shut",
        "stat": "open",
        "core": "False",
    }


def test_the_same_look_at_an_open_process_finds_something() -> None:
    seen = play("open")
    assert (seen["environ"], seen["maps"], seen["fd/0"], seen["exe"]) == ("open", "open", "open", "open")


def test_sealing_can_be_repeated_and_files_are_private(tmp_path: Path) -> None:
    program = """
import sys
from agentd.edge.host.limits import harden_process
assert harden_process() == harden_process()
assert harden_process().sealed
open(sys.argv[1], "w").close()
print(open("/proc/self/environ").read()[:0] + "still reads itself")
"""
    made = tmp_path / "file"
    run = subprocess.run(
        [sys.executable, "-c", program, str(made)], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == "still reads itself\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_refusal_of_the_kernel_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.edge.host.limits.PR_GET_DUMPABLE", -1)
    with pytest.raises(OSError, match="prctl -1"):
        hardening()


@pytest.mark.parametrize(("limit", "dumpable", "sealed"), [(0, False, True), (0, True, False), (-1, False, False)])
def test_sealed_means_both(limit: int, dumpable: bool, sealed: bool) -> None:
    assert Hardening(limit, dumpable).sealed == sealed


def test_this_process_is_read_truthfully() -> None:
    held = hardening()
    assert held.core_limit == resource.getrlimit(resource.RLIMIT_CORE)[0]
    assert held.dumpable, "tests are not sealed; if they were, the debugger would not attach"


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "found"), [(64, 4096, 512, 512), (64, 128, 512, 128), (600, 4096, 512, 600)]
)
def test_descriptors_are_taken_as_far_as_they_are_given(soft: int, hard: int, wanted: int, found: int) -> None:
    """A shell's soft limit is no reason to turn agents away; a hard one is respected, and nothing is ever lowered."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))\n"
        f"from agentd.edge.host.limits import allow_descriptors\n"
        f"print(allow_descriptors({wanted}), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [str(found), str(found), str(hard)]
