"""The commands that a newcomer types: each is explained, sets itself up, and a failing step shows all it has to show."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.daemon import REPO

MAKEFILE = (REPO / "Makefile").read_text()

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in the checkout."""
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_every_target_is_explained_by_help() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    shown = {line.split()[1] for line in run("make", "help").stdout.splitlines()}
    assert shown == set(phony.split())


@pytest.mark.parametrize("target", ["demo", "run", "test", "slow", "test-all", "clients", "lint"])
def test_a_target_sets_itself_up(target: str) -> None:
    rule = re.search(rf"^{target}: (.*?) ##", MAKEFILE, re.MULTILINE)
    assert rule is not None
    assert rule[1].split()[0] in {"$(RUNTIME)", "$(DEV)"}


def test_a_step_that_succeeds_is_one_line() -> None:
    done = run("scripts/step", "a title", "sh", "-c", "echo noise; echo more >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok    a title\n", "")


def test_a_step_that_fails_shows_its_output_and_keeps_its_status() -> None:
    done = run("scripts/step", "a title", "sh", "-c", "echo noise; echo more >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("FAIL  a title (exit 7)")
    assert done.stderr.endswith("noise\nmore\n")


def test_missing_debian_packages_are_named_without_root(tmp_path: Path) -> None:
    for name, answer in (
        ("id", "echo 1000"),
        ("dpkg-query", 'case "$*" in *there*) echo installed;; *) exit 1;; esac'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run("scripts/debian-packages", "is-there", "missing", "gone", PATH=path)
    assert done.stdout == "note  missing Debian packages: missing gone (as root: apt-get install missing gone)\n"
    assert run("scripts/debian-packages", "is-there", PATH=path).stdout == ""


def test_a_python_that_is_too_old_is_not_taken(tmp_path: Path) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11", "mine"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{'exit 0' if name == 'mine' else 'exit 1'}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\necho installed\n")
    (tmp_path / "dpkg-query").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert run("scripts/find-python", PATH=path, PYTHON="mine").stdout == "mine\n"
    none = run("scripts/find-python", PATH=path, PYTHON="")
    assert none.returncode == 1
    assert "make PYTHON=" in none.stderr
