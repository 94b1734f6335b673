"""What agents run all day works in the cage as it does outside: same exit status, same output but for names and times.

Commands that need the network are left out: there is no door to it yet. Each runs in a fresh copy of a small project with
a history.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentd.sandbox.protocol import Limits, Prepared, Profile
from attacks.cases import HIDDEN, PROTECTED
from sandbox.client import ENV, Sandbox, dropped, give, lacking, sandbox

HERE = Path(__file__).parent
COMMANDS = [json.loads(line) for line in (HERE / "benign.jsonl").read_text().splitlines()]
FIXTURE = json.loads((HERE / "benign_fixture.json").read_text())
LOCAL = [each for each in COMMANDS if "net" not in each["needs"]]
MUST_WORK = 0.97
DIFFERS = re.compile(
    rb"\d{1,2}:\d\d(:\d\d)?|\b[0-9a-f]{7,40}\b|\d+\.\d+ ?m?s|tmp[\w.]+|\d+(\.\d+)?[KMG]\b|\d+%", re.IGNORECASE
)
"""Times, hashes of commits, temporary names, sizes of disks: different in each run, cage or not."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "a cage can be had"),
    pytest.mark.skipif(shutil.which("git", path="/usr/bin:/bin") is None, reason="git is not installed"),
]


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """The project, to be copied for each command."""
    root = Path(tempfile.mkdtemp(prefix="benign", dir="/var/tmp"))
    root.chmod(0o755)
    ws = root / "ws"
    for name, text in FIXTURE["files"].items():
        path = Path(name.replace("@WS@", str(ws)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, mode in FIXTURE["modes"].items():
        Path(name.replace("@WS@", str(ws))).chmod(int(mode, 8))
    give(root)
    first = "git init -q -b main . && git add -A && git -c user.name=a -c user.email=a@example.com commit -q -m first"
    for command in (first, *FIXTURE["prepare"]):
        _outside(command, ws)
    yield root
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def cage() -> Iterator[Sandbox]:
    with sandbox() as made:
        yield made


def _outside(command: str, ws: Path) -> tuple[int, bytes]:
    env = {**ENV, "HOME": str(ws.parent), "GIT_CONFIG_GLOBAL": "/dev/null"}
    done = subprocess.run(["bash", "-c", command], cwd=ws, env=env, capture_output=True, check=False, **dropped())
    return done.returncode, done.stdout


def _copy(project: Path) -> None:
    ws, kept = project / "ws", project / "kept"
    if not kept.exists():
        shutil.copytree(ws, kept, symlinks=True)
        give(kept)
    for path in list(ws.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # a placeholder may go by itself meanwhile
        else:
            path.unlink()
    shutil.copytree(kept, ws, symlinks=True, dirs_exist_ok=True)
    give(ws)


def _compared(each: dict[str, Any], project: Path, cage: Sandbox) -> str:
    """What is different in the cage; empty: nothing that matters."""
    ws = project / "ws"
    _copy(project)
    outside = _outside(each["command"], ws)
    _copy(project)
    profile = _profile(project)
    done = cage.sh(profile, each["command"], limits=Limits(wall_s=30, tasks=100))
    inside = done.exited.status, done.out
    if inside[0] != outside[0]:
        return f"{each['id']}: status {inside[0]}, not {outside[0]}: {done.err[:300]!r}"
    if _alike(inside[1]) != _alike(outside[1]):
        return f"{each['id']}: printed {inside[1][:300]!r}, not {outside[1][:300]!r}"
    return ""


def _profile(project: Path) -> Profile:
    return Profile("coding", str(project / "ws"), protected=PROTECTED, hidden=HIDDEN)


def _alike(output: bytes) -> list[bytes]:
    return sorted(line.strip() for line in DIFFERS.sub(b"", output).splitlines())


def test_daily_commands_work_as_they_do_outside(project: Path, cage: Sandbox) -> None:
    here = [each for each in LOCAL if all(shutil.which(name, path="/usr/bin:/bin") for name in each.get("uses", ()))]
    assert isinstance(cage.prepare(_profile(project)), Prepared)
    different = [found for each in here if (found := _compared(each, project, cage))]
    share = 1 - len(different) / len(here)
    print(f"{len(here)} commands, {share:.1%} the same", *different, sep="\n")
    assert share >= MUST_WORK, "\n".join(different)
