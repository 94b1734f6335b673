"""What a cage costs: `true` through the sandbox process, through bubblewrap started anew, and started bare. In turns, so
that a busy machine is busy for all of them.

The one that is compared with is plain `bwrap --unshare-all` with what a command needs, from Python, as a gate without a
zygote would do it.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentd.sandbox.protocol import Limits, Prepared, Profile
from bench.place import on
from sandbox.client import Sandbox, give, lacking, sandbox

PROTECTED = (".git/hooks", ".git/config", ".claude", ".codex", ".cursor", ".vscode", ".mcp.json", ".envrc")
HIDDEN = ("**/.env", "**/*.pem")
BWRAP = (
    "bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
    "--symlink", "usr/lib", "/lib",
    "--symlink", "usr/lib64", "/lib64", "--tmpfs", "/tmp", "--dev", "/dev", "--proc", "/proc",
)  # fmt: skip
AT_A_TIME = 8
PAUSE_S = 0.02
"""Between two looks. An agent's commands do not follow each other without a pause, and a cage is made ready in one."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians in ms. `tight`: one after another without a pause; `many`: eight at a time, for each; `by_eight`: bubblewrap's."""

    cage: float
    bwrap: float
    bare: float
    tight: float
    many: float
    by_eight: float


def measure(rounds: int) -> Cost | None:
    """None where no cage can be had."""
    if lacking():
        return None
    everything = frozenset(range(os.cpu_count() or 1))  # what a cage is made ready with runs beside the command
    with on(everything), _workspace() as ws, sandbox() as cage:
        profile = Profile("bench", str(ws), protected=PROTECTED, hidden=HIDDEN)
        if not isinstance(cage.prepare(profile), Prepared):
            return None
        ways: dict[str, Callable[[], object]] = {
            "cage": lambda: _caged(cage, 1),
            "bwrap": lambda: _spawned((*BWRAP, "true")),
            "bare": lambda: _spawned(("true",)),
        }
        took: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                time.sleep(PAUSE_S)
                took[name].append(_ms(way))
        tight = statistics.median(_ms(ways["cage"]) for _ in range(rounds))
        many = statistics.median(_ms(lambda: _caged(cage, AT_A_TIME)) for _ in range(rounds // 4 + 1))
        eight = statistics.median(_ms(_eight_spawned) for _ in range(rounds // 4 + 1))
    medians = {name: statistics.median(values) for name, values in took.items()}
    return Cost(medians["cage"], medians["bwrap"], medians["bare"], tight, many / AT_A_TIME, eight / AT_A_TIME)


def _caged(cage: Sandbox, count: int) -> None:
    numbers = [cage.begin("bench", ["true"], limits=Limits(wall_s=20)) for _ in range(count)]
    for number in numbers:
        if cage.result(number).exited.status != 0:
            raise RuntimeError("`true` failed in the cage")


def _spawned(words: tuple[str, ...]) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _eight_spawned() -> None:
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen((*BWRAP, "true"), **pipes) for _ in range(AT_A_TIME)]
    for process in running:
        process.communicate()


def _ms(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return (time.perf_counter() - began) * 1000


@contextmanager
def _workspace() -> Iterator[Path]:
    """A small project with something to protect and something to hide."""
    root = Path(tempfile.mkdtemp(prefix="bench", dir="/var/tmp"))
    root.chmod(0o755)
    try:
        for index in range(20):
            folder = root / "ws" / f"part{index % 5}" / f"sub{index}"
            folder.mkdir(parents=True)
            (folder / "file.py").write_text("pass\n")
        (root / "ws/.env").write_text("KEY=x\n")
        if os.geteuid() == 0:
            give(root)
        yield root / "ws"
    finally:
        shutil.rmtree(root, ignore_errors=True)
