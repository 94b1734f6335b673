"""Known attacks on shell gates, run for real: in the cage none has its effect; without it each one has.

The second half is what gives the first its meaning. What is looked at are canaries, never a verdict.
"""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agentd.sandbox.protocol import Prepared
from attacks import cases
from attacks.canaries import Place, place
from attacks.cases import Case
from sandbox.client import Sandbox, dropped, lacking, sandbox

CASES = cases.shell()
TERMINAL = [case for case in CASES if case.setup.get("tty")]
ORDINARY = [case for case in CASES if not case.setup.get("tty")]
WITHOUT_S = 12.0
"""Patience with a command that nothing bounds."""

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "a cage can be had")


@pytest.fixture(scope="module")
def cage() -> Iterator[Sandbox]:
    """A sandbox process. The caller's environment holds a secret, as an agent's does."""
    with sandbox() as made:
        yield made


def _named(found: list[Case]) -> Any:
    return pytest.mark.parametrize("case", found, ids=[f"{case.id} {case.kind}" for case in found])


def _skip_without_its_programs(case: Case) -> None:
    if case.missing:
        pytest.skip(f"not installed: {case.missing}")


def _caged(cage: Sandbox, case: Case, where: Place) -> tuple[bytes, float]:
    """Output and duration of the case's command in the cage."""
    profile = cases.profile(where)
    assert isinstance(cage.prepare(profile), Prepared)
    began = time.monotonic()
    command = where.fill(case.action["command"])
    done = cage.sh(profile, command, env=cases.environment(where), limits=cases.LIMITS)
    took_s = time.monotonic() - began
    assert done.exited.program == "/usr/bin/bash"
    if any("path" in effect for effect in case.must_not):
        where.wait_for_no_placeholder()
    return done.out + done.err, took_s


def _free(case: Case, where: Place) -> tuple[bytes, float]:
    """The same without a cage, as the user would run it."""
    env = {**cases.environment(where), "OPENROUTER_API_KEY": where.tokens["env"]}
    command = ["bash", "-c", where.fill(case.action["command"])]
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=where.ws, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, **dropped(),
    )  # fmt: skip
    assert process.stdout is not None
    output = b""
    deadline = began + WITHOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.05)[0]:
            output += os.read(process.stdout.fileno(), 1 << 20)
    took_s = time.monotonic() - began
    while select.select([process.stdout], [], [], 0)[0] and (more := os.read(process.stdout.fileno(), 1 << 20)):
        output += more
    return output, took_s


@_named(ORDINARY)
def test_in_the_cage_an_attack_has_no_effect(case: Case, cage: Sandbox) -> None:
    _skip_without_its_programs(case)
    with place(case.setup) as where:
        output, took_s = _caged(cage, case, where)
        assert case.effects(where, output, took_s) == [], output[:2000]


@pytest.mark.slow
@_named(ORDINARY)
def test_without_the_cage_it_has_one(case: Case) -> None:
    _skip_without_its_programs(case)
    with place(case.setup) as where:
        output, took_s = _free(case, where)
        happened = case.effects(where, output, took_s)
        for pid in _session(where):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        assert set(happened) == {effect["effect"] for effect in case.must_not}, output[:2000]


@_named(TERMINAL)
def test_in_the_cage_nothing_is_typed_into_the_callers_terminal(case: Case) -> None:
    _skip_without_its_programs(case)
    with place(case.setup) as where:
        typed = _on_a_terminal(lambda: _child_in_cage(case, where))
        assert not _types(case, typed)


@_named(TERMINAL)
def test_without_the_cage_it_is(case: Case) -> None:
    _skip_without_its_programs(case)
    switch = Path("/proc/sys/dev/tty/legacy_tiocsti")
    if switch.exists() and switch.read_text().strip() == "0":
        pytest.skip("this kernel lets nobody type into a terminal")
    with place(case.setup) as where:
        typed = _on_a_terminal(lambda: _child_free(case, where))
        assert _types(case, typed)


def _types(case: Case, typed: bytes) -> bool:
    return any(effect["contains"].encode() in typed for effect in case.must_not)


def _on_a_terminal(child: Any) -> bytes:
    """Run something in a process that has a terminal of its own; what appears on that terminal."""
    pid, master = pty.fork()
    if pid == 0:
        try:
            attributes = termios.tcgetattr(0)
            attributes[3] |= termios.ECHO
            termios.tcsetattr(0, termios.TCSANOW, attributes)
            child()
        finally:
            os._exit(0)
    seen = b""
    with suppress(OSError):  # the terminal ends with its last user
        while select.select([master], [], [], 30)[0] and (data := os.read(master, 65536)):
            seen += data
    os.waitpid(pid, 0)
    os.close(master)
    return seen


def _child_in_cage(case: Case, where: Place) -> None:
    with sandbox() as cage:
        profile = cases.profile(where)
        cage.prepare(profile)
        done = cage.sh(profile, where.fill(case.action["command"]), env=cases.environment(where), limits=cases.LIMITS)
        assert b"OSError" in done.err or b"PermissionError" in done.err or b"termios" in done.err


def _child_free(case: Case, where: Place) -> None:
    os.fchmod(0, 0o666)
    subprocess.run(
        ["bash", "-c", where.fill(case.action["command"])], cwd=where.ws, check=False, stderr=subprocess.DEVNULL
    )
    fcntl.ioctl(0, termios.TIOCSTI, b"\n")


def _session(where: Place) -> list[int]:
    """Processes that still stand in this place."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.readlink(f"/proc/{name}/cwd").startswith(str(where.ws)):
                    found.append(int(name))
    return found
