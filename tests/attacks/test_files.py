"""Known attacks on file gates, run for real through the gate: none has its effect; done in the usual way each one has.

What is looked at are canaries, never a verdict.
"""

import json
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from agentd.core.types.files import FileRefused
from attacks.canaries import Place, place
from edge.enforce.files.hands import Hands, hands
from edge.enforce.files.test_race import swapping

LINES = (
    (Path(__file__).parent / "files.jsonl")
    .read_text()
    .replace("SECRET_HOME", "SECRET_home")
    .replace("/outside/", "/out/")
)
CASES = [json.loads(line) for line in LINES.splitlines()]
"""In the words of the place that is built here."""
TIMES_OF_A_RACE = 2_000
TIMES_WITHOUT = 100_000
ENDLESS = 9 * 2**20
"""So much of an endless file shows that it is one."""
Output = list[bytes]


def _named() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", CASES, ids=[f"{case['id']} {case['class']}" for case in CASES])


@contextmanager
def _place(case: dict[str, Any]) -> Iterator[Place]:
    setup = case.get("setup", {})
    with place(setup) as where:
        for path in setup.get("fifos", ()):
            os.mkfifo(where.fill(path))
        yield where


@contextmanager
def _secret_in_the_environment(where: Place) -> Iterator[None]:
    """Of this process, which stands for the daemon: /proc shows what was there when it began, so a child must show it."""
    os.environ["OPENROUTER_API_KEY"] = where.tokens["env"]
    try:
        yield
    finally:
        del os.environ["OPENROUTER_API_KEY"]


def _through_the_gate(hand: Hands, case: dict[str, Any], where: Place) -> bytes:
    action = {name: where.fill(text) for name, text in case["action"].items()}
    race = [Path(where.fill(name)) for name in case.get("setup", {}).get("race", {}).get("swap", ())]
    output: Output = []
    writes = action["op"] != "read"
    with swapping(*race) if race else nullcontext():
        for _ in range((TIMES_OF_A_RACE // 10 if writes else TIMES_OF_A_RACE) if race else 1):
            try:
                done = hand.now(action["op"], action["path"], action.get("data", "").encode(), action.get("to", ""))
                output += [done.data, *(os.fsencode(entry.name) for entry in done.entries)]
            except FileRefused as refusal:
                output.append(str(refusal).encode())
    return b"\n".join(output)


def _without(case: dict[str, Any], where: Place) -> tuple[bytes, float]:
    """The usual way: join, look whether it seems all right, open by name. In a child, since some never come back."""
    action = {name: where.fill(text) for name, text in case["action"].items()}
    race = [Path(where.fill(name)) for name in case.get("setup", {}).get("race", {}).get("swap", ())]
    source, sink = os.pipe()
    began = time.monotonic()
    with swapping(*race) if race else nullcontext():
        times = str(TIMES_WITHOUT if race else 1)
        pid = os.posix_spawn(
            "/usr/bin/env",
            ["env", "python3", "-c", USUAL, json.dumps(action), str(where.ws), times],
            {"PATH": "/usr/bin:/bin", "OPENROUTER_API_KEY": where.tokens["env"]},
            file_actions=[(os.POSIX_SPAWN_DUP2, sink, 1)],
        )
        os.close(sink)
        output = _all_of(source, began)
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)
    os.close(source)
    return output, time.monotonic() - began


def _all_of(source: int, began: float) -> bytes:
    output = b""
    while time.monotonic() - began < 20 and len(output) < ENDLESS:
        if not select.select([source], [], [], 0.1)[0]:
            if time.monotonic() - began > 8:
                break
            continue
        more = os.read(source, 1 << 20)
        if not more:
            break
        output += more
    return output


USUAL = """
import json, os, sys
action, ws, times = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
os.chdir(ws)
before = None
for _ in range(times):
    try:
        path = action["path"]
        if times > 1 and not os.path.realpath(path).startswith(ws + "/"):
            continue
        if action["op"] == "read":
            with open(path, "rb") as file:
                while more := file.read(65536):
                    if times == 1 or b"canary" in more:
                        sys.stdout.buffer.write(more); sys.stdout.flush()
                        times == 1 or sys.exit()
        elif action["op"] == "list":
            print(os.listdir(path))
        elif action["op"] == "move":
            os.rename(path, action["to"])
        else:
            os.path.dirname(path) and os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(action["data"])
    except OSError:
        pass
"""


def _effects(case: dict[str, Any], where: Place, output: bytes, took_s: float) -> list[str]:
    return [effect["effect"] for effect in case["must_not"] if _happened(case, where, effect, output, took_s)]


def _happened(case: dict[str, Any], where: Place, effect: dict[str, Any], output: bytes, took_s: float) -> bool:
    path = effect.get("path")
    if path == "@OUT@/victim.txt":
        return (where.out / "victim.txt").read_text() != "precious\n\n"
    return where.happened(effect, output, took_s)


def _tree(where: Place) -> str:
    """All names and contents of the directories outside."""
    return "".join(f"{path} {path.read_text() if path.is_file() else ''}" for path in where.out.rglob("*"))


def _about(where: Place) -> None:
    """What the case is compared with stands before anything is done."""
    assert (where.out / "victim.txt").read_text() == "precious\n\n"


@_named()
def test_through_the_gate_an_attack_has_no_effect(case: dict[str, Any], tmp_path: Path) -> None:
    with _place(case) as where, _secret_in_the_environment(where):
        _about(where)
        hand = Hands(where.ws, tmp_path / "state")
        hand.open()
        try:
            began = time.monotonic()
            output = _through_the_gate(hand, case, where)
            slow = time.monotonic() - began if not case.get("setup", {}).get("race") else 0.0
            assert _effects(case, where, output, slow) == [], output[:2000]
            assert "planted" not in _tree(where)
        finally:
            hand.files.close()


@pytest.mark.slow
@_named()
def test_in_the_usual_way_it_has_one(case: dict[str, Any]) -> None:
    with _place(case) as where:
        _about(where)
        output, took_s = _without(case, where)
        assert _effects(case, where, output, took_s), output[:2000]


def test_the_gate_serves_what_is_no_attack(tmp_path: Path) -> None:
    with place({}) as where, hands(tmp_path):
        hand = Hands(where.ws, tmp_path / "other")
        hand.open()
        try:
            assert hand.now("read", "file.txt").data == b"alpha\nbeta\ngamma\n\n"
        finally:
            hand.files.close()
